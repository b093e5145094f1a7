"""The greeting as a table: every order of messages, and what each refusal is called."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.peer.handshake import Greeting, Proven, Stage, check_settings
from chainp2p.wire.messages import Ack, GetPeers, Hello, Status

G, THEM, US = b"\x01" * 32, b"\xaa" * 32, b"\xbb" * 32
S0, S1, S2 = (0, b"\x05" * 32), (100, b"\x06" * 32), (100, b"\x07" * 32)


def status(settings=(S0,), height=0):
    return Status("x", 0, 0, 1, G, height, bytes(32), b"", settings, (b"", 0), ())


def greeting(settings=(S0,), height=0):
    return Greeting(THEM, G, settings, height)


class OrderTest(SynchronousTestCase):
    """Hello, Ack, Status and nothing else."""

    def test_every_sequence_of_three(self):
        messages = (Hello(1, G, 0), Ack(THEM), status(), GetPeers())
        for sequence in product(messages, repeat=3):
            table = greeting()
            try:
                stages = [table.received(message) for message in sequence]
            except PeerFault as fault:
                self.assertIs(fault.reason, Reason.OUT_OF_ORDER)
                self.assertNotEqual(sequence, messages[:3])
            else:
                self.assertEqual(sequence, messages[:3])
                self.assertEqual(stages, [Stage.ACK, Stage.STATUS, Stage.READY])
                self.assertRaises(PeerFault, table.received, messages[0])

    def refused(self, *messages, table=None):
        table = table or greeting()
        for message in messages[:-1]:
            table.received(message)
        return self.assertRaises(PeerFault, table.received, messages[-1])

    def test_reasons(self):
        self.assertIs(self.refused(Hello(1, US, 0)).reason, Reason.WRONG_GENESIS)
        for version in (0, 2):
            fault = self.refused(Hello(version, G, 0))
            self.assertIs(fault.reason, Reason.WRONG_VERSION)
            self.assertIs(fault.penalty, Penalty.INCOMPATIBLE)
        self.assertIs(self.refused(Hello(1, G, 0), Ack(US)).reason, Reason.WRONG_PEER_ID)
        self.assertIs(self.refused(Hello(1, G, 0), Ack(THEM), status((S1,))).reason, Reason.WRONG_SETTINGS)

    def test_whoever_is_meant(self):
        Proven(THEM, None).check(US)
        Proven(THEM, THEM).check(US)
        self.assertIs(self.assertRaises(PeerFault, Proven(THEM, G).check, US).reason, Reason.WRONG_PEER_ID)
        self.assertIs(self.assertRaises(PeerFault, Proven(US, US).check, US).reason, Reason.SELF)


class SettingsTest(SynchronousTestCase):
    """Settings must agree where both have been."""

    def test_equal(self):
        self.assertIsNone(check_settings((S0, S1), (S1, S0), 1_000))

    def test_later_difference_warns_until_it_is_reached(self):
        self.assertIn("100", check_settings((S0, S1), (S0, S2), 99) or "")
        self.assertIn("100", check_settings((S0, S1), (S0,), 99) or "")
        fault = self.assertRaises(PeerFault, check_settings, (S0, S1), (S0, S2), 100)
        self.assertIn("06060606", fault.detail)
        self.assertIn("07070707", fault.detail)

    def test_each_side_says_it_so_that_it_means_the_same_on_the_other(self):
        """Height, both hashes, since when, and whose they are."""
        fault = self.assertRaises(PeerFault, check_settings, (S0, S1), (S0, S2), 100, US, THEM)
        self.assertIn("differ from height 100 on", fault.detail)
        self.assertIn("node bbbbbbbb has 06060606, set at height 100", fault.detail)
        self.assertIn("node aaaaaaaa has 07070707, set at height 100", fault.detail)
        warning = check_settings((S0, S1), (S0,), 99, US, THEM)
        self.assertIn("will differ from height 100 on (the lower head is 99)", warning)
        self.assertIn("node aaaaaaaa has 05050505, set at height 0", warning)
        self.assertLess(len(fault.detail), 256)

    def test_one_has_none(self):
        self.assertIn("none", self.assertRaises(PeerFault, check_settings, (S0,), (), 0).detail)

    def test_lower_head_counts(self):
        table = greeting((S0, S1), height=500)
        for message in (Hello(1, G, 50), Ack(THEM), status((S0, S2), height=50)):
            table.received(message)
        self.assertIn("100", table.warning)
