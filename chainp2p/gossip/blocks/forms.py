"""Blocks in compact form as others get them: pushed to who asked for that, served to who asks."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.gossip.blocks.compact import Draft, Form, prefill, read_indexes
from chainp2p.gossip.blocks.recent import RecentBlocks
from chainp2p.peer.link import Link
from chainp2p.peer.tasks import Bell
from chainp2p.wire import encode
from chainp2p.wire.messages import (
    COMPACT_BLOCKS,
    AnnounceBlocks,
    BlockTransactions,
    GetBlockTransactions,
    GetCompactBlock,
    Message,
    NotFound,
    PushBlocks,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

__all__ = ["CompactForms"]

#: Transactions of blocks are served so far below the head (as in BIP 152: who asks for more is no part of the relay),
#: and so many bytes of them at once: a block of which more is missing is better fetched whole.
SERVED_DEPTH, SERVED_BYTES = 10, 2 * 1024 * 1024
#: Who asks for a block that was passed on unseen waits for it so long (seconds): what is missing here takes a round
#: trip or two. Longer would keep other requests of that peer waiting.
HELD = 2.0
#: Blocks that were passed on unseen and are not here yet: one or two, if headers are honest.
UNSEEN = 16


@define(eq=False)
class _Peer:
    """
    :param speaks: it understands compact forms.
    :param wants: it asked us to push.
    """

    speaks: bool
    wants: bool = False


@define(eq=False)
class _Unseen:
    """A block whose compact form was passed on before it was here.

    :param shorts: as they were passed on.
    :param links: who got them.
    :param bells: of those that ask for the block and wait.
    """

    shorts: list[bytes]
    links: list[Link]
    bells: list[Bell] = field(factory=list)


class CompactForms:
    """Who gets what of a block.

    1. Nobody is pushed to unasked.
    2. When something is missing here, what was pushed is passed on at once, for its header is good: so short ids travel
       without the round trips of each hop, and these are made at all hops at the same time. It is marked as unseen.
       Who asks for the transactions waits until they are here. If the block then turns out to be another, which
       somebody made up, all that got it get the right one.
    3. What is sent whole in a compact form are transactions that were missing here too, then those that the receiver is
       not known to have (:func:`prefill`).
    4. Blocks are served from the moment they are relayed, which may be before the chain has them.

    :param lacks: whether a peer is not known to have a transaction.
    """

    def __init__(self, chain: Any, reactor: "IReactorTime", lacks: Callable[[Link, bytes], bool]) -> None:
        self._chain = chain
        self._reactor = reactor
        self._lacks = lacks
        self._peers: dict[Link, _Peer] = {}
        self._recent = RecentBlocks()
        self._unseen: dict[bytes, _Unseen] = {}

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {
            PushBlocks: self._push_blocks,
            GetCompactBlock: self._get_compact_block,
            GetBlockTransactions: self._get_block_transactions,
        }

    def joined(self, link: Link) -> None:
        self._peers[link] = _Peer(bool(link.status.features & COMPACT_BLOCKS))

    def left(self, link: Link) -> None:
        self._peers.pop(link, None)
        for unseen in self._unseen.values():
            if link in unseen.links:
                unseen.links.remove(link)

    def stop(self) -> None:
        """Forget the peers, and let nobody wait."""
        self._peers.clear()
        for hash in tuple(self._unseen):
            self._settle(hash)

    def _settle(self, hash: bytes) -> _Unseen | None:
        """The block is here, or will not be."""
        unseen = self._unseen.pop(hash, None)
        if unseen is not None:
            for bell in unseen.bells:
                bell.ring()
        return unseen

    def _push_blocks(self, link: Link, message: PushBlocks) -> None:
        peer = self._peers.get(link)
        if peer is not None:
            peer.wants = bool(message.wanted)

    def speaks(self, link: Link) -> bool:
        """Whether *link* understands compact forms."""
        peer = self._peers.get(link)
        return peer is not None and peer.speaks

    def wants(self, link: Link) -> bool:
        """Whether *link* asked to be pushed to."""
        peer = self._peers.get(link)
        return peer is not None and peer.wants

    def pass_on(self, hash: bytes, made: Draft, links: Sequence[Link]) -> list[Link]:
        """Push a block of which something is missing here to those of *links* that want it, and answer these."""
        form, missing = made.form, set(made.missing)
        wanting = [link for link in links if self._peers[link].wants]
        for link in wanting:
            guesses = made.lacked - missing, self._unknown_to(link, form) - missing
            whole = prefill(form.transactions, *guesses) - missing
            link.send_raw(encode(form.pushed(whole, checked=False)))
        self._unseen[hash] = _Unseen(form.shorts, list(wanting))
        if len(self._unseen) > UNSEEN:
            self._settle(next(iter(self._unseen)))
        return wanting

    def keep(self, hash: bytes, form: Form) -> None:
        """Have a block ready that is taken apart already."""
        self._recent.keep(hash, form)

    def push(self, header: HeaderInfo, raw: bytes, lacked: Collection[int], links: Sequence[Link]) -> list[Link]:
        """Push a block to those of *links* that want it; answers the others.

        :param lacked: positions of transactions that were missing here.
        """
        unseen = self._settle(header.hash)
        if not links and unseen is None:
            return []
        form = self._recent.get(header.hash)
        if form is None:
            form = Form.of(header.hash, *self._chain.split(raw))
            self._recent.keep(header.hash, form)
        if not form.compact:
            return list(links)
        if unseen is not None and unseen.shorts != form.shorts:
            data = encode(form.pushed())
            for link in unseen.links:
                link.send_raw(data)
        others: list[Link] = []
        made: dict[frozenset[int], bytes] = {}
        for link in links:
            if not self._peers[link].wants:
                others.append(link)
                continue
            whole = frozenset(prefill(form.transactions, lacked, self._unknown_to(link, form)))
            if whole not in made:
                made[whole] = encode(form.pushed(whole))
            link.send_raw(made[whole], AnnounceBlocks(((header.hash, header.height),)))
        return others

    def _unknown_to(self, link: Link, form: Form) -> set[int]:
        if link.block_only:
            return set()  # nothing is known of what it has
        return {at for at, (id, _) in enumerate(form.transactions) if self._lacks(link, id)}

    def drop(self, hash: bytes) -> None:
        """A block turned out to be invalid."""
        self._recent.drop(hash)
        self._settle(hash)

    # serving

    async def _form(self, hash: bytes) -> Form | None:
        """A block near the head, taken apart."""
        unseen = self._unseen.get(hash)
        if unseen is not None and hash not in self._recent:
            bell = Bell(self._reactor)
            unseen.bells.append(bell)
            await bell.sleep(HELD)
        form = self._recent.get(hash)
        if form is None:
            info = await self._chain.locate(hash)
            near = info is not None and info.height + SERVED_DEPTH >= self._chain.head.height
            raw = await self._chain.block(hash) if near else None
            if raw is not None:
                form = Form.of(hash, *self._chain.split(raw))
                self._recent.keep(hash, form)
        return form

    async def _get_compact_block(self, link: Link, message: GetCompactBlock) -> Message:
        form = await self._form(message.hash)
        if form is None or not form.compact:
            return NotFound((message.hash,))
        whole = prefill(form.transactions, self._unknown_to(link, form))
        return form.found(whole)

    async def _get_block_transactions(self, link: Link, message: GetBlockTransactions) -> Message:
        form = await self._form(message.hash)
        if form is None:
            return NotFound((message.hash,))
        found: list[bytes] = []
        total = 0
        for at in read_indexes(message.indexes):
            if at >= len(form.transactions):
                return NotFound((message.hash,))  # of what somebody made up, and we passed on
            raw = form.transactions[at][1]
            total += len(raw)
            if total > SERVED_BYTES:
                break
            found.append(raw)
        return BlockTransactions(message.hash, tuple(found))
