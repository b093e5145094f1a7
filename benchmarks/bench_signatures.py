"""Senders of transactions: what surrounds the recovery itself, and the pool of threads against one after the other.

The rows of the pool are wall-clock time, for threads are there to overlap: on a busy machine they say little.
"""

import statistics
import time
from typing import Any

from coincurve import PublicKey
from measure import Aim, Measured, compare, show
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from chainp2p.ledger.senders import CHUNK
from chainp2p.ledger.transaction import Transaction, recover_senders, sign_transaction
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


async def pool(reactor: Any, lines: list[Measured]) -> None:
    executor = ThreadExecutor(reactor, 2)
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + 1):
        transactions, again = ([Transaction.decode(raw) for raw in RAWS] for _ in range(2))
        start = time.perf_counter()
        chunks = [transactions[at : at + CHUNK] for at in range(0, COUNT, CHUNK)]
        await gatherResults([executor.run(recover_senders, chunk) for chunk in chunks])
        middle = time.perf_counter()
        recover_senders(again)
        end = time.perf_counter()
        if number:
            taken[0].append((middle - start) / COUNT * 1e6)
            taken[1].append((end - middle) / COUNT * 1e6)
    await executor.stop()
    lines.append(
        Measured(
            "sender, pool of 2 threads (wall clock)",
            statistics.median(taken[0]),
            "one after the other",
            statistics.median(taken[1]),
            statistics.median(other / own for own, other in zip(*taken, strict=True)),
            1.55,
        )
    )


def main() -> None:
    lines = one_core()

    def finish() -> None:
        show(lines, ["coincurve", "safe-pysha3"])

    async def run(reactor: Any) -> None:
        await pool(reactor, lines)
        finish()

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    main()
