"""Four signers and one trouble: nobody is left alone, nobody is banned, and the others seal on."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.peer.conduct import SentenceKind
from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis
from chainp2p.testing.consortium import LENGTH, Trouble, consortium_in_trouble

#: The sweep in ``benchmarks`` plays 200.
SEEDS = (1, 2)


class TroubleTests(SynchronousTestCase):
    def test_every_trouble(self) -> None:
        for trouble in Trouble:
            for seed in SEEDS:
                outcome = consortium_in_trouble(seed, trouble)
                self.assertTrue(outcome.good, outcome)
                self.assertGreaterEqual(outcome.least, 1, outcome)

    def test_one_seed_is_one_course_of_events(self) -> None:
        first, second = (consortium_in_trouble(3, Trouble.MISTAKE, LENGTH / 3) for _ in range(2))
        self.assertEqual(first.event_log, second.event_log)


class BugTests(SynchronousTestCase):
    """All the others take one node's bug for an attack."""

    def setUp(self) -> None:
        self.simulation = Simulation(
            5, make_chain=ledger_chain(ledger_genesis(4, 1.0)), weather=Weather(low=0.005, high=0.05)
        )
        self.addCleanup(self.simulation.close)

    def blame(self, bad: object, others: list[object]) -> None:
        for machine in others:
            (link,) = [one for one in machine.node.network.links() if one.peer_id == bad.key.peer_id]
            link.fault(Reason.MISBEHAVED, "a bug")
            (sentence,) = machine.node.network.bans()
            self.assertEqual((sentence.kind, sentence.rule), (SentenceKind.WAIT, self.rule))

    def check(self) -> None:
        simulation = self.simulation
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(3), 30)
        bad, *others = simulation.machines
        for wait in (60, 120):
            self.blame(bad, others)
            simulation.run_for(wait - 1)
            self.assertEqual([machine.peers for machine in simulation.machines], [0, 2, 2, 2])
            # the longest wait between dials of the profile, and its jitter
            simulation.expect("all linked again", lambda: simulation.linked(3), 1 + 30 * 1.25 + 1)
        simulation.expect("one head", simulation.one_head, 30)
        self.assertTrue(simulation.finalized_agree())
        self.assertEqual(simulation.errors, [])

    def test_where_nobody_is_held_a_ban_would_leave_too_few(self) -> None:
        self.rule = "ban_spared_few_peers"
        nodes = self.simulation.add_nodes(4, signers=4)
        for machine in nodes[1:]:
            # they find the first one by what it tells of itself; none of them holds it
            network = evolve(machine.settings.network, bootstrap_nodes=())
            machine.settings = evolve(machine.settings, network=network)
        first = evolve(nodes[0].settings.network, static_nodes=tuple(machine.address for machine in nodes[1:]))
        nodes[0].settings = evolve(nodes[0].settings, network=first)
        self.check()

    def test_held(self) -> None:
        self.rule = "ban_spared_held"
        self.simulation.add_nodes(4, signers=4)
        self.check()
