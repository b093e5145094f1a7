"""RFC 8785."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.canonical import canonical_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


class Canonical(SynchronousTestCase):
    def test_order_of_the_rfc(self) -> None:
        # RFC 8785, 3.2.3: names are sorted by UTF-16 code units, so that U+1F600 comes before U+FB33.
        value = {
            "\u20ac": "Euro Sign",
            "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\U0001f600": "Emoji: Grinning Face",
            "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis",
        }
        names = list(json.loads(canonical_json(value)))
        self.assertEqual(names, ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"])

    def test_strings_of_the_rfc(self) -> None:
        # RFC 8785, 3.2.2.2
        text = '\u20ac$\u000f\nA\'B"\\\\"/'
        self.assertEqual(canonical_json(text), b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"')

    @settings(deadline=None, derandomize=True)
    @given(VALUES)
    def test_nothing_is_lost(self, value: object) -> None:
        raw = canonical_json(value)
        self.assertEqual(json.loads(raw), value)
        self.assertEqual(canonical_json(json.loads(raw)), raw)

    def test_plain(self) -> None:
        self.assertEqual(canonical_json({"b": [1, True, None], "a": {}}), b'{"a":{},"b":[1,true,null]}')

    def test_refusals(self) -> None:
        for value in (1.5, 2**53, -(2**53), b"", {"a": object()}, "\ud800"):
            with self.assertRaises(ValueError):
                canonical_json(value)
