"""The node's side of the peer-to-peer network: listeners, dialler, links, own record."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import HeadChanged
from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.events import EventBus
from chainp2p.net.admission import Admission
from chainp2p.net.book import BookKeeper
from chainp2p.net.causes import CauseKeeper
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.dialer import Dialer
from chainp2p.net.door import Door
from chainp2p.net.endpoints import Listeners, server_text, why_no_connection
from chainp2p.net.factory import PeerFactory
from chainp2p.net.metrics import Metric, network_metrics
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.record import RecordKeeper
from chainp2p.net.roster import Roster
from chainp2p.net.serving import bulk_requests
from chainp2p.net.store import PeerStore, StoredPeers
from chainp2p.net.view import PeerView, link_facts, peer_view
from chainp2p.net.why import Explainer
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.book import AddressBook
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.peer.causes import Cause, CauseKind, Evidence
from chainp2p.peer.conduct import BAN_TIME, Sentence
from chainp2p.peer.ends import EndLedger, LinkEnd
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.handshake import VERSION, check_settings
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import Handler, Link, LinkUser, collect_handlers
from chainp2p.peer.outbound import Dial, Outbound, Purpose
from chainp2p.peer.own import OwnRecord
from chainp2p.peer.quota import Quota, quotas_of
from chainp2p.peer.votes import is_loopback
from chainp2p.settings import NetworkSettings, Profile
from chainp2p.wire.codec import CODEC, Codec
from chainp2p.wire.extras import clock_extra, read_clock
from chainp2p.wire.messages import Hello, Message, PeerRecord, Status

if TYPE_CHECKING:
    import random as random_module

    from chainp2p.net.security import Security

__all__ = ["Network", "PeerView"]

#: Links are cut after a second; a transport that does not even say so then is not waited for (seconds).
STOP_LIMIT = 2.0
#: What goes into ``Status.agent`` at most (bytes).
AGENT_LIMIT = 64


class Network(Service):
    """Everything between the services and the transports.

    :param now: answers Unix time in seconds; back-offs and deadlines go by ``reactor.seconds()``.
    :param users: services that work over links; no two handle the same message.
    :param external: the address to advertise; None to learn it.
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
    ) -> None:
        self.reactor = reactor
        self.now = now
        self.codec = codec
        self.security = security
        self.own_id = key.peer_id
        self.handlers: Mapping[type[Any], Handler] = collect_handlers(users)
        self.bulk = bulk_requests(codec)
        self.quotas: Mapping[type[Message], Quota] = quotas_of(codec)
        self.budget: ReceiveBudget[PeerProtocol] = ReceiveBudget(self._short_of_memory)
        counted = ("unknown_tags", "useless_faults", "refused_connections", "over_quota", "send_dropped", "callers")
        self.counters = dict.fromkeys(counted, 0)
        self._key = key
        self._chain = chain
        self._settings = settings
        self._profile = profile
        self._store = store
        self._agent = agent.encode()[:AGENT_LIMIT].decode("utf-8", "ignore")
        self._ledger = EndLedger()
        self._causes = CauseKeeper(reactor, now, store)
        self._held = [parse_node(text) for text in (*settings.bootstrap_nodes, *settings.static_nodes)]
        for text in settings.listen_addr:
            server_text(text)
        self._book = AddressBook(profile, random, key.peer_id)
        self._record = RecordKeeper(reactor, profile, external, store, self._announce)
        self._roster = Roster(reactor, key.peer_id, users, events, self.enr_seq)
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
        self._dialer = Dialer(
            self,
            self._book,
            Outbound(self._book, profile, random),
            self._busy,
            lambda: self._roster.open,
            lambda: settings.max_peers - len(self._roster.live()),
            self._dial_failed,
            self._roster.opened,
        )
        self.explainer = Explainer(
            reactor, now, key.peer_id, self._causes, self._book, self._roster, self._admission, self._conduct
        )
        self._listeners = Listeners()
        self._stopping = False
        self._drained: Deferred[None] | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self.addresses: tuple[tuple[str, int], ...] = ()

    # -- life

    def start(self) -> "Deferred[None]":
        """Load the store, listen and dial; StartupError names an endpoint that cannot be had."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._stopping = False
        stored = await self._store.load()
        self._admission.start(stored.removed)
        self._causes.start(stored.causes)
        self._conduct.start(stored.sentences, {address.peer_id for address in self._held})
        factory = self.security.server(PeerFactory(self, opened=self._door.opened, room=self._takes_strangers))
        try:
            self.addresses = await self._listeners.start(self.reactor, self._settings.listen_addr, factory)
        except BaseException:
            self._conduct.stop()
            self._causes.stop()
            await self._store.close()
            raise
        own = OwnRecord(self._key, self._chain.genesis_hash, VERSION, stored.own)
        self._record.start(own, self.addresses)
        self._unwatch = self._chain.events.subscribe(HeadChanged, self._head_changed)
        self._fill_book(stored)
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
        self._stopping = True
        self._unwatch()
        self._dialer.stop()
        self._record.stop()
        self._conduct.stop()
        await self._listeners.stop()
        for link in list(self._roster.open):
            link.close(Reason.SHUTDOWN)
        if self._roster.open:
            self._drained = Deferred()
            limit = self.reactor.callLater(STOP_LIMIT, self._drain)
            await self._drained
            if limit.active():
                limit.cancel()
        self._causes.stop()
        self._keeper.stop()
        await self._store.close()

    # -- what others ask

    @property
    def enr(self) -> Enr:
        """Our current record."""
        return self._record.enr

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

    def links(self) -> list[Link]:
        """Return the ready link of each peer."""
        return list(self._roster.current)

    def metrics(self) -> list[Metric]:
        """Return what is counted, and the bytes in every queue with their bounds."""
        links = (link for link in self._roster.open if link.end is None)
        return [*network_metrics(links, self.budget, self.counters), *self._door.metrics(), *self._keeper.metrics()]

    def ends(self) -> list[LinkEnd]:
        """Return how links and attempts ended, newest first."""
        return self._ledger.newest()

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
        self._close_all(peer_id, Reason.REMOVED, "by the operator")
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
        self._bar(peer_id)
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

    def learn(self, enr: Enr, source: Link) -> None:
        """Take a verified record that *source* told us."""
        if enr.peer_id == self.own_id:
            self._record.seen(enr.seq)
            return
        if isinstance(source, PeerProtocol) and enr.peer_id == source.peer_id:
            self._own_record_of(source, enr)
        elif self._learn(enr, source.address[0]):
            self._dialer.plan()

    def _learn(self, enr: Enr, source_ip: str) -> bool:
        if enr.genesis_prefix != self._chain.genesis_hash[:4]:
            return False
        if not self._admission.is_welcome(enr.peer_id):
            return False
        return self._book.learn(enr, source_ip, self.reactor.seconds()).useful

    def relayable(self, now: float) -> list[bytes]:
        """Return the raw records that may be told to others; *now* by ``reactor.seconds()``."""
        return self._book.relayable(now)

    # -- what links ask (LinkHost)

    def hello(self) -> Hello:
        """Return our first word."""
        return Hello(VERSION, self._chain.genesis_hash, self._chain.head.height)

    def status(self, observed: tuple[bytes, int]) -> Status:
        """Return what we say of ourselves to a peer that we see at *observed*."""
        head = self._chain.head
        return Status(
            agent=self._agent,
            features=0,
            flags=0,
            port=self._record.port,
            head=head.hash,
            height=head.height,
            rank=head.rank,
            enr=self.enr.raw,
            settings=tuple(self._chain.settings_hashes()),
            observed=observed,
            extra=(clock_extra(self.now()),),
        )

    def enr_seq(self) -> int:
        """Return the number of our record."""
        return self.enr.seq

    def welcome(self, peer_id: bytes) -> PeerFault | None:
        """Return why this key may not even finish the handshake: there is an allow-list without it."""
        return self._admission.unlisted(peer_id)

    def admit(self, link: PeerProtocol) -> None:
        """Judge a proven id: removed, banned, no room."""
        if self._stopping:
            raise PeerFault(Reason.SHUTDOWN, penalty=Penalty.NONE)
        self._admission.check(link)

    def link_ready(self, link: PeerProtocol) -> None:
        """Both ``Status`` are exchanged."""
        if link.warning:
            self._log.warn("peer {peer}: {difference}", peer=link.peer_id.hex()[:8], difference=link.warning)
        status = link.status
        clock = read_clock(status.extra)
        link.clock = None if clock is None else clock - self.reactor.seconds()
        if status.enr:
            try:
                enr = Enr.decode(status.enr)
            except EnrError as error:
                raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None
            if enr.peer_id != link.peer_id:
                raise PeerFault(Reason.MALFORMED_MESSAGE, "the record in Status is of another key")
            self._own_record_of(link, enr)
        self._door.seat(link)
        self._book.met(link.peer_id)
        self._conduct.met(link.peer_id)
        if link.outbound:
            self._book.reached(link.peer_id, self.reactor.seconds())
        elif not is_loopback(link.address[0]):
            self.counters["callers"] += 1
        if link.purpose is Purpose.FEELER:
            link.close(Reason.SHUTDOWN, "a look whether somebody is here", "feeler")
            return
        if link.purpose is not None and link.purpose.block_only:
            self._book.anchor(link.peer_id)
        self._record.observed(link.peer_id, link.address[0], status.observed[0], len(self._roster) + 1)
        self._log.info(
            "peer {peer} at {address} is here",
            peer=link.peer_id.hex()[:8],
            address=f"{link.address[0]}:{link.address[1]}",
            outbound=link.outbound,
        )
        self._roster.ready(link)

    def _own_record_of(self, link: PeerProtocol, enr: Enr) -> None:
        if link.enr is not None and enr.seq <= link.enr.seq:
            return
        link.enr = enr
        self._learn(enr, link.address[0])
        endpoint = enr.tcp_endpoint
        if self._profile.relay_inbound and endpoint is not None and endpoint[0] == link.address[0]:
            self._book.reached(link.peer_id, self.reactor.seconds())

    def link_ended(self, link: PeerProtocol, end: LinkEnd) -> None:
        """Record the end of *link*, once."""
        self.counters["over_quota"] += link.quota.over
        self.counters["send_dropped"] += link.dropped
        self._note(end, link.expected, {**link_facts(link, self.reactor.seconds()), **self._door.ended(link)})
        if link.peer_id:
            self._record.gone(link.peer_id)
            self._roster.ended(link, end)
        self._judge(link.peer_id, end)
        peer_id = link.expected or link.peer_id
        if end.outbound and end.peer_id == peer_id and end.reason is Reason.TOO_MANY_PEERS and not end.by_us:
            # it has proven who it is: the address is as good as that of a peer with room
            self._book.reached(peer_id, self.reactor.seconds())
            end = evolve(end, ready=True)
        if peer_id:
            self._keeper.ended(peer_id, end)
        self._dialer.plan()

    def _note(self, end: LinkEnd, meant: bytes | None, facts: Evidence, dialled: bool = False) -> None:
        self._ledger.add(end)
        self._causes.ended(end, meant, facts, dialled)
        self._log.info(
            "link with {peer} at {address} ended: {reason} {detail}",
            peer=end.peer_id.hex()[:8] if end.peer_id else "nobody known",
            address=f"{end.address[0]}:{end.address[1]}",
            reason=end.reason.code,
            detail=end.detail,
            by_us=end.by_us,
            outbound=end.outbound,
        )

    def link_gone(self, link: PeerProtocol) -> None:
        """The connection of *link* is closed."""
        self._roster.open.pop(link, None)
        if not self._roster.open:
            self._drain()

    def _drain(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

    def useless(self, link: PeerProtocol, reason: Reason, detail: str) -> None:
        """Count a small fault."""
        self.counters["useless_faults"] += 1
        self._conduct.useless(link.peer_id)

    def above_quota(self, link: PeerProtocol, name: str) -> None:
        """Count messages that are more than are of use as one small fault."""
        self.useless(link, Reason.MISBEHAVED, name)
        text = f"sends more {name} than is of use"
        evidence: Evidence = {"message": name, "above_quota": link.quota.over}
        self._causes.note(Cause(self.now(), CauseKind.NOTED, "above_quota", link.peer_id, link.address, text, evidence))

    def is_useless(self, link: PeerProtocol) -> bool:
        """Tell whether others should be asked before this peer."""
        return self._conduct.is_useless(link.peer_id)

    def skipped(self, link: PeerProtocol, tag: int) -> None:
        """Count a message that is not known here."""
        self.counters["unknown_tags"] += 1

    def heights_heard(self, link: PeerProtocol) -> None:
        """End the link once both sides have reached the height from which their settings differ."""
        ours, heads = tuple(self._chain.settings_hashes()), (self._chain.head.height, link.height)
        try:
            check_settings(ours, link.status.settings, min(heads), self.own_id, link.peer_id)
        except PeerFault as fault:
            link.fault(fault.reason, fault.detail, fault.penalty)

    # -- inside

    def _busy(self) -> set[bytes]:
        unlisted = self._admission.strangers(known.peer_id for known in self._book)
        return self._roster.ids() | self._conduct.away() | unlisted

    def _judge(self, peer_id: bytes, end: LinkEnd) -> None:
        others = sum(link.peer_id != peer_id for link in self._roster.current)
        held, listed = self._book.is_held(peer_id), self._admission.is_listed(peer_id)
        if self._conduct.ended(end, peers_left=others, held=held, listed=listed):
            self._bar(peer_id)

    def _bar(self, peer_id: bytes) -> None:
        """End the links of a peer that is kept away now."""
        refusal = self._conduct.refusal(peer_id)
        if refusal is not None:
            self._close_all(peer_id, refusal.reason, refusal.detail, refusal.rule)

    def _close_all(self, peer_id: bytes, reason: Reason, detail: str, rule: str = "") -> None:
        for link in [*self._roster.live(), *self._dialer.links]:
            if (link.peer_id or link.expected) == peer_id:
                link.close(reason, detail, rule)

    def _head_changed(self, _: HeadChanged) -> None:
        self._dialer.head_changed()
        for link in self._roster.current:
            if link.warning is not None:
                self.heights_heard(link)

    def _announce(self, enr: bytes) -> None:
        for link in self._roster.current:
            if not link.block_only:
                link.send(PeerRecord(enr))

    def _takes_strangers(self, ip: str) -> bool:
        if self._door.room(ip):
            return True
        self.counters["refused_connections"] += 1
        return False

    def _dial_failed(self, dial: Dial, error: Exception, seconds: float) -> None:
        address, (rule, text) = dial.address, why_no_connection(error)
        where, lost = (address.host, address.port), Reason.CONNECTION_LOST
        end = LinkEnd(self.now(), None, where, lost, text, False, True, ready=False, rule=rule)
        facts = {"dialled": address.host, "purpose": dial.purpose.value, "seconds": round(seconds, 3)}
        self._note(end, address.peer_id, {**facts, "error": str(error)}, dialled=True)
        self._keeper.ended(address.peer_id, end)

    def _short_of_memory(self, link: PeerProtocol) -> None:
        link.close(Reason.NOT_READING, "the process holds too much of what peers sent", "process_memory")
