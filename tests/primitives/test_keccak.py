"""Both implementations of Keccak-256."""

import importlib.util
import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.primitives import keccak

EMPTY = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


class Keccak(SynchronousTestCase):
    def test_known_digest(self) -> None:
        self.assertEqual(keccak.keccak256(b"").hex(), EMPTY)

    def test_without_the_fast_package(self) -> None:
        spec = importlib.util.spec_from_file_location("keccak_fallback", keccak.__file__)
        module = importlib.util.module_from_spec(spec)
        with patch.dict(sys.modules, {"sha3": None}):
            spec.loader.exec_module(module)
        self.assertEqual(module.keccak256(b"").hex(), EMPTY)
        self.assertEqual(module.keccak256(b"abc" * 100), keccak.keccak256(b"abc" * 100))
