"""Encode and decode: large lists against protobuf, cbor2 and msgspec; small messages against msgspec.

The large rows start from a list of byte strings and end with one: all build their message, encode it, decode it and
have every item as a Python object afterwards. The small rows encode a message that exists and decode it.
"""

import random
from collections.abc import Callable

import cbor2
import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from measure import Aim, compare, show

from chainp2p import wire

CHANCE = random.Random(1)


def protobuf_class() -> type:
    """What protoc would generate (upb in C) for an envelope with a oneof of two ``repeated bytes`` messages.

    The envelope is part of the yardstick, as the tag is for the other rows: a receiver does not know what comes.
    """
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    envelope = file.message_type.add(name="NetworkMessage")
    envelope.oneof_decl.add(name="message")
    for number, name in ((9, "headers"), (20, "transactions")):
        message = file.message_type.add(name=name.capitalize())
        message.field.add(name="items", number=1, label=field.LABEL_REPEATED, type=field.TYPE_BYTES)
        envelope.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=f".bench.{name.capitalize()}",
            oneof_index=0,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.NetworkMessage"))


NetworkMessage = protobuf_class()


class PackList(msgspec.Struct, array_like=True, tag=9):
    items: list[bytes]


class PackPing(msgspec.Struct, array_like=True, tag=13):
    enr_seq: int


class PackGetHeaders(msgspec.Struct, array_like=True, tag=8):
    from_: bytes
    count: int


class PackAnnounce(msgspec.Struct, array_like=True, tag=18):
    transactions: list[tuple[bytes, int]]


PACK = msgspec.msgpack.Encoder()
UNPACK = msgspec.msgpack.Decoder(PackList | PackPing | PackGetHeaders | PackAnnounce)


def protobuf_list(items: list[bytes]) -> Callable[[], object]:
    def run() -> object:
        sent = NetworkMessage(headers={"items": items}).SerializeToString()
        received = NetworkMessage.FromString(sent)
        return list(received.headers.items) if received.WhichOneof("message") == "headers" else None

    return run


def cbor_list(items: list[bytes]) -> Callable[[], object]:
    return lambda: cbor2.loads(cbor2.dumps([9, items]))[1]


def pack_list(items: list[bytes]) -> Callable[[], object]:
    return lambda: UNPACK.decode(PACK.encode(PackList(items))).items


def headers(items: list[bytes]) -> Callable[[], object]:
    values = tuple(items)
    return lambda: wire.decode(wire.encode(wire.Headers(values))).headers  # type: ignore[attr-defined]


def transactions(items: list[bytes]) -> Callable[[], object]:
    """At most 256 travel in one message: two halves."""
    halves = tuple(items[: len(items) // 2]), tuple(items[len(items) // 2 :])

    def run() -> object:
        return [wire.decode(wire.encode(wire.Transactions(half))).transactions for half in halves]  # type: ignore[attr-defined]

    return run


def large(measure: str, own: Callable[[list[bytes]], Callable[[], object]], items: list[bytes], aimed: bool = True):
    aims = [
        Aim("protobuf (upb)", protobuf_list(items), 5.0 if aimed else None),
        Aim("cbor2", cbor_list(items), 3.5 if aimed else None),
        Aim("msgspec msgpack", pack_list(items), 0.5 if aimed else None),
    ]
    for aim in aims:
        assert aim.run() == items, aim.name
    return compare(measure, own(items), aims)


def small(measure: str, own: wire.Message, other: msgspec.Struct):
    """Encode a message that exists already and decode it."""
    assert wire.decode(wire.encode(own)) == own
    assert UNPACK.decode(PACK.encode(other)) == other
    return compare(
        measure,
        lambda: wire.decode(wire.encode(own)),
        [Aim("msgspec msgpack", lambda: UNPACK.decode(PACK.encode(other)), 0.33)],
    )


def main() -> None:
    raw_headers = [CHANCE.randbytes(128) for _ in range(2_000)]
    raw_transactions = [CHANCE.randbytes(110) for _ in range(500)]
    mixed_headers = [CHANCE.randbytes(CHANCE.randrange(500, 620)) for _ in range(2_000)]
    mixed_transactions = [CHANCE.randbytes(CHANCE.randrange(100, 121)) for _ in range(500)]
    hashes = [(CHANCE.randbytes(32), CHANCE.randrange(100, 60_000)) for _ in range(4)]
    show(
        [
            *large("2,000 headers of 128 bytes", headers, raw_headers),
            *large("500 transactions of 110 bytes", transactions, raw_transactions),
            *large("2,000 headers of 500 to 620 bytes", headers, mixed_headers, aimed=False),
            *large("500 transactions of 100 to 120 bytes", transactions, mixed_transactions, aimed=False),
            *small("Ping", wire.Ping(7), PackPing(7)),
            *small("GetHeaders", wire.GetHeaders(bytes(32), 2_000), PackGetHeaders(bytes(32), 2_000)),
            *small("AnnounceTransactions of 4", wire.AnnounceTransactions(tuple(hashes)), PackAnnounce(hashes)),
        ],
        ["protobuf", "cbor2", "msgspec"],
    )


if __name__ == "__main__":
    main()
