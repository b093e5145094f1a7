"""Messages of Node Discovery v5.1 (devp2p ``discv5/discv5-wire.md``), without their encryption."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from attrs import frozen

from chainp2p.primitives import rlp

__all__ = [
    "FindNode",
    "Message",
    "MessageError",
    "Nodes",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "TalkRequest",
    "TalkResponse",
    "decode_message",
    "encode_message",
]

#: Bytes of a request id at most (specification); they are mirrored, never read as a number.
REQUEST_ID_MAX = 8
#: Distances that one FINDNODE may ask for: there are no more.
DISTANCES_MAX = 257
#: Topics are not implemented (wire design): these types are dropped without a fault.
TOPIC_TYPES = frozenset(range(0x07, 0x0B))


class MessageError(ValueError):
    """Not a message."""


@frozen
class Ping:
    id: bytes
    enr_seq: int


@frozen
class Pong:
    """*ip* and *port*: where the ping came from."""

    id: bytes
    enr_seq: int
    ip: str
    port: int


@frozen
class FindNode:
    id: bytes
    distances: tuple[int, ...]


@frozen
class Nodes:
    """One of *total* answers; *records* are raw. How many are taken is a matter of who asked."""

    id: bytes
    total: int
    records: tuple[bytes, ...]


@frozen
class TalkRequest:
    id: bytes
    protocol: bytes
    request: bytes


@frozen
class TalkResponse:
    id: bytes
    response: bytes


Request = Ping | FindNode | TalkRequest
Response = Pong | Nodes | TalkResponse
Message = Request | Response


@lru_cache(8_192)
def _packed(ip: str) -> bytes:
    """To read an address costs 10 us, and each PONG tells one."""
    return ip_address(ip).packed


def encode_message(message: Message) -> bytes:
    """Return type byte and RLP of *message*."""
    uint = rlp.encode_uint
    fields: list[Any]
    match message:
        case Ping():
            kind, fields = 0x01, [uint(message.enr_seq)]
        case Pong():
            kind, fields = 0x02, [uint(message.enr_seq), _packed(message.ip), uint(message.port)]
        case FindNode():
            kind, fields = 0x03, [[uint(distance) for distance in message.distances]]
        case Nodes():
            # a record is a list already, so it goes in as it is
            records = rlp.wrap_list(b"".join(message.records))
            head = rlp.encode(message.id) + rlp.encode(uint(message.total))
            return b"\x04" + rlp.wrap_list(head + records)
        case TalkRequest():
            kind, fields = 0x05, [message.protocol, message.request]
        case TalkResponse():
            kind, fields = 0x06, [message.response]
    return bytes((kind,)) + rlp.encode([message.id, *fields])


def _ping(id: bytes, enr_seq: rlp.Item) -> Ping:
    return Ping(id, rlp.decode_uint(enr_seq, 8))


def _pong(id: bytes, enr_seq: rlp.Item, ip: rlp.Item, port: rlp.Item) -> Pong:
    if not isinstance(ip, bytes) or len(ip) not in (4, 16):
        raise MessageError("address")
    address = ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)
    return Pong(id, rlp.decode_uint(enr_seq, 8), str(mapped or address), rlp.decode_uint(port, 2))


def _find_node(id: bytes, distances: rlp.Item) -> FindNode:
    if isinstance(distances, bytes) or len(distances) > DISTANCES_MAX:
        raise MessageError("distances")
    values = tuple(rlp.decode_uint(distance, 2) for distance in distances)
    if any(value > 256 for value in values):
        raise MessageError("distance")
    return FindNode(id, values)


def _talk_request(id: bytes, protocol: rlp.Item, request: rlp.Item) -> TalkRequest:
    if not isinstance(protocol, bytes) or not isinstance(request, bytes):
        raise MessageError("talk request")
    return TalkRequest(id, protocol, request)


def _talk_response(id: bytes, response: rlp.Item) -> TalkResponse:
    if not isinstance(response, bytes):
        raise MessageError("talk response")
    return TalkResponse(id, response)


_READERS: dict[int, tuple[int, Callable[..., Message]]] = {
    0x01: (2, _ping),
    0x02: (4, _pong),
    0x03: (2, _find_node),
    0x05: (3, _talk_request),
    0x06: (2, _talk_response),
}


def _nodes(body: bytes) -> Nodes:
    """Records stay the bytes that they are: their signatures are over these."""
    parts = rlp.split_list(body)
    if len(parts) != 3:
        raise MessageError("nodes")
    id, total = _id(rlp.decode(parts[0])), rlp.decode_uint(rlp.decode(parts[1]), 8)
    if not total:
        raise MessageError("total")
    return Nodes(id, total, tuple(rlp.split_list(parts[2])))


def _id(item: rlp.Item) -> bytes:
    if not isinstance(item, bytes) or len(item) > REQUEST_ID_MAX:
        raise MessageError("request id")
    return item


def decode_message(data: bytes) -> Message | None:
    """Read a message; None for one about topics, :exc:`MessageError` for what is none."""
    kind, body = data[0] if data else 0, data[1:]
    if kind in TOPIC_TYPES:
        return None
    try:
        if kind == 0x04:
            return _nodes(body)
        if kind not in _READERS:
            raise MessageError("type")
        count, read = _READERS[kind]
        items = rlp.decode_list(body)
        if len(items) != count:
            raise MessageError("number of fields")
        return read(_id(items[0]), *items[1:])
    except rlp.RlpError as error:
        raise MessageError(str(error)) from None
