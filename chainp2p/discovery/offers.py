"""Answers to a challenge: proof and new keys, which the other end takes up or not."""

from typing import TYPE_CHECKING

from attrs import frozen

from chainp2p.discovery.keys import SessionKeys, derive_keys, encrypt, identity_proof, shared_secret
from chainp2p.discovery.packets import IV_SIZE, NONCE_SIZE, Challenge, Handshake, additional_data, encode_packet
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Offer", "make_offer"]


@frozen
class Offer:
    """A handshake of ours. *keys* hold when the other end has used them; *data*: its datagram."""

    keys: SessionKeys
    data: bytes


def make_offer(
    key: NodeKey,
    enr: Enr,
    other: Enr,
    head: Challenge,
    challenge: bytes,
    message: bytes,
    random: "random_module.Random",
) -> Offer:
    """Answer a challenge.

    :param enr: our record, which goes along unless the other end has this very one. A number above ours is none of a
        record that exists: ``@chainsafe/discv5`` 12.0.2 writes it from the left, so that 1 is read as 2 ** 56, and
        would never hear of a newer one.
    :param challenge: the ``challenge-data``.
    :param message: the first one under the new keys.
    """
    ephemeral = NodeKey.generate(random.randbytes)
    secret = shared_secret(ephemeral.private, b"\x04" + other.public)
    keys = derive_keys(secret, key.peer_id, other.peer_id, challenge)
    proof = identity_proof(key.private, challenge, ephemeral.compressed, other.peer_id)
    record = enr.raw if head.enr_seq != enr.seq else b""
    # message number 0 of these keys
    nonce = bytes(4) + random.randbytes(NONCE_SIZE - 4)
    answer = Handshake(nonce, key.peer_id, proof, ephemeral.compressed, record)
    additional = additional_data(answer, random.randbytes(IV_SIZE))
    ciphertext = encrypt(keys.initiator, nonce, message, additional)
    return Offer(keys, encode_packet(other.peer_id, additional, ciphertext))
