"""Our own record in the network: where we can be reached, and telling the peers when that changes."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chainp2p.net.endpoints import parse_external, specific_interface
from chainp2p.net.store import PeerStore
from chainp2p.peer.enr import Enr
from chainp2p.peer.own import OwnRecord
from chainp2p.peer.votes import EndpointVotes, is_loopback, is_private
from chainp2p.settings import Profile

__all__ = ["RecordKeeper"]

#: ``PeerRecord`` goes out at most so often (seconds; wire design, tag 22).
ANNOUNCE_INTERVAL = 60.0


class RecordKeeper:
    """Keeps the own ENR true.

    1. The address is what ``--external`` says, else a specific listening interface, else what enough peers see.
    2. A private address that a public peer claims to see is no vote in the public profile.
    3. A new record is stored before it is told, and told at most once a minute.

    :param announce: tells all peers the record.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        profile: Profile,
        external: str | None,
        store: PeerStore,
        announce: Callable[[bytes], None],
    ) -> None:
        self._reactor = reactor
        self._profile = profile
        self._store = store
        self._announce = announce
        self._external = parse_external(external) if external else None
        self._votes = EndpointVotes(self._needed)
        self._fixed = False
        self._ip: str | None = None
        self._port = 0
        self._udp: int | None = None
        self._own: OwnRecord | None = None
        self._told_at: float | None = None
        self._timer: IDelayedCall | None = None

    def _needed(self, live: int) -> int:
        if self._profile.name == "public":
            return self._profile.endpoint_votes
        return max(1, min(self._profile.endpoint_votes, live))

    @property
    def enr(self) -> Enr:
        """The current record."""
        assert self._own is not None, "the network has not started"
        return self._own.enr

    @property
    def port(self) -> int:
        """TCP port to advertise."""
        return self._port

    def start(self, own: OwnRecord, addresses: tuple[tuple[str, int], ...], udp: int | None = None) -> None:
        """We listen there now; *udp*: the port of discovery, if there is any."""
        self._udp = udp
        self._own = own
        self._fixed = True
        self._told_at = None
        self._port = addresses[0][1] if addresses else 0
        if self._external is not None:
            self._ip, port = self._external
            self._port = port or self._port
        else:
            for host, port in addresses:
                if interface := specific_interface(host):
                    self._ip, self._port = interface, port
                    break
            else:
                self._fixed = False
        self._place()

    def stop(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _place(self) -> None:
        assert self._own is not None
        if self._own.place(self._ip, self._port or None, self._udp):
            self._changed()

    def _changed(self) -> None:
        self._store.save_own(self.enr.raw)
        if self._timer is not None:
            return
        now = self._reactor.seconds()
        wait = 0.0 if self._told_at is None else max(0.0, self._told_at + ANNOUNCE_INTERVAL - now)
        if wait:
            self._timer = self._reactor.callLater(wait, self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        self._timer = None
        self._told_at = self._reactor.seconds()
        self._announce(self.enr.raw)

    def observed(self, peer_id: bytes, peer_ip: str, ip: bytes, live: int) -> None:
        """A peer at *peer_ip* sees us at *ip* (4 or 16 bytes, else it is no vote)."""
        if self._fixed or len(ip) not in (4, 16):
            return
        text = str(ip_address(ip))
        if is_private(text) and not self._profile.private_addresses and not is_loopback(peer_ip):
            return
        self._votes.vote(peer_id, text)
        winner = self._votes.winner(live, current=self._ip) or self._votes.winner(live, version=6)
        if winner != self._ip:
            self._log.info("our address is {ip}, as peers see it", ip=winner)
            self._ip = winner
            self._place()

    def gone(self, peer_id: bytes) -> None:
        """A peer's vote ends with its link."""
        self._votes.forget(peer_id)

    def seen(self, seq: int) -> None:
        """Somebody holds a record of ours with this number."""
        if self._own is not None and self._own.seen(seq):
            self._changed()
