"""What a block of account changes costs the state, root included, and how that and the memory grow with the accounts.

The yardstick is the ``trie`` package, which gets the same trie (its nodes are copied into a dictionary) and the same
changes, one by one and without pruning, which is its fastest way (aim of the design: 4 times as fast at 100,000
accounts). Each block changes other accounts, drawn from all; CPU time, the runs of both in turn, the median.

    python benchmarks/bench_state.py --accounts 100000 1000000
"""

import argparse
import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from random import Random

from attrs import frozen
from trie import HexaryTrie

from chainp2p.ledger.state.accounts import Account, Change, State
from chainp2p.ledger.state.trie import Branch, TrieNode
from chainp2p.primitives.keccak import keccak256

AIM = 4.0
#: The aim is for so many accounts.
AIM_AT = 100_000

Rows = list[tuple[bytes, bytes]]


@frozen
class Cost:
    """Milliseconds of a block, here and with the yardstick, and bytes of an account in memory."""

    accounts: int
    own: float
    other: float
    memory: float

    @property
    def ratio(self) -> float:
        return self.other / self.own


def rows_of(count: int) -> Rows:
    return [(keccak256(index.to_bytes(20, "big")), Account(index, 10**18 + index).encode()) for index in range(count)]


def nodes(node: TrieNode | None, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(hash, RLP) of all nodes below *node*."""
    if node is None:
        return
    if isinstance(node, Branch):
        if node.path:
            extension = node.extension(depth)
            yield keccak256(extension), extension
        inner = node.encoded(depth)
        yield keccak256(inner), inner
        for child in node.children:
            yield from nodes(child, depth + len(node.path) + 1)
    else:
        leaf = node.encoded(depth)
        yield keccak256(leaf), leaf


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def block(state: State, changes: Sequence[Change]) -> tuple[State, float]:
    """The state after *changes*, its root known; CPU milliseconds."""
    begun = time.process_time()
    state = state.updated(changes)
    assert state.root
    return state, (time.process_time() - begun) * 1000


def other_block(trie: HexaryTrie, changes: Sequence[Change]) -> float:
    """The same there."""
    begun = time.process_time()
    for change in changes:
        trie[change.key] = change.new
    assert trie.root_hash
    return (time.process_time() - begun) * 1000


def measure(count: int, blocks: int, changed: int) -> Cost:
    rows = rows_of(count)
    gc.collect()
    before = resident()
    state = State.load(rows)
    assert state.root
    gc.collect()
    memory = (resident() - before) / count
    yardstick = HexaryTrie(dict(nodes(state.trie.node)), state.root, prune=False)
    own: list[float] = []
    other: list[float] = []
    chance = Random(count)
    gc.freeze()
    for number in range(blocks):
        keys = [rows[index][0] for index in chance.sample(range(count), changed)]
        changes = [Change(key, None, Account(number, chance.randrange(1, 10**18)).encode()) for key in sorted(keys)]
        state, taken = block(state, changes)
        own.append(taken)
        other.append(other_block(yardstick, changes))
        if yardstick.root_hash != state.root:
            raise AssertionError("the roots differ")
    gc.unfreeze()
    return Cost(count, statistics.median(own), statistics.median(other), memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounts", type=int, nargs="+", default=[20_000])
    parser.add_argument("--blocks", type=int, default=11)
    parser.add_argument("--changes", type=int, default=1_000, help="a block")
    options = parser.parse_args()
    costs = [measure(count, options.blocks, options.changes) for count in options.accounts]
    print(f"{options.changes} account changes a block, root included; median of {options.blocks} blocks, CPU time")
    print(f"{'accounts':>10} {'own ms':>8} {'trie ms':>8} {'ratio':>6} {'growth':>7} {'bytes an account':>17}")
    for cost in costs:
        growth = cost.own / costs[0].own
        verdict = f"  aim {AIM:g}: {'met' if cost.ratio >= AIM else 'missed'}" if cost.accounts == AIM_AT else ""
        print(
            f"{cost.accounts:>10,} {cost.own:>8.1f} {cost.other:>8.1f} {cost.ratio:>5.1f}x {growth:>6.2f}x"
            f" {cost.memory:>17,.0f}{verdict}"
        )


if __name__ == "__main__":
    main()
