"""Where we are in one address family: who is believed before whom."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.own import Place
from chainp2p.peer.votes import EndpointVotes
from chainp2p.peer.whereabouts import Whereabouts


class WhereaboutsTest(SynchronousTestCase):
    def setUp(self):
        self.votes = EndpointVotes(lambda live: 2)
        self.here = Whereabouts(4)
        self.here.listen(None, 30_303, 30_304)

    def seen(self, ip, *peers, port=None):
        for peer in peers:
            self.votes.vote(peer, "10.0.0.1", ip, 0.0, port)
        return self.judged()

    def judged(self):
        self.here.judge(self.votes)
        return self.here.place()

    def test_votes(self):
        self.assertEqual(self.here.place(), Place(None, 30_303, 30_304))
        self.assertEqual(self.seen("9.9.9.9", b"1"), Place(None, 30_303, 30_304))
        self.assertEqual(self.seen("9.9.9.9", b"2"), Place("9.9.9.9", 30_303, 30_304))
        self.assertEqual(self.seen("9.9.9.9", b"1", b"2", port=4_000), Place("9.9.9.9", 30_303, 4_000))
        self.assertEqual(self.seen("9.9.9.8", b"1"), Place("9.9.9.9", 30_303, 4_000))
        self.assertEqual(self.seen("9.9.9.7", b"2"), Place(None, 30_303, 30_304))  # nobody is left, two contradict
        self.assertEqual(self.seen("9.9.9.7", b"1"), Place("9.9.9.7", 30_303, 30_304))

    def test_the_operator_is_right(self):
        for external, port in (("8.8.8.8", None), ("8.8.8.8", 99)):
            self.here.external = external, port
            self.here.mapping = Place("7.7.7.7", 1, 2)
            self.assertEqual(self.seen("9.9.9.9", b"1", b"2"), Place("8.8.8.8", port or 30_303, 30_304))

    def test_an_interface_is_right(self):
        for interface in ("8.8.4.4", "10.0.0.7"):
            self.here.listen(interface, 1, 2)
            self.assertEqual(self.seen("9.9.9.9", b"1", b"2", port=5), Place(interface, 1, 2))

    def test_a_mapping(self):
        self.here.mapping = Place("7.7.7.7", 41, 42)
        self.assertEqual(self.judged(), Place("7.7.7.7", 41, 42))
        self.assertEqual(self.seen("7.7.7.7", b"1", b"2", port=5), Place("7.7.7.7", 41, 42))
        self.assertEqual(self.seen("9.9.9.9", b"1"), Place("7.7.7.7", 41, 42))
        self.assertEqual(self.seen("9.9.9.8", b"2"), Place("7.7.7.7", 41, 42))
        self.assertEqual(self.seen("9.9.9.8", b"1"), Place("9.9.9.8", 41, 42))
        self.here.mapping = None
        self.assertEqual(self.judged(), Place("9.9.9.8", 30_303, 30_304))
        self.here.mapping = Place("7.7.7.7", None, 42)
        self.assertEqual(self.judged(), Place("9.9.9.8", 30_303, 42))
        self.assertEqual(self.seen("7.7.7.7", b"1", b"2"), Place("7.7.7.7", 30_303, 42))

    def test_a_mapping_to_an_interface(self):
        mapping = Place("7.7.7.7", 41, 42)
        self.here.listen("8.8.4.4", 1, 2)
        self.here.mapping = mapping
        self.assertEqual(self.judged(), Place("8.8.4.4", 1, 2))
        self.here.listen("10.0.0.7", 1, 2)
        self.assertEqual(self.judged(), mapping)
        self.assertEqual(self.seen("9.9.9.9", b"1", b"2"), Place("9.9.9.9", 41, 42))
        self.here.mapping = None
        self.assertEqual(self.judged(), Place("10.0.0.7", 1, 2))

    def test_nowhere(self):
        self.here.listen(None, None, None)
        self.assertTrue(self.here.absent)
        self.assertEqual(self.seen("9.9.9.9", b"1", b"2"), Place())
        self.here.mapping = Place("7.7.7.7", 1, 2)
        self.assertFalse(self.here.absent)
        self.assertEqual(self.here.place(), Place("7.7.7.7", 1, 2))
