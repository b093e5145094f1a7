"""What a peer was told is remembered as long as it matters."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.transactions.told import FETCHED_AFTER, Told


class ToldTests(SynchronousTestCase):
    def test_who_was_told_lacks_it_until_it_had_the_time_to_fetch_it(self) -> None:
        told = Told()
        self.assertTrue(told.lacks(b"a", 0.0))
        told.tell((b"a",), 0.0, whole=False)
        self.assertTrue(told.lacks(b"a", FETCHED_AFTER / 2))
        self.assertFalse(told.lacks(b"a", FETCHED_AFTER))
        told.tell((b"b",), 0.0, whole=True)
        self.assertFalse(told.lacks(b"b", 0.0))

    def test_who_fetched_it_has_it_and_may_fetch_it_again(self) -> None:
        told = Told()
        told.tell((b"a",), 0.0, whole=False)
        told.has((b"a",))
        self.assertFalse(told.lacks(b"a", 0.1))
        self.assertEqual((told.lacking((b"a", b"b")), list(told.lately)), ([b"b"], [b"a"]))

    def test_what_came_again_is_news_once_unless_it_says_so_itself(self) -> None:
        told = Told()
        told.has((b"a", b"b", b"c"))
        told.anew.update((b"a", b"b"))
        told.has((b"b",))
        self.assertEqual(told.lacking((b"a", b"b", b"c", b"d")), [b"a", b"d"])
        self.assertEqual(told.lacking((b"a", b"b", b"c")), [])

    def test_what_is_long_ago_is_forgotten(self) -> None:
        told = Told()
        for n in range(10):
            told.tell((bytes([n]),), float(n), whole=False)
        told.trim(10.0, 0.2)  # not before it may have been fetched
        self.assertEqual(list(told.lately), [])
        told.tell((b"a",), 10.0, whole=False)
        told.trim(10.5, 0.2)
        self.assertEqual((list(told.lately), told.fetching), ([b"a"], {b"a"}))
        told.trim(12.0, 3.0)
        self.assertEqual(list(told.lately), [b"a"])
        self.assertFalse(told.lacks(b"a", 12.0))
