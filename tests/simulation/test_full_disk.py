"""A node whose disk is full keeps its links, says what it waits for, and catches up when there is room."""

import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.testing import Simulation, ledger_chain, ledger_genesis


class FullDiskTests(SynchronousTestCase):
    def test_it_waits_and_catches_up(self) -> None:
        simulation = Simulation(8, make_chain=ledger_chain(ledger_genesis(2, 1.0)))
        self.addCleanup(simulation.close)
        simulation.add_nodes(4, signers=2)
        simulation.start()
        simulation.expect("a chain", lambda: min(machine.chain.head.height for machine in simulation.machines) >= 5, 60)
        poor = simulation.machines[3]
        file: sqlite3.Connection = poor.chain._opened.core.store.connection
        file.execute("PRAGMA max_page_count=1")
        simulation.run_for(60)
        stuck = poor.chain.head.height
        self.assertGreater(simulation.machines[0].chain.head.height, stuck + 10)
        state = poor.node.sync.explain()
        self.assertIn("the disk is full: make room", state.text)
        self.assertEqual(state.waits[0].what, "time")
        (said,) = [text for text in poor.node.health.readyz() if text.startswith("storage")]
        self.assertIn("the disk is full", said)
        self.assertGreater(poor.peers, 0)
        # whatever sync is about, it says so, as long as it lasts
        for _ in range(10):
            simulation.run_for(0.7)
            self.assertIn("the disk is full: make room", poor.node.sync.explain().text)
        file.execute("PRAGMA max_page_count=1000000")
        simulation.expect(
            "caught up", lambda: simulation.machines[0].chain.head.height - poor.chain.head.height <= 2, 30
        )
        simulation.run_for(15)
        self.assertEqual([text for text in poor.node.health.readyz() if text.startswith("storage")], [])
        self.assertEqual(simulation.errors, [])
