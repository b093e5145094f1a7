"""Golden bytes, round trips, refusals, and the bound on memory."""

import json
import tracemalloc
from pathlib import Path

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p import wire
from chainp2p.errors import Reason
from chainp2p.testing.strategies import messages
from chainp2p.wire.schema import (
    MESSAGE_CEILING,
    MESSAGE_LIMIT,
    Blob,
    Channel,
    Field,
    Integer,
    Kind,
    ListOf,
    Message,
    Raw,
    Registry,
    Text,
    TupleOf,
    on_wire,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "bincode.json").read_text())
H = bytes(range(32))


def pattern(size: int, seed: int) -> bytes:
    return bytes((i * 31 + seed) % 251 for i in range(size))


def fnv1a64(data: bytes) -> str:
    value = 0xCBF29CE484222325
    for octet in data:
        value = (value ^ octet) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def message_of(described: object) -> Message:
    """Build the message that a vector describes in JSON."""
    if isinstance(described, str):
        return getattr(wire, described)()
    ((name, body),) = described.items()
    cls = getattr(wire, name)
    if isinstance(body, str):
        return cls(bytes.fromhex(body))
    if isinstance(body, list):
        return cls(tuple(map(bytes.fromhex, body)))
    values = {}
    for key, value in body.items():
        if key in ("genesis", "from", "peer_id"):
            values["from_" if key == "from" else key] = bytes.fromhex(value)
        else:
            values[key] = int(value)
    return cls(**values)


LARGE = {
    "large_new_block_1MiB": lambda: wire.NewBlock(pattern(1 << 20, 3)),
    "large_blocks_500x4096": lambda: wire.Blocks(tuple(pattern(4096, k % 256) for k in range(500))),
    "large_mempool_50000": lambda: wire.Mempool(tuple(pattern(32, k % 256) for k in range(50_000))),
    "large_headers_2000x80": lambda: wire.Headers(tuple(pattern(80, k % 256) for k in range(2_000))),
}

OWN = [
    (
        wire.Status("a", 1, 1, 30303, H, 2, bytes(31) + b"\7", b"enr", ((0, H),), (b"\x7f\0\0\1", 9), ((5, b"x"),)),
        "0c000000" "010000000000000061" "0100000000000000" "01" "5f76" + H.hex() + "0200000000000000"
        + "00" * 31 + "07" + "0300000000000000656e72" + "0100000000000000" "0000000000000000" + H.hex()
        + "04000000000000007f000001" "0900" + "0100000000000000" "0500" "010000000000000078",
    ),
    (wire.Ping(7), "0d0000000700000000000000"),
    (wire.Pong(2**64 - 1), "0e000000ffffffffffffffff"),
    (wire.Disconnect(4, "é"), "0f000000" "04" "0200000000000000c3a9"),
    (wire.NotFound((H,)), "10000000" "0100000000000000" + H.hex()),
    (wire.AnnounceBlocks(((H, 3),)), "11000000" "0100000000000000" + H.hex() + "0300000000000000"),
    (wire.AnnounceTransactions(((H, 3),)), "12000000" "0100000000000000" + H.hex() + "03000000"),
    (wire.GetTransactions((H,)), "13000000" "0100000000000000" + H.hex()),
    (wire.Transactions((b"ab", b"")), "14000000" "0200000000000000" "02000000000000006162" "0000000000000000"),
    (wire.Refused(1, 500), "15000000" "01" "f4010000"),
    (wire.PeerRecord(b"r"), "16000000" "010000000000000072"),
    (
        wire.CompactBlock(b"h", b"123456" b"abcdef", ((2, b"tx"),), 1),
        "20000000" "010000000000000068" "0c00000000000000313233343536616263646566"
        "0100000000000000" "02000000" "02000000000000007478" "01",
    ),
    (wire.GetBlockTransactions(H, b"\5"), "21000000" + H.hex() + "010000000000000005"),
    (
        wire.BlockTransactions(H, (b"ab", b"")),
        "22000000" + H.hex() + "0200000000000000" "02000000000000006162" "0000000000000000",
    ),
    (wire.PushBlocks(1), "23000000" "01"),
    (wire.GetCompactBlock(H), "24000000" + H.hex()),
    (
        wire.FoundCompactBlock(b"", b"", ((0, b""), (1, b"x"))),
        "25000000" "0000000000000000" "0000000000000000" "0200000000000000"
        "00000000" "0000000000000000" "01000000" "010000000000000078",
    ),
    (
        wire.GetStateChunk(H, bytes(32), b"\1\x0f"),
        "30000000" + H.hex() + "00" * 32 + "0200000000000000" "010f",
    ),
    (wire.StateChunk(b"ab"), "31000000" "0200000000000000" "6162"),
    (wire.Graft(), "40000000"),
    (wire.Prune(60), "41000000" "3c00"),
    (wire.DoNotSend((H,)), "42000000" "0100000000000000" + H.hex()),
]  # fmt: skip


