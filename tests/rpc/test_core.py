"""JSON-RPC as values: the specification's examples, and what hostile bytes do (nothing)."""

import json
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.core import (
    Batch,
    Invalid,
    Number,
    Request,
    dumps,
    parse,
    render_batch,
    render_error,
    render_notification_frame,
    render_result,
    to_json,
)


class Parsing(SynchronousTestCase):
    def test_a_request(self) -> None:
        text = b'{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}'
        self.assertEqual(parse(text), Request("1", "subtract", [42, 23]))

    def test_parameters_may_be_missing_null_empty_or_named(self) -> None:
        for given_params, expected in (
            ("", None),
            (',"params":null', None),
            (',"params":[]', []),
            (',"params":{}', {}),
        ):
            text = '{"jsonrpc":"2.0","id":"a","method":"m"' + given_params + "}"
            self.assertEqual(parse(text.encode()), Request('"a"', "m", expected))

    def test_a_notification_has_no_id_and_null_is_one(self) -> None:
        self.assertEqual(parse(b'{"jsonrpc":"2.0","method":"m"}'), Request(None, "m", None))
        self.assertEqual(parse(b'{"jsonrpc":"2.0","method":"m","id":null}'), Request("null", "m", None))

    def test_what_is_no_request(self) -> None:
        for text in (
            b"1",
            b'"x"',
            b"null",
            b"{}",
            b'{"jsonrpc":"2.0","method":1,"params":"bar"}',
            b'{"jsonrpc":"1.0","method":"m"}',
            b'{"method":"m"}',
            b'{"jsonrpc":"2.0"}',
            b'{"jsonrpc":"2.0","method":"m","params":"bar"}',
            b'{"jsonrpc":"2.0","method":"m","params":7}',
            b'{"jsonrpc":"2.0","method":"m","id":true}',
            b'{"jsonrpc":"2.0","method":"m","id":[1]}',
            b'{"jsonrpc":"2.0","method":"m","id":{}}',
            b'{"jsonrpc":"2.0","result":1}',
            b"[]",
        ):
            self.assertEqual(parse(text), Invalid("null", -32600, "Invalid Request"), text)
        self.assertEqual(parse(b'{"jsonrpc":"2.0","method":3,"id":9}'), Invalid("9", -32600, "Invalid Request"))

    def test_what_is_no_json(self) -> None:
        for text in (
            b"",
            b"{",
            b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
            b"[1,",
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"[" * 200_000,
            b'{"a":' * 200_000,
            b'"\xed\xa0\x80"',
            "{}".encode("utf-16"),
        ):
            self.assertEqual(parse(text), Invalid("null", -32700, "Parse error"), text[:20])

    def test_nesting(self) -> None:
        """The limit is ours: the C stack of the decoder does not know the interpreter's, which libraries raise."""
        limit = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, limit)
        sys.setrecursionlimit(1_000_000)
        start = b'{"jsonrpc":"2.0","method":"m","id":1,"params":'
        for depth, good in ((99, True), (100, False), (1_000_000, False)):
            found = parse(start + b"[" * depth + b"]" * depth + b"}")
            self.assertIs(isinstance(found, Request), good, depth)
        strings = b'["' + b"[" * 500 + b'\\"{{", "\\\\", {}]'
        self.assertIsInstance(parse(start + strings + b"}"), Request)
        self.assertIsInstance(parse(start + b"[" + b",".join([b"[{}]"] * 5_000) + b"]}"), Request)
        self.assertIsInstance(parse(b'["' + b"[" * 500), Invalid)
        self.assertIsInstance(parse(b"[" * 101 + b'"\\' * 1_000_000), Invalid)

    @given(st.text('[]{}"\\\\x', max_size=9), st.integers(0, 30), st.booleans())
    def test_brackets_in_strings_do_not_nest(self, text: str, depth: int, escaped: bool) -> None:
        value = json.dumps(text) if escaped else '"' + text + '"'
        entry = "[" * depth + value + "]" * depth
        whole = '{"jsonrpc":"2.0","method":"m","id":1,"params":[' + ",".join([entry] * 101) + "]}"
        try:
            json.loads(whole)
        except ValueError:
            self.assertIsInstance(parse(whole.encode()), Invalid)
        else:
            self.assertIsInstance(parse(whole.encode()), Request)

    def test_a_message_of_very_many_values(self) -> None:
        for text in (b"[" + b"1," * 200_000 + b"1]", b"[]" * 200_001, b"{" * 200_001):
            self.assertEqual(parse(text), Invalid("null", -32600, "too many values"))

    def test_ids_are_echoed_as_they_were_written(self) -> None:
        for id in (
            "1e400",
            "-1e-400",
            "1.50",
            "9" * 5_000,
            "-" + "8" * 5_000,
            "12345678901234567890",
            "-0",
            '"\\ud800"',
        ):
            request = parse(b'{"jsonrpc":"2.0","method":"m","id":%b}' % id.encode())
            assert isinstance(request, Request)
            self.assertEqual(request.id, "0" if id == "-0" else id)

    def test_an_endless_string_is_no_id(self) -> None:
        text = b'{"jsonrpc":"2.0","method":"m","id":"%b"}' % (b"x" * 5_000)
        self.assertEqual(parse(text), Invalid("null", -32600, "Invalid Request"))

    def test_numbers_that_are_too_large_become_floats_that_remember(self) -> None:
        request = parse(b'{"jsonrpc":"2.0","method":"m","id":1,"params":[1.5,1e999,%b]}' % (b"7" * 5_000))
        assert isinstance(request, Request)
        assert isinstance(request.params, list)
        first, second, third = request.params
        self.assertEqual((first, first.text), (1.5, "1.5"))
        self.assertEqual((second, third), (float("inf"), float("inf")))
        self.assertIsInstance(third, Number)

    def test_a_batch(self) -> None:
        self.assertEqual(
            parse(b'[1,{"jsonrpc":"2.0","method":"m"}]'),
            Batch((Invalid("null", -32600, "Invalid Request"), Request(None, "m", None))),
        )

    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=300))
    def test_no_bytes_raise(self, text: bytes) -> None:
        parse(text)

    @settings(deadline=None, derandomize=True)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params"]), inner)
            ),
            max_leaves=20,
        )
    )
    def test_no_json_raises_and_every_entry_is_judged(self, value: Any) -> None:
        found = parse(json.dumps(value).encode())
        if isinstance(value, list) and value:
            assert isinstance(found, Batch)
            self.assertEqual(len(found.entries), len(value))
        else:
            self.assertIsInstance(found, Request | Invalid)


class Rendering(SynchronousTestCase):
    def test_a_result(self) -> None:
        self.assertEqual(render_result("1", to_json({"a": None})), '{"jsonrpc":"2.0","id":1,"result":{"a":null}}')

    def test_an_error(self) -> None:
        self.assertEqual(
            json.loads(render_error("null", -32700, "Parse error")),
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}},
        )
        self.assertEqual(json.loads(render_error("1", 3, "reverted", "0x"))["error"]["data"], "0x")

    def test_a_batch(self) -> None:
        self.assertEqual(render_batch(["1", "2"]), "[1,2]")

    def test_lone_surrogates_leave_as_escapes(self) -> None:
        self.assertEqual(dumps("\ud800"), b'"\\ud800"')

    def test_what_is_no_json_is_refused(self) -> None:
        self.assertRaises(ValueError, dumps, float("nan"))
        self.assertRaises(TypeError, dumps, b"x")

    def test_a_notification_with_a_place_for_the_id(self) -> None:
        head, tail = render_notification_frame("eth", b"1")
        self.assertEqual(
            json.loads(head + b"0xab" + tail),
            {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": "0xab", "result": 1}},
        )
