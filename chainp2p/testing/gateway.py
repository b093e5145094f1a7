"""A gateway that maps ports, for tests: it speaks PCP and NAT-PMP over any reactor, and can be broken in many ways."""

import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from attrs import Factory, define
from twisted.internet.protocol import DatagramProtocol

from chainp2p.discovery.gateway import Dialect, Kind

__all__ = ["FakeGateway", "GatewayProtocol"]

_IP_PROTOCOL = {6: Kind.TCP, 17: Kind.UDP}
_V4 = b"\0" * 10 + b"\xff\xff"


@define
class FakeGateway:
    """What a gateway remembers, and how it answers: bytes in, bytes out.

    :param ip: its address outside; it may lie.
    :param speaks: without PCP, PCP's packets get NAT-PMP's "unsupported version".
    :param code: refuses mappings with this result code.
    :param taken: ports outside that somebody else has.
    :param silent: answers nothing.
    :param born: when its clock began (same clock as *now*).
    :param clock_stands: always says epoch 0, as some boxes do.
    """

    ip: str = "93.184.216.34"
    speaks: frozenset[Dialect] = frozenset(Dialect)
    code: int = 0
    refuses: frozenset[Kind] = frozenset(Kind)
    taken: set[int] = Factory(set)
    lifetime: int | None = None
    silent: bool = False
    clock_stands: bool = False
    born: float = 0.0
    asked: int = 0
    #: (client, kind, port inside) -> port outside.
    mappings: dict[tuple[str, Kind, int], int] = Factory(dict)
    _nonces: dict[tuple[str, Kind, int], bytes] = Factory(dict)

    def reboot(self, now: float) -> None:
        """Forget everything and begin to count anew."""
        self.born = now
        self.mappings.clear()
        self._nonces.clear()

    def answer(self, data: bytes, client: str, now: float) -> bytes | None:
        """Return the answer to a packet of *client*."""
        self.asked += 1
        if self.silent or len(data) < 2 or data[1] & 0x80:
            return None
        epoch = 0 if self.clock_stands else int(now - self.born)
        if data[0] == 2 and Dialect.PCP in self.speaks:
            return self._pcp(data, client, epoch)
        if Dialect.NAT_PMP not in self.speaks:
            return None
        if data[0] != 0:
            return struct.pack(">BBHI", 0, data[1] | 0x80, 1, epoch)
        return self._nat_pmp(data, client, epoch)

    def _nat_pmp(self, data: bytes, client: str, epoch: int) -> bytes:
        if data[1] == 0:
            return struct.pack(">BBHI4s", 0, 128, 0, epoch, IPv4Address(self.ip).packed)
        _, opcode, _, inside, wanted, lifetime = struct.unpack(">BBHHHI", data)
        kind = Kind(opcode)
        code = self.code if kind in self.refuses else 0
        outside = 0 if code else self._map(client, kind, inside, wanted, lifetime)
        return struct.pack(">BBHIHHI", 0, 128 + opcode, code, epoch, inside, outside, self._granted(lifetime))

    def _pcp(self, data: bytes, client: str, epoch: int) -> bytes:
        _, opcode, lifetime, claimed = struct.unpack_from(">BBxxI16s", data)
        if opcode == 0:
            return struct.pack(">BBxBII12x", 2, 128, 0, 0, epoch)
        nonce, protocol, inside, wanted = struct.unpack_from(">12sB3xHH", data, 24)
        kind = _IP_PROTOCOL[protocol]
        code = self.code if kind in self.refuses else 0
        if claimed != _V4 + IPv4Address(client).packed:
            code = 12
        if self._nonces.setdefault((client, kind, inside), nonce) != nonce:
            code = 2
        outside = 0 if code else self._map(client, kind, inside, wanted, lifetime)
        if not lifetime and not code:
            del self._nonces[client, kind, inside]
        return struct.pack(
            ">BBxBII12x12sB3xHH16s",
            *(2, 129, code, self._granted(lifetime), epoch),
            *(nonce, protocol, inside, outside, _V4 + IPv4Address(self.ip).packed),
        )

    def _granted(self, lifetime: int) -> int:
        return lifetime if self.lifetime is None or not lifetime else self.lifetime

    def _map(self, client: str, kind: Kind, inside: int, wanted: int, lifetime: int) -> int:
        key = client, kind, inside
        if not lifetime:
            self.mappings.pop(key, None)
            return 0
        if key not in self.mappings:
            outside = wanted
            while outside in self.taken:
                outside += 1
            self.mappings[key] = outside
        return self.mappings[key]


class GatewayProtocol(DatagramProtocol):
    """A :class:`FakeGateway` on a socket.

    :param seconds: its clock.
    """

    def __init__(self, gateway: FakeGateway, seconds: Callable[[], float]) -> None:
        self.gateway = gateway
        self._seconds = seconds

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self.gateway.answer(datagram, addr[0], self._seconds())
        if answer is not None and self.transport is not None:
            self.transport.write(answer, addr)
