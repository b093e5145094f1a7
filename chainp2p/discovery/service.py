"""Peer exchange over links: ask each peer for records, answer the same, take a peer's own when it changes."""

import random as random_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chainp2p.discovery.exchange import Allowance, Answers, AskGate, of_network, rules_for
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.errors import PeerFault, Reason, RefusalReason
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.link import Handler, Link
from chainp2p.peer.tasks import Tasks
from chainp2p.settings import Profile
from chainp2p.wire.messages import GetPeers, Message, PeerRecord, Peers, Refused

__all__ = ["PeerExchange"]

#: A peer sends its own record at most once in this many seconds (wire design, tag 22).
RECORD_INTERVAL = 60.0
#: Records that are kept as verified.
VERIFIED_MAX = 2_000


@define
class _Peer:
    gate: AskGate
    allowance: Allowance
    timer: IDelayedCall | None = None
    record_at: float | None = None


class PeerExchange:
    """A :class:`~chainp2p.peer.link.LinkUser` that learns of peers from peers; not over links for blocks only.

    :param now: Unix time in seconds.
    :param enabled: False: nothing is asked and ``GetPeers`` is refused; a peer's own record is still read.
    :param records: answers the raw records that may be relayed.
    :param learned: called with (link, verified record) for each record of this network.
    :param genesis: hash of the genesis block: records of other networks are dropped.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        now: Callable[[], float],
        profile: Profile,
        enabled: bool,
        records: Callable[[], Sequence[bytes]],
        learned: Callable[[Link, Enr], None],
        genesis: bytes,
        random: random_module.Random,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._enabled = enabled
        self._records = records
        self._learned = learned
        self._genesis = genesis
        self._rules = rules_for(profile.pex_interval, public=profile.name == "public")
        self._answers = Answers(self._rules, random.sample)
        self._peers: dict[Link, _Peer] = {}
        self._tasks = Tasks(self.log)
        self._verified = VerifiedRecords(VERIFIED_MAX)

    def start(self) -> None:
        """Begin; links that join from now on are asked."""
        self._tasks.start()

    def stop(self) -> None:
        """Cancel every timer and question."""
        for link in tuple(self._peers):
            self.left(link, Reason.SHUTDOWN)
        self._tasks.stop()

    def handlers(self) -> Mapping[type[Any], Handler]:
        return {GetPeers: self._get_peers, PeerRecord: self._peer_record}

    def joined(self, link: Link) -> None:
        rules = self._rules
        self._peers[link] = _Peer(AskGate(rules.interval), Allowance(rules.taken))
        if self._enabled and not link.block_only:
            self._ask(link)

    def left(self, link: Link, reason: Reason) -> None:
        peer = self._peers.pop(link, None)
        if peer is not None and peer.timer is not None:
            peer.timer.cancel()

    # asking

    def _ask(self, link: Link) -> None:
        peer = self._peers[link]
        peer.timer = self._reactor.callLater(self._rules.interval, self._ask, link)
        self._tasks.spawn(self._exchange(link))

    async def _exchange(self, link: Link) -> None:
        reply = await link.request(GetPeers())
        peer = self._peers.get(link)
        if peer is None:
            return
        taken = peer.allowance.take(len(reply.peers), self._reactor.seconds())
        for raw in reply.peers[:taken]:
            try:
                record = self._verified.decode(raw)
            except EnrError as error:
                link.fault(Reason.MISBEHAVED, str(error))
                return
            self._learn(link, record)

    def _learn(self, link: Link, record: Enr) -> None:
        if of_network(record, self._genesis):
            self._learned(link, record)

    # serving

    def _get_peers(self, link: Link, message: GetPeers) -> Message:
        if not self._enabled or link.block_only:
            return Refused(RefusalReason.UNSUPPORTED, 0)
        peer = self._peers.get(link)
        wait = peer.gate.wait(self._reactor.seconds()) if peer is not None else self._rules.interval
        if wait > 0:
            return Refused(RefusalReason.TOO_OFTEN, int(wait * 1000) + 1)
        return Peers(self._answers.answer(self._records, self._reactor.seconds()))

    def _peer_record(self, link: Link, message: PeerRecord) -> None:
        """Take a peer's own record; one that comes too soon is passed over, a minute is the sender's rule to keep."""
        peer = self._peers.get(link)
        if peer is None:
            return
        now = self._reactor.seconds()
        if peer.record_at is not None and now - peer.record_at < RECORD_INTERVAL / 2:
            return
        peer.record_at = now
        try:
            record = Enr.decode(message.enr)
        except EnrError as error:
            raise PeerFault(Reason.MISBEHAVED, str(error)) from None
        if record.peer_id != link.peer_id:
            raise PeerFault(Reason.MISBEHAVED, "the record of another peer in PeerRecord")
        self._learn(link, record)
