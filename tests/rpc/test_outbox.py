"""The queue of a slow reader against a naive model."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.outbox import PIECE, Outbox


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

    def test_answers_always_fit_and_leave_in_pieces(self) -> None:
        box = Outbox(1, 1)
        big = bytes(range(256)) * 1_000
        box.answer(big)
        box.answer(b"end")
        pieces = []
        while box:
            pieces.append(box.take())
        self.assertEqual(b"".join(pieces), big + b"end")
        self.assertTrue(all(len(piece) == PIECE for piece in pieces[:-1]))

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.sampled_from("aet"), st.integers(1, 3 * PIECE))))
    def test_bytes_come_out_in_order_whatever_happens(self, steps: list[tuple[str, int]]) -> None:
        box, put, got = Outbox(3, PIECE), b"", b""
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
        self.assertTrue(box.event(b"x" * PIECE * 2))