class GoldenBytes(SynchronousTestCase):
    def test_vectors(self) -> None:
        for vector in VECTORS["valid"]:
            with self.subTest(vector["name"]):
                message = LARGE[vector["name"]]() if "message" not in vector else message_of(vector["message"])
                data = wire.encode(message)
                self.assertEqual((len(data), fnv1a64(data)), (vector["len"], vector["fnv1a64"]))
                if "hex" in vector:
                    self.assertEqual(data.hex(), vector["hex"])
                self.assertEqual(wire.decode(data), message)

    def test_malformed_vectors_are_refused(self) -> None:
        for vector in VECTORS["malformed"]:
            with self.subTest(vector["name"]), self.assertRaises(wire.WireError):
                wire.decode(bytes.fromhex(vector["hex"]))

    def test_own_messages(self) -> None:
        for message, expected in OWN:
            with self.subTest(type(message).__name__):
                self.assertEqual(wire.encode(message).hex(), expected)
                self.assertEqual(wire.decode(bytes.fromhex(expected)), message)

    def test_every_tag_has_golden_bytes(self) -> None:
        golden = {message.spec.tag for message, _ in OWN} | set(range(12))
        self.assertEqual(golden, set(wire.CORE.by_tag))


def naive(kind: Field, value: object) -> bytes:
    """bincode as the specification says it, one value at a time."""
    if isinstance(kind, Integer):
        return value.to_bytes(kind.size, "little")
    if isinstance(kind, Raw):
        return value
    if isinstance(kind, TupleOf):
        return b"".join(map(naive, kind.items, value))
    if isinstance(kind, ListOf):
        return len(value).to_bytes(8, "little") + b"".join(naive(kind.item, item) for item in value)
    data = value.encode() if isinstance(kind, Text) else value
    return len(data).to_bytes(8, "little") + data


def naive_message(message: Message) -> bytes:
    fields = b"".join(naive(kind, getattr(message, name)) for name, kind in message.spec.fields)
    return message.spec.tag.to_bytes(4, "little") + fields


#: Lists of byte strings in the shapes that take different ways: few, equal, nearly equal, mixed, long, empty.
SHAPES = st.one_of(
    st.lists(st.binary(max_size=70), max_size=40),
    st.tuples(st.integers(0, 1_030), st.integers(0, 60)).map(lambda shape: [b"x" * shape[1]] * shape[0]),
    st.tuples(st.integers(4, 90), st.integers(0, 9), st.integers(0, 89)).map(
        lambda shape: [bytes(shape[1] + (n == shape[2] % shape[0])) for n in range(shape[0])]
    ),
    st.lists(st.integers(0, 1_024).map(bytes), max_size=12),
)


