"""Networks with proof of work in virtual time: real hashes, of so low a difficulty that a seed is played in seconds."""

from collections.abc import Sequence

from attrs import frozen

from chainp2p.chain.interfaces import HeadChanged
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, ETHER
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.producing.search import SLICE
from chainp2p.testing.executor import STEP
from chainp2p.testing.network import Weather
from chainp2p.testing.simulator import EPOCH, Simulation, SimulationError, ledger_chain

__all__ = ["HASHES_PER_SECOND", "MinedSplit", "mine_apart", "work_genesis"]

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


@frozen(kw_only=True)
class MinedSplit:
    """How a network of miners came together again.

    :param apart: blocks that each island mined, the one with more work first.
    :param seconds: from the heal until all had one head, and until nobody had refused it, if it was too deep.
    :param left: blocks that were undone at most at once.
    :param by_work: whether what the island with more work had is on the chain of all.
    :param refused: nodes that refused the branch until an operator accepted it.
    """

    seed: int
    apart: tuple[int, int]
    seconds: float
    left: int
    by_work: bool
    refused: int
    errors: Sequence[str]

    @property
    def good(self) -> bool:
        return self.by_work and not self.errors


def mine_apart(seed: int, seconds: float, max_reorg_depth: int | None = None, period: float = 4.0) -> MinedSplit:
    """Let islands of two and one miners grow apart for so many virtual seconds over bad links, then join them.

    Where the winning branch is refused it is accepted, as by an operator; SimulationError if no one head comes of it.
    """
    simulation = Simulation(
        seed,
        make_chain=ledger_chain(work_genesis(3, period), max_reorg_depth),
        weather=Weather(low=0.02, high=0.3, loss=0.01),
    )
    try:
        nodes = [simulation.add_node(signer=DEV_ADDRESSES[0])]
        nodes += [simulation.add_node(signer=DEV_ADDRESSES[number], bootstrap=nodes[:1]) for number in (1, 2)]
        simulation.start()
        simulation.expect("all know each other", lambda: simulation.linked(2), within=60)
        lefts = [0]
        for node in nodes:
            assert node.node is not None
            node.node.events.subscribe(HeadChanged, lambda event: lefts.append(len(event.left)))
        simulation.run_for(30)
        common = min(node.head.height for node in nodes)
        simulation.partition(nodes[:2], nodes[2:])
        simulation.run_for(seconds)
        sides = sorted((nodes[0].head, nodes[2].head), key=lambda head: head.rank, reverse=True)
        simulation.heal()
        refused = 0

        def joined() -> bool:
            nonlocal refused
            for node in nodes:
                for branch in node.chain.refused:
                    if not simulation.wait(node.chain.accept_reorg(branch.tip.hash)):
                        refused += 1
            return simulation.one_head()

        took = simulation.expect("one head", joined, within=120, every=1.0)
        stronger = sides[0]
        kept = simulation.wait(nodes[0].chain.hash_at(stronger.height)) == stronger.hash
        return MinedSplit(
            seed=seed,
            apart=(sides[0].height - common, sides[1].height - common),
            seconds=took,
            left=max(lefts),
            by_work=kept,
            refused=refused,
            errors=tuple(simulation.errors),
        )
    except SimulationError as error:
        raise SimulationError(f"seed {seed}: {error}") from None
    finally:
        simulation.close()
