"""Frames: every cut of the stream, interleaving, refusals before anything is kept."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p import wire
from chainp2p.errors import Reason
from chainp2p.testing.strategies import messages
from chainp2p.wire.frames import BODY_LIMIT, HEADER, FrameReader, Incoming, Received, Skipped, encode_frames

H = bytes(32)


def frame(message_id: int, kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(6 + len(body), message_id, kind, flags) + body


def stream_of(*sent: wire.Message) -> bytes:
    return b"".join(b"".join(encode_frames(m.spec.kind, n, wire.encode(m))) for n, m in enumerate(sent, 1))


def told(received: list[Received]) -> list[object]:
    """What a reader gave, comparable: a fault by its reason."""
    return [item.reason if isinstance(item, wire.WireError) else item for item in received]


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut *data* into pieces of the sizes in *cuts*, again and again."""
    pieces, at, turn = [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        pieces.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


#: Frames that are right, nearly right, and anything at all.
PIECES = st.one_of(
    messages().map(stream_of),
    st.builds(
        frame,
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 2),
        st.one_of(
            st.binary(max_size=20),
            st.builds(lambda tag, body: tag.to_bytes(4, "little") + body, st.integers(0, 30), st.binary(max_size=60)),
            st.builds(lambda tag: tag.to_bytes(4, "little") * 16_384, st.sampled_from([2, 4, 7, 9, 18, 20, 99])),
        ),
    ),
    st.binary(max_size=12),
)