class RoundTrip(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(messages())
    def test_encoding_is_the_naive_one(self, message: Message) -> None:
        self.assertEqual(wire.encode(message), naive_message(message))

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(SHAPES)
    def test_lists_of_byte_strings_in_all_shapes(self, items: list[bytes]) -> None:
        message = wire.Headers(tuple(items))
        data = wire.encode(message)
        self.assertEqual(data, naive_message(message))
        self.assertEqual(wire.decode(data), message)
        for wrong in (data[:-1], data + b"\0"):
            with self.assertRaises(wire.WireError):
                wire.decode(wrong)

    def test_long_items(self) -> None:
        for sizes in ((3_000,) * 5, (3_000, 4_000, 5, 1, 0), (70_000,), (3_000, 1)):
            message = wire.Transactions(tuple(bytes(size) for size in sizes))
            self.assertEqual(wire.encode(message), naive_message(message))
            self.assertEqual(wire.decode(wire.encode(message)), message)

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.integers(0, 40), st.integers(0, 2**32 - 1))
    def test_announcements_of_any_number(self, count: int, size: int) -> None:
        message = wire.AnnounceTransactions(((H, size),) * count)
        self.assertEqual(wire.encode(message), naive_message(message))
        self.assertEqual(wire.decode(naive_message(message)), message)

    def test_decoded_messages_are_like_made_ones(self) -> None:
        made = wire.GetHeaders(H, 5)
        decoded = wire.decode(wire.encode(made))
        self.assertEqual((repr(decoded), hash(decoded)), (repr(made), hash(made)))
        with self.assertRaises(AttributeError):
            decoded.count = 6

    @settings(deadline=None, derandomize=True, max_examples=400)
    @given(messages())
    def test_decode_inverts_encode(self, message: Message) -> None:
        data = wire.encode(message)
        self.assertEqual(wire.decode(data), message)
        self.assertLessEqual(len(data), message.spec.maximum)

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(messages(), st.data())
    def test_cut_or_extended_bytes_are_refused(self, message: Message, data: st.DataObject) -> None:
        encoded = wire.encode(message)
        cut = data.draw(st.integers(0, len(encoded) - 1))
        for wrong in (encoded[:cut], encoded + b"\0"):
            with self.assertRaises(wire.WireError):
                wire.decode(wrong)

    @settings(deadline=None, derandomize=True, max_examples=600)
    @given(st.integers(0, 40), st.binary(max_size=200))
    def test_arbitrary_bytes_raise_only_wire_errors(self, tag: int, body: bytes) -> None:
        try:
            message = wire.decode(tag.to_bytes(4, "little") + body)
        except wire.WireError as error:
            self.assertIn(error.reason, (Reason.MALFORMED_MESSAGE, Reason.OVERSIZE))
        else:
            self.assertEqual(wire.encode(message), tag.to_bytes(4, "little") + body)

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(messages(), st.data())
    def test_one_changed_octet_decodes_canonically_or_is_refused(self, message: Message, data: st.DataObject) -> None:
        encoded = bytearray(wire.encode(message))
        encoded[data.draw(st.integers(4, len(encoded) - 1)) if len(encoded) > 4 else 0] ^= data.draw(
            st.integers(1, 255)
        )
        try:
            decoded = wire.decode(bytes(encoded))
        except wire.WireError:
            return
        self.assertEqual(wire.encode(decoded), bytes(encoded))


