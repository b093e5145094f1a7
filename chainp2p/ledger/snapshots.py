"""States that are kept for others to download: those of the last finalized heights on a grid (design: "State sync").

A state shares all that did not change with the one after it, so what is kept costs what changed since. After a start
they are made from undo rows when somebody asks.
"""

from math import log2

from chainp2p.chain.store import ChainStore
from chainp2p.ledger.connected import ConnectedChain
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.state.accounts import State

__all__ = ["Snapshots", "snapshot_interval"]

#: A grid of about ten minutes of blocks. Milliseconds.
_GRID_MS = 600_000
#: On demand there is no time between blocks to go by. Blocks.
_ON_DEMAND = 1024
#: Heights whose states are served to whoever asks, for which undo rows are kept.
SERVED = 2
#: States in memory: with one more than is aimed at, what was proved for the oldest catches up by what changed since.
_KEPT = SERVED + 1


def snapshot_interval(period_ms: int) -> int:
    """The distance of heights whose states are served: a power of two, about ten minutes of blocks."""
    return 1 << max(0, round(log2(_GRID_MS / period_ms))) if period_ms else _ON_DEMAND


class Snapshots:
    """See the module. Everything but :meth:`get` runs on the lane that owns the database."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self._newest = 0
        self._states: dict[bytes, State] = {}

    def lowest(self, final: int) -> int:
        """Undo rows are needed above this height, where *final* is final."""
        return max(self.interval, self.newest(final) - (SERVED - 1) * self.interval)

    def newest(self, final: int) -> int:
        """The highest height of the grid, where *final* is final."""
        return final // self.interval * self.interval

    def note(self, final: int, chain: ConnectedChain, store: ChainStore) -> None:
        """Height *final* is final: keep the state at the newest height of the grid, where that costs nothing."""
        newest = self.newest(final)
        if newest == self._newest:
            return
        self._newest = newest
        hash = store.hash_at(newest)
        state = None if hash is None else chain.recent(hash)
        if state is not None:
            self._keep(state.root, state)

    def get(self, root: bytes) -> State | None:
        """The state of *root*, if it is kept; may be asked from any thread."""
        return self._states.get(root)

    def make(self, root: bytes, chain: ConnectedChain, store: ChainStore) -> State | None:
        """The state of *root*, if it is served; made from undo rows where it is not in memory."""
        for height in range(self._newest, self.lowest(self._newest) - 1, -self.interval):
            hash = store.hash_at(height)
            raw = None if hash is None else store.raw_header(hash)
            if raw is None or Header.decode(raw).state_root != root:
                continue
            assert hash is not None
            state = self.get(root) or chain.state_at(hash)
            if state is not None:
                self._keep(root, state)
            return state
        return None

    def _keep(self, root: bytes, state: State) -> None:
        kept = {**self._states, root: state}
        self._states = dict(list(kept.items())[-_KEPT:])