class Reading(SynchronousTestCase):
    def test_layout_of_a_frame(self) -> None:
        (data,) = encode_frames(1, 7, wire.encode(wire.Ping(5)))
        self.assertEqual(data.hex(), "120000000700000001000d0000000500000000000000")

    def test_every_cut_in_two(self) -> None:
        sent = (wire.Ping(1), wire.NewBlock(b"block"), wire.GetMempool())
        data = stream_of(*sent)
        for cut in range(len(data) + 1):
            reader = FrameReader()
            received = reader.feed(data[:cut]) + reader.feed(data[cut:])
            self.assertEqual([item.message for item in received], list(sent))
            self.assertEqual(reader.buffered, 0)

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.lists(messages(), max_size=6), st.lists(st.integers(1, 90), min_size=1))
    def test_any_cuts(self, sent: list[wire.Message], cuts: list[int]) -> None:
        reader = FrameReader()
        received = [item for data in cut_up(stream_of(*sent), cuts) for item in reader.feed(data)]
        self.assertEqual([(item.id, item.message) for item in received], list(enumerate(sent, 1)))

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(st.lists(PIECES, max_size=6), st.lists(st.integers(1, 70_000), min_size=1, max_size=3))
    def test_the_cut_never_changes_what_is_told(self, pieces: list[bytes], cuts: list[int]) -> None:
        data = b"".join(pieces)
        whole, cut = FrameReader(), FrameReader()
        expected = whole.feed(data)
        received = [item for piece in cut_up(data, cuts) for item in cut.feed(piece)]
        self.assertEqual(told(received), told(expected))
        self.assertEqual(cut.buffered, whole.buffered)
        self.assertLessEqual(whole.buffered, len(data))

    def test_large_messages_in_any_reads(self) -> None:
        sent = [
            wire.NewBlock(bytes(range(256)) * 700),
            wire.Blocks((b"x" * 150_000, b"", b"y" * 3)),
            wire.NewBlock(b""),
            wire.NewTransaction(bytes(range(256)) * 400),
            wire.Mempool((H,) * 6_000),
        ]
        data = stream_of(*sent)
        for size in (1_448, 13, 16_384, 65_536, 65_546, 65_557, 1 << 20):
            reader = FrameReader()
            received = [item for piece in cut_up(data, [size]) for item in reader.feed(piece)]
            self.assertEqual([item.message for item in received], sent, size)
            self.assertEqual(reader.buffered, 0)

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_arbitrary_bytes_raise_only_wire_errors(self, pieces: list[bytes]) -> None:
        reader = FrameReader()
        try:
            for piece in pieces:
                reader.feed(piece)
        except wire.WireError:
            pass

    def test_large_messages_are_fragmented_and_interleave(self) -> None:
        block, blocks = wire.NewBlock(bytes(200_000)), wire.Blocks((b"x" * 150_000,))
        first, second = encode_frames(0, 1, wire.encode(block)), encode_frames(2, 1, wire.encode(blocks))
        self.assertEqual([len(f) for f in first], [BODY_LIMIT + 10] * 3 + [200_012 - 3 * BODY_LIMIT + 10])
        mixed = [first[0], second[0], first[1], second[1], first[2], first[3], second[2]]
        reader = FrameReader()
        received = [item for data in mixed for item in reader.feed(data)]
        self.assertEqual([item.message for item in received], [block, blocks])
        self.assertEqual(received[0].size, 200_012)

    def test_buffered_counts_what_is_kept(self) -> None:
        reader = FrameReader()
        first = encode_frames(0, 1, wire.encode(wire.NewBlock(bytes(200_000))))[0]
        reader.feed(first)
        self.assertEqual(reader.buffered, BODY_LIMIT)
        reader.feed(b"\1\2\3")
        self.assertEqual(reader.buffered, BODY_LIMIT + 3)

    def test_nothing_of_an_unknown_tag_is_kept_when_its_frame_is_cut(self) -> None:
        reader = FrameReader()
        body = (99).to_bytes(4, "little") + bytes(1_000)
        for piece in cut_up(frame(1, 2, 0, body), [14, 300]):
            received = reader.feed(piece)
            self.assertEqual(reader.buffered, 0)
        self.assertEqual(received, [Skipped(wire.Kind.REPLY, 1, 99, 1_004)])

    def test_what_came_before_a_fault_is_told(self) -> None:
        received = FrameReader().feed(stream_of(wire.Ping(1), wire.GetMempool()) + frame(0, 0, 0, b"abcd"))
        self.assertEqual([type(item) for item in received], [Incoming, Incoming, wire.WireError])

    def test_a_whole_message_passes_a_partial_one_of_its_class(self) -> None:
        reader = FrameReader()
        first, second = encode_frames(0, 1, wire.encode(wire.NewBlock(bytes(70_000))))
        received = reader.feed(first + frame(2, 0, 0, wire.encode(wire.NewBlock(b"b"))) + second)
        self.assertEqual([item.message.block for item in received], [b"b", bytes(70_000)])

    def test_larger_messages_of_a_chain(self) -> None:
        codec = wire.Codec(wire.CORE.raised(16 << 20))
        block = wire.NewBlock(bytes(9 << 20))
        data = b"".join(encode_frames(0, 1, codec.encode(block)))
        (item,) = FrameReader(codec).feed(data)
        self.assertEqual(item.message, block)
        (fault,) = FrameReader().feed(data)
        self.assertEqual(fault.reason, Reason.OVERSIZE)
        unknown = (99).to_bytes(4, "little") + bytes(BODY_LIMIT - 4)
        self.assertEqual(FrameReader(codec).feed(frame(1, 0, 1, unknown) * 256), [])

    def test_reading_takes_at_most_six_times_the_bytes(self) -> None:
        for message in (
            wire.Mempool(tuple(n.to_bytes(32, "big") for n in range(50_000))),
            wire.AnnounceTransactions(tuple((n.to_bytes(32, "big"), 2**32 - 1 - n) for n in range(5_000))),
            wire.Headers(tuple(bytes(1 + n % 3) for n in range(2_000))),
            wire.NewBlock(bytes(3 << 20)),
        ):
            for size in (1_448, 65_536):
                data = cut_up(stream_of(message), [size])
                total = sum(map(len, data))
                tracemalloc.start()
                reader = FrameReader()
                for piece in data:
                    received = reader.feed(piece)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                self.assertEqual(received[0].message, message)
                self.assertLessEqual(peak, 6 * total + 64 * 1024, type(message).__name__)

    def test_crumbs_cost_little_more_than_they_are(self) -> None:
        message = wire.NewBlock(bytes(range(250)) * 400)
        for size in (1, 2, 7, 100):
            data = cut_up(stream_of(message), [size])
            reader = FrameReader()
            tracemalloc.start()
            for piece in data[:-1]:
                # a read of the transport: an object of its own
                self.assertEqual(reader.feed(bytes(bytearray(piece))), [])
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            self.assertLessEqual(held, 2 * 100_000 + 8 * 1024, size)
            self.assertEqual(reader.feed(data[-1])[0].message, message)

    def test_unknown_tags_are_skipped_unstored(self) -> None:
        reader = FrameReader()
        tag = (99).to_bytes(4, "little")
        body = tag + bytes(BODY_LIMIT - 4)
        received = reader.feed(frame(1, 1, 0, tag + b"abc"))
        for _ in range(10):
            received += reader.feed(frame(2, 0, 1, body))
            self.assertEqual(reader.buffered, 0)
        received += reader.feed(frame(2, 0, 0, b"end") + stream_of(wire.Ping(1)))
        self.assertEqual(received[0], Skipped(wire.Kind.REQUEST, 1, 99, 7))
        self.assertEqual(received[1], Skipped(wire.Kind.NOTIFICATION, 2, 99, 10 * BODY_LIMIT + 3))
        self.assertEqual(received[2], Incoming(wire.Kind.REQUEST, 1, wire.Ping(1), 12))


