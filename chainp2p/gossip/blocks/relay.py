"""Blocks that come over links: checked, then spread; fetched when they are announced, parked when they are early."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    BlockProduced,
    Connected,
    Fault,
    HeadChanged,
    HeaderInfo,
    IBodyCheck,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
    Verdict,
)
from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut, StorageError
from chainp2p.gossip.blocks.compact import Draft
from chainp2p.gossip.blocks.later import Later
from chainp2p.gossip.blocks.rebuilding import Rebuilding
from chainp2p.gossip.blocks.spreading import Spreading
from chainp2p.gossip.checks import BLOCK_TURNS, Checks, block_cost
from chainp2p.gossip.meshlinks import MeshLinks
from chainp2p.gossip.redundancy import Redundancy, Way
from chainp2p.gossip.seen import RollingSeen
from chainp2p.gossip.transactions.tracker import FetchLimits, FetchTracker
from chainp2p.peer.link import Credit, Link
from chainp2p.peer.rate import Rate
from chainp2p.wire.messages import AnnounceBlocks, Blocks, GetBlocks, NewBlock

if TYPE_CHECKING:
    import random as random_module

    from twisted.internet.interfaces import IReactorTime
    from twisted.logger import Logger

    from chainp2p.peer.tasks import Tasks

__all__ = ["BlockRelay"]

#: A block as it is announced: hash and height.
_Named: TypeAlias = tuple[bytes, int]
#: Fetching announced blocks: see :class:`FetchTracker`.
LIMITS = FetchLimits(announced=64, in_flight=8, ids=1, bytes=1, seconds=5.0)
#: Blocks of one peer being checked at a time; more are left to sync.
CHECKED_PER_PEER = 16
#: Announcements of one peer being looked up at a time; more are dropped, the newest blocks come again. Messages.
LOOKED_UP_PER_PEER = 16
#: Ids remembered of what was judged here.
REMEMBERED = 4_096


#: Orphans of one peer of which sync is told: it looks at all that it knows each time. An honest peer sends few; others
#: wait all the same. Blocks.
ORPHANS_HEARD = Rate(4.0, 32.0)


@define(eq=False)
class _Peer:
    """
    :param heard: of :data:`ORPHANS_HEARD`.
    """

    checking: int = 0
    looking: int = 0
    heard: float = 0.0


class BlockRelay:
    """What happens to a block between chains.

    1. Produced or received here and found good, on the best chain or beside it, it is spread (:class:`Spreading`).
    2. In compact form it is relayed before the chain has judged it, when its header is good and the body matches that:
       so each hop costs no execution. Whole it is relayed on the chain's verdict, for who sends a whole block answers
       for all of it, and relaying unseen would make us pay for another's fault. Side branches are relayed too, so that
       everybody knows all that may win.
    3. An announced block next to our head is rebuilt from its compact form, or fetched from one announcer at a time;
       one further off is sync's work, as are the missing ancestors of one that came whole, which waits for them.
    4. One from the future is tried again at its time. An invalid one costs its sender the link if body and header do
       not match, and nobody on the wire if its producer is to blame.

    5. What peers send is checked in fair turns (:class:`~chainp2p.gossip.checks.Checks`).

    Bounds: see the constants, and :mod:`chainp2p.gossip.blocks.parked`.
    """

    def __init__(
        self,
        *,
        chain: Any,
        reactor: "IReactorTime",
        now: Callable[[], float],
        random: "random_module.Random",
        interval: float,
        heard: Callable[[Link, bytes, int], None],
        tasks: "Tasks",
        log: "Logger",
        pool: Any = None,
        lacks: Callable[[Link, bytes], bool] = lambda link, id: False,
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        #: Told of a block whose ancestors are missing here, or that nobody brings: sync's work.
        self.heard = heard
        self._tasks = tasks
        self._log = log
        self._peers: dict[Link, _Peer] = {}
        self._fetches: FetchTracker[Link] = FetchTracker(LIMITS, lambda link: link.useless, lot=random.random)
        self._checks = Checks(reactor, *BLOCK_TURNS)
        self._later = Later(reactor, now, lambda block: tasks.spawn(self._take(block.peer, block.hash, block.raw, 0)))
        self.counts = Redundancy()
        self._checking: dict[bytes, None] = {}
        self._judged = RollingSeen(REMEMBERED)
        self.mesh = MeshLinks(reactor, random, self._at_once)
        self.spreading = Spreading(
            chain=chain, reactor=reactor, random=random, interval=interval, mesh=self.mesh, lacks=lacks
        )
        #: Where there is a pool to rebuild blocks from.
        self.rebuilding: Rebuilding | None = None
        if pool is not None:
            self.rebuilding = Rebuilding(
                chain=chain,
                pool=pool,
                reactor=reactor,
                tasks=tasks,
                receiver=self,
                speaks=self.spreading.forms.speaks,
                checks=self._checks,
            )

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        own: dict[type[Any], Callable[[Any, Any], Any]] = {
            NewBlock: self._new_block,
            AnnounceBlocks: self._announced,
            **self.mesh.handlers(),
            **self.spreading.handlers(),
        }
        return own if self.rebuilding is None else {**own, **self.rebuilding.handlers()}

    # peers

    def joined(self, link: Link) -> None:
        self._peers[link] = _Peer()
        self._fetches.joined(link, preferred=link.outbound)
        self._later.joined(link)
        self.spreading.joined(link)
        if self.rebuilding is not None:
            self.rebuilding.joined(link)
        self.mesh.joined(link)

    def _at_once(self, link: Link, yes: bool) -> None:
        if self.rebuilding is not None:
            self.rebuilding.at_once(link, yes)

    def left(self, link: Link) -> None:
        self._peers.pop(link, None)
        self._fetches.left(link)
        self._later.left(link)
        self._checks.left(link)
        self.spreading.left(link)
        if self.rebuilding is not None:
            self.rebuilding.left(link)
        self.mesh.left(link)
        self._pump()

    def stop(self) -> None:
        """Cancel the timers and forget the peers."""
        self._later.stop()
        self.mesh.stop()
        self.spreading.stop()
        if self.rebuilding is not None:
            self.rebuilding.stop()
        for link in tuple(self._peers):
            del self._peers[link]
            self._fetches.left(link)
            self._later.left(link)
            self._checks.left(link)
        self._checks.stop()

    # our chain

    def on_produced(self, event: BlockProduced) -> None:
        """Relay our own block."""
        self._judged.add(event.header.hash)
        self.counts.taken(event.header.hash, Way.OWN, self._reactor.seconds())
        self.spreading.relay(event.header, event.raw)

    def on_head(self, event: HeadChanged) -> None:
        """Announce a head that was not relayed; try what waited for these blocks."""
        for header in event.entered:
            self._later.here(header.hash)
        self.spreading.head_changed(event.head)

    def pass_on(self, header: HeaderInfo, made: Draft) -> None:
        """Let others have the compact form of a block whose header is good, before it is here."""
        self.spreading.pass_on(header, made)

    # receiving

    def _new_block(self, link: Link, message: NewBlock) -> None:
        try:
            hash = self._chain.block_hash(message.block)
        except ValueError as error:
            raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None
        self._copied(hash, Way.PUSHED)
        self._tasks.spawn(self._take(link, hash, message.block, 0))

    def _copied(self, hash: bytes, way: Way) -> None:
        self.counts.copied(hash, way, not self.wanted(hash), self._reactor.seconds())

    def wanted(self, hash: bytes) -> bool:
        """Whether a block is neither judged nor being judged."""
        return hash not in self._judged and hash not in self._checking

    def bringing(self, hash: bytes) -> bool:
        """Whether a block is being fetched, rebuilt or checked."""
        rebuilt = self.rebuilding is not None and self.rebuilding.bringing(hash)
        return rebuilt or hash in self._fetches or hash in self._checking

    def known(self, link: Link, hash: bytes, checked: bool) -> None:
        """*link* has a block, or, if that is not *checked*, only its compact form: it is told when it is here."""
        self._copied(hash, Way.COMPACT)
        if checked:
            self.spreading.knows(link, (hash,))
        else:
            self.spreading.getting(link, hash)

    def spare(self, hash: bytes, size: int, links: Iterable[Link]) -> None:
        """So much of a block has come: *links* need not send it any more."""
        self.spreading.spare(hash, size, links)

    async def rebuilt(self, link: Link, raw: bytes, made: Draft, header: HeaderInfo | None) -> bool:
        """Take a block that was rebuilt with the help of *link*; False: the body does not match its header."""
        if header is not None and IBodyCheck.providedBy(self._chain):
            self.spreading.forms.keep(made.key, made.form)
            self.spreading.relay(header, raw, made.lacked, judged=False)
        peer = self._peers.get(link) or _Peer()
        verdict = await self._submit(link, peer, made.key, raw, 0, Way.COMPACT, made.lacked)
        return not (isinstance(verdict, Invalid) and verdict.fault is Fault.SENDER)

    async def _take(self, link: Link, hash: bytes, raw: bytes, height: int, way: Way = Way.PUSHED) -> None:
        """Submit a block that *link* sent whole, unless it was, or is being."""
        peer = self._peers.get(link)
        if peer is None:
            return
        self.spreading.knows(link, (hash,))
        if not self.wanted(hash):
            return
        if peer.checking >= CHECKED_PER_PEER:
            self.heard(link, hash, height)
            return
        self.spare(hash, len(raw), self.mesh.members)
        verdict = await self._submit(link, peer, hash, raw, height, way)
        if isinstance(verdict, Invalid) and verdict.fault is Fault.SENDER:
            link.fault(Reason.MISBEHAVED, f"block {hash.hex()[:8]}: {verdict.reason}")

    async def _submit(
        self, link: Link, peer: _Peer, hash: bytes, raw: bytes, height: int, way: Way, lacked: Collection[int] = ()
    ) -> Verdict:
        self._checking[hash] = None
        peer.checking += 1
        try:
            verdict: Verdict = await self._checks.run(link, block_cost(len(raw)), lambda: self._chain.submit_block(raw))
        except StorageError:  # sync fetches it when there is room again
            self.heard(link, hash, height)
            raise
        except PeerGone:  # before its turn came: others have it too, or will have
            self.whole(hash, self.spreading.knowing(hash))
            raise
        finally:
            peer.checking -= 1
            del self._checking[hash]
        good = isinstance(verdict, Connected | Stored)
        if not isinstance(verdict, Invalid) or verdict.fault is Fault.SIGNER:
            self._fetches.forget(hash)
            if self.rebuilding is not None:
                self.rebuilding.done(hash, good)
        match verdict:
            case Connected(header=header) | Stored(header=header):
                self._judged.add(hash)
                self.counts.taken(hash, way, self._reactor.seconds(), link.outbound)
                link.credit(Credit.BLOCK)
                self.mesh.first(link)
                self.spreading.relay(header, raw, lacked)
                self._later.here(hash)
                if header.rank > self._chain.head.rank:  # bodies below it are missing: wake sync
                    self.heard(link, hash, header.height)
            case AlreadyKnown():
                self._judged.add(hash)
                self.spreading.forms.drop(hash)
            case ParentMissing(parent=parent):
                self._later.orphan(link, hash, raw, parent)
                now = self._reactor.seconds()
                heard = ORPHANS_HEARD.spent(peer.heard, 1.0, now)
                if not ORPHANS_HEARD.over(heard, now):
                    peer.heard = heard
                    self.heard(link, hash, height)
            case NotYet(when=when):
                self._later.early(link, hash, raw, when)
            case Invalid(fault=Fault.SIGNER, reason=reason):
                self._judged.add(hash)
                self.spreading.forms.drop(hash)
                self._log.warn(
                    "block {hash} is invalid by its producer's fault: {reason}", hash=hash.hex(), reason=reason
                )
        return verdict

    # announced blocks

    def _announced(self, link: Link, message: AnnounceBlocks) -> None:
        peer = self._peers.get(link)
        if peer is not None and message.blocks:
            self.spreading.knows(link, (hash for hash, _ in message.blocks))
            new = [hash for hash, _ in message.blocks if self.wanted(hash)]
            self.counts.announced(len(message.blocks), new, self._reactor.seconds())
            if peer.looking < LOOKED_UP_PER_PEER:
                self._tasks.spawn(self._look_at(link, peer, message.blocks))

    async def _look_at(self, link: Link, peer: _Peer, blocks: Sequence[_Named]) -> None:
        peer.looking += 1
        try:
            unknown, awaited = await self._news(blocks)
        finally:
            peer.looking -= 1
        if link not in self._peers:
            return
        if awaited:
            self.heard(link, *awaited[-1])
        if not unknown:
            return
        hash, height = max(unknown, key=lambda block: block[1])
        if len(unknown) > 1 or height > self._chain.head.height + 1:
            self.heard(link, hash, height)
        elif hash not in self._checking:
            if self.rebuilding is not None and hash not in self._fetches:
                self.rebuilding.announced(link, hash)
            else:
                self.whole(hash, (link,))

    def whole(self, hash: bytes, links: Sequence[Link]) -> None:
        """Fetch a block whole from one of *links*."""
        for link in links:
            self._fetches.announced(link, hash, 1, self._reactor.seconds())
        self._pump()

    async def _news(self, blocks: Sequence[_Named]) -> tuple[list[_Named], list[_Named]]:
        """Return which of *blocks* are unknown, and which sync waits for, since their headers alone are here."""
        unknown: list[_Named] = []
        awaited: list[_Named] = []
        for hash, height in blocks:
            if self.wanted(hash) and height > self._chain.finalized.height:
                known = await self._chain.locate(hash)
                if known is None:
                    unknown.append((hash, height))
                elif known.height > self._chain.head.height:
                    awaited.append((hash, known.height))
        return unknown, awaited

    def _pump(self) -> None:
        for link, (hash,) in self._fetches.next(self._reactor.seconds()):
            self._tasks.spawn(self._fetch(link, hash))

    async def _fetch(self, link: Link, hash: bytes) -> None:
        height = self._chain.head.height + 1
        try:
            reply = await link.request(GetBlocks(hash, 1), LIMITS.seconds)
            if isinstance(reply, Blocks) and reply.blocks:
                try:
                    good = self._chain.block_hash(reply.blocks[0]) == hash
                except ValueError:
                    good = False
                if good:
                    self._copied(hash, Way.FETCHED)
                    await self._take(link, hash, reply.blocks[0], height, Way.FETCHED)
                else:
                    link.fault(Reason.MISBEHAVED, "another block than the one asked for")
        except (PeerGone, RequestTimedOut, RequestRefused):
            pass
        self._fetches.failed(link, (hash,))
        if hash not in self._fetches and self.wanted(hash):
            self.heard(link, hash, height)  # nobody else has announced it
        self._pump()
