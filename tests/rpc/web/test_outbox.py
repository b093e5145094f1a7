"""The queue of a slow reader against a naive model."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.outbox import LOT, Outbox


class Outboxes(SynchronousTestCase):
    def test_nothing_waits(self) -> None:
        box = Outbox(2, 10)
        self.assertFalse(box)
        self.assertEqual(box.take(), b"")

    def test_the_ring_is_bounded_by_number_and_by_bytes(self) -> None:
        box = Outbox(2, 10)
        self.assertEqual([box.event(b"a") for _ in range(3)], [True, True, False])
        self.assertEqual((box.take(), box.dropped), (b"aa", 1))
        self.assertEqual([box.event(b"b" * 6), box.event(b"c" * 6), box.event(b"d" * 4)], [True, False, True])
        self.assertEqual((box.take(), box.dropped), (b"bbbbbbdddd", 2))

    def test_an_empty_ring_takes_one_of_any_size(self) -> None:
        box = Outbox(2, 10)
        box.answer(b"x")
        self.assertTrue(box.event(b"e" * 100))
        self.assertFalse(box.event(b"f"))

    def test_answers_always_fit_and_leave_in_lots_of_whole_frames(self) -> None:
        box = Outbox(1, 1)
        for index in range(7):
            box.answer(bytes([index]) * 30_000)
        lots = []
        while box:
            lots.append(box.take())
        self.assertEqual([len(lot) for lot in lots], [90_000, 90_000, 30_000])
        self.assertEqual(b"".join(lots), b"".join(bytes([index]) * 30_000 for index in range(7)))

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.sampled_from("aet"), st.integers(1, 3 * LOT))))
    def test_bytes_come_out_in_order_whatever_happens(self, steps: list[tuple[str, int]]) -> None:
        box, put, got = Outbox(3, LOT), b"", b""
        for index, (what, size) in enumerate(steps):
            data = bytes([index % 256]) * size
            if what == "a":
                box.answer(data)
                put += data
            elif what == "e":
                put += data if box.event(data) else b""
            else:
                got += box.take()
        while box:
            got += box.take()
        self.assertEqual(got, put)
        self.assertTrue(box.event(b"x" * LOT * 2))
