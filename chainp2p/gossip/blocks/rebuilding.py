"""Blocks rebuilt from the compact forms that peers push and announce, and from what the pool has."""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define

from chainp2p.chain.interfaces import HeaderInfo, HeadersRejected, IBodyCheck
from chainp2p.errors import PeerFault, PeerGone, Reason, RequestRefused, RequestTimedOut
from chainp2p.gossip.blocks.building import Attempt, Building, GiveUp, Has, Sketch
from chainp2p.gossip.blocks.compact import Draft, draft, pack_indexes
from chainp2p.gossip.blocks.pushers import Changes, Pushers
from chainp2p.gossip.checks import HEADER, Checks, body_cost
from chainp2p.peer.link import Link
from chainp2p.wire.messages import (
    BlockTransactions,
    CompactBlock,
    FoundCompactBlock,
    GetBlockTransactions,
    GetCompactBlock,
    PushBlocks,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from chainp2p.peer.tasks import Tasks

__all__ = ["Counts", "Rebuilding", "Receiver"]

#: An answer that does not come within this is not waited for (seconds); others are asked long before.
SECONDS = 5.0
#: Compact forms of one peer whose headers are being checked; more count as announcements.
CHECKED_PER_PEER = 4


class Receiver(Protocol):
    """What becomes of blocks that are rebuilt, or are not."""

    def wanted(self, hash: bytes) -> bool:
        """Whether the block is neither judged nor being judged."""
        ...

    async def rebuilt(self, link: Link, raw: bytes, made: Draft, header: HeaderInfo | None) -> bool:
        """Take a block that was rebuilt with the help of *link*; False: the body does not match its header."""
        ...

    def pass_on(self, header: HeaderInfo, made: Draft) -> None:
        """Let others have the compact form of a block whose header is good, before the block is here."""
        ...

    def spare(self, hash: bytes, size: int, links: Iterable[Link]) -> None:
        """So much of a block has come: *links* need not send it any more."""
        ...

    def known(self, link: Link, hash: bytes, checked: bool) -> None:
        """*link* has the block, or, if that is not *checked*, its compact form only."""
        ...

    def whole(self, hash: bytes, links: Sequence[Link]) -> None:
        """Fetch it whole from one of *links*."""
        ...

    def heard(self, link: Link, hash: bytes, height: int) -> None:
        """The ancestors of a block that *link* has are missing here."""
        ...


@define
class Counts:
    """What became of blocks that came in compact form.

    :ivar free: rebuilt from a push, without a round trip.
    :ivar asked: rebuilt from a push after what was missing was asked for.
    :ivar fetched: rebuilt after the compact form itself was asked for, since it was announced only.
    :ivar mismatched: did not match their header.
    :ivar given_up: fetched whole.
    :ivar again: compact forms that came while the block was here already.
    :ivar transactions: in all that were put together; :ivar lacked: those of them that the pool did not have.
    """

    free: int = 0
    asked: int = 0
    fetched: int = 0
    mismatched: int = 0
    given_up: int = 0
    again: int = 0
    transactions: int = 0
    lacked: int = 0


class _End(Enum):
    HERE = "here"
    LATE = "late"  #: it came by another way meanwhile
    FAILED = "failed"
    MISMATCH = "mismatch"  #: it does not match its header


@define(eq=False)
class _Peer:
    """
    :param checking: compact forms of it whose headers are being checked.
    """

    checking: int = 0


class Rebuilding:
    """What happens to compact forms that come.

    1. Who sends one answers for its header only: that is checked first, and a bad one ends the link. Then the block is
       put together from the pool; what is missing is asked of the sender (:class:`Building`).
    2. A transaction that is not what its short id said contradicts its sender, who made both: that ends the link too,
       unless the short ids were passed on unseen. A block that does not match its header is nobody's fault, for two
       transactions may share a short id; it is fetched whole, and whoever sends a whole block answers for all of it.
    3. Three peers are asked to push (:class:`Pushers`).

    Bounds: see the constants, and :class:`Building`.

    :param speaks: whether a peer understands compact forms.
    :param checks: gives each peer its fair turn.
    """

    def __init__(
        self,
        *,
        chain: Any,
        pool: Any,
        reactor: "IReactorTime",
        tasks: "Tasks",
        receiver: Receiver,
        speaks: Callable[[Link], bool],
        checks: Checks,
    ) -> None:
        self._chain = chain
        self._pool = pool
        self._reactor = reactor
        self._tasks = tasks
        self._receiver = receiver
        self._speaks = speaks
        self._checks = checks
        self._checks_bodies = IBodyCheck.providedBy(chain)
        self.counts = Counts()
        self._peers: dict[Link, _Peer] = {}
        self._building: Building[Link] = Building()
        self._pushers: Pushers[Link] = Pushers()
        self._timer: IDelayedCall | None = None

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {
            CompactBlock: self._compact_block,
        }

    # peers

    def joined(self, link: Link) -> None:
        self._peers[link] = _Peer()
        self._building.joined(link, link.outbound)

    def at_once(self, link: Link, yes: bool) -> None:
        """*link* tells us of new blocks at once, or does not any more: only who does may be asked to push."""
        if yes and self._speaks(link):
            self._tell(self._pushers.joined(link, link.outbound))
        elif link in self._pushers:
            self._tell([(link, False), *self._pushers.left(link)])
        else:
            self._pushers.left(link)

    def left(self, link: Link) -> None:
        if self._peers.pop(link, None) is not None:
            self._building.left(link, self._reactor.seconds())
            self._tell(self._pushers.left(link))
            self._pump()

    def stop(self) -> None:
        """Cancel the timer and forget the peers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._reactor.seconds()
        for link in tuple(self._peers):
            del self._peers[link]
            self._building.left(link, now)
        self._pushers = Pushers()

    def _tell(self, changes: "Changes[Link]") -> None:
        for link, wanted in changes:
            link.send(PushBlocks(int(wanted)))

    def bringing(self, hash: bytes) -> bool:
        """Whether a block is being rebuilt."""
        return hash in self._building

    def done(self, hash: bytes, good: bool) -> None:
        """A block was judged."""
        self._building.done(hash)
        if good:
            self._tell(self._pushers.good(hash))

    # receiving

    def announced(self, link: Link, hash: bytes) -> None:
        """*link* has a block that is wanted and is next to the head."""
        now = self._reactor.seconds()
        has = Has.COMPACT if self._speaks(link) else Has.WHOLE
        if has is Has.COMPACT:
            self._pushers.announced(link, hash, now)
        if self._building.announced(link, hash, has, now, wait=len(self._pushers) > 0):
            self._pump()

    def _hash(self, header: bytes) -> bytes:
        try:
            hash: bytes = self._chain.block_hash(header)
        except ValueError as error:
            raise PeerFault(Reason.MALFORMED_MESSAGE, str(error)) from None
        return hash

    def _compact_block(self, link: Link, message: CompactBlock) -> None:
        peer = self._peers.get(link)
        if peer is None:
            return
        hash = self._hash(message.header)
        self._receiver.known(link, hash, bool(message.checked))
        self._pushers.pushed(link, hash, self._reactor.seconds())
        if not self._receiver.wanted(hash):
            self.counts.again += 1
        elif peer.checking >= CHECKED_PER_PEER:
            self.announced(link, hash)
        else:
            self._tasks.spawn(self._pushed(link, peer, hash, message))

    async def _pushed(self, link: Link, peer: _Peer, hash: bytes, message: CompactBlock) -> None:
        peer.checking += 1
        try:
            good, header = await self._check(link, hash, message.header)
        finally:
            peer.checking -= 1
        if not good or not self._receiver.wanted(hash) or link not in self._peers:
            return
        made = self._draft(link, hash, message)
        now = self._reactor.seconds()
        if made is None:
            return
        sketch = Sketch(message, header)
        if header is not None:
            self._receiver.spare(hash, sketch.size, (one for one in self._pushers if one is not link))
        if made.missing:
            if header is not None:
                self._receiver.pass_on(header, made)
            self._building.pushed(link, hash, sketch, now)
        elif await self._finish(link, made, header):
            self.counts.free += 1
            return
        else:
            has = Has.WHOLE if message.checked else Has.COMPACT
            self._building.announced(link, hash, has, self._reactor.seconds(), wait=True)
        self._pump()

    async def _check(self, link: Link, hash: bytes, raw: bytes) -> tuple[bool, HeaderInfo | None]:
        """Whether the header is good, and what the chain knows of it; None: it is early, perhaps good later."""
        try:
            (header,) = await self._checks.run(link, HEADER, lambda: self._chain.check_headers([raw]))
        except HeadersRejected as problem:
            if problem.when is not None:
                return True, None
            if problem.parent_missing:
                self._receiver.heard(link, hash, 0)
            elif not problem.condemned:
                link.fault(Reason.MISBEHAVED, f"header {hash.hex()[:8]}: {problem.reason}")
            return False, None
        return header.height > self._chain.finalized.height, header

    def _draft(self, link: Link, hash: bytes, message: "CompactBlock | FoundCompactBlock") -> Draft | None:
        try:
            return draft(message, hash, self._pool)
        except ValueError as error:
            link.fault(Reason.MALFORMED_MESSAGE, str(error))
            return None

    async def _finish(self, link: Link, made: Draft, header: HeaderInfo | None) -> bool:
        """Put the block together and hand it on; False: it does not match its header."""
        self.counts.transactions += len(made.slots)
        self.counts.lacked += len(made.lacked)
        try:
            raw = self._chain.assemble(made.header, [raw for raw in made.slots if raw is not None])
            matches = not self._checks_bodies or await self._checks.run(
                link, body_cost(len(raw)), lambda: self._chain.body_matches(raw)
            )
        except ValueError:
            matches = False
        if matches and self._receiver.wanted(made.key):
            matches = await self._receiver.rebuilt(link, raw, made, header)
        self.counts.mismatched += not matches
        return matches

    # attempts

    async def _attempt(self, attempt: "Attempt[Link]") -> None:
        end = _End.FAILED
        try:
            end = await self._rebuild(attempt)
        except (PeerGone, RequestTimedOut, RequestRefused):
            pass
        except PeerFault as fault:
            attempt.peer.fault(fault.reason, fault.detail, fault.penalty)
        if end is _End.HERE and attempt.pushed is None:
            self.counts.fetched += 1
        elif end is _End.HERE:
            self.counts.asked += 1
        self._building.ended(attempt, self._reactor.seconds(), end is _End.MISMATCH)
        self._pump()

    async def _rebuild(self, attempt: "Attempt[Link]") -> _End:
        """Ask the peer for what is needed, and put the block together."""
        link, hash, sketch = attempt.peer, attempt.hash, attempt.pushed
        message: CompactBlock | FoundCompactBlock
        if sketch is not None:
            message, header = sketch.message, sketch.header
        else:
            reply = await link.request(GetCompactBlock(hash), SECONDS)
            if not self._receiver.wanted(hash):
                return _End.LATE
            if not isinstance(reply, FoundCompactBlock):
                return _End.FAILED
            if self._hash(reply.header) != hash:
                raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
            message = reply
            good, header = await self._check(link, hash, reply.header)
            if not good:
                self._building.done(hash)
                return _End.FAILED
        made = self._draft(link, hash, message)
        if made is not None and made.missing and header is not None:
            self._receiver.pass_on(header, made)
        if made is None or not await self._complete(link, made, attempt.unseen):
            return _End.FAILED
        if not self._receiver.wanted(hash):
            return _End.LATE
        if sketch is None:
            self._pushers.brought(link)
        return _End.HERE if await self._finish(link, made, header) else _End.MISMATCH

    async def _complete(self, link: Link, made: Draft, unseen: bool) -> bool:
        """Ask *link* for what is missing; *unseen*: it does not answer for what it was asked with."""
        missing = made.missing
        if missing:
            reply = await link.request(GetBlockTransactions(made.key, pack_indexes(missing)), SECONDS)
            if not isinstance(reply, BlockTransactions) or reply.hash != made.key:
                return False
            if len(reply.transactions) < len(missing):
                return False  # cut for its length: the whole block is shorter then
            if len(reply.transactions) > len(missing):
                raise PeerFault(Reason.MISBEHAVED, "more transactions than were asked for")
            if not made.put(reply.transactions, self._pool.transaction_hash):
                if unseen:
                    return False
                raise PeerFault(Reason.MISBEHAVED, "transactions that are not what their short ids say")
        return True

    def _pump(self) -> None:
        now = self._reactor.seconds()
        for step in self._building.next(now):
            if isinstance(step, GiveUp):
                self.counts.given_up += 1
                self._receiver.whole(step.hash, step.peers)
            else:
                self._tasks.spawn(self._attempt(step))
        when = self._building.next_time(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer = self._reactor.callLater(when - now, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._pump()
