"""One timer for all pings, against a timer for each."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.pings import TOGETHER, Pings

PERIOD = 20.0
_STEPS = st.lists(
    st.tuples(st.sampled_from("armt"), st.integers(0, 5), st.floats(0.0, 9.0)),
    max_size=60,
)


class Asked(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[int, float]] = []
        self.silent: set[int] = set()
        self.pings = Pings(self.clock, PERIOD, self.ping)

    def ping(self, who: int) -> bool:
        self.asked.append((who, self.clock.seconds()))
        return who not in self.silent

    @settings(deadline=None, derandomize=True)
    @given(_STEPS)
    def test_everybody_is_asked_once_in_a_period(self, steps: list[tuple[str, int, float]]) -> None:
        self.setUp()
        last: dict[int, float] = {}
        for what, who, seconds in steps:
            if what == "a" and who not in last:
                last[who] = self.clock.seconds()
                self.pings.add(who)
            elif what == "r":
                last.pop(who, None)
                self.pings.remove(who)
            elif what == "t":
                self.asked.clear()
                # as a reactor does: no timer is more than a moment late
                self.clock.pump([0.125] * int(seconds * 8))
                for one, when in self.asked:
                    waited = when - last[one]
                    self.assertTrue(PERIOD * (1 - TOGETHER) - 1e-6 <= waited <= PERIOD + 0.126, (one, waited))
                    last[one] = when
            for one, since in last.items():
                self.assertLessEqual(self.clock.seconds() - since, PERIOD + 0.126, one)
            self.assertEqual(len(self.clock.getDelayedCalls()), bool(last))

    def test_who_is_given_up_is_not_asked_again(self) -> None:
        self.silent.add(1)
        self.pings.add(1)
        self.pings.add(2)
        self.clock.pump([1.0] * 45)
        self.assertEqual([who for who, _ in self.asked], [1, 2, 2])

    def test_one_that_ends_another(self) -> None:
        def ping(who: int) -> bool:
            self.asked.append((who, self.clock.seconds()))
            pings.remove(2)
            return who != 1

        pings = Pings(self.clock, PERIOD, ping)
        pings.add(1)
        pings.add(2)
        self.clock.advance(PERIOD)
        self.assertEqual([who for who, _ in self.asked], [1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
