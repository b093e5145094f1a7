"""Challenges that wait for their answer, and what an answer has to prove."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, frozen

from chainp2p.discovery.keys import SessionKeys, decrypt, derive_keys, proves_identity, shared_secret
from chainp2p.discovery.packets import (
    ID_NONCE_SIZE,
    IV_SIZE,
    Challenge,
    Handshake,
    Packet,
    PacketError,
    additional_data,
    encode_packet,
)
from chainp2p.discovery.sessions import Peer
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random as random_module

__all__ = ["HANDSHAKE_TIMEOUT", "Challenges", "Proven"]

#: Seconds in which a challenge is repeated (wire design). It can be answered for as long again: who was asked last
#: needs his time, too.
HANDSHAKE_TIMEOUT = 1.0
#: Challenges that are open at once; the oldest goes first.
CHALLENGES_MAX = 1_024
#: Handshakes whose signatures are checked for one challenge: each costs 0.15 ms, and anybody can send them.
PROOFS_MAX = 3


@define
class _Open:
    """A challenge of ours for the packet of *nonce*.

    :param enr: the record that we have of the node.
    :param repeated: until when it is.
    """

    nonce: bytes
    data: bytes
    challenge: bytes
    enr: Enr | None
    repeated: float
    deadline: float
    proofs: int = 0


@frozen
class Proven:
    """A node has proven its id. *knock*: nonce of the packet that was challenged. *plain*: what came with the proof."""

    knock: bytes
    enr: Enr
    keys: SessionKeys
    plain: bytes


class Challenges:
    """Who was asked to prove its id, until when.

    1. While a challenge is open it is repeated byte for byte, so that two packets make one handshake.
    2. A handshake with a bad proof leaves the challenge open: anybody could have sent it. What proofs cost is bounded
       by challenge.
    3. All are open for the same time, so the order in which they were made is the one in which they end.

    Cost: O(1), but for the proofs.

    :param known: answers the record that we have of a node.
    :param may_challenge: whether one more challenge may leave now (rate).
    :param welcome: whether a node may have a session with us (allow-list).
    """

    def __init__(
        self,
        key: NodeKey,
        known: Callable[[bytes], Enr | None],
        random: "random_module.Random",
        may_challenge: Callable[[float], bool],
        welcome: Callable[[bytes], bool],
    ) -> None:
        self._key = key
        self._known = known
        self._random = random
        self._may_challenge = may_challenge
        self._welcome = welcome
        self._open: dict[Peer, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, peer: Peer, nonce: bytes, now: float) -> bytes | None:
        """Return the datagram that asks *peer* who it is; None if too many have left of late.

        :param nonce: of the packet that could not be read.
        """
        if not self._may_challenge(now):
            return None
        standing = self._open.get(peer)
        if standing is None or standing.repeated <= now:
            enr = self._known(peer[0])
            head = Challenge(nonce, self._random.randbytes(ID_NONCE_SIZE), enr.seq if enr else 0)
            challenge = additional_data(head, self._random.randbytes(IV_SIZE))
            data = encode_packet(peer[0], challenge, b"")
            self._open.pop(peer, None)
            standing = self._open[peer] = _Open(
                nonce, data, challenge, enr, now + HANDSHAKE_TIMEOUT, now + 2 * HANDSHAKE_TIMEOUT
            )
            if len(self._open) > CHALLENGES_MAX:
                del self._open[next(iter(self._open))]
        return standing.data

    def answered(self, peer: Peer, head: Handshake, packet: Packet, now: float) -> Proven:
        """Check a handshake, which closes its challenge; PacketError says why it proves nothing."""
        standing = self._open.get(peer)
        if standing is None or standing.deadline <= now:
            raise PacketError("handshake for nothing")
        if standing.proofs >= PROOFS_MAX:
            raise PacketError("proofs")
        if not self._welcome(peer[0]):
            raise PacketError("not allowed")
        standing.proofs += 1
        own, enr = self._key, _newest(peer, head, standing.enr)
        if enr is None or not proves_identity(
            enr.public, head.signature, standing.challenge, head.ephemeral, own.peer_id
        ):
            raise PacketError("proof")
        try:
            secret = shared_secret(own.private, head.ephemeral)
        except ValueError:
            raise PacketError("key") from None
        keys = derive_keys(secret, peer[0], own.peer_id, standing.challenge)
        plain = decrypt(keys.initiator, head.nonce, packet.ciphertext, packet.additional)
        if plain is None:
            raise PacketError("message of a handshake")
        del self._open[peer]
        return Proven(standing.nonce, enr, keys, plain)

    # -- time

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has something to do."""
        return next(iter(self._open.values())).deadline if self._open else None

    def expire(self, now: float) -> None:
        """Forget those that nobody has answered."""
        while self._open and next(iter(self._open.values())).deadline <= now:
            del self._open[next(iter(self._open))]

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()


def _newest(peer: Peer, head: Handshake, known: Enr | None) -> Enr | None:
    """Return the newer one of the record that came along and the one that we have."""
    if not head.record:
        return known
    try:
        sent = Enr.decode(head.record)
    except EnrError:
        raise PacketError("record") from None
    return sent if sent.peer_id == peer[0] and (known is None or sent.seq > known.seq) else known
