"""Packets between a machine and its gateway: PCP (RFC 6887) and NAT-PMP (RFC 6886), both ways."""

import struct
from enum import Enum, IntEnum
from ipaddress import IPv4Address, ip_address

from attrs import frozen

__all__ = ["PORT", "Answer", "Dialect", "Kind", "Question", "encode_question", "parse_answer"]

#: Where gateways listen (RFC 6886, 3; RFC 6887, 19.1).
PORT = 5351
#: Result code of both protocols: "I do not speak this version".
UNSUPPORTED_VERSION = 1

_PMP_SHORT = struct.Struct(">BBHI")
_PMP_MAP = struct.Struct(">BBHHHI")
_PMP_MAPPED = struct.Struct(">BBHIHHI")
_PCP_REQUEST = struct.Struct(">BBxxI16s")
_PCP_ANSWER = struct.Struct(">BBxBII12x")
_PCP_MAP = struct.Struct(">12sB3xHH16s")
_RESPONSE = 0x80
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"
_ANY = _V4_MAPPED + b"\0\0\0\0"


class Dialect(Enum):
    """The two protocols, by the first byte of their packets."""

    NAT_PMP = 0
    PCP = 2


class Kind(IntEnum):
    """What is asked, by NAT-PMP's opcodes."""

    ADDRESS = 0  #: our address outside; PCP's ANNOUNCE, which tells only that the gateway lives
    UDP = 1
    TCP = 2


#: The protocol numbers of IP, which PCP uses.
_IP_PROTOCOL = {Kind.UDP: 17, Kind.TCP: 6}
_KIND = {number: kind for kind, number in _IP_PROTOCOL.items()}

#: Result codes in words: RFC 6886, 3.5, and RFC 6887, 7.4.
_PMP_CODES = {
    1: "it does not speak this version",
    2: "it does not allow mappings",
    3: "it has no address itself",
    4: "it has no room for more",
    5: "it cannot do this",
}
_PCP_CODES = {
    1: "it does not speak this version",
    2: "it does not allow mappings",
    3: "it calls the request malformed",
    4: "it cannot do this",
    5: "it wants another option",
    6: "it calls an option malformed",
    7: "it has no address itself",
    8: "it has no room for more",
    9: "it does not map this protocol",
    10: "the quota of this machine is used up",
    11: "the wanted address or port cannot be had",
    12: "another gateway stands between",
    13: "too many peers",
}


@frozen
class Question:
    """One request.

    :param internal: our port; 0 with :attr:`Kind.ADDRESS`.
    :param external: the port that we should like to have outside.
    :param lifetime: seconds; 0 ends the mapping.
    """

    kind: Kind
    internal: int = 0
    external: int = 0
    lifetime: int = 0


@frozen
class Answer:
    """What a gateway says.

    :param code: 0 is yes.
    :param epoch: seconds since it began to remember mappings.
    :param ip: our address outside, if it says so.
    :param nonce: PCP's, of the mapping; else empty.
    """

    dialect: Dialect
    kind: Kind
    code: int
    epoch: int
    internal: int = 0
    external: int = 0
    lifetime: int = 0
    ip: str | None = None
    nonce: bytes = b""

    @property
    def refusal(self) -> str:
        """The result code in words."""
        codes = _PMP_CODES if self.dialect is Dialect.NAT_PMP else _PCP_CODES
        return codes.get(self.code, f"result code {self.code}")


def encode_question(question: Question, dialect: Dialect, client: str, nonce: bytes) -> bytes:
    """Return the packet of *question*.

    :param client: our IPv4 address towards the gateway; PCP checks it to find NATs in between.
    :param nonce: 12 unpredictable bytes, the same for the life of a mapping (RFC 6887, 11.2).
    """
    kind, port = question.kind, question.external if question.lifetime else 0
    if dialect is Dialect.NAT_PMP:
        if kind is Kind.ADDRESS:
            return bytes(2)
        return _PMP_MAP.pack(0, kind, 0, question.internal, port, question.lifetime)
    header = _PCP_REQUEST.pack(
        2, 0 if kind is Kind.ADDRESS else 1, question.lifetime, _V4_MAPPED + IPv4Address(client).packed
    )
    if kind is Kind.ADDRESS:
        return header
    return header + _PCP_MAP.pack(nonce, _IP_PROTOCOL[kind], question.internal, port, _ANY)


def parse_answer(data: bytes) -> Answer | None:
    """Read a packet from a gateway; None for what is no answer to any question of ours."""
    if len(data) < _PMP_SHORT.size or not data[1] & _RESPONSE:
        return None
    if data[0] == 0:
        return _parse_pmp(data)
    if data[0] == 2:
        return _parse_pcp(data)
    return None


def _parse_pmp(data: bytes) -> Answer | None:
    _, opcode, code, epoch = _PMP_SHORT.unpack_from(data)
    opcode &= ~_RESPONSE
    if code == UNSUPPORTED_VERSION and opcode <= Kind.TCP:
        # the answer to PCP's packets, whose opcodes it takes for its own
        return Answer(Dialect.NAT_PMP, Kind(opcode), code, epoch)
    if opcode == Kind.ADDRESS:
        if code or len(data) < 12:
            return Answer(Dialect.NAT_PMP, Kind.ADDRESS, code, epoch) if code else None
        return Answer(Dialect.NAT_PMP, Kind.ADDRESS, code, epoch, ip=str(IPv4Address(data[8:12])))
    if opcode > Kind.TCP or len(data) < _PMP_MAPPED.size:
        return None
    _, _, _, _, internal, external, lifetime = _PMP_MAPPED.unpack_from(data)
    return Answer(Dialect.NAT_PMP, Kind(opcode), code, epoch, internal, external, lifetime)


def _parse_pcp(data: bytes) -> Answer | None:
    if len(data) < _PCP_ANSWER.size:
        return None
    _, opcode, code, lifetime, epoch = _PCP_ANSWER.unpack_from(data)
    opcode &= ~_RESPONSE
    if opcode == 0:
        return Answer(Dialect.PCP, Kind.ADDRESS, code, epoch)
    if opcode != 1 or len(data) < _PCP_ANSWER.size + _PCP_MAP.size:
        return None
    nonce, protocol, internal, external, packed = _PCP_MAP.unpack_from(data, _PCP_ANSWER.size)
    if protocol not in _KIND:
        return None
    ip = str(IPv4Address(packed[12:])) if packed.startswith(_V4_MAPPED) else str(ip_address(packed))
    return Answer(Dialect.PCP, _KIND[protocol], code, epoch, internal, external, lifetime, ip, nonce)
