"""The mask of packets is AES-CTR, whatever the counter."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.packets import encode_packet

_IVS = st.binary(min_size=16, max_size=16) | st.integers(0, 100).map(
    lambda less: (2**128 - 1 - less).to_bytes(16, "big")
)


class MaskTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(_IVS, st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=600))
    def test_as_by_the_library(self, iv: bytes, destination: bytes, header: bytes) -> None:
        expected = Cipher(algorithms.AES(destination[:16]), modes.CTR(iv)).encryptor().update(header)
        self.assertEqual(encode_packet(destination, iv + header, b"tail"), iv + expected + b"tail")
