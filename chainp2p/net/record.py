"""Our own record in the network: where we can be reached, and telling the peers when that changes."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chainp2p.net.endpoints import parse_external, specific_interface
from chainp2p.net.store import PeerStore
from chainp2p.peer.enr import Enr
from chainp2p.peer.own import OwnRecord, Place
from chainp2p.peer.votes import EndpointVotes, is_loopback, is_private, plain_address
from chainp2p.peer.whereabouts import Whereabouts
from chainp2p.settings import Profile

__all__ = ["RecordKeeper"]

#: ``PeerRecord`` goes out at most so often (seconds; wire design, tag 22).
ANNOUNCE_INTERVAL = 60.0
#: How long what has changed is kept for more to change (seconds): one vote may move both families, and whoever gave it
#: is not among the ready peers yet.
ANNOUNCE_DELAY = 1.0


class RecordKeeper:
    """Keeps the own ENR true, in IPv4 and IPv6 side by side.

    1. Each family has its own :class:`~chainp2p.peer.whereabouts.Whereabouts`; votes are counted even where they make
       no difference, for the operator to see.
    2. A private address that a public peer claims to see is no vote in the public profile, nor is a mapped one there.
    3. In the public profile the voters of one subnet have one voice.
    4. In the public profile a private address is left out beside a public one, for nobody passes such a record on.
    5. A new record is stored before it is told, and told at most once a minute; the one of the start goes out with
       the greeting of each link.

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
        named = parse_external(external) if external else {}
        self._families = {version: Whereabouts(version, named.get(version)) for version in (4, 6)}
        self._votes = EndpointVotes(self._needed, grouped=profile.name == "public")
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
        return next((port for family in self._families.values() if (port := family.place().tcp)), 0)

    def tally(self) -> dict[int, list[tuple[str, int]]]:
        """Return IP version -> (address, how many see us there), most votes first."""
        self._votes.expire(self._reactor.seconds())
        return self._votes.tally()

    def start(self, own: OwnRecord, tcp: Sequence[tuple[str, int]], udp: Sequence[tuple[str, int]] = ()) -> None:
        """We listen on these addresses now; *udp*: those of discovery."""
        self._own = own
        self._told_at = None
        for version, family in self._families.items():
            here = [(host, port) for host, port in tcp if _version(host) == version]
            datagrams = [port for host, port in udp if _version(host) == version]
            specific = [(interface, port) for host, port in here if (interface := specific_interface(host))]
            interface, port = specific[0] if specific else (None, here[0][1] if here else None)
            family.listen(interface, port, datagrams[0] if datagrams else None)
        self._place(tell=False)

    def stop(self) -> None:
        """Tell no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def mapped(self, ip: str, tcp: int | None, udp: int | None) -> None:
        """A router sends on to us what comes to *ip* at these ports, until it does no more (:meth:`unmapped`)."""
        if is_private(ip) and not self._profile.private_addresses:
            return
        self._families[_version(ip)].mapping = Place(ip, tcp, udp)
        self._judge()

    def unmapped(self, version: int = 4) -> None:
        """Nothing is mapped to us any more in this family."""
        self._families[version].mapping = None
        self._judge()

    def _judge(self) -> None:
        for family in self._families.values():
            before = family.place()
            family.judge(self._votes)
            if (now := family.place()) != before:
                self._log.info("our address is {ip}", ip=now.ip, tcp=now.tcp, udp=now.udp)
        self._place()

    def _place(self, tell: bool = True) -> None:
        if self._own is None:
            return
        places = [family.place() for family in self._families.values() if not family.absent]
        known = [place for place in places if place.ip is not None]
        public = [place for place in known if place.ip is not None and not is_private(place.ip)]
        if public and not self._profile.private_addresses:
            known = public
        # without an address one family's ports say all there is to say
        if self._own.place(*(known or places[:1])):
            self._changed(tell)

    def _changed(self, tell: bool = True) -> None:
        self._store.save_own(self.enr.raw)
        if self._timer is not None or not tell:
            return
        now = self._reactor.seconds()
        wait = 0.0 if self._told_at is None else self._told_at + ANNOUNCE_INTERVAL - now
        self._timer = self._reactor.callLater(max(ANNOUNCE_DELAY, wait), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told_at = self._reactor.seconds()
        self._announce(self.enr.raw)

    def observed(self, peer_id: bytes, peer_ip: str, ip: bytes, port: int | None = None) -> None:
        """A peer at *peer_ip* sees us at *ip* (4 or 16 bytes, else it is no vote); at UDP *port*, if by datagram."""
        text = plain_address(ip)
        if text is None:
            return
        if is_private(text) and not self._profile.private_addresses and not is_loopback(peer_ip):
            return
        now = self._reactor.seconds()
        self._votes.expire(now)
        self._votes.vote(peer_id, peer_ip, text, now, port)
        self._judge()

    def gone(self, peer_id: bytes) -> None:
        """A peer's vote by link ends with it."""
        self._votes.forget(peer_id)

    def seen(self, seq: int) -> None:
        """Somebody holds a record of ours with this number."""
        if self._own is not None and self._own.seen(seq):
            self._changed()


def _version(host: str) -> int:
    return 6 if ":" in host else 4