class Limits(SynchronousTestCase):
    def refuse(self, data: bytes, reason: Reason, text: str) -> None:
        with self.assertRaises(wire.WireError) as caught:
            wire.decode(data)
        self.assertEqual(caught.exception.reason, reason)
        self.assertIn(text, caught.exception.detail)

    def test_counts_and_lengths(self) -> None:
        u64 = lambda n: n.to_bytes(8, "little")  # noqa: E731
        self.refuse(b"\7\0\0\0" + u64(50_001), Reason.OVERSIZE, "count 50001 above the maximum of 50000")
        self.refuse(b"\7\0\0\0" + u64(50_000), Reason.MALFORMED_MESSAGE, "more than the 0 bytes left")
        self.refuse(b"\x09\0\0\0" + u64(1) + u64(1025) + bytes(1025), Reason.OVERSIZE, "item of 1025 bytes")
        self.refuse(b"\x09\0\0\0" + u64(5) + (u64(1025) + bytes(1025)) * 5, Reason.OVERSIZE, "item of 1025")
        self.refuse(b"\x09\0\0\0" + u64(1) + u64(9) + bytes(8), Reason.MALFORMED_MESSAGE, "ends early")
        self.refuse(b"\x09\0\0\0" + u64(2) + u64(9) + bytes(9), Reason.MALFORMED_MESSAGE, "ends early")
        self.refuse(b"\x0f\0\0\0\0" + u64(1) + b"\xff", Reason.MALFORMED_MESSAGE, "not UTF-8")
        self.refuse(b"\x16\0\0\0" + u64(301), Reason.OVERSIZE, "above the maximum of 300")
        self.refuse(b"\x04\0\0\0" + bytes(5 << 20), Reason.OVERSIZE, "at most 4194304")
        self.refuse(b"\x63\0\0\0", Reason.MALFORMED_MESSAGE, "unknown tag 99")

    def test_values_that_do_not_fit_are_our_own_error(self) -> None:
        for message in (
            wire.Ack(b"short"),
            wire.Ping(-1),
            wire.PeerRecord(bytes(301)),
            wire.GetStateChunk(H, H, bytes(65)),
            wire.StateChunk(bytes((1 << 20) + (1 << 16) + 1)),
            wire.Mempool((b"x",)),
            wire.Mempool((H,) * 50_001),
            wire.Headers((b"",) * 2_001),
            wire.Headers((bytes(1025),)),
            wire.AnnounceBlocks(((H, 1),) * 65),
            wire.AnnounceBlocks(((b"", 1),)),
            wire.AnnounceTransactions(((b"", 1),) * 20),
            wire.Transactions((bytes(128 * 1024 + 1), b"")),
            wire.Transactions((bytes(128 * 1024 + 1),) * 5),
            wire.Transactions((b"", bytes(128 * 1024 + 1), b"", b"")),
            wire.Disconnect(1, "x" * 257),
            wire.Blocks((bytes(3 << 20),) * 2),
            wire.Status("", 0, 0, 0, H, 0, H, b"", (), (b"", 0), ((1, b""),) * 17),
            wire.Status("", 0, 0, 70_000, H, 0, H, b"", (), (b"", 0), ()),
        ):
            with self.subTest(type(message).__name__), self.assertRaises(ValueError):
                wire.encode(message)

    def test_decoding_takes_at_most_six_times_the_bytes(self) -> None:
        worst = [
            wire.Blocks((b"",) * 512),
            wire.Headers(tuple(bytes(n % 2) for n in range(2_000))),
            wire.Headers((b"",) * 2_000),
            wire.Mempool(tuple(n.to_bytes(32, "big") for n in range(50_000))),
            wire.AnnounceTransactions(((H, 2**32 - 1),) * 5_000),
            wire.AnnounceBlocks(((H, 2**64 - 1),) * 64),
            wire.Transactions((b"ab",) * 256),
            wire.BlockTransactions(H, (b"",) * 16_000),
            wire.BlockTransactions(H, tuple(bytes(n % 2) for n in range(16_000))),
            wire.CompactBlock(b"", b"", ((2**32 - 1, b""),) * 256, 0),
            wire.CompactBlock(bytes(1024), bytes(96_000), tuple((n + 300, bytes(n % 40)) for n in range(256)), 1),
        ]
        for message in worst:
            data = wire.encode(message)
            tracemalloc.start()
            try:
                decoded = wire.decode(data)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            self.assertEqual(decoded, message)
            self.assertLessEqual(peak, 6 * len(data) + 64 * 1024, type(message).__name__)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.integers(0, 40), st.binary(max_size=64), st.integers(0, 3_000), st.binary(max_size=40))
    def test_arbitrary_bytes_stay_within_it_too(self, tag: int, start: bytes, times: int, again: bytes) -> None:
        data = tag.to_bytes(4, "little") + start + again * times
        tracemalloc.start()
        try:
            decoded = wire.decode(data)
        except wire.WireError:
            decoded = None
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.assertLessEqual(peak, 6 * len(data) + 64 * 1024, decoded)


