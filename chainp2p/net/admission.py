"""Who may have a link with us, and how many."""

from collections.abc import Callable, Collection, Iterable, Mapping

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.roster import Roster
from chainp2p.peer.book import AddressBook
from chainp2p.peer.slots import outbound_slots

__all__ = ["Admission"]


class Admission:
    """Judges connections and proven ids.

    1. The operator's word comes first: removed peers and keys that are not on the allow-list stay away, both ways.
    2. Then its conduct, then whether the :class:`~chainp2p.net.door.Door` has a slot.

    :param barred: answers why a key is kept away for its conduct, if it is.
    :param door: raises PeerFault if there can be no slot.
    """

    def __init__(
        self,
        book: AddressBook,
        roster: Roster,
        max_peers: int,
        barred: Callable[[bytes], PeerFault | None],
        door: Callable[[PeerProtocol], None],
    ) -> None:
        self._book = book
        self._roster = roster
        self._max_peers = max_peers
        self._barred = barred
        self._door = door
        self._removed: set[bytes] = set()
        self._allowed: Mapping[bytes, str] | None = None

    def start(self, removed: Collection[bytes]) -> None:
        """These peers were removed in earlier runs."""
        self._removed = set(removed)

    def is_removed(self, peer_id: bytes) -> bool:
        """Whether the operator has sent this peer away."""
        return peer_id in self._removed

    def is_welcome(self, peer_id: bytes) -> bool:
        """Whether the operator has nothing against this peer."""
        return peer_id not in self._removed and self.is_allowed(peer_id)

    def is_allowed(self, peer_id: bytes) -> bool:
        """Whether the allow-list, if there is one, names this peer."""
        return self._allowed is None or peer_id in self._allowed

    def is_listed(self, peer_id: bytes) -> bool:
        """Whether there is an allow-list and it names this peer."""
        return self._allowed is not None and peer_id in self._allowed

    def strangers(self, peer_ids: Iterable[bytes]) -> set[bytes]:
        """Return those that the allow-list does not name; none without a list."""
        return set() if self._allowed is None else {one for one in peer_ids if one not in self._allowed}

    def unlisted(self, peer_id: bytes) -> PeerFault | None:
        """Return the fault of a peer that the allow-list does not name; None for all others."""
        return (
            None if self.is_allowed(peer_id) else PeerFault(Reason.NOT_ALLOWED, "not on the allow-list", Penalty.NONE)
        )

    def removed(self) -> list[bytes]:
        """Return whom the operator has sent away."""
        return sorted(self._removed)

    def remove(self, peer_id: bytes) -> None:
        """Keep a peer away from now on."""
        self._removed.add(peer_id)

    def restore(self, peer_id: bytes) -> None:
        """A removed peer may come again."""
        self._removed.discard(peer_id)

    def role(self, peer_id: bytes) -> str:
        """Return what the allow-list calls this peer; empty if it is not there or has no label."""
        return self._allowed.get(peer_id, "") if self._allowed is not None else ""

    def allow(self, roles: Mapping[bytes, str] | None) -> None:
        """Let only these keys connect from now on, each with its role; None: anyone."""
        self._allowed = None if roles is None else dict(roles)

    def check(self, link: PeerProtocol) -> None:
        """Raise PeerFault unless the peer that *link* has just proven may stay."""
        peer_id = link.peer_id
        if peer_id in self._removed:
            raise PeerFault(Reason.REMOVED, "by the operator", Penalty.NONE)
        unlisted = self.unlisted(peer_id)
        if unlisted is not None:
            raise unlisted
        barred = self._barred(peer_id)
        if barred is not None:
            raise barred
        self._door(link)

    def room_to_dial(self) -> int:
        """How many peers that are not held may be dialled more."""
        live = self._roster.live()
        lasting = (link for link in live if link.purpose is not None and link.purpose.lasting)
        learnt = sum(not self._book.is_held(link.peer_id) for link in lasting)
        return min(outbound_slots(self._max_peers) - learnt, self._max_peers - len(live))
