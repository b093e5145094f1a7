"""What an operator may order while the network runs: whom to hold, whom to keep away, whom to let in."""

from collections.abc import Mapping

from chainp2p.errors import Reason
from chainp2p.net.admission import Admission
from chainp2p.net.causes import CauseKeeper
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.dialer import Dialer
from chainp2p.net.hosting import Hosting
from chainp2p.net.roster import Roster
from chainp2p.net.store import PeerStore
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook
from chainp2p.peer.causes import CauseKind
from chainp2p.peer.conduct import BAN_TIME, Sentence

__all__ = ["Orders"]


class Orders:
    """The part of a network that its operator commands; what it works on belongs to the network."""

    own_id: bytes
    host: Hosting
    _admission: Admission
    _book: AddressBook
    _causes: CauseKeeper
    _conduct: ConductKeeper
    _dialer: Dialer
    _roster: Roster
    _store: PeerStore

    def add_peer(self, address: NodeAddress, trusted: bool = False) -> bool:
        """Hold this peer from now on, even if it had been removed or banned; False if it is ourselves."""
        self.unban_peer(address.peer_id)
        if not self._book.hold(address, trusted):
            return False
        self._dialer.plan()
        return True

    def distrust_peer(self, peer_id: bytes) -> bool:
        """Take trust in a peer back, and keep it; False if it had none."""
        return self._book.distrust(peer_id)

    def remove_peer(self, peer_id: bytes) -> bool:
        """End the link and keep this peer away, inbound too, until it is added again; False if it was away already."""
        if self._admission.is_removed(peer_id):
            return False
        self._admission.remove(peer_id)
        self._store.save_removed(peer_id, True)
        self._causes.by_operator(CauseKind.BANNED, "removed", peer_id, "until it is added or unbanned")
        self._book.forget(peer_id)
        self.host.close_all(peer_id, Reason.REMOVED, "by the operator")
        return True

    def bans(self) -> list[Sentence]:
        """Return who is kept away and why, the one whose time ends first in front; times are Unix seconds."""
        return self._conduct.bans()

    def removed(self) -> list[bytes]:
        """Return the peers that the operator has removed."""
        return self._admission.removed()

    def ban_peer(self, peer_id: bytes, seconds: float = BAN_TIME) -> bool:
        """End the link and keep this peer away for so long, whatever its conduct; False if it is ourselves."""
        if peer_id == self.own_id:
            return False
        self._conduct.ban(peer_id, seconds)
        self.host.bar(peer_id)
        return True

    def unban_peer(self, peer_id: bytes) -> bool:
        """Lift a ban, a wait or a removal; False if there was none."""
        removed = self._admission.is_removed(peer_id)
        if removed:
            self._admission.restore(peer_id)
            self._store.save_removed(peer_id, False)
            self._causes.by_operator(CauseKind.UNBANNED, "ban_lifted", peer_id, "it may come again")
        return self._conduct.lift(peer_id) or removed

    def useless_score(self, peer_id: bytes) -> float:
        """Return how useless a peer has been of late; 0 for one with no small fault."""
        return self._conduct.score(peer_id)

    def allow(self, roles: Mapping[bytes, str] | None) -> None:
        """Let only these keys connect from now on, links with others end; None: anyone.

        :param roles: peer id -> what the operator calls it; may be empty text.
        """
        self._admission.allow(roles)
        for link in self._roster.live():
            if not self._admission.is_allowed(link.peer_id):
                link.close(Reason.NOT_ALLOWED, "taken off the allow-list", "delisted")
        self._dialer.plan()
