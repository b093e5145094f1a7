"""What sync, gossip and discovery see of a connection to a peer, and how they are attached to all of them."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import frozen

from chainp2p.errors import Ours, Penalty, Reason

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from chainp2p.wire.messages import Message, Status

__all__ = ["Credit", "Handler", "Link", "LinkUser", "PeerJoined", "PeerLeft", "collect_features", "collect_handlers"]


class Credit(Enum):
    """What a peer gave us, and gave us first."""

    BLOCK = "block"
    TRANSACTION = "transaction"


class Link(Protocol):
    """A ready link: handshake done, ``Status`` exchanged."""

    @property
    def peer_id(self) -> bytes: ...

    @property
    def status(self) -> "Status":
        """The peer's ``Status``, as it was at the handshake."""
        ...

    @property
    def outbound(self) -> bool: ...

    @property
    def address(self) -> tuple[str, int]:
        """IP and port of the other end of the connection."""
        ...

    @property
    def block_only(self) -> bool:
        """Whether one side wants no transactions here: none go either way then, nor do records of peers."""
        ...

    @property
    def useless(self) -> bool:
        """Whether the peer has been slow, empty or wrong in small things of late: others should be asked first."""
        ...

    def send(self, message: "Message", instead: "Message | None" = None) -> None:
        """Queue a notification; a full queue drops by class as the wire design says.

        A block push that does not fit is given up and *instead* (an ``AnnounceBlocks``) is sent."""

    def send_raw(self, data: bytes, instead: "Message | None" = None) -> None:
        """Queue a notification that is encoded already (one encoding for many links)."""

    def request(self, message: "Message", timeout: float = 10.0) -> "Deferred[Any]":
        """Send a request; fires with the reply message (``NotFound`` included); fails with PeerGone,
        RequestTimedOut (seconds) or RequestRefused. Cancelling closes the request."""

    def fault(self, reason: Reason, detail: str, penalty: Penalty = Penalty.MALICIOUS) -> None:
        """The peer is to blame: end the link and enter it in the ledger of faults (USELESS does not end it)."""

    def close(self, reason: Reason, detail: str = "", rule: str = "") -> None:
        """End the link for a reason that blames nobody; *rule*: see :class:`chainp2p.peer.ends.LinkEnd`."""

    def credit(self, what: Credit) -> None:
        """The peer has been of use: it was the first to bring something new and valid."""


#: Takes (link, message). For a request: answers the reply message, or a Deferred or coroutine of it; PeerFault raised
#: by a handler ends the link with its reason. For a notification the answer is ignored.
Handler: TypeAlias = Callable[[Any, Any], Any]


class LinkUser(Protocol):
    """A service that works over links; ``node/`` collects them and ``net/`` calls them."""

    def handlers(self) -> "Mapping[type[Any], Handler]":
        """Message class -> handler. No two users take the same class."""
        ...

    def joined(self, link: Link) -> None:
        """The link is ready."""

    def left(self, link: Link, reason: Reason) -> None:
        """It is gone; forget everything about it."""


def collect_handlers(users: "Sequence[LinkUser]") -> "dict[type[Any], Handler]":
    """Return the handlers of all *users*; Ours if two of them take the same message."""
    handlers: dict[type[Any], Handler] = {}
    for user in users:
        for message, handler in user.handlers().items():
            if message in handlers:
                raise Ours(f"{message.__name__} has two handlers")
            handlers[message] = handler
    return handlers


def collect_features(users: "Sequence[LinkUser]") -> int:
    """Return what goes into ``Status.features``: the bits of all *users* that have some, by their ``features``."""
    return reduce(or_, (getattr(user, "features", 0) for user in users), 0)


@frozen
class PeerJoined:
    """Event: a link became ready."""

    peer_id: bytes
    address: tuple[str, int]
    outbound: bool


@frozen
class PeerLeft:
    """Event: a link that had been ready ended."""

    peer_id: bytes
    address: tuple[str, int]
    reason: Reason
    detail: str
    by_us: bool