class OfAChain(SynchronousTestCase):
    def test_fields_of_all_kinds(self) -> None:
        registry = Registry()

        @registry.message(1024, Kind.NOTIFICATION, Channel.BULK)
        @frozen
        class Everything(Message):
            scalars: tuple[int, bytes, tuple[str, int]] = on_wire(
                TupleOf((Integer(2), Raw(3), TupleOf((Text(9), Integer(8)))))
            )
            texts: tuple[str, ...] = on_wire(ListOf(Text(9), 4))
            numbers: tuple[int, ...] = on_wire(ListOf(Integer(4), 5))
            blobs: tuple[bytes, ...] = on_wire(ListOf(Blob(5), 6))
            height: int = on_wire(Integer(4))
            id: bytes = on_wire(Raw(2))

        codec = wire.Codec(registry)
        message = Everything((7, b"abc", ("é", 9)), ("a", "", "€"), (1, 2), (b"12345", b"", b"1", b"22"), 5, b"id")
        data = codec.encode(message)
        self.assertEqual(data, naive_message(message))
        self.assertEqual(codec.decode(data), message)
        for cut in range(len(data)):
            with self.assertRaises(wire.WireError):
                codec.decode(data[:cut])
        for wrong in (
            Everything((7, b"ab", ("", 9)), (), (), (), 5, b"id"),
            Everything((7, b"abc", ("", 9)), ("",) * 5, (), (), 5, b"id"),
            Everything((7, b"abc", ("", 9)), (), (), (), 5, b"i"),
            Everything((7, b"abc", ("", 9)), (), (-1,), (), 5, b"id"),
        ):
            with self.assertRaises(ValueError):
                codec.encode(wrong)

    def test_larger_blocks(self) -> None:
        raised = wire.CORE.raised(MESSAGE_CEILING)
        codec = wire.Codec(raised)
        message = wire.NewBlock(bytes(MESSAGE_CEILING - 64))
        self.assertEqual(codec.decode(codec.encode(message)), message)
        with self.assertRaises(wire.WireError):
            wire.decode(codec.encode(message))
        with self.assertRaises(ValueError):
            codec.encode(wire.NewBlock(bytes(MESSAGE_CEILING - 63)))
        self.assertEqual((wire.CORE.message_limit, raised.message_limit), (MESSAGE_LIMIT, MESSAGE_CEILING))
        self.assertEqual(raised.by_tag[4].maximum, MESSAGE_CEILING)
        self.assertEqual(raised.by_tag[7], wire.CORE.by_tag[7])
        for limit in (MESSAGE_LIMIT - 1, MESSAGE_CEILING + 1):
            with self.assertRaises(ValueError):
                wire.CORE.raised(limit)

    def test_small_items_in_long_lists_are_refused_at_import(self) -> None:
        for item in (Integer(4), TupleOf((Integer(1), Integer(1))), TupleOf((Integer(2), Blob(4))), Text(8)):
            registry = Registry()

            @frozen
            class Votes(Message):
                votes: tuple[object, ...] = on_wire(ListOf(item, 50_000))

            with self.subTest(item=item), self.assertRaisesRegex(TypeError, "above the memory bound"):
                registry.message(1024, Kind.NOTIFICATION, Channel.BULK)(Votes)

    def test_no_message_is_larger_than_the_ceiling(self) -> None:
        with self.assertRaisesRegex(TypeError, "at most 16777216"):
            Registry().message(1024, Kind.NOTIFICATION, Channel.BULK, maximum=MESSAGE_CEILING + 1)(wire.Ping)


class Registration(SynchronousTestCase):
    def test_an_embedding_chain_adds_its_own_messages(self) -> None:
        registry = Registry(wire.CORE)

        @registry.message(1024, Kind.NOTIFICATION, Channel.BULK)
        @frozen
        class Votes(Message):
            votes: tuple[tuple[int, bytes], ...] = on_wire(ListOf(TupleOf((Integer(1), Blob(9))), 3))

        codec = wire.Codec(registry)
        message = Votes(((1, b"yes"), (2, b"")))
        self.assertEqual(codec.decode(codec.encode(message)), message)
        with self.assertRaises(ValueError):
            codec.encode(Votes(((1, b""),) * 4))
        self.assertNotIn(1024, wire.CORE.by_tag)

    def test_mistakes_fail_at_import(self) -> None:
        registry = Registry()

        @frozen
        class Unbounded(Message):
            data: bytes

        for decorator, text in (
            (registry.message(1, Kind.NOTIFICATION, Channel.BULK), "no maximum"),
            (registry.message(1, Kind.REQUEST, Channel.BULK), "names its replies"),
            (Registry(wire.CORE).message(1, Kind.NOTIFICATION, Channel.BULK), "belongs to Ack"),
        ):
            with self.assertRaisesRegex(TypeError, text):
                decorator(Unbounded)
