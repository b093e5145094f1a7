"""Follows the best chain from any block on, by reading it: the one way by which the loss-free stream learns of heads.

1. What comes next depends on where the follower is and on the chain as it is stored now, on nothing that happened in
   between: so nothing that was missed, reorganised or restarted meanwhile can be lost.
2. A block is answered after its parent only; whoever is on a block that was left is first led back to the common
   ancestor.
3. It reads a portion of hashes in one look, so that cursors never mix two branches, and one block at a time: memory is
   bounded, and who takes blocks slowly is read for slowly.
"""

from collections import deque
from typing import Any

from attrs import frozen

from chainp2p.chain.interfaces import HEADERS_KEPT
from chainp2p.errors import Ours
from chainp2p.namespaces import INVALID_PARAMS, SERVER_ERROR, RpcError
from chainp2p.rpc.subscriptions.cursor import Cursor, ladder
from chainp2p.rpc.subscriptions.text import BlockTexts, Place, heads_gap, rollback

__all__ = ["UNKNOWN_CURSOR", "Follower", "Move", "find_cursor", "head_place", "oldest_body"]

#: Error: the cursor's block and all ancestors that it names are unknown here.
UNKNOWN_CURSOR = -32020
#: Blocks whose hashes are read at once.
_PORTION = 64
#: Looks for a head that stands still long enough to be read: one is the rule.
_TRIES = 100


@frozen
class Move:
    """One event about heads.

    :param low: the lowest height at which another block is, or may be, afterwards.
    :param tail: its text, after the subscription's id; it carries the cursor of *after*.
    """

    before: Place
    after: Place
    low: int
    tail: bytes


class Follower:
    """See the module.

    :param chain: an ``IChain``.
    :param place: where it begins.
    :ivar place: where it is; *chain* has, or had, this block on its best chain.
    """

    def __init__(self, chain: Any, texts: BlockTexts, place: Place) -> None:
        self._chain = chain
        self._texts = texts
        self.place = place
        self._ahead: deque[Place] = deque()

    async def advance(self) -> Move | None:
        """Return the next event; None: this is the head."""
        while True:
            if not self._ahead:
                if self.place.hash == self._chain.head.hash:
                    return None
                portion = await self._portion()
                if portion is None:
                    return self._moved(*await self._back())
                if not portion:
                    return None
                self._ahead.extend(portion)
            after = self._ahead.popleft()
            text = await self._texts.read(self._chain, after, self.place.hash)
            if text is not None:
                return self._moved(after, after.height, text)
            self._ahead.clear()
            skipped = await self._skip()
            if skipped is not None:
                return self._moved(*skipped)

    def _moved(self, after: Place, low: int, text: bytes) -> Move:
        before, self.place = self.place, after
        return Move(before, after, low, text)

    async def _portion(self) -> list[Place] | None:
        """The next blocks of the best chain, none above its head; None: the place is not on it any more."""
        height = self.place.height
        count = max(1, min(_PORTION, self._chain.head.height - height))
        heights = range(height + 1, height + count + 1)
        wanted = {*heights, *(below for above in heights for below in ladder(above))}
        found = await self._chain.hashes_at(self.place.hash, sorted(wanted))
        if found is None:
            return None
        return [_place(above, found) for above in heights if above in found]

    async def _back(self) -> tuple[Place, int, bytes]:
        """Lead to the common ancestor; of more blocks than headers are kept of, only that they were left is told."""
        chain, here = self._chain, self.place
        hash, height, to = here.hash, here.height, None
        left: list[bytes] = []
        told = True
        while to is None:
            info = await chain.locate(hash)
            if info is None:  # where its branch parts is forgotten; genesis is everybody's
                told, hash, height = False, chain.genesis_hash, 0
            else:
                told = told and len(left) < HEADERS_KEPT
                if told:
                    left.append(hash)
                hash, height = info.parent, height - 1
            to = await _place_at(chain, hash, height)
        low = to.height + 1
        return to, low, rollback(to, left) if told else heads_gap("pruned", low, to, here.cursor)

    async def _skip(self) -> tuple[Place, int, bytes] | None:
        """Pass the blocks whose bodies are missing; None: the chain has moved, look again."""
        here = self.place
        first = here.height + 1
        end = await _first_body(self._chain, first, self._chain.head.height)
        to = await _place_at(self._chain, here.hash, max(here.height, end - 1))
        if to is None:
            return None
        if end <= first:
            raise Ours(f"the body of block {first} is gone, and none follows")
        return to, first, heads_gap("pruned", first, to, here.cursor)


async def find_cursor(chain: Any, text: bytes, cursor: Cursor) -> tuple[Place, Move | None]:
    """Return where a cursor is, and the rollback with which its stream begins if its block was never here.

    RpcError if it is not of this chain.
    """
    here = Place(cursor.height, cursor.hash, text)
    info = await chain.locate(cursor.hash)
    if info is not None:
        if info.height != cursor.height:
            raise RpcError(INVALID_PARAMS, "invalid argument 1: the cursor's block is at another height")
        return here, None
    for height, part in cursor.ancestors.items():
        hash = await chain.hash_at(height)
        if hash is None or not hash.startswith(part):
            continue
        to = await _place_at(chain, hash, height)
        if to is not None:
            return to, Move(here, to, height + 1, rollback(to, None))
    raise RpcError(UNKNOWN_CURSOR, "the cursor's block is unknown here, and so are the ancestors that it names")


async def head_place(chain: Any) -> Place:
    """The place of the head."""
    for _ in range(_TRIES):
        head = chain.head
        place = await _place_at(chain, head.hash, head.height)
        if place is not None:
            return place
    raise RpcError(SERVER_ERROR, "the head moves too quickly, try again")


async def oldest_body(chain: Any) -> int:
    """The first height from which on all bodies are stored."""
    if await _has_body(chain, 0) and (not chain.head.height or await _has_body(chain, 1)):
        return 0
    return await _first_body(chain, 0, chain.head.height)


async def _has_body(chain: Any, height: int) -> bool:
    hash = await chain.hash_at(height)
    return hash is not None and await chain.block(hash) is not None


async def _first_body(chain: Any, low: int, high: int) -> int:
    """The first height above *low* with a body: they are missing below some height, the head has one."""
    while high - low > 1:
        middle = (low + high) // 2
        if await _has_body(chain, middle):
            high = middle
        else:
            low = middle
    return high


async def _place_at(chain: Any, hash: bytes, height: int) -> Place | None:
    """The place at *height* of the best chain, if *hash* is on it."""
    found = await chain.hashes_at(hash, [height, *ladder(height)])
    return None if found is None or height not in found else _place(height, found)


def _place(height: int, hashes: dict[int, bytes]) -> Place:
    hash = hashes[height]
    return Place(height, hash, Cursor.of(height, hash, hashes).encode())
