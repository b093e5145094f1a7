"""What a link takes from the network that it belongs to."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.quota import Quota
from chainp2p.wire.codec import Codec
from chainp2p.wire.messages import Hello, Message, Status

if TYPE_CHECKING:
    from chainp2p.net.protocol import PeerProtocol
    from chainp2p.net.security import Security
    from chainp2p.peer.link import Handler

__all__ = ["LinkHost"]


class LinkHost(Protocol):
    """The seam between one link and everything above it."""

    reactor: Any  #: IReactorTime
    codec: Codec
    security: "Security"
    own_id: bytes
    handlers: "Mapping[type[Any], Handler]"
    bulk: frozenset[type[Message]]  #: requests that a bulk message may answer
    budget: "ReceiveBudget[PeerProtocol]"
    quotas: "Mapping[type[Message], Quota]"  #: what a peer may send of each message

    def now(self) -> float:
        """Unix time in seconds, for records."""
        ...

    def hello(self) -> Hello: ...

    def status(self, observed: tuple[bytes, int]) -> Status: ...

    def enr_seq(self) -> int: ...

    def welcome(self, peer_id: bytes) -> PeerFault | None:
        """Return why this key gets no link at all; asked in the middle of the transport's handshake."""
        ...

    def admit(self, link: "PeerProtocol") -> None:
        """The other end has proven its id; raises PeerFault if it may not stay."""
        ...

    def link_ready(self, link: "PeerProtocol") -> None:
        """Both ``Status`` are exchanged; raises PeerFault if the peer's is no good."""
        ...

    def link_ended(self, link: "PeerProtocol", end: LinkEnd) -> None:
        """It has ended, for the one reason that is recorded."""
        ...

    def link_gone(self, link: "PeerProtocol") -> None:
        """The connection is closed."""
        ...

    def useless(self, link: "PeerProtocol", reason: Reason, detail: str) -> None:
        """A fault that does not end the link."""
        ...

    def is_useless(self, link: "PeerProtocol") -> bool:
        """Whether others should be asked first."""
        ...

    def above_quota(self, link: "PeerProtocol", name: str) -> None:
        """The peer sends more messages of this name than are of use; told once a minute."""
        ...

    def skipped(self, link: "PeerProtocol", tag: int) -> None:
        """A message of an unknown tag came."""
        ...

    def heights_heard(self, link: "PeerProtocol") -> None:
        """A peer whose settings will differ from ours some day has announced higher blocks."""
        ...

    def blocks_blamed(self, link: "PeerProtocol") -> None:
        """The peer, whose settings will differ, is about to be blamed for a block."""
        ...
