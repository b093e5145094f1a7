"""Signatures: recovery, low s, and bad input."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.primitives import secp256k1
from chainp2p.primitives.keccak import keccak256

KEY = bytes(31) + b"\7"
DIGEST = keccak256(b"message")


class Signatures(SynchronousTestCase):
    def test_keccak(self) -> None:
        empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        self.assertEqual(keccak256(b"").hex(), empty)

    def test_sign_recover_verify(self) -> None:
        public = secp256k1.public_key(KEY)
        signature = secp256k1.sign(KEY, DIGEST)
        self.assertEqual(signature, secp256k1.sign(KEY, DIGEST))
        self.assertEqual(secp256k1.recover(signature, DIGEST), public)
        self.assertTrue(secp256k1.verify(public, signature[:64], DIGEST))
        self.assertTrue(secp256k1.verify(b"\4" + public, signature[:64], DIGEST))
        self.assertFalse(secp256k1.verify(public, signature[:64], keccak256(b"other")))
        self.assertFalse(secp256k1.verify(b"\4" + bytes(64), signature[:64], DIGEST))

    def test_high_s_is_refused(self) -> None:
        signature = secp256k1.sign(KEY, DIGEST)
        high = (secp256k1.ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
        flipped = signature[:32] + high + bytes((1 - signature[64],))
        self.assertFalse(secp256k1.verify(secp256k1.public_key(KEY), flipped[:64], DIGEST))
        with self.assertRaises(secp256k1.SignatureError):
            secp256k1.recover(flipped, DIGEST)

    def test_malformed(self) -> None:
        good = secp256k1.sign(KEY, DIGEST)
        not_on_curve = (5).to_bytes(32, "big") + good[32:64] + b"\0"
        for signature in (b"", good[:64], good[:64] + b"\2", bytes(65), not_on_curve):
            with self.assertRaises(secp256k1.SignatureError):
                secp256k1.recover(signature, DIGEST)
