"""Blocks in compact form as others get them: pushed to who asked for that, served to who asks."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import define

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.errors import PeerFault, Reason
from chainp2p.gossip.compact import Form, prefill, read_indexes
from chainp2p.gossip.recent import RecentBlocks
from chainp2p.peer.link import Link
from chainp2p.wire import encode
from chainp2p.wire.messages import (
    COMPACT_BLOCKS,
    AnnounceBlocks,
    BlockTransactions,
    CompactBlock,
    FoundCompactBlock,
    GetBlockTransactions,
    GetCompactBlock,
    Message,
    NotFound,
    PushBlocks,
)

__all__ = ["CompactForms"]

#: Transactions of blocks are served so far below the head (as in BIP 152: who asks for more is no part of the relay),
#: and so many bytes of them at once: a block of which more is missing is better fetched whole.
SERVED_DEPTH, SERVED_BYTES = 10, 2 * 1024 * 1024


@define(eq=False)
class _Peer:
    """
    :param speaks: it understands compact forms.
    :param wants: it asked us to push.
    """

    speaks: bool
    wants: bool = False


class CompactForms:
    """Who gets what of a block.

    1. Nobody is pushed to unasked.
    2. What is sent whole in a compact form are transactions that were missing here too, then those that the receiver is
       not known to have (:func:`prefill`).
    3. Blocks are served from the moment they are relayed, which may be before the chain has them.

    :param lacks: whether a peer is not known to have a transaction.
    """

    def __init__(self, chain: Any, lacks: Callable[[Link, bytes], bool]) -> None:
        self._chain = chain
        self._lacks = lacks
        self._peers: dict[Link, _Peer] = {}
        self._recent = RecentBlocks()

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

    def _push_blocks(self, link: Link, message: PushBlocks) -> None:
        peer = self._peers.get(link)
        if peer is not None:
            peer.wants = bool(message.wanted)

    def speaks(self, link: Link) -> bool:
        """Whether *link* understands compact forms."""
        peer = self._peers.get(link)
        return peer is not None and peer.speaks

    def keep(self, hash: bytes, form: Form) -> None:
        """Have a block ready that is taken apart already."""
        self._recent.keep(hash, form)

    def push(self, header: HeaderInfo, raw: bytes, lacked: Collection[int], links: Sequence[Link]) -> list[Link]:
        """Push a block to those of *links* that want it; answers the others.

        :param lacked: positions of transactions that were missing here.
        """
        form = self._recent.get(header.hash)
        if form is None:
            form = Form.of(header.hash, *self._chain.split(raw))
            self._recent.keep(header.hash, form)
        if not form.compact:
            return list(links)
        others: list[Link] = []
        made: dict[frozenset[int], bytes] = {}
        for link in links:
            if not self._peers[link].wants:
                others.append(link)
                continue
            whole = frozenset(prefill(form.transactions, lacked, self._unknown_to(link, form)))
            if whole not in made:
                made[whole] = encode(form.message(CompactBlock, whole))
            link.send_raw(made[whole], AnnounceBlocks(((header.hash, header.height),)))
        return others

    def _unknown_to(self, link: Link, form: Form) -> set[int]:
        if link.block_only:
            return set()  # nothing is known of what it has
        return {at for at, (id, _) in enumerate(form.transactions) if self._lacks(link, id)}

    def drop(self, hash: bytes) -> None:
        """A block turned out to be invalid."""
        self._recent.drop(hash)

    # serving

    async def _form(self, hash: bytes) -> Form | None:
        """A block near the head, taken apart."""
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
        return form.message(FoundCompactBlock, whole)

    async def _get_block_transactions(self, link: Link, message: GetBlockTransactions) -> Message:
        form = await self._form(message.hash)
        if form is None:
            return NotFound((message.hash,))
        found: list[bytes] = []
        total = 0
        for at in read_indexes(message.indexes):
            if at >= len(form.transactions):
                raise PeerFault(Reason.MISBEHAVED, f"transaction {at} of a block of {len(form.transactions)}")
            raw = form.transactions[at][1]
            total += len(raw)
            if total > SERVED_BYTES:
                break
            found.append(raw)
        return BlockTransactions(message.hash, tuple(found))
