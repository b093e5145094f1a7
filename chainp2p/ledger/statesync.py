"""State sync on the lane that owns the database: what is aimed at, chunks that come, and the state that they become."""

from collections.abc import Iterator, Sequence

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.states import ChunkRefused, ChunkTaken, StateBegun, StateGoal, StatePart
from chainp2p.ledger.core import LedgerCore
from chainp2p.ledger.formats.block import BlockError, decode_block
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.news import News
from chainp2p.ledger.snapshots import SERVED
from chainp2p.ledger.state.chunks import ChunkError
from chainp2p.ledger.state.download import Open, StateDownload
from chainp2p.ledger.state.staged import StagedRows

__all__ = ["StateSync", "begin_download", "digits_of", "take_chunk"]

_NO_BASE = bytes(32)


class StateSync:
    """See the module, and ``IStateTarget`` for what each call means.

    Only a chain that has no block but genesis downloads a state: one that has more goes on by blocks.
    """

    def __init__(self, core: LedgerCore) -> None:
        self._core = core
        self._staged = StagedRows(core.store.connection)
        self._download: StateDownload | None = None
        self._filled = 0

    def goal(self, current: StateGoal | None) -> StateGoal | None:
        """What should be aimed at: *current* while it is final on the best branch and served."""
        core = self._core
        tree, snapshots = core.branches.tree, core.snapshots
        if core.chain.head.info.height:
            return None
        height = snapshots.newest(core.branches.lasting(tree.best))
        node = tree.at(height)
        if node is None or not height:
            return None
        if current is not None:
            old = tree.get(current.block.hash)
            served = height - current.block.height < SERVED * snapshots.interval
            if old is not None and tree.on_path(old) and served:
                return current
        raw = core.store.raw_header(node.info.hash)
        assert raw is not None
        return StateGoal(node.info, Header.decode(raw).state_root)

    def begin(self, goal: StateGoal) -> StateBegun:
        """Aim at *goal*; what was downloaded before stays."""
        with self._core.store.transaction():
            if self._download is None:
                self._download = StateDownload(self._staged, goal.root)
            return begin_download(self._download, goal.root)

    def take(self, chunks: Sequence[tuple[bytes, bytes]]) -> list[ChunkTaken | ChunkRefused]:
        """Check and keep chunks, in one commit."""
        download = self._download
        assert download is not None, "not begun"
        try:
            with self._core.store.transaction():
                return [take_chunk(download, prefix, raw) for prefix, raw in chunks]
        except BaseException:
            self._download = StateDownload(self._staged, download.root)  # memory may be ahead of the disk
            raise

    def adopt(self, goal: StateGoal, raw: bytes) -> tuple[str, News | None]:
        """Let the chain begin at *goal*, whose block is *raw*; or say why not."""
        core, download = self._core, self._download
        assert download is not None, "not begun"
        try:
            block = decode_block(raw)
        except BlockError as error:
            return f"the block is broken: {error.text}", None
        state, node = download.state(), core.branches.tree.get(goal.block.hash)
        if block.header.hash != goal.block.hash or node is None or not core.branches.tree.on_path(node):
            return "the block is not the one aimed at, or not on the best branch any more", None
        if state is None:
            self.drop()
            return "what was downloaded does not have the root of the block", None

        def path(height: int) -> Iterator[tuple[int, bytes]]:
            for at in range(1, height + 1):
                below = core.branches.tree.at(at)
                assert below is not None  # nothing was connected, so the tree goes down to genesis
                yield at, below.info.hash

        def write() -> None:
            self._staged.become_accounts()
            store = core.store
            store.add_bodies([(goal.block.hash, raw)])
            store.set_best(path(goal.block.height))
            for name in ("head", "finalized", "base"):
                store.set_meta(name, goal.block.hash)

        news = core.begin_at(goal.block.hash, state, write)
        self._download = None
        return "", news

    def missing(self, limit: int) -> list[HeaderInfo]:
        """Blocks below where the chain began whose bodies are not here."""
        store = self._core.store
        base = store.height_on_best(store.meta("base") or b"")
        found = [] if base is None else store.missing_bodies(self._filled + 1, base, limit)
        if found:
            self._filled = found[0].height - 1
        return found

    def add_bodies(self, raws: Sequence[bytes]) -> list[bool]:
        """Store bodies of such blocks, in one commit."""
        with self._core.store.transaction():
            return [self._add_body(raw) for raw in raws]

    def _add_body(self, raw: bytes) -> bool:
        store = self._core.store
        try:
            hash = decode_block(raw).header.hash
        except BlockError:
            return False
        height, base = store.height_on_best(hash), store.height_on_best(store.meta("base") or b"")
        if height is None or base is None or height > base:
            return False
        store.add_bodies([(hash, raw)])
        return True

    def drop(self) -> None:
        """Forget what was downloaded."""
        self._download = None
        with self._core.store.transaction():
            self._staged.drop()


def begin_download(download: StateDownload, root: bytes) -> StateBegun:
    """Aim at *root*; what the network is told of that."""
    first = download.begin(root)
    return StateBegun((_part(first),), download.entries, tuple(map(_nibbles, download.here)))


def take_chunk(download: StateDownload, prefix: bytes, raw: bytes) -> ChunkTaken | ChunkRefused:
    """Check and keep a chunk; what the network is told of it."""
    try:
        taken = download.take(digits_of(prefix), raw)
    except ChunkError as error:
        return ChunkRefused(str(error))
    return ChunkTaken(tuple(map(_part, taken.open)), download.entries, taken.whole)


def digits_of(prefix: bytes) -> str:
    """The hexadecimal digits of a prefix of one nibble an octet."""
    return "".join(map("{:x}".format, prefix))


def _part(opened: Open) -> StatePart:
    return StatePart(_nibbles(opened.prefix), opened.base or _NO_BASE)


def _nibbles(prefix: str) -> bytes:
    return bytes(int(digit, 16) for digit in prefix)
