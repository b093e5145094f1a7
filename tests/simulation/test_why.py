"""Everything that goes wrong, planted from outside: ``why`` names the cause."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.why import State
from chainp2p.testing.faults import FAULTS
from chainp2p.testing.planting import Question, Scene, plant, rounds

#: Of 30.
NAMED = 28
BY_NAME = {fault.name: fault for fault in FAULTS}


class WhyTests(SynchronousTestCase):
    def test_the_cause_is_named(self) -> None:
        self.assertGreaterEqual(len(FAULTS), 30)
        for seed in (1,):
            planted = [
                one for number, faults in enumerate(rounds(seed, FAULTS)) for one in plant(f"{seed}/{number}", faults)
            ]
            missed = [(one.fault.name, one.answer.code, one.answer.line) for one in planted if not one.named]
            self.assertEqual(len(planted), len(FAULTS))
            self.assertGreaterEqual(len(planted) - len(missed), len(planted) * NAMED / 30, f"seed {seed}: {missed}")
            for one in planted:
                self.assertIn(one.answer.code, one.answer.line)

    def test_a_third_is_planted_in_pairs(self) -> None:
        for seed in range(20):
            found = rounds(seed, FAULTS)
            self.assertEqual(sorted(fault.name for faults in found for fault in faults), sorted(BY_NAME))
            paired = sum(len(faults) for faults in found if len(faults) == 2)
            self.assertLessEqual(abs(paired - len(FAULTS) / 3), 1)
            self.assertFalse(any(fault.alone for faults in found if len(faults) == 2 for fault in faults))
        self.assertNotEqual(rounds(1, FAULTS), rounds(2, FAULTS))

    def test_nothing_is_wrong_with_honest_peers(self) -> None:
        scene = Scene(3)
        self.addCleanup(scene.close)
        question = BY_NAME["bad_block"].act(scene)
        scene.run(100.0)
        self.assertEqual(scene.ask(question).state, State.BARRED)
        for machine in scene.simulation.machines[:4]:
            answer = scene.ask(Question("peer", machine.key.peer_id))
            self.assertEqual((answer.state, answer.code), (State.HERE, "connected"))
