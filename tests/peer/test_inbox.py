"""Messages come in the order of the stream, a turn at a time, whatever the cut."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.peer.inbox import TURN, Inbox
from chainp2p.wire import CODEC, NewTransaction, Ping, encode
from chainp2p.wire.errors import WireError
from chainp2p.wire.frames import FrameReader, encode_frames


def stream(count, size=0):
    return b"".join(
        b"".join(encode_frames(0, number, encode(NewTransaction(bytes([number % 251]) * size))))
        for number in range(1, count + 1)
    )


class InboxTest(SynchronousTestCase):
    def setUp(self):
        self.inbox = Inbox(CODEC)

    def test_what_fits_into_a_turn_comes_at_once(self):
        self.inbox.add(stream(TURN))
        self.assertEqual(len(self.inbox.turn()), TURN)
        self.assertFalse(self.inbox)
        self.assertEqual(self.inbox.waiting, 0)

    def test_the_rest_waits_and_counts(self):
        self.inbox.add(stream(2 * TURN + 3, size=100))
        self.assertEqual(len(self.inbox.turn()), TURN)
        self.assertTrue(self.inbox)
        self.assertEqual(self.inbox.waiting, (TURN + 3) * 112)
        self.inbox.add(stream(1))
        self.assertEqual([len(self.inbox.turn()) for _ in range(3)], [TURN, 4, 0])
        self.assertFalse(self.inbox)
        self.assertEqual(self.inbox.waiting, 0)

    def test_partial_messages_wait_for_nothing(self):
        data = stream(1, size=1_000)
        self.inbox.add(data[:500])
        self.assertEqual(self.inbox.turn(), [])
        self.assertFalse(self.inbox)
        self.assertGreater(self.inbox.partial, 400)
        self.inbox.add(data[500:])
        self.assertEqual(len(self.inbox.turn()), 1)
        self.assertEqual(self.inbox.partial, 0)

    def test_a_fault_comes_in_its_turn(self):
        bad = b"\xff" * 20
        self.inbox.add(stream(TURN + 1) + bad)
        self.assertEqual(len(self.inbox.turn()), TURN)
        *_, fault = self.inbox.turn()
        self.assertIsInstance(fault, WireError)
        self.assertEqual(fault.reason, Reason.OVERSIZE)

    def test_unknown_messages_have_turns_too(self):
        self.inbox.add(b"".join(encode_frames(0, 1, b"\xe7\x03\0\0")[0] for _ in range(TURN + 1)))
        self.assertEqual([len(self.inbox.turn()) for _ in range(2)], [TURN, 1])

    def test_clear(self):
        self.inbox.add(stream(TURN + 1))
        self.inbox.turn()
        self.inbox.add(stream(1))
        self.inbox.clear()
        self.assertEqual((bool(self.inbox), self.inbox.waiting, self.inbox.turn()), (False, 0, []))

    @given(st.lists(st.integers(0, 400), max_size=20), st.lists(st.booleans(), max_size=40))
    @settings(deadline=None, derandomize=True)
    def test_any_cut_gives_what_the_reader_gives(self, cuts, turns):
        whole = stream(150, size=3) + b"".join(encode_frames(1, 9, encode(Ping(1))))
        expected = FrameReader(CODEC).feed(whole)
        inbox, given_, at, turns = Inbox(CODEC), [], 0, iter(turns)
        for size in [*cuts, len(whole)]:
            inbox.add(whole[at : at + size])
            at += size
            while next(turns, False):
                given_.append(inbox.turn())
        while inbox:
            given_.append(inbox.turn())
        self.assertEqual([one for turn in given_ for one in turn], expected)
        self.assertLessEqual(max(map(len, given_)), TURN)
        self.assertEqual(inbox.waiting, 0)