class Refusals(SynchronousTestCase):
    def refuse(self, data: bytes, reason: Reason, text: str) -> None:
        reader = FrameReader()
        (fault,) = reader.feed(data)
        assert isinstance(fault, wire.WireError)
        self.assertEqual(fault.reason, reason, fault.detail)
        self.assertIn(text, fault.detail)
        self.assertEqual((reader.feed(stream_of(wire.Ping(1))), reader.buffered), ([], 0))

    def test_headers(self) -> None:
        self.refuse(HEADER.pack(6, 1, 0, 0), Reason.MALFORMED_FRAME, "frame length 6")
        self.refuse(HEADER.pack(6 + BODY_LIMIT + 1, 1, 0, 0), Reason.OVERSIZE, "frame length 65543")
        self.refuse(HEADER.pack(2**32 - 1, 1, 0, 0), Reason.OVERSIZE, "frame length")
        self.refuse(frame(1, 3, 0, b"abcd"), Reason.MALFORMED_FRAME, "kind 3")
        self.refuse(frame(1, 0, 2, b"abcd"), Reason.MALFORMED_FRAME, "flags 2")
        self.refuse(frame(0, 0, 0, b"abcd"), Reason.MALFORMED_FRAME, "id 0")

    def test_bodies(self) -> None:
        self.refuse(frame(1, 0, 0, b"abc"), Reason.MALFORMED_FRAME, "first body of 3 bytes")
        self.refuse(frame(1, 0, 1, b"\2\0\0\0more"), Reason.MALFORMED_FRAME, "with more to follow")
        self.refuse(frame(1, 0, 0, wire.encode(wire.Ping(1))), Reason.MALFORMED_FRAME, "Ping as notification")
        self.refuse(frame(1, 1, 0, b"\x0d\0\0\0"), Reason.MALFORMED_MESSAGE, "Ping")

    def test_a_message_longer_than_its_kind(self) -> None:
        body = b"\x05\0\0\0" + bytes(BODY_LIMIT - 4)
        self.refuse(frame(1, 0, 1, body) * 3, Reason.OVERSIZE, "longer than 131084")
        self.refuse(frame(1, 0, 1, b"\x01\0\0\0" + bytes(BODY_LIMIT - 4)), Reason.OVERSIZE, "longer than 36")

    def test_a_second_partial_of_one_class(self) -> None:
        body = b"\x02\0\0\0" + bytes(BODY_LIMIT - 4)
        self.refuse(frame(1, 0, 1, body) + frame(2, 0, 1, body), Reason.MALFORMED_FRAME, "second partial")

    def test_too_many_unknown_in_progress(self) -> None:
        body = b"\x63\0\0\0" + bytes(BODY_LIMIT - 4)
        data = b"".join(frame(n, 0, 1, body) for n in range(1, 8))
        self.refuse(data, Reason.MALFORMED_FRAME, "unknown messages in progress")

    def test_an_endless_unknown_message(self) -> None:
        body = b"\x63\0\0\0" + bytes(BODY_LIMIT - 4)
        self.refuse(frame(1, 0, 1, body) * 65, Reason.OVERSIZE, "longer than 4194304")
