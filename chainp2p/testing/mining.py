"""Networks with proof of work in virtual time: real hashes, of so low a difficulty that a seed is played in seconds."""

from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, ETHER
from chainp2p.ledger.genesis import Genesis
from chainp2p.ledger.search import SLICE
from chainp2p.testing.executor import STEP
from chainp2p.testing.machines import ChainMaker, ChainParts
from chainp2p.testing.simulator import EPOCH

__all__ = ["HASHES_PER_SECOND", "mining_chain", "work_genesis"]

#: How fast each machine mines, in virtual seconds.
HASHES_PER_SECOND = SLICE / STEP


def work_genesis(miners: int, period: float, half_life: int = 600, epoch: float = EPOCH) -> Genesis:
    """A genesis whose difficulty lets so many *miners* find a block every *period* seconds on average."""
    return Genesis.parse(
        {
            "config": {"chainId": DEV_CHAIN_ID, "pow": {"periodMs": round(period * 1000), "halfLife": half_life}},
            "difficulty": max(1, round(miners * HASHES_PER_SECOND * period)),
            "timestamp": int(epoch),
            "alloc": {"0x" + address.hex(): {"balance": hex(10_000 * ETHER)} for address in DEV_ADDRESSES},
        }
    )


def mining_chain(genesis: Genesis, max_reorg_depth: int | None = None) -> ChainMaker:
    """Makes the reference chain for each machine; what the machine has as its signer is the address it mines for."""

    def make(parts: ChainParts) -> Ledger:
        return Ledger(
            genesis,
            executor=parts.executor,
            now=parts.now,
            random=parts.random,
            open_database=parts.open_database,
            mine=parts.signer,
            max_reorg_depth=max_reorg_depth,
        )

    return make
