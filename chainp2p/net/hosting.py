"""What the network does for its links: what they say of us, who may stay, and what follows when one ends."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.net.admission import Admission
from chainp2p.net.book import BookKeeper
from chainp2p.net.causes import CauseKeeper
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.door import Door
from chainp2p.net.endpoints import why_no_connection
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.record import RecordKeeper
from chainp2p.net.roster import Roster
from chainp2p.net.serving import bulk_requests
from chainp2p.net.view import link_facts
from chainp2p.peer.book import AddressBook
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.peer.causes import Cause, CauseKind, Evidence
from chainp2p.peer.ends import EndLedger, LinkEnd
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.handshake import VERSION, check_settings
from chainp2p.peer.link import Handler, LinkUser, collect_features, collect_handlers
from chainp2p.peer.outbound import Dial, Purpose
from chainp2p.peer.quota import Quota, quotas_of
from chainp2p.peer.votes import is_loopback
from chainp2p.settings import Profile
from chainp2p.wire.codec import Codec
from chainp2p.wire.extras import clock_extra, read_clock
from chainp2p.wire.messages import Hello, Message, Status

if TYPE_CHECKING:
    from chainp2p.net.security import Security

__all__ = ["Hosting"]

#: Links are cut after a second; a transport that does not even say so then is not waited for (seconds).
STOP_LIMIT = 2.0
#: A link that has stood for so long (seconds) makes earlier failures forgotten; one that is evicted or replaced at once
#: does not, or the two would meet again every second.
STOOD = 10.0
#: What goes into ``Status.agent`` at most (bytes).
AGENT_LIMIT = 64


class Hosting:
    """The :class:`~chainp2p.net.host.LinkHost` of a node.

    It asks the parts that decide, in order: admission and the door when an id is proven, the door, the book and the
    roster when a link is ready; and tells all of them when it ends, once.

    :param dialling: answers the links whose connection does not stand yet.
    :param changed: called when there may be something to dial.
    :param taken: told of each record of our network that somebody told us.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        now: Callable[[], float],
        codec: Codec,
        security: "Security",
        own_id: bytes,
        chain: Any,
        users: Sequence[LinkUser],
        profile: Profile,
        agent: str,
        book: AddressBook,
        keeper: BookKeeper,
        record: RecordKeeper,
        roster: Roster,
        conduct: ConductKeeper,
        admission: Admission,
        door: Door,
        causes: CauseKeeper,
        dialling: Callable[[], Iterable[PeerProtocol]],
        changed: Callable[[], None],
        taken: Callable[[Enr], None],
    ) -> None:
        self.reactor = reactor
        self.now = now
        self.codec = codec
        self.security = security
        self.own_id = own_id
        self.handlers: Mapping[type[Any], Handler] = collect_handlers(users)
        self._features = collect_features(users)
        self.bulk = bulk_requests(codec)
        self.quotas: Mapping[type[Message], Quota] = quotas_of(codec)
        self.budget: ReceiveBudget[PeerProtocol] = ReceiveBudget(self._short_of_memory)
        counted = ("unknown_tags", "useless_faults", "refused_connections", "over_quota", "send_dropped", "callers")
        self.counters = dict.fromkeys(counted, 0)
        self.ends = EndLedger()
        self.stopping = False
        self._chain = chain
        self._profile = profile
        self._agent = agent.encode()[:AGENT_LIMIT].decode("utf-8", "ignore")
        self._book = book
        self._keeper = keeper
        self._record = record
        self._roster = roster
        self._conduct = conduct
        self._admission = admission
        self._door = door
        self._causes = causes
        self._dialling = dialling
        self._changed = changed
        self._taken = taken
        self._drained: Deferred[None] | None = None

    def hello(self) -> Hello:
        """Return our first word."""
        return Hello(VERSION, self._chain.genesis_hash, self._chain.head.height)

    def status(self, observed: tuple[bytes, int]) -> Status:
        """Return what we say of ourselves to a peer that we see at *observed*."""
        head = self._chain.head
        return Status(
            agent=self._agent,
            features=self._features,
            flags=0,
            port=self._record.port,
            head=head.hash,
            height=head.height,
            rank=head.rank,
            enr=self._record.enr.raw,
            settings=tuple(self._chain.settings_hashes()),
            observed=observed,
            extra=(clock_extra(self.now()),),
        )

    def enr_seq(self) -> int:
        """Return the number of our record."""
        return self._record.enr.seq

    def welcome(self, peer_id: bytes) -> PeerFault | None:
        """Return why this key may not even finish the handshake: there is an allow-list without it."""
        return self._admission.unlisted(peer_id)

    def admit(self, link: PeerProtocol) -> None:
        """Judge a proven id: removed, banned, no room."""
        if self.stopping:
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
            self.own_record_of(link, enr)
        self._door.seat(link)
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
        self._record.observed(link.peer_id, link.address[0], status.observed[0])
        self._log.info(
            "peer {peer} at {address} is here",
            peer=link.peer_id.hex()[:8],
            address=f"{link.address[0]}:{link.address[1]}",
            outbound=link.outbound,
        )
        self._roster.ready(link)

    def own_record_of(self, link: PeerProtocol, enr: Enr) -> None:
        """Take the newest record of the peer itself."""
        if link.enr is not None and enr.seq <= link.enr.seq:
            return
        link.enr = enr
        self.take_record(enr, link.address[0])
        if self._profile.relay_inbound and link.address[0] in (enr.ip, enr.ip6) and enr.tcp_endpoint is not None:
            self._book.reached(link.peer_id, self.reactor.seconds())

    def take_record(self, enr: Enr, source_ip: str) -> bool:
        """Take a verified record that somebody at *source_ip* told us; False if there is no use for it."""
        if enr.genesis_prefix != self._chain.genesis_hash[:4]:
            return False
        if not self._admission.is_welcome(enr.peer_id):
            return False
        self._taken(enr)
        return self._book.learn(enr, source_ip, self.reactor.seconds()).useful

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
            if end.ready and self.reactor.seconds() - link.opened_at >= STOOD:
                self._book.met(peer_id)
            self._keeper.ended(peer_id, end)
        self._changed()

    def _note(self, end: LinkEnd, meant: bytes | None, facts: Evidence, dialled: bool = False) -> None:
        self.ends.add(end)
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

    def _judge(self, peer_id: bytes, end: LinkEnd) -> None:
        others = sum(link.peer_id != peer_id for link in self._roster.current)
        held, listed = self._book.is_held(peer_id), self._admission.is_listed(peer_id)
        if self._conduct.ended(end, peers_left=others, held=held, listed=listed):
            self.bar(peer_id)

    def dial_failed(self, dial: Dial, error: Exception, seconds: float) -> None:
        """An attempt made no connection."""
        address, (rule, text) = dial.address, why_no_connection(error)
        where, lost = (address.host, address.port), Reason.CONNECTION_LOST
        end = LinkEnd(self.now(), None, where, lost, text, False, True, ready=False, rule=rule)
        facts = {"dialled": address.host, "purpose": dial.purpose.value, "seconds": round(seconds, 3)}
        self._note(end, address.peer_id, {**facts, "error": str(error)}, dialled=True)
        self._keeper.ended(address.peer_id, end)

    def link_gone(self, link: PeerProtocol) -> None:
        """The connection of *link* is closed."""
        self._roster.open.pop(link, None)
        if not self._roster.open:
            self._drain()

    def drained(self) -> "Deferred[None]":
        """Fire when no connection is open, or after :data:`STOP_LIMIT`."""
        if not self._roster.open:
            return succeed(None)
        self._drained = Deferred()
        limit = self.reactor.callLater(STOP_LIMIT, self._drain)
        self._drained.addBoth(lambda _: limit.cancel() if limit.active() else None)
        return self._drained

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
        self._compare_settings(link, min(self._chain.head.height, link.height))

    def blocks_blamed(self, link: PeerProtocol) -> None:
        """End the link for its settings if it may be blamed for a block that is good by those: the first one from which
        they differ is bad here, so that our head never gets there."""
        self._compare_settings(link, max(self._chain.head.height + 1, link.height))

    def _compare_settings(self, link: PeerProtocol, height: int) -> None:
        ours = tuple(self._chain.settings_hashes())
        try:
            check_settings(ours, link.status.settings, height, self.own_id, link.peer_id)
        except PeerFault as fault:
            link.fault(fault.reason, fault.detail, fault.penalty)

    def _short_of_memory(self, link: PeerProtocol) -> None:
        link.close(Reason.NOT_READING, "the process holds too much of what peers sent", "process_memory")

    def bar(self, peer_id: bytes) -> None:
        """End the links of a peer that is kept away now."""
        refusal = self._conduct.refusal(peer_id)
        if refusal is not None:
            self.close_all(peer_id, refusal.reason, refusal.detail, refusal.rule)

    def close_all(self, peer_id: bytes, reason: Reason, detail: str, rule: str = "") -> None:
        """End every link of a peer, also one that is being dialled."""
        for link in [*self._roster.live(), *self._dialling()]:
            if (link.peer_id or link.expected) == peer_id:
                link.close(reason, detail, rule)
