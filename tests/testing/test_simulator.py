"""The simulation itself: machines, time, conditions, and chains other than the reference chain."""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

import chainp2p.testing
from chainp2p.errors import SettingsError, StartupError
from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.net.security import TlsSecurity
from chainp2p.testing import ChainParts, Simulation, SimulationError, Weather, ledger_chain, ledger_genesis
from chainp2p.testing.eventlog import EventLog


class EventLogTests(SynchronousTestCase):
    def test_hash_is_over_all_lines(self) -> None:
        one, two = EventLog(keep=True), EventLog()
        for log in (one, two):
            log.add(0.5, "node1", "started")
        self.assertEqual(one.hash, two.hash)
        self.assertEqual((one.lines, two.lines, two.count), (["0.500000 node1 started"], None, 1))
        two.add(0.5, "node1", "started")
        self.assertNotEqual(one.hash, two.hash)


class SimulationTests(SynchronousTestCase):
    def simulation(self, seed: int = 1, **options: Any) -> Simulation:
        simulation = Simulation(seed, **options)
        self.addCleanup(simulation.close)
        return simulation

    def test_public_names(self) -> None:
        for name in chainp2p.testing.__all__:
            self.assertIsNotNone(getattr(chainp2p.testing, name))
        self.assertRaises(AttributeError, getattr, chainp2p.testing, "Nothing")

    def test_machines_know_who_they_are(self) -> None:
        simulation = self.simulation()
        one, two = simulation.add_nodes(2)
        self.assertEqual((one.name, one.host.ip), ("node1", "10.0.0.1"))
        self.assertTrue(two.settings.network.bootstrap_nodes[0].endswith("@10.0.0.1:30303"))
        self.assertEqual(simulation.names[two.key.peer_id], "node2")
        again = self.simulation().add_nodes(1)[0]
        self.assertEqual(again.key, one.key)
        self.assertNotEqual(self.simulation(seed=2).add_nodes(1)[0].key, one.key)

    def test_what_does_not_run(self) -> None:
        simulation = self.simulation()
        machine = simulation.add_node()
        self.assertRaises(RuntimeError, lambda: machine.head)
        self.assertRaises(RuntimeError, simulation.submit, machine, b"")
        self.assertFalse(machine.ready)
        simulation.wait(machine.stop())
        simulation.start()
        self.assertRaises(RuntimeError, machine.start)

    def test_a_start_that_fails(self) -> None:
        simulation = self.simulation()
        simulation.add_node(settings=lambda s: evolve(s, network=evolve(s.network, bootstrap_nodes=("nonsense",))))
        self.assertRaises(SettingsError, simulation.start)
        busy = simulation.add_node(
            settings=lambda s: evolve(s, network=evolve(s.network, listen_addr=(*s.network.listen_addr,) * 2))
        )
        self.assertRaises(StartupError, simulation.start, busy)
        self.assertIsNone(busy.node)
        self.flushLoggedErrors()

    def test_waiting(self) -> None:
        simulation = self.simulation()
        done: Deferred[int] = Deferred()
        simulation.clock.callLater(3, done.callback, 7)
        self.assertEqual(simulation.wait(done), 7)
        failing: Deferred[int] = Deferred()
        simulation.clock.callLater(3, failing.errback, ZeroDivisionError())
        self.assertRaises(ZeroDivisionError, simulation.wait, failing)
        self.assertRaises(SimulationError, simulation.wait, Deferred(), 5)
        self.assertRaises(SimulationError, simulation.expect, "nothing", lambda: False, 5)

    def test_clocks_may_be_wrong(self) -> None:
        simulation = self.simulation()
        self.assertEqual(simulation.add_node(offset=2.5).now(), simulation.epoch + 2.5)

    def test_a_signer_whose_clock_is_a_little_ahead(self) -> None:
        """Within the tolerance for early blocks everybody follows."""
        simulation = self.simulation(make_chain=ledger_chain(ledger_genesis(2, 1.0)))
        one = simulation.add_node(signer=DEV_KEYS[0], offset=0.2)
        simulation.add_node(signer=DEV_KEYS[1], bootstrap=[one], offset=-0.04)
        simulation.start()
        simulation.expect("height", lambda: simulation.height(20), 60)
        self.assertTrue(simulation.finalized_agree())

    def test_bandwidth_and_loss(self) -> None:
        simulation = self.simulation(weather=Weather(low=0.01, high=0.05, loss=0.05, bandwidth=50_000))
        simulation.add_nodes(3)
        simulation.start()
        simulation.expect("height", lambda: simulation.height(10), 60)
        simulation.expect("one head", simulation.one_head, 5)

    def test_disagreement_is_seen(self) -> None:
        simulation = self.simulation()
        simulation.add_nodes(2)
        simulation.start()
        simulation.expect("height", lambda: simulation.height(3), 60)
        chain = simulation.machines[0].chain
        good = chain.finalized
        chain.finalized = evolve(good, hash=b"x" * 32)
        self.assertFalse(simulation.finalized_agree())
        chain.finalized = evolve(good, hash=b"x" * 32, height=good.height + 100)
        self.assertFalse(simulation.finalized_agree())
        chain.finalized, chain.conflict = good, object()
        self.assertFalse(simulation.finalized_agree())


class TlsTests(SynchronousTestCase):
    def test_nodes_over_the_security_of_production(self) -> None:
        simulation = Simulation(
            1,
            weather=Weather(low=0.005, high=0.1, loss=0.05),
            security=lambda machine, key: TlsSecurity(key, machine.now, 7, machine.host),
        )
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(4)
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(3), 30)
        hash = simulation.transfer(nodes[3], 5)
        simulation.expect("included", lambda: simulation.included([hash]), 20)
        nodes[1].kill()
        simulation.run_for(5)
        simulation.start(nodes[1])
        simulation.expect("one head", simulation.one_head, 10)
        simulation.stop()
        self.assertEqual(simulation.errors, [])


class OtherChainTests(SynchronousTestCase):
    def test_a_toy_chain_runs_unchanged(self) -> None:
        from chainp2p.testing.toychain import ToyChain

        def make(parts: ChainParts) -> Any:
            return ToyChain(now=parts.now)

        simulation = Simulation(1, make_chain=make)
        self.addCleanup(simulation.close)
        one, two = simulation.add_nodes(2, signers=0)
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(1), 10)
        result = simulation.submit(two, b"any bytes")
        simulation.expect("gossip", lambda: one.chain.transaction(result.hash) == b"any bytes", 10)
        one.chain.produce()
        simulation.expect("one head", lambda: simulation.height(1) and simulation.one_head(), 10)
