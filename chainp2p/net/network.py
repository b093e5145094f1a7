"""The node's side of the peer-to-peer network: listeners, dialler, links, own record."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import HeadChanged
from chainp2p.discovery.bootstrap import parse_bootstrap
from chainp2p.errors import Reason
from chainp2p.events import EventBus
from chainp2p.net.admission import Admission
from chainp2p.net.book import BookKeeper
from chainp2p.net.causes import CauseKeeper
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.dialer import Dialer
from chainp2p.net.door import Door
from chainp2p.net.endpoints import Listeners, server_text
from chainp2p.net.factory import PeerFactory
from chainp2p.net.finding import Discovery
from chainp2p.net.hosting import Hosting
from chainp2p.net.metrics import Metric, network_metrics
from chainp2p.net.orders import Orders
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.record import RecordKeeper
from chainp2p.net.roster import Roster
from chainp2p.net.store import PeerStore, StoredPeers
from chainp2p.net.talking import TalkHandler
from chainp2p.net.view import PeerView, peer_view
from chainp2p.net.why import Explainer
from chainp2p.peer.address import parse_node
from chainp2p.peer.book import AddressBook
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.handshake import VERSION
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import Link, LinkUser
from chainp2p.peer.outbound import Outbound
from chainp2p.peer.own import OwnRecord
from chainp2p.settings import NetworkSettings, Profile
from chainp2p.wire.codec import CODEC, Codec
from chainp2p.wire.messages import PeerRecord

if TYPE_CHECKING:
    import random as random_module

    from chainp2p.net.security import Security

__all__ = ["Network", "PeerView"]


class Network(Orders, Service):
    """Everything between the services and the transports.

    :param now: answers Unix time in seconds; back-offs and deadlines go by ``reactor.seconds()``.
    :param users: services that work over links; no two handle the same message.
    :param external: the address to advertise; None to learn it.
    :param talk: who answers requests of other protocols by datagram.
    :param resolver: makes what looks up TXT records; None: the name servers of this machine are asked.
    :raise SettingsError: a node, endpoint, address or file in the settings is wrong.
    """

    name = "network"
    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        now: Callable[[], float],
        random: "random_module.Random",
        key: NodeKey,
        security: "Security",
        chain: Any,
        users: Sequence[LinkUser],
        settings: NetworkSettings,
        profile: Profile,
        external: str | None,
        store: PeerStore,
        events: EventBus,
        agent: str,
        codec: Codec = CODEC,
        talk: MutableMapping[bytes, TalkHandler] | None = None,
        resolver: Callable[[], Any] | None = None,
    ) -> None:
        self.reactor = reactor
        self.now = now
        self.own_id = key.peer_id
        self._key = key
        self._chain = chain
        self._settings = settings
        self._profile = profile
        self._store = store
        self._causes = CauseKeeper(reactor, now, store)
        bootstrap = parse_bootstrap(settings.bootstrap_nodes, settings.enable_discovery)
        self._held = [*bootstrap.nodes, *map(parse_node, settings.static_nodes)]
        for text in settings.listen_addr:
            server_text(text)
        self._book = AddressBook(profile, random, key.peer_id)
        #: Keeps our own record.
        self.record = RecordKeeper(reactor, profile, external, store, self._announce)
        self._roster = Roster(reactor, key.peer_id, users, events, lambda: self.enr.seq)
        self._conduct = ConductKeeper(
            reactor, now, profile.name == "public", store, self._causes.note, lambda: self._dialer.plan()
        )
        self._door = Door(
            reactor,
            now,
            random,
            self._book,
            self._roster,
            self._conduct,
            lambda: chain.head.rank,
            self._causes.note,
            lambda peer_id: self._admission.is_listed(peer_id),
            max_peers=settings.max_peers,
            redial=profile.redial_min,
            loopback_exempt=settings.loopback_exempt,
        )
        self._admission = Admission(
            self._book, self._roster, settings.max_peers, self._conduct.refusal, self._door.check
        )
        self._keeper = BookKeeper(reactor, now, store, self._book, self._admission.is_welcome, self._causes.note)
        #: What links are made with.
        self.host = Hosting(
            reactor=reactor,
            now=now,
            codec=codec,
            security=security,
            own_id=key.peer_id,
            chain=chain,
            users=users,
            profile=profile,
            agent=agent,
            book=self._book,
            keeper=self._keeper,
            record=self.record,
            roster=self._roster,
            conduct=self._conduct,
            admission=self._admission,
            door=self._door,
            causes=self._causes,
            dialling=lambda: self._dialer.links,
            changed=lambda: self._dialer.plan(),
            taken=lambda enr: self.discovery.add(enr),
        )
        #: Discovery by datagram.
        self.discovery = Discovery(
            reactor=reactor,
            now=now,
            store=store,
            key=key,
            own=lambda: self.enr,
            random=random,
            genesis=chain.genesis_hash,
            settings=settings,
            profile=profile,
            welcome=self._admission.is_welcome,
            found=self._found,
            record=self.record,
            talk=talk if talk is not None else {},
            candidates=lambda limit: self._dialer.candidates(limit),
            links=lambda: len(self._roster.current),
            news=lambda: self._book.news,
            bootstrap=bootstrap,
            resolver=resolver,
        )
        self.counters: Mapping[str, int] = self.host.counters
        self._dialer = Dialer(
            self.host,
            self._book,
            Outbound(self._book, profile, random),
            self._busy,
            lambda: self._roster.open,
            self._admission.room_to_dial,
            self.host.dial_failed,
            self._roster.opened,
        )
        self.explainer = Explainer(
            reactor, now, key.peer_id, self._causes, self._book, self._roster, self._admission, self._conduct
        )
        self._listeners = Listeners()
        self._unwatch: Callable[[], None] = lambda: None
        self.addresses: tuple[tuple[str, int], ...] = ()

    # -- life

    def start(self) -> "Deferred[None]":
        """Load the store, listen and dial; StartupError names an endpoint that cannot be had."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.host.stopping = False
        stored = await self._store.load()
        self._admission.start(stored.removed)
        self._causes.start(stored.causes)
        self._conduct.start(stored.sentences, {address.peer_id for address in self._held})
        factory = self.host.security.server(
            PeerFactory(self.host, opened=self._door.opened, room=self._takes_strangers)
        )
        try:
            self.addresses = await self._listeners.start(self.reactor, self._settings.listen_addr, factory)
            self.discovery.listen(self.addresses)
        except BaseException:
            await self._listeners.stop()
            self._conduct.stop()
            self._causes.stop()
            await self._store.close()
            raise
        own = OwnRecord(self._key, self._chain.genesis_hash, VERSION, stored.own)
        self.record.start(own, self.addresses, self.discovery.addresses)
        self._unwatch = self._chain.events.subscribe(HeadChanged, self._head_changed)
        self._fill_book(stored)
        self.discovery.start(self._book, stored)
        self._dialer.start()

    def _fill_book(self, stored: StoredPeers) -> None:
        self._keeper.start(stored.book)
        for address in self._held:
            if not self._admission.is_removed(address.peer_id):
                self._book.hold(address)

    def stop(self) -> "Deferred[None]":
        """Stop dialling and listening, say ``Disconnect(shutdown)`` to all, cut what is left after a second."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.host.stopping = True
        self._unwatch()
        self._dialer.stop()
        self.record.stop()
        self._conduct.stop()
        await self.discovery.stop()
        await self._listeners.stop()
        for link in list(self._roster.open):
            link.close(Reason.SHUTDOWN)
        await self.host.drained()
        self._causes.stop()
        self._keeper.stop()
        await self._store.close()

    # -- what others ask

    @property
    def enr(self) -> Enr:
        """Our current record."""
        return self.record.enr

    def peers(self) -> list[PeerView]:
        """Return all ready peers, oldest link first."""
        return [
            peer_view(
                link,
                self._book.get(link.peer_id),
                useless=self.useless_score(link.peer_id),
                role=self._admission.role(link.peer_id),
                clock_offset=None if link.clock is None else link.clock + self.reactor.seconds() - self.now(),
            )
            for link in self._roster.current
        ]

    @property
    def known(self) -> int:
        """How many addresses there are to dial."""
        return len(self._book)

    @property
    def discovered(self) -> int:
        """How many nodes have answered to discovery and are in its table."""
        return self.discovery.live

    def links(self) -> list[Link]:
        """Return the ready link of each peer."""
        return list(self._roster.current)

    def metrics(self) -> list[Metric]:
        """Return what is counted, and the bytes in every queue with their bounds."""
        links = (link for link in self._roster.open if link.end is None)
        return [
            *network_metrics(links, self.host.budget, self.counters),
            *self._door.metrics(),
            *self._keeper.metrics(),
            *self.discovery.metrics(),
        ]

    def ends(self) -> list[LinkEnd]:
        """Return how links and attempts ended, newest first."""
        return self.host.ends.newest()

    def learn(self, enr: Enr, source: Link) -> None:
        """Take a verified record that *source* told us."""
        if enr.peer_id == self.own_id:
            self.record.seen(enr.seq)
            return
        if isinstance(source, PeerProtocol) and enr.peer_id == source.peer_id:
            self.host.own_record_of(source, enr)
        else:
            self._found(enr, source.address[0])

    def relayable(self, now: float) -> list[bytes]:
        """Return the raw records that may be told to others; *now* by ``reactor.seconds()``."""
        return self._book.relayable(now)

    # -- inside

    def _busy(self) -> set[bytes]:
        unlisted = self._admission.strangers(known.peer_id for known in self._book)
        return self._roster.ids() | self._conduct.away() | unlisted

    def _found(self, enr: Enr, source_ip: str) -> None:
        if self.host.take_record(enr, source_ip):
            self._dialer.plan()

    def _head_changed(self, _: HeadChanged) -> None:
        self._dialer.head_changed()
        for link in self._roster.current:
            if link.warning is not None:
                self.host.heights_heard(link)

    def _announce(self, enr: bytes) -> None:
        for link in self._roster.current:
            if not link.block_only:
                link.send(PeerRecord(enr))

    def _takes_strangers(self, ip: str) -> bool:
        if self._door.room(ip):
            return True
        self.host.counters["refused_connections"] += 1
        return False
