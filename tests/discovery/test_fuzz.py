"""A short run of what ``benchmarks/fuzz_discovery.py`` does for longer, and proof that it sees faults."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery import conversations
from chainp2p.testing.footprint import BOUNDS
from chainp2p.testing.fuzzing import DiscoveryFuzz, FuzzError


class FuzzTest(SynchronousTestCase):
    def play(self, cases=4_000, seed=7):
        fuzz = DiscoveryFuzz(seed)
        fuzz.start()
        return fuzz, fuzz.run(cases)

    def test_a_short_run(self):
        fuzz, result = self.play()
        self.assertEqual(sum(result.kinds.values()), 4_000)
        self.assertTrue(all(result.kinds[kind] for kind in fuzz.cases))
        self.assertEqual(result.asked, 9 * len(fuzz.honest))
        self.assertEqual(set(result.largest), set(BOUNDS))
        count, sent, got = result.strangers
        self.assertGreater(count, 100)
        self.assertTrue(0 < got < sent)
        # it has come to where it can do harm
        for cause in ("proof", "message", "topic", "repeated", "challenge for nothing", "record", "answer to nothing"):
            self.assertGreater(result.dropped[cause], 0, cause)
        self.assertGreater(result.largest["table"], 20)

    def test_the_same_seed_is_the_same_run(self):
        self.assertEqual(self.play(500)[1], self.play(500)[1])

    def test_a_session_that_ends_is_seen(self):
        def forgetful(self, peer, packet, now):
            self.sessions._forget(peer) if self.sessions.get(peer) else None
            return []

        self.patch(conversations.Conversations, "_taken_up", forgetful)
        self.assertRaises(FuzzError, self.play)

    def test_an_answer_that_is_too_large_is_seen(self):
        ask = conversations.Conversations._challenge

        def generous(self, peer, nonce, now):
            return [*ask(self, peer, nonce, now), *ask(self, peer, nonce, now)]

        self.patch(conversations.Conversations, "_challenge", generous)
        with self.assertRaisesRegex(AssertionError, "is a stranger"):
            self.play()

    def test_a_container_without_bound_is_seen(self):
        self.patch(conversations.Conversations, "drop", lambda self, cause: self.dropped.update({len(self.dropped): 1}))
        with self.assertRaisesRegex(FuzzError, "causes"):
            self.play()

    def test_a_fault_comes_through(self):
        def broken(data):
            raise IndexError(data[99])

        self.patch(conversations, "decode_message", broken)
        fuzz = DiscoveryFuzz(1)
        self.assertRaises(IndexError, fuzz.start)
