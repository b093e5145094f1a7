"""Ethereum Node Records (EIP-778), identity scheme v4, read strictly: one text for one record."""

import base64
import binascii
import ipaddress
from collections.abc import Container, Mapping
from functools import cached_property, lru_cache
from typing import Any

from attrs import field, frozen

from chainp2p.peer.key import NodeKey
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import PublicKey, verify

__all__ = ["Enr", "EnrError", "endpoint_pairs", "make_enr", "node_pairs"]

#: EIP-778: a record is at most 300 bytes.
SIZE_LIMIT = 300
PREFIX = "enr:"
_FAMILIES = (4, 6)


@lru_cache(8_192)
def _text(packed: bytes) -> str | None:
    """Writing an address costs 12 us, and every packet asks for that of a node which is known.

    None for one that no single machine can have: nobody must make us send to a whole network.
    """
    address = ipaddress.ip_address(packed)
    nobody = address.is_multicast or address.is_unspecified or packed == b"\xff" * len(packed)
    return None if nobody else str(address)


_Endpoints = tuple[tuple[str, int] | None, tuple[str, int] | None]


def _first(endpoints: _Endpoints, families: Container[int]) -> tuple[str, int] | None:
    four, six = endpoints
    if four is not None and 4 in families:
        return four
    return six if 6 in families else None


class EnrError(ValueError):
    """Not a valid record; the text says why."""


@frozen
class Enr:
    """A verified record. *pairs* maps each key to its decoded RLP value (a list stays a list)."""

    raw: bytes
    seq: int
    pairs: Mapping[bytes, rlp.Item] = field(repr=False, eq=False)
    public: bytes = field(repr=False, eq=False)  #: x || y
    peer_id: bytes = field(eq=False)

    @property
    def text(self) -> str:
        """The ``enr:`` form: base64url without padding."""
        return PREFIX + base64.urlsafe_b64encode(self.raw).rstrip(b"=").decode()

    def _port(self, key: bytes) -> int | None:
        value = self.pairs.get(key)
        try:
            port = rlp.decode_uint(value, 2) if value is not None else 0
        except rlp.RlpError:
            return None
        return port or None

    def _address(self, key: bytes, size: int) -> str | None:
        value = self.pairs.get(key)
        if not isinstance(value, bytes) or len(value) != size:
            return None
        return _text(value)

    @property
    def ip(self) -> str | None:
        return self._address(b"ip", 4)

    @property
    def ip6(self) -> str | None:
        """Its IPv6 address; one of IPv4 in IPv6 clothes is none, for nothing can be sent there."""
        address = self._address(b"ip6", 16)
        return None if address is not None and address.startswith("::ffff:") else address

    @property
    def tcp(self) -> int | None:
        return self._port(b"tcp")

    @property
    def udp(self) -> int | None:
        return self._port(b"udp")

    @property
    def tcp_endpoint(self) -> tuple[str, int] | None:
        """Where to dial it, IPv4 first."""
        return self.tcp_in(_FAMILIES)

    @property
    def udp_endpoint(self) -> tuple[str, int] | None:
        """Where it answers datagrams, IPv4 first."""
        return self.udp_in(_FAMILIES)

    def tcp_in(self, families: Container[int]) -> tuple[str, int] | None:
        """Where to dial it with an address of one of these IP versions, IPv4 first."""
        return _first(self._tcp_endpoints, families)

    def udp_in(self, families: Container[int]) -> tuple[str, int] | None:
        """Where it answers datagrams at an address of one of these IP versions, IPv4 first."""
        return _first(self.udp_endpoints, families)

    @cached_property
    def _tcp_endpoints(self) -> _Endpoints:
        return self._endpoints(b"tcp")

    @cached_property
    def udp_endpoints(self) -> _Endpoints:
        """Where it answers datagrams in IPv4 and in IPv6."""
        return self._endpoints(b"udp")

    def _endpoints(self, name: bytes) -> _Endpoints:
        """In IPv4 and in IPv6; read once, for every packet of a node that is known asks."""
        port, ip, ip6 = self._port(name), self.ip, self.ip6
        port6 = self._port(name + b"6") or port
        return (ip, port) if ip and port else None, (ip6, port6) if ip6 and port6 else None

    def _c2p(self) -> tuple[bytes, int] | None:
        value = self.pairs.get(b"c2p")
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], bytes) and len(value[0]) == 4:
            try:
                return value[0], rlp.decode_uint(value[1], 4)
            except rlp.RlpError:
                return None
        return None

    @cached_property
    def genesis_prefix(self) -> bytes | None:
        """First four bytes of the genesis hash of its network."""
        c2p = self._c2p()
        return c2p[0] if c2p else None

    @property
    def version(self) -> int | None:
        """Its protocol version."""
        c2p = self._c2p()
        return c2p[1] if c2p else None

    @classmethod
    def decode(cls, raw: bytes) -> "Enr":
        """Check everything that a strict reader checks, the signature last; raises :exc:`EnrError`."""
        if len(raw) > SIZE_LIMIT:
            raise EnrError(f"record of {len(raw)} bytes, at most {SIZE_LIMIT} are allowed")
        try:
            items = rlp.decode_list(raw)
        except rlp.RlpError as error:
            raise EnrError(f"record: {error}") from None
        if len(items) < 2 or len(items) % 2:
            raise EnrError("record: signature, sequence number and pairs are expected")
        signature, keys = items[0], items[2::2]
        if not isinstance(signature, bytes) or len(signature) != 64:
            raise EnrError("record: signature of 64 bytes is expected")
        if not all(isinstance(key, bytes) for key in keys):
            raise EnrError("record: a key is a list")
        if any(left >= right for left, right in zip(keys, keys[1:], strict=False)):  # type: ignore[operator]
            raise EnrError("record: keys are not sorted and unique")
        try:
            seq = rlp.decode_uint(items[1], 8)
        except rlp.RlpError as error:
            raise EnrError(f"record: sequence number: {error}") from None
        pairs: dict[bytes, rlp.Item] = dict(zip(keys, items[3::2], strict=True))  # type: ignore[arg-type]
        if pairs.get(b"id") != b"v4":
            raise EnrError("record: identity scheme is not v4")
        compressed = pairs.get(b"secp256k1")
        if not isinstance(compressed, bytes) or len(compressed) != 33:
            raise EnrError("record: secp256k1 of 33 bytes is expected")
        if not verify(compressed, signature, keccak256(rlp.encode(items[1:]))):
            raise EnrError("record: bad signature")
        public = PublicKey(compressed).format(compressed=False)[1:]
        return cls(raw, seq, pairs, public, keccak256(public))

    @classmethod
    def from_text(cls, text: str) -> "Enr":
        """Read the ``enr:`` form."""
        if not text.startswith(PREFIX):
            raise EnrError("a record begins with enr:")
        body = text[len(PREFIX) :]
        if "=" in body:
            raise EnrError("record: base64 padding must be absent")
        try:
            raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise EnrError("record: not base64url") from None
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != body:
            raise EnrError("record: not canonical base64url")
        return cls.decode(raw)


