"""Bad datagrams of Node Discovery v5.1, and who pays for their answers."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chainp2p.discovery.keys import encrypt
from chainp2p.discovery.messages import FindNode, Ping, Request
from chainp2p.discovery.packets import (
    Challenge,
    Handshake,
    Head,
    Ordinary,
    PacketError,
    additional_data,
    encode_packet,
    open_packet,
)
from chainp2p.discovery.sessions import Session
from chainp2p.peer.enr import Enr, make_enr
from chainp2p.peer.key import NodeKey
from chainp2p.primitives import rlp

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Accountant", "Grammar", "odd_records"]

#: Addresses that no record of a stranger may send us to, and some that it may.
ODD_IPS = (
    "0.0.0.0",
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "169.254.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "5.6.7.8",
    "::",
    "::1",
    "fe80::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:5.6.7.8",
    "2a00::1",
)
_ODD_PACKED = (b"", bytes(3), *(ip_address(ip).packed for ip in ODD_IPS))
_DATAGRAM_MAX = 1_400


def odd_records(random: "random_module.Random", genesis: bytes, addresses: Sequence[tuple[str, int]]) -> list[Enr]:
    """Return well signed records that say odd things: of addresses, ports, numbers and networks.

    :param addresses: more addresses, such as those of nodes that are really there.
    """
    records = []
    ips = [*ODD_IPS, *(ip for ip, _ in addresses)]
    ports = [
        b"",
        b"\1",
        b"\xff\xff",
        bytes(2),
        bytes(3),
        b"\1\0\0",
        *(port.to_bytes(2, "big") for _, port in addresses),
    ]
    for number in range(8 * len(ips)):
        packed = ip_address(random.choice(ips)).packed
        pairs: dict[bytes, rlp.Item] = {b"ip" if len(packed) == 4 else b"ip6": packed, b"udp": random.choice(ports)}
        if random.random() < 0.7:
            pairs[b"c2p"] = random.choice(([genesis[:4], b"\1"], [genesis[:4], b"\1"], [bytes(4), b"\1"], [], b"x"))
        if random.random() < 0.1:
            del pairs[random.choice(list(pairs))]
        seq = random.choice((0, 1, 1, 2, random.getrandbits(63), (1 << 64) - 1))
        records.append(make_enr(NodeKey((number + 1_000_000).to_bytes(32, "big")), seq, pairs))
    return records


class Accountant:
    """Counts bytes from and to each address. Nobody may get more than was sent in his name before he has proven that
    he is there: by a handshake, or by knowing what went to him.
    """

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, int]] = Counter()
        self.got: Counter[tuple[str, int]] = Counter()
        self.proven: set[tuple[str, int]] = set()

    def exchange(self, address: tuple[str, int], data: bytes, answers: Sequence[tuple[bytes, tuple[str, int]]]) -> None:
        """Book a datagram from *address*, and what it brought about; AssertionError if that is too much."""
        self.sent[address] += len(data)
        if address in self.proven:
            return
        for answer, where in answers:
            assert where == address, f"{address} is a stranger, and {where} gets a datagram of his"
            self.got[address] += len(answer)
        assert self.got[address] <= self.sent[address], (
            f"{address} is a stranger, sent {self.sent[address]} bytes and got {self.got[address]}"
        )


class Grammar:
    """Makes bad datagrams for one node, from nothing, from good ones, or with the keys of a session.

    :param target: the id of that node.
    :param records: raw records that answers and handshakes carry.
    """

    def __init__(self, random: "random_module.Random", target: bytes, records: Sequence[bytes]) -> None:
        self._random = random
        self._target = target
        self._records = records

    # -- bytes

    def noise(self) -> bytes:
        """Return bytes that mean nothing, of any length that a datagram may have and some more."""
        return self._random.randbytes(self._random.choice((0, 1, 62, 63, 71, self._random.randrange(_DATAGRAM_MAX))))

    def mutated(self, data: bytes) -> bytes:
        """Return *data* with bits turned, cut, longer, or with a piece of it elsewhere."""
        random, changed = self._random, bytearray(data)
        for _ in range(random.choice((1, 1, 1, 2, 8))):
            at = random.randrange(len(changed) + 1)
            match random.randrange(6):
                case 0 | 1 if at < len(changed):
                    changed[at] ^= 1 << random.randrange(8)
                case 2:
                    del changed[at:]
                case 3:
                    changed[at:at] = random.randbytes(random.choice((1, 2, 16, 300)))
                case 4:
                    changed[at : at + random.randrange(20)] = b""
                case _:
                    changed[at:at] = changed[: random.randrange(40)]
        return bytes(changed)

    # -- packets

    def packet(self, head: Head, message: bytes) -> bytes:
        """Return a well masked packet."""
        return encode_packet(self._target, additional_data(head, self._random.randbytes(16)), message)

    def changed_inside(self, data: bytes) -> bytes:
        """Return a packet whose header was changed under its mask."""
        try:
            packet = open_packet(self._target, data)
        except PacketError:
            return self.mutated(data)
        additional = packet.additional[:16] + self.mutated(packet.additional[16:])
        return encode_packet(self._target, additional, packet.ciphertext)

    def ordinary(self, source: bytes) -> bytes:
        """Return a packet that nobody can read."""
        return self.packet(Ordinary(self._random.randbytes(12), source), self.some_bytes())

    def challenge(self, nonce: bytes) -> bytes:
        """Return a challenge for the packet with this nonce."""
        seq = self._random.choice((0, 1, self._random.getrandbits(64), (1 << 64) - 1))
        return self.packet(Challenge(nonce, self._random.randbytes(16), seq), b"")

    def handshake(self, source: bytes) -> bytes:
        """Return a handshake that proves nothing."""
        random = self._random
        ephemeral = NodeKey.generate(random.randbytes).compressed if random.random() < 0.5 else random.randbytes(33)
        record = random.choice((b"", random.choice(self._records), self.mutated(random.choice(self._records))))
        signature = random.choice((bytes(64), random.randbytes(64)))
        return self.packet(
            Handshake(random.randbytes(12), source, signature, ephemeral, record[:600]), self.some_bytes()
        )

    def sealed(self, session: Session, source: bytes, plain: bytes) -> bytes:
        """Return a packet under the keys of a session."""
        nonce = session.speaking.nonce(self._random.randbytes(8))
        additional = additional_data(Ordinary(nonce, source), self._random.randbytes(16))
        return encode_packet(self._target, additional, encrypt(session.speaking.write, nonce, plain, additional))

    # -- messages

    def some_bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 8, 16, 24, 40, 300)))

    def _uint(self) -> bytes:
        random = self._random
        value = random.choice((0, 1, 255, 256, 257, 65_535, 65_536, random.getrandbits(64), (1 << 64) - 1, 1 << 64))
        return rlp.encode_uint(value)

    def _odd(self) -> rlp.Item:
        """An item that has no place in a message."""
        nested: rlp.Item = []
        for _ in range(self._random.choice((0, 1, 3, 15, 17, 200))):
            nested = [nested]
        odd: tuple[rlp.Item, ...] = (self.some_bytes(), b"\0\1", bytes(9), nested, [b"", [b""]])
        return self._random.choice(odd)

    def id(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 7, 8, 8, 8, 9, 40)))

    def _distances(self) -> list[rlp.Item]:
        random = self._random
        count = random.choice((0, 1, 1, 3, 3, 257, 258, 390))
        return [
            rlp.encode_uint(random.choice((0, 255, 256, 256, 254, 257, random.randrange(300)))) for _ in range(count)
        ]

    def _nodes(self, id: bytes) -> bytes:
        """NODES: the records are lists already."""
        random = self._random
        records = random.sample(self._records, min(len(self._records), random.choice((0, 1, 3, 4))))
        if random.random() < 0.2:
            records = [self.mutated(raw) for raw in records]
        total = rlp.encode_uint(random.choice((0, 1, 1, 2, 3, 5, 6, 16, 17, 255, 256, random.getrandbits(64))))
        return b"\4" + rlp.wrap_list(rlp.encode(id) + rlp.encode(total) + rlp.wrap_list(b"".join(records)))

    def _fields(self, kind: int) -> list[rlp.Item]:
        match kind:
            case 1:
                return [self._uint()]
            case 2:
                return [self._uint(), self._random.choice(_ODD_PACKED), self._uint()]
            case 3:
                return [self._distances()]
            case 5:
                return [self._random.choice((b"", b"echo", self.some_bytes())), self.some_bytes()]
            case _:
                return [self.some_bytes()]

    def message(self, kind: int | None = None, id: bytes | None = None) -> bytes:
        """Return a message: a good one, one with odd fields, or one that was changed after it was made."""
        random = self._random
        kind = kind if kind is not None else random.choice((1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, random.randrange(256)))
        id = id if id is not None else self.id()
        if kind == 4:
            plain = self._nodes(id)
        else:
            fields = self._fields(kind)
            if random.random() < 0.15:
                fields[random.randrange(len(fields))] = self._odd()
            if random.random() < 0.05:
                fields.append(self._odd())
            plain = bytes((kind,)) + rlp.encode([id, *fields])
        return (self.mutated(plain) if random.random() < 0.15 else plain)[:1_190]

    def answer(self, request: Request) -> bytes:
        """Return an answer to a request, mostly of the right kind."""
        kind = 2 if isinstance(request, Ping) else 4 if isinstance(request, FindNode) else 6
        return self.message(kind if self._random.random() < 0.9 else None, request.id)
