"""Packets of Node Discovery v5.1: masking, headers and authdata, both ways (devp2p ``discv5/discv5-wire.md``)."""

import struct
from collections.abc import Callable
from functools import lru_cache

from attrs import frozen
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = [
    "ID_NONCE_SIZE",
    "IV_SIZE",
    "NONCE_SIZE",
    "PACKET_MAX",
    "PACKET_MIN",
    "Challenge",
    "Handshake",
    "Ordinary",
    "Packet",
    "PacketError",
    "encode_packet",
    "open_packet",
]

#: Bytes of a packet (specification, "Packet Encoding"): what is smaller or larger is no packet.
PACKET_MIN, PACKET_MAX = 63, 1_280
NONCE_SIZE, ID_NONCE_SIZE, IV_SIZE = 12, 16, 16
#: protocol-id, version, flag, nonce, authdata-size.
_STATIC = struct.Struct(">6sHB12sH")
_PROTOCOL, _VERSION = b"discv5", 1
_ORDINARY, _WHOAREYOU, _HANDSHAKE = 0, 1, 2
#: Where the header of a packet ends at the latest, if it is no handshake.
_USUAL = IV_SIZE + _STATIC.size + 32
_CHALLENGE = struct.Struct(">16sQ")
#: Identity scheme v4: a compact signature and a compressed key.
_SIGNATURE_SIZE, _KEY_SIZE = 64, 33
_HANDSHAKE_HEAD = struct.Struct(">32sBB")


class PacketError(ValueError):
    """Not a packet for this node."""


@frozen
class Ordinary:
    """A message under the keys of a session. *source*: node id of the sender."""

    nonce: bytes
    source: bytes


@frozen
class Challenge:
    """WHOAREYOU: the message of *nonce*, which is the request's, cannot be read.

    :param enr_seq: number of the recipient's record that the challenger has, 0 for none.
    """

    nonce: bytes
    id_nonce: bytes
    enr_seq: int


@frozen
class Handshake:
    """The answer to a challenge, with the first message under the new keys.

    :param signature: r || s, 64 bytes.
    :param ephemeral: compressed public key, 33 bytes.
    :param record: the sender's raw record if the challenger has none or an older one, else empty.
    """

    nonce: bytes
    source: bytes
    signature: bytes
    ephemeral: bytes
    record: bytes


Head = Ordinary | Challenge | Handshake


@frozen
class Packet:
    """A packet without its mask.

    :param ciphertext: the encrypted message; empty in a challenge.
    :param additional: masking IV and header, which the message's encryption covers; of a challenge it is the
        ``challenge-data`` that keys and proofs are made from.
    """

    head: Head
    ciphertext: bytes
    additional: bytes


#: Nodes whose masking cipher is kept; some 500 bytes each.
_CIPHERS = 2_048
_COUNTERS = 1 << 128


@lru_cache(_CIPHERS)
def _blocks(key: bytes) -> Callable[[bytes], bytes]:
    """Return what encrypts whole blocks; AES has no state between them."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update


@lru_cache(PACKET_MAX)
def _counting(count: int) -> tuple[int, int]:
    """Return the numbers that make *count* counters, written side by side, of the first: factor and summand."""
    ones = sum(1 << 128 * index for index in range(count))
    return ones, sum(count - 1 - index << 128 * index for index in range(count))


def _mask(destination: bytes, iv: bytes, data: bytes) -> bytes:
    """Mask or unmask: AES-128-CTR with the first half of the recipient's id as key.

    By blocks of counters, for OpenSSL takes 20 us to begin with a key and an IV.
    """
    size = len(data)
    count = -(-size // 16)
    first = int.from_bytes(iv, "big")
    if first + count > _COUNTERS:
        return Cipher(algorithms.AES(destination[:16]), modes.CTR(iv)).encryptor().update(data)
    factor, summand = _counting(count)
    stream = _blocks(destination[:16])((first * factor + summand).to_bytes(16 * count, "big"))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream[:size], "big")).to_bytes(size, "big")


def _authdata(head: Head) -> tuple[int, bytes]:
    match head:
        case Ordinary(source=source):
            return _ORDINARY, source
        case Challenge(id_nonce=id_nonce, enr_seq=enr_seq):
            return _WHOAREYOU, _CHALLENGE.pack(id_nonce, enr_seq)
        case Handshake(source=source, signature=signature, ephemeral=ephemeral, record=record):
            start = _HANDSHAKE_HEAD.pack(source, len(signature), len(ephemeral))
            return _HANDSHAKE, start + signature + ephemeral + record


def additional_data(head: Head, iv: bytes) -> bytes:
    """Return masking IV and header."""
    flag, authdata = _authdata(head)
    return iv + _STATIC.pack(_PROTOCOL, _VERSION, flag, head.nonce, len(authdata)) + authdata


def encode_packet(destination: bytes, additional: bytes, ciphertext: bytes) -> bytes:
    """Return the datagram for the node with the id *destination*."""
    iv, header = additional[:IV_SIZE], additional[IV_SIZE:]
    return iv + _mask(destination, iv, header) + ciphertext


def open_packet(own_id: bytes, data: bytes) -> Packet:
    """Take the mask off a datagram; PacketError for everything that is no packet for *own_id*."""
    if not PACKET_MIN <= len(data) <= PACKET_MAX:
        raise PacketError("size")
    iv = data[:IV_SIZE]
    header = _mask(own_id, iv, data[IV_SIZE:_USUAL])
    protocol, version, flag, nonce, size = _STATIC.unpack_from(header)
    if protocol != _PROTOCOL or version != _VERSION:
        raise PacketError("protocol")
    end = IV_SIZE + _STATIC.size + size
    if end > len(data):
        raise PacketError("authdata is cut")
    header = _mask(own_id, iv, data[IV_SIZE:end]) if end > _USUAL else header[: end - IV_SIZE]
    head = _head(flag, nonce, header[_STATIC.size :], len(data) - end)
    return Packet(head, data[end:], iv + header)


def _head(flag: int, nonce: bytes, authdata: bytes, rest: int) -> Head:
    if flag == _ORDINARY and len(authdata) == 32:
        return Ordinary(nonce, authdata)
    if flag == _WHOAREYOU and len(authdata) == _CHALLENGE.size and not rest:
        return Challenge(nonce, *_CHALLENGE.unpack(authdata))
    if flag == _HANDSHAKE and len(authdata) >= _HANDSHAKE_HEAD.size:
        source, signature_size, key_size = _HANDSHAKE_HEAD.unpack_from(authdata)
        key_start = _HANDSHAKE_HEAD.size + _SIGNATURE_SIZE
        record_start = key_start + _KEY_SIZE
        if (signature_size, key_size) == (_SIGNATURE_SIZE, _KEY_SIZE) and len(authdata) >= record_start:
            signature = authdata[_HANDSHAKE_HEAD.size : key_start]
            return Handshake(nonce, source, signature, authdata[key_start:record_start], authdata[record_start:])
    raise PacketError("header")
