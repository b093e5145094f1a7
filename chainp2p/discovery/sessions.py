"""Keys that two nodes share, by node and endpoint."""

from collections import OrderedDict

from attrs import define

from chainp2p.discovery.keys import SessionKeys, decrypt
from chainp2p.discovery.packets import Packet
from chainp2p.peer.enr import Enr

__all__ = ["Peer", "Session", "Sessions"]

#: Sessions that are kept; the one used longest ago goes first (wire design). Each takes some 600 bytes.
SESSIONS_MAX = 1_024

#: Node id, IP address and port: a session holds for one endpoint only, so that a stolen id gets no answers elsewhere.
Peer = tuple[bytes, str, int]


@define
class Session:
    """What we write and read with; *older*: how the other end wrote before, until it has used the new keys.

    :param enr: the other end's newest record.
    """

    write: bytes
    read: bytes
    enr: Enr
    older: bytes | None = None

    def open(self, packet: Packet) -> bytes | None:
        """Return the message of a packet, None if it is not of these keys."""
        nonce = packet.head.nonce
        plain = decrypt(self.read, nonce, packet.ciphertext, packet.additional)
        if plain is not None:
            self.older = None
        elif self.older is not None:
            plain = decrypt(self.older, nonce, packet.ciphertext, packet.additional)
        return plain


class Sessions:
    """The newest :data:`SESSIONS_MAX`, by use."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Peer, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: Peer) -> Session | None:
        """Return a session, which counts as used."""
        session = self._sessions.get(peer)
        if session is not None:
            self._sessions.move_to_end(peer)
        return session

    def agreed(self, peer: Peer, keys: SessionKeys, initiator: bool, enr: Enr) -> Session:
        """New keys are agreed on. *initiator*: whether we answered the challenge."""
        before = self._sessions.get(peer)
        write, read = (keys.initiator, keys.recipient) if initiator else (keys.recipient, keys.initiator)
        if before is not None and before.enr.seq > enr.seq:
            enr = before.enr
        session = Session(write, read, enr, before.read if before is not None else None)
        self._sessions[peer] = session
        self._sessions.move_to_end(peer)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return session
