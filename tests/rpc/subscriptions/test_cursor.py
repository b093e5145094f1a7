"""The cursor of the loss-free stream."""

from base64 import urlsafe_b64decode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.subscriptions.cursor import STEPS, Cursor, ladder


def hash_at(height: int) -> bytes:
    return height.to_bytes(8, "little") * 4


class CursorTests(SynchronousTestCase):
    def test_its_bytes(self) -> None:
        text = Cursor.of(5_000, hash_at(5_000), {height: hash_at(height) for height in range(5_000)}).encode()
        self.assertEqual(len(text), 128)
        raw = urlsafe_b64decode(text)
        self.assertEqual(raw[:40], (5_000).to_bytes(8, "big") + hash_at(5_000))
        below = [4_999, 4_996, 4_984, 4_936, 4_744, 3_976, 904]
        self.assertEqual([raw[at : at + 8] for at in range(40, 96, 8)], [hash_at(height)[:8] for height in below])

    def test_near_genesis_that_is_named(self) -> None:
        hashes = {height: hash_at(height + 1) for height in range(100)}
        for height, named in ((0, []), (1, [0]), (3, [2, 0]), (4, [3, 0]), (70, [69, 66, 54, 6, 0])):
            cursor = Cursor.of(height, hash_at(height + 1), hashes)
            self.assertEqual(list(cursor.ancestors), named)
            self.assertEqual(urlsafe_b64decode(cursor.encode())[40 + 8 * len(named) :], bytes(56 - 8 * len(named)))

    @settings(deadline=None, derandomize=True)
    @given(st.integers(0, 1 << 62) | st.integers(0, 5_000))
    def test_there_and_back(self, height: int) -> None:
        cursor = Cursor.of(height, hash_at(height), {below: hash_at(below) for below in ladder(height)})
        self.assertEqual(Cursor.decode(cursor.encode().decode()), cursor)
        named = [height - step for step in STEPS if step < height]
        self.assertEqual(list(cursor.ancestors), named + [0] * (0 < height <= STEPS[-1]))

    @settings(deadline=None, derandomize=True)
    @given(st.text(max_size=130) | st.text("AZaz09-_+/= ", min_size=128, max_size=128))
    def test_whatever_it_is_it_is_read_or_refused(self, text: str) -> None:
        try:
            cursor = Cursor.decode(text)
        except ValueError as error:
            self.assertIn("cursor", str(error))
        else:
            self.assertEqual(cursor.encode().decode()[:53], text[:53])

    def test_what_is_malformed(self) -> None:
        good = Cursor.of(0, bytes(32), {}).encode().decode()
        for text, why in (
            ("", "128 characters"),
            (good[:-1], "128 characters"),
            (good + "A", "128 characters"),
            (good[:-1] + "+", "base64url"),
            (good[:-2] + "==", "base64url"),
            (good[:-1] + "\xe4", "base64url"),
            ("\ud800" + good[1:], "base64url"),
            ("_" + good[1:], "beyond every chain"),
        ):
            error = self.assertRaises(ValueError, Cursor.decode, text)
            self.assertIn(why, str(error), text)
