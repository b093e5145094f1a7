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
from chainp2p.wire.document import render_messages
from chainp2p.wire.schema import Blob, Channel, Integer, Kind, ListOf, Message, Registry, TupleOf, on_wire

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


class RoundTrip(SynchronousTestCase):
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
    @given(st.integers(0, 24), st.binary(max_size=200))
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
            wire.Mempool((b"x",)),
            wire.Mempool((H,) * 50_001),
            wire.Headers((b"",) * 2_001),
            wire.Headers((bytes(1025),)),
            wire.AnnounceBlocks(((H, 1),) * 65),
            wire.AnnounceBlocks(((b"", 1),)),
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

    def test_the_table_names_every_message(self) -> None:
        text = render_messages()
        for spec in wire.CORE.by_tag.values():
            self.assertIn(f"{spec.tag}: {spec.name}\n", text)
        self.assertIn("list of at most 64 (32 bytes, u64)", text)
        self.assertIn("UTF-8, at most 256 bytes", text)
