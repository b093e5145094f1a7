"""Senders of transactions: what surrounds the recovery itself, and the pool of threads against one after the other.

Threads are there to overlap, so the pool is timed by the wall clock: on a busy machine that says little. What they cost
in CPU time stands beside it.
"""

import statistics
import time
from typing import Any

from coincurve import PublicKey
from measure import Aim, Measured, compare, show
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from chainp2p.ledger.formats.transaction import Transaction, recover_senders, sign_transaction
from chainp2p.ledger.senders import CHUNK
from chainp2p.node.threads import ThreadExecutor

KEY = b"\x07" * 32
COUNT = 1_024
ROUNDS = 9
RAWS = [
    sign_transaction(KEY, chain_id=31337, nonce=nonce, to=bytes(20), value=1, max_fee=10**9) for nonce in range(COUNT)
]


def one_core() -> list[Measured]:
    raws = RAWS[:16]
    pairs = [(one.signature, one.signing_hash) for one in map(Transaction.decode, raws)]
    return compare(
        "sender of a raw transaction, one core",
        lambda: [Transaction.decode(raw).sender() for raw in raws],
        [
            Aim(
                "coincurve recovery alone",
                lambda: [PublicKey.from_signature_and_message(*pair, hasher=None) for pair in pairs],
                None,
            )
        ],
        operations=len(raws),
    )


async def pool(reactor: Any) -> list[Measured]:
    """The same recoveries by two threads and by none: wall clock, and the CPU time that threads add."""
    executor = ThreadExecutor(reactor, 2)
    samples: list[tuple[float, float]] = []
    for _ in range(2 * (ROUNDS + 1)):
        transactions = [Transaction.decode(raw) for raw in RAWS]
        wall, spent = time.perf_counter(), time.process_time()
        if len(samples) % 2:
            recover_senders(transactions)
        else:
            chunks = [transactions[at : at + CHUNK] for at in range(0, COUNT, CHUNK)]
            await gatherResults([executor.run(recover_senders, chunk) for chunk in chunks])
        samples.append(((time.perf_counter() - wall) / COUNT * 1e6, (time.process_time() - spent) / COUNT * 1e6))
    await executor.stop()
    lines = []
    for index, (clock, aim) in enumerate((("wall clock", 1.55), ("CPU", None))):
        own, other = ([sample[index] for sample in samples[start::2]] for start in (2, 3))
        ratios = [theirs / ours for ours, theirs in zip(own, other, strict=True)]
        lines.append(
            Measured(
                f"sender, pool of 2 threads ({clock})",
                statistics.median(own),
                "one after the other",
                statistics.median(other),
                statistics.median(ratios),
                aim,
            )
        )
    return lines


def main() -> None:
    async def run(reactor: Any) -> None:
        show([*one_core(), *await pool(reactor)], ["coincurve", "safe-pysha3"])

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
