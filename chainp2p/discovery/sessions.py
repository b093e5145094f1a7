"""Keys that two nodes share, by node and endpoint."""

from collections import OrderedDict

from attrs import define
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chainp2p.discovery.keys import SessionKeys, decrypt
from chainp2p.discovery.packets import Packet
from chainp2p.peer.enr import Enr
from chainp2p.peer.netgroup import source_address

__all__ = ["Keys", "Peer", "Session", "Sessions"]

#: Sessions that are kept; the one used longest ago goes first (wire design). Each takes some 7 KB, most of it ciphers.
SESSIONS_MAX = 1_024
#: Sessions of one address (IPv6: one /64): ids cost nothing, so one machine must not push all others out.
SESSIONS_OF_ONE = 64
#: Keys of the other end that are read: the newest, and those before it, for datagrams overtake each other. Two are
#: enough when both ends shake hands at once, three when one of them does so again.
KEYS_MAX = 3
#: Messages under one key: their number is the first half of a nonce (specification, "Session Cache").
MESSAGES_MAX = 1 << 32

#: Node id, IP address and port: a session holds for one endpoint only, so that a stolen id gets no answers elsewhere.
Peer = tuple[bytes, str, int]


@define(eq=False)
class Keys:
    """What we write and read with, and their ciphers.

    :param sent: messages under *write*; the first was that of the handshake.
    """

    write: bytes
    read: bytes
    sent: int = 1
    _writer: AESGCM | None = None
    _reader: AESGCM | None = None

    @property
    def writer(self) -> AESGCM:
        """The cipher of *write*, kept."""
        if self._writer is None:
            self._writer = AESGCM(self.write)
        return self._writer

    @property
    def reader(self) -> AESGCM:
        """The cipher of *read*, kept."""
        if self._reader is None:
            self._reader = AESGCM(self.read)
        return self._reader

    def rest(self) -> None:
        """There are newer keys: let the ciphers go, each takes 2.5 KB."""
        self._writer = self._reader = None

    def nonce(self, chance: bytes) -> bytes:
        """Return the nonce of the next message, which no other under this key has. *chance*: 8 random bytes."""
        self.sent += 1
        return (self.sent - 1).to_bytes(4, "big") + chance


@define
class Session:
    """What two nodes have agreed on.

    We write with the keys that the other end has used last, for these it has; it may never have heard that we took up
    newer ones.

    :param keys: all that is read, the newest first.
    :param speaking: those that we write with.
    :param enr: the other end's newest record.
    :param knocks: nonces of packets that were challenged and led to these keys: a late copy leads to no others.
    """

    keys: tuple[Keys, ...]
    speaking: Keys
    enr: Enr
    knocks: tuple[bytes, ...] = ()

    def open(self, packet: Packet) -> tuple[bytes, Keys] | None:
        """Return the message of a packet and the keys that it is under, None if these are none of ours."""
        for keys in self.keys:
            plain = decrypt(keys.reader, packet.head.nonce, packet.ciphertext, packet.additional)
            if plain is not None:
                return plain, keys
        return None


class Sessions:
    """The newest :data:`SESSIONS_MAX`, by use, at most :data:`SESSIONS_OF_ONE` of one address."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Peer, Session] = OrderedDict()
        self._of: dict[str, OrderedDict[Peer, None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: Peer) -> Session | None:
        """Return a session, which counts as used."""
        session = self._sessions.get(peer)
        if session is not None:
            self._sessions.move_to_end(peer)
            self._of[source_address(peer[1])].move_to_end(peer)
        return session

    def writable(self, peer: Peer) -> Session | None:
        """Return a session for one more message; one whose messages have all been sent is forgotten."""
        session = self.get(peer)
        if session is not None and session.speaking.sent >= MESSAGES_MAX:
            self._forget(peer)
            return None
        return session

    def _forget(self, peer: Peer) -> None:
        del self._sessions[peer]
        address = source_address(peer[1])
        here = self._of[address]
        del here[peer]
        if not here:
            del self._of[address]

    def agreed(self, peer: Peer, keys: SessionKeys, initiator: bool, enr: Enr, knock: bytes = b"") -> Session:
        """New keys are agreed on.

        :param initiator: whether we answered the challenge.
        :param knock: nonce of the packet that we have challenged.
        """
        before = self._sessions.get(peer)
        write, read = (keys.initiator, keys.recipient) if initiator else (keys.recipient, keys.initiator)
        new = Keys(write, read)
        for keys_before in before.keys if before is not None else ():
            keys_before.rest()
        all_keys = (new, *before.keys)[:KEYS_MAX] if before is not None else (new,)
        if before is not None and before.enr.seq > enr.seq:
            enr = before.enr
        knocks = (knock, *before.knocks)[:KEYS_MAX] if before is not None else (knock,)
        session = self._sessions[peer] = Session(all_keys, new, enr, knocks)
        self._sessions.move_to_end(peer)
        here = self._of.setdefault(source_address(peer[1]), OrderedDict())
        here[peer] = None
        here.move_to_end(peer)
        if len(here) > SESSIONS_OF_ONE:
            self._forget(next(iter(here)))
        if len(self._sessions) > SESSIONS_MAX:
            self._forget(next(iter(self._sessions)))
        return session
