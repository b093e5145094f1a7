"""What requests hold, against sums made anew."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.memory import FREE, RequestMemory, Share

_LIMIT = 3 * FREE
_STEPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2 * FREE), st.sampled_from("tgc")), max_size=60)


class Shares(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(_STEPS)
    def test_the_total_is_what_all_hold_above_what_is_free(self, steps: list[tuple[int, int, str]]) -> None:
        memory = RequestMemory(_LIMIT)
        shares = [Share(memory) for _ in range(5)]
        held = [0] * 5
        for who, count, what in steps:
            if what == "t":
                after = held[:who] + [held[who] + count] + held[who + 1 :]
                fits = held[who] + count <= FREE or sum(max(0, one - FREE) for one in after) <= _LIMIT or not count
                self.assertEqual(shares[who].take(count), fits)
                held = after if fits else held
            elif what == "g":
                shares[who].give(count)
                held[who] = max(0, held[who] - count)
            else:
                shares[who].close()
                held[who] = 0
            self.assertEqual([one.held for one in shares], held)
            self.assertEqual(memory.total, sum(max(0, one - FREE) for one in held))
            self.assertLessEqual(memory.total, _LIMIT)
