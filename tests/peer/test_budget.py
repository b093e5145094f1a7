"""Who pays when the process holds too much: never a link within its share."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.budget import PROCESS_LIMIT, Holding, ReceiveBudget, who_pays

HOLDINGS = st.dictionaries(
    st.integers(0, 20), st.builds(Holding, st.integers(1, 50), st.none() | st.floats(0, 100)), min_size=1
)


class WhoPaysTest(SynchronousTestCase):
    def test_the_oldest_partial_among_those_above_their_share(self):
        holdings = {
            "within its share, and older": Holding(10, 1.0),
            "above, oldest": Holding(50, 5.0),
            "above, younger": Holding(60, 6.0),
            "above, whole messages": Holding(70, None),
        }
        self.assertEqual(who_pays(holdings, 180), "above, oldest")

    def test_without_partials_the_largest(self):
        self.assertEqual(who_pays({"a": Holding(7, None), "b": Holding(9, None), "c": Holding(1, 2.0)}, 15), "b")

    @given(HOLDINGS)
    @settings(deadline=None, derandomize=True)
    def test_somebody_pays_and_it_is_nobody_within_the_share(self, holdings):
        limit = sum(one.held for one in holdings.values()) - 1
        self.assertGreater(holdings[who_pays(holdings, limit)].held, limit / len(holdings))


class ReceiveBudgetTest(SynchronousTestCase):
    def test_counts_what_is_held_now(self):
        budget = ReceiveBudget(self.fail)
        budget.holds("a", 8, None)
        budget.holds("b", 3, 1.0)
        budget.holds("a", 5, None)
        self.assertEqual((budget.total, len(budget), budget.limit), (8, 2, PROCESS_LIMIT))
        budget.holds("a", 0, None)
        budget.holds("c", 0, None)
        self.assertEqual((budget.total, len(budget)), (3, 1))

    def test_ends_links_until_it_is_enough(self):
        ended = []

        def short(link):
            ended.append(link)
            budget.holds(link, 0, None)

        budget = ReceiveBudget(short, limit=10)
        for link in "abcd":
            budget.holds(link, 2, None)
        budget.holds("e", 9, None)
        self.assertEqual((ended, budget.total), (["e"], 8))
        budget.limit = 3
        budget.holds("d", 3, None)
        self.assertEqual((ended[1:], budget.total), (["d", "a", "b"], 2))

    def test_a_link_that_does_not_end_is_told_once_a_change(self):
        told = []
        budget = ReceiveBudget(told.append, limit=10)
        budget.holds("a", 11, None)
        self.assertEqual(told, ["a"])

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=60))
    @settings(deadline=None, derandomize=True)
    def test_never_more_than_the_limit(self, changes):
        model = {}

        def short(link):
            self.assertGreater(model[link], 20 / sum(held > 0 for held in model.values()))
            model[link] = 0
            budget.holds(link, 0, None)

        budget = ReceiveBudget(short, limit=20)
        for link, held in changes:
            model[link] = held
            budget.holds(link, held, None)
            self.assertEqual(budget.total, sum(model.values()))
            self.assertLessEqual(budget.total, 20)
