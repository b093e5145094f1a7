"""Proof of work among production nodes on a virtual clock: one chain, islands that heal by work, a reorganisation that
is too deep, and a fresh node among them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.settings import SyncSettings
from chainp2p.testing.mining import work_genesis
from chainp2p.testing.simulator import Simulation, ledger_chain

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweep_mining.py"


class Mining(SynchronousTestCase):
    def network(self, seed: int, miners: int, watchers: int = 0, period: float = 4.0, **limits: Any) -> Simulation:
        genesis = work_genesis(miners, period)
        simulation = Simulation(seed, make_chain=ledger_chain(genesis, **limits))
        self.addCleanup(simulation.close)
        for number in range(miners + watchers):
            mine = DEV_ADDRESSES[number] if number < miners else None
            simulation.add_node(signer=mine, bootstrap=simulation.machines[:1])
        simulation.start()
        simulation.expect("all know each other", lambda: simulation.linked(miners + watchers - 1), within=30)
        return simulation

    def agree(self, simulation: Simulation, within: float = 60) -> None:
        simulation.expect("one head", simulation.one_head, within=within)
        self.assertEqual(simulation.errors, [])

    def test_miners_make_one_chain_at_the_rate_of_the_genesis_file(self) -> None:
        simulation = self.network(1, miners=3, watchers=1)
        simulation.transfer(simulation.machines[3], 5)
        before, start = simulation.machines[0].head.height, simulation.clock.seconds()
        simulation.run_for(400)
        self.agree(simulation)
        made = simulation.machines[0].head.height - before
        # 100 are expected; three standard deviations are 30
        self.assertTrue(70 <= made <= 130, f"{made} blocks in {simulation.clock.seconds() - start:.0f} s")
        self.assertTrue(simulation.included())
        self.assertEqual(simulation.machines[3].chain.finalized.height, 0)

    def test_islands_heal_by_work(self) -> None:
        simulation = self.network(2, miners=3)
        one, two, three = simulation.machines
        simulation.partition([one, two], [three])
        simulation.run_for(300)
        stronger, weaker = one.head, three.head
        self.assertNotEqual(stronger.hash, weaker.hash)
        self.assertGreater(stronger.rank, weaker.rank)
        simulation.heal()
        simulation.expect("heads agree", simulation.one_head, within=60)
        hash = simulation.wait(three.chain.hash_at(stronger.height))
        self.assertEqual(hash, stronger.hash)
        simulation.run_for(60)
        self.agree(simulation)

    def test_too_deep_is_refused_and_named_until_it_is_accepted(self) -> None:
        simulation = self.network(3, miners=3, max_reorg_depth=10)
        one, two, three = simulation.machines
        simulation.partition([one, two], [three])
        simulation.run_for(300)
        self.assertGreater(three.head.height, 12)
        simulation.heal()
        simulation.expect("it is named", lambda: three.chain.refused, within=60)
        simulation.run_for(30)
        (refused,) = three.chain.refused
        self.assertGreater(refused.depth, 10)
        self.assertEqual(refused.head, three.head)
        self.assertNotEqual(three.head.hash, one.head.hash)
        self.assertIn("refused", three.node.sync.explain().text)
        self.assertEqual(simulation.wait(three.chain.accept_reorg(refused.tip.hash)), "")
        simulation.expect("it is taken", simulation.one_head, within=60)
        self.assertEqual(three.chain.refused, ())
        simulation.run_for(60)
        self.agree(simulation)

    def test_a_miner_that_dies_and_a_fresh_node(self) -> None:
        simulation = self.network(4, miners=2, period=2.0)
        one, two = simulation.machines
        simulation.run_for(200)
        two.kill()
        simulation.run_for(20)
        fresh = simulation.add_node(bootstrap=[one])
        simulation.start(two, fresh)
        simulation.run_for(60)
        self.agree(simulation)
        self.assertGreater(fresh.head.height, 60)

    def test_a_fresh_node_begins_at_a_state_a_hundred_blocks_below_the_head(self) -> None:
        simulation = self.network(9, miners=1, period=20.0)
        (miner,) = simulation.machines
        simulation.run_for(3200)
        self.assertGreater(miner.head.height, 132)
        fresh = simulation.add_node(
            bootstrap=[miner], settings=lambda made: evolve(made, sync=SyncSettings(mode="state"))
        )
        simulation.start(fresh)
        simulation.expect("it is there", simulation.one_head, within=60)
        # it cannot go back below where it began: that is final there, and nowhere else
        base = fresh.chain.finalized.height
        self.assertEqual((base % 32, miner.chain.finalized.height), (0, 0))
        self.assertTrue(0 < base <= miner.head.height - 100)
        self.assertIsNone(simulation.wait(fresh.chain.block(simulation.wait(fresh.chain.hash_at(1)))))
        simulation.run_for(100)
        self.agree(simulation)

    def test_the_same_seed_gives_the_same_events(self) -> None:
        def play() -> str:
            simulation = self.network(5, miners=2)
            simulation.run_for(60)
            return simulation.event_log_hash

        self.assertEqual(play(), play())


class SweepTests(SynchronousTestCase):
    def test_a_small_sweep(self) -> None:
        done = subprocess.run(
            [sys.executable, SCRIPT, "--seeds", "3", "--seconds", "200", "--jobs", "1"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        header, *rows = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(header[:4], ["limit", "seeds", "by", "work"])
        self.assertEqual([row[:4] for row in rows], [["usual", "3", "3", "0"], ["10", "3", "3", "3"]])