def make_enr(key: NodeKey, seq: int, pairs: Mapping[bytes, rlp.Item]) -> Enr:
    """Sign a record; ``id`` and ``secp256k1`` are added. Raises :exc:`EnrError` above 300 bytes."""
    full: dict[bytes, Any] = {**pairs, b"id": b"v4", b"secp256k1": key.compressed}
    content: list[Any] = [rlp.encode_uint(seq)]
    for name in sorted(full):
        content += [name, full[name]]
    signature = key.sign(keccak256(rlp.encode(content)))[:64]
    return Enr.decode(rlp.encode([signature, *content]))


def endpoint_pairs(ip: str | None, tcp: int | None = None, udp: int | None = None) -> dict[bytes, rlp.Item]:
    """Return the pairs of one endpoint, as far as it is known; those of IPv6 have names of their own."""
    pairs: dict[bytes, rlp.Item] = {}
    suffix = b""
    if ip is not None:
        address = ipaddress.ip_address(ip)
        suffix = b"6" if address.version == 6 else b""
        pairs[b"ip" + suffix] = address.packed
    for name, port in ((b"tcp", tcp), (b"udp", udp)):
        if port:
            pairs[name + suffix] = rlp.encode_uint(port)
    return pairs


def node_pairs(
    genesis: bytes, version: int, ip: str | None = None, tcp: int | None = None, udp: int | None = None
) -> dict[bytes, rlp.Item]:
    """Return the pairs of a chainp2p node: ``c2p``, and address and ports where they are known."""
    return {b"c2p": [genesis[:4], rlp.encode_uint(version)], **endpoint_pairs(ip, tcp, udp)}
