"""What the network does with discovery by datagram: where it listens, whom it begins with, what it makes of finds."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from chainp2p.discovery.bootstrap import Bootstrap
from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.limits import Limits
from chainp2p.discovery.pace import ENOUGH
from chainp2p.discovery.seeds import mixed, newest_records
from chainp2p.net.datagram import DiscoveryShell, discovery_endpoints
from chainp2p.net.discovery_view import DiscoveryView, discovery_metrics, discovery_view
from chainp2p.net.dns_seeds import DnsSeeds
from chainp2p.net.endpoints import leaves_port_open
from chainp2p.net.metrics import Metric
from chainp2p.net.record import RecordKeeper
from chainp2p.net.resolver import SystemResolver, TextResolver
from chainp2p.net.seeking import Seeker
from chainp2p.net.store import PeerStore, StoredPeers
from chainp2p.net.table import TableKeeper
from chainp2p.net.talking import TalkHandler
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey
from chainp2p.peer.known import Known
from chainp2p.settings import NetworkSettings, Profile

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Discovery"]


class Discovery:
    """Node Discovery v5.1 and lists in DNS in the service of the network; the former may be switched off.

    1. A node of our network that has answered, and that can be dialled, goes into the address book, which decides
       whom to dial; a record that a peer tells over TCP goes into the table.
    2. How a node sees us is its vote on our address.
    3. Who is live is stored, and is asked first after a restart, in turn with those that the operator named and those
       of the book: whoever has gone since, or feeds one of the three, does not decide whom we find.
    4. While there are too few to dial, random lookups (:class:`~chainp2p.discovery.pace.LookupPace`) and lists in DNS
       (:class:`~chainp2p.net.dns_seeds.DnsSeeds`) bring more.

    :param now: answers Unix time in seconds.
    :param own: answers our current record.
    :param welcome: whether the operator has nothing against a peer.
    :param found: told of each dialable node that has answered, and the IP where it did; and of each node that a list
        names, and the domain of the list.
    :param record: keeps our own; told how others see us, and of a newer one.
    :param talk: who answers requests of which other protocol; outlives this.
    :param candidates: answers how many peers could be dialled at once, counted up to its argument.
    :param links: answers how many peers have a link.
    :param news: answers how many addresses have been new since the start.
    :param bootstrap: whom the operator named to begin with.
    :param resolver: makes what looks up TXT records; None: the name servers of this machine are asked.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        now: Callable[[], float],
        store: PeerStore,
        key: NodeKey,
        own: Callable[[], Enr],
        random: "random_module.Random",
        genesis: bytes,
        settings: NetworkSettings,
        profile: Profile,
        welcome: Callable[[bytes], bool],
        found: Callable[[Enr, str], None],
        record: RecordKeeper,
        talk: MutableMapping[bytes, TalkHandler],
        candidates: Callable[[int], int],
        links: Callable[[], int],
        news: Callable[[], int],
        bootstrap: Bootstrap,
        resolver: Callable[[], TextResolver] | None,
    ) -> None:
        self._reactor = reactor
        self._own_id = key.peer_id
        self._genesis = genesis
        self._settings = settings
        self._bootstrap = bootstrap
        self._tell = found
        self._record = record
        self._talk = talk
        self._seeker = Seeker(reactor, lambda: self.lookup(random.randbytes(32)), candidates, links, news)
        self._keeper = TableKeeper(reactor, now, store, lambda: self._running().core.table.live)
        self._lists = DnsSeeds(
            reactor=reactor,
            random=random,
            resolver=resolver or (lambda: SystemResolver(reactor)),
            trees=bootstrap.trees,
            store=store,
            genesis=genesis,
            private=profile.private_addresses,
            wanted=lambda: candidates(ENOUGH) < ENOUGH,
            found=found,
        )
        #: None where it is switched off.
        self.shell: DiscoveryShell | None = None
        if settings.enable_discovery:
            core = Discv5(
                key,
                own,
                random,
                genesis=genesis,
                private=profile.private_addresses,
                limits=Limits(settings.loopback_exempt),
                welcome=welcome,
            )
            self.shell = DiscoveryShell(
                reactor, core, live=self._live, voted=self._voted, talk=talk, own_seen=record.seen
            )

    # -- life

    def listen(self, tcp: Sequence[tuple[str, int]]) -> None:
        """Take the ports that the settings name, else those of TCP; StartupError names one that cannot be had.

        Where any port would have done for TCP, any will do here, though the same one is taken if it is free.
        """
        if self.shell is None:
            return
        texts = self._settings.discovery_addr
        chosen = [at for text, at in zip(self._settings.listen_addr, tcp, strict=True) if leaves_port_open(text)]
        spare = [] if texts else discovery_endpoints((), chosen)
        self.shell.listen(discovery_endpoints(texts, tcp), spare)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens."""
        return self.shell.addresses if self.shell is not None else ()

    @property
    def port(self) -> int | None:
        """The UDP port that is taken."""
        return self.shell.addresses[0][1] if self.shell is not None and self.shell.addresses else None

    def start(self, book: Iterable[Known], stored: StoredPeers) -> None:
        """Begin to ask around: who the operator named, who was live in an earlier run, and who is in the book."""
        self._lists.start(stored.trees)
        if self.shell is None:
            return
        self.shell.start(mixed(self._bootstrap.records, stored.table, newest_records(book)))
        self._keeper.start()
        self._seeker.start()

    async def stop(self) -> None:
        """Store the table and say nothing more."""
        self._lists.stop()
        if self.shell is not None:
            self._seeker.stop()
            self._keeper.stop()
            await self.shell.stop()

    # -- what other protocols in this process ask

    def _running(self) -> DiscoveryShell:
        if self.shell is None:
            raise RuntimeError("discovery is switched off (network.enable_discovery)")
        return self.shell

    def register_talk(self, protocol: bytes, handler: TalkHandler | None) -> None:
        """Let *handler* answer TALKREQ of *protocol* from now on; None ends that.

        :param handler: (node id, request) -> response, which may be a Deferred that fires within 0.7 s. One that fails
            is logged and answered with nothing; a request whose answer got lost comes again.
        """
        if not isinstance(protocol, bytes):
            raise TypeError(f"the name of a protocol is bytes, not {type(protocol).__name__}")
        self._running()
        if handler is None:
            self._talk.pop(protocol, None)
        else:
            self._talk[protocol] = handler

    def talk(self, enr: Enr | str, protocol: bytes, request: bytes) -> "Deferred[bytes | None]":
        """Send a TALKREQ; fires with the response, empty from a node that does not know *protocol*, None if it did
        not answer.

        :raise ValueError: there is no such record (``enr:...``), or the request does not fit into a packet.
        """
        return self._running().talk(Enr.from_text(enr) if isinstance(enr, str) else enr, protocol, request)

    def lookup(self, target: bytes) -> "Deferred[tuple[Enr, ...]]":
        """Fire with the records of the up to 16 nodes closest to a node id that answered, the closest first; with none
        while eight lookups run already."""
        return self._running().lookup(target)

    # -- what comes and goes

    @property
    def live(self) -> int:
        """How many nodes have answered and are in the table."""
        return len(self.shell.core.table.live) if self.shell is not None else 0

    def view(self) -> DiscoveryView | None:
        """Return what people are shown; None where it is switched off."""
        if self.shell is None:
            return None
        return discovery_view(
            self.shell.core, self._own_id, self._genesis, self._record.tally(), self._reactor.seconds()
        )

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Domains of the lists in DNS that could not be read last time, and why."""
        return self._lists.unreadable

    def metrics(self) -> list[Metric]:
        """Return what is counted and held, and what became of the names that were asked for in DNS."""
        return [
            *(discovery_metrics(self.shell, self._seeker.lookups) if self.shell is not None else []),
            *self._lists.metrics(),
        ]

    def add(self, enr: Enr) -> None:
        """Hear of a node from elsewhere."""
        if self.shell is not None:
            self.shell.core.add(enr)

    def _live(self, enr: Enr) -> None:
        endpoint = self._running().core.reach.endpoint(enr)
        if endpoint is not None and enr.tcp_endpoint is not None:
            self._tell(enr, endpoint[0])

    def _voted(self, peer_id: bytes, source: str, ip: str, port: int) -> None:
        self._record.observed(peer_id, source, ip_address(ip).packed, port)
