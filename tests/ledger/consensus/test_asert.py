"""The polynomial of aserti3-2d against the published vectors, against real numbers, and at its ends."""

import json
from fractions import Fraction
from math import isqrt
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.consensus.asert import MAX_TARGET, difficulty_of, exponent, scaled, target_of

VECTORS = json.loads((Path(__file__).parent / "data" / "asert.json").read_text())
#: Of the chain that the vectors are of: seconds between blocks, half-life in seconds, and the easiest target.
BLOCK_TIME, HALF_LIFE, LIMIT = 600, 172_800, 0xFFFF << 208
#: The cubic is no further off than this (specification).
CUBIC_ERROR = Fraction(13, 100_000)


def target_from(compact: int) -> int:
    """Read Bitcoin's form of a target: an exponent of one byte, and three bytes of digits."""
    size, word = compact >> 24, compact & 0x7FFFFF
    return word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)


def compact_from(target: int) -> int:
    size = (target.bit_length() + 7) // 8
    word = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if word & 0x800000:
        word, size = word >> 8, size + 1
    return size << 24 | word


def power_of_two(x: int) -> Fraction:
    """2^(x/65536) for 0 <= x < 65536, to 60 digits: sixteen square roots of 2."""
    digits = 10**60
    result, root = digits, 2 * digits
    for bit in range(15, -1, -1):
        root = isqrt(root * digits)
        if x >> bit & 1:
            result = result * root // digits
    return Fraction(result, digits)


class Published(SynchronousTestCase):
    def test_every_vector(self) -> None:
        for run in VECTORS:
            anchor = target_from(int(run["bits"], 16))
            for height, time, bits in run["blocks"]:
                late = time - run["time"] - BLOCK_TIME * (height - run["height"] + 1)
                # these chains round the exponent to zero, ours down
                steps = abs(late) * 65536 // HALF_LIFE * (1 if late >= 0 else -1)
                found = compact_from(min(scaled(anchor, steps), LIMIT))
                self.assertEqual(f"0x{found:08x}", bits, f"{run['what']}: block {height}")
                self.assertIn(steps - exponent(late * 1000, HALF_LIFE), (0, 1))


class Arithmetic(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(st.integers(1, MAX_TARGET), st.integers(-300 * 65536, 300 * 65536))
    def test_close_to_real_numbers(self, anchor: int, steps: int) -> None:
        exact = anchor * power_of_two(steps & 65535) * Fraction(2) ** (steps >> 16)
        found = scaled(anchor, steps)
        if exact * (1 + CUBIC_ERROR) + 1 >= MAX_TARGET:
            self.assertGreaterEqual(found, MAX_TARGET * (1 - 2 * CUBIC_ERROR))
        else:
            self.assertLessEqual(abs(found - exact), exact * CUBIC_ERROR + 1)

    @settings(derandomize=True, deadline=None)
    @given(st.integers(1, MAX_TARGET), st.integers(-(2**70), 2**70))
    def test_whole_half_lives_double_exactly_and_ends_are_held(self, anchor: int, halves: int) -> None:
        expected = anchor << halves if 0 <= halves <= 256 else anchor >> min(-halves, 300) if halves < 0 else MAX_TARGET
        self.assertEqual(scaled(anchor, halves << 16), min(max(expected, 1), MAX_TARGET))

    @settings(derandomize=True, deadline=None)
    @given(st.integers(-(10**15), 10**15), st.integers(1, 10**9))
    def test_the_exponent_is_rounded_down(self, late_ms: int, half_life: int) -> None:
        exact = Fraction(late_ms * 65536, half_life * 1000)
        self.assertTrue(exact - 1 < exponent(late_ms, half_life) <= exact)

    @settings(derandomize=True, deadline=None)
    @given(st.integers(1, MAX_TARGET))
    def test_a_difficulty_of_128_bits_comes_back(self, difficulty: int) -> None:
        back = difficulty_of(target_of(difficulty))
        self.assertGreaterEqual(back, difficulty)
        if difficulty < 2**127:
            self.assertEqual(back, difficulty)
