"""Messages in their usual form against the strict way to read them: there is no difference but in speed."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc import core, usual
from chainp2p.rpc.core import Batch, Invalid, Number, Request

USUAL = [
    b'{"jsonrpc":"2.0","id":1,"method":"m"}',
    b' {\t"method" : "m" ,\r\n"params":[ ], "id":"x\\u0041\\n\xc3\xa9", "jsonrpc":"2.0"} ',
    b'[{"jsonrpc":"2.0","id":null,"method":"m","params":null},{"jsonrpc":"2.0","method":"m"}]',
    b'[{"jsonrpc":"2.0","id":-7,"method":"m","params":["a",true,false,null,["a",null],{"k":"v","l":["x"],"m":true}]}]',
    b'[{"jsonrpc":"2.0","id":9223372036854775807,"method":"m"},{"jsonrpc":"2.0","id":-9223372036854775808,"method":"m"}]',
    b'{"jsonrpc":"2.0","id":-0,"method":"m"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"l","method":"m","params":[],"params":["\\ud83d\\ude00"]}',
    b'{"json\\u0072pc":"2.0","id":"%b","method":"m"}' % ("\u20ac" * core.MAX_ID_LENGTH).encode(),
    b'[{"jsonrpc":"2.0","id":1,"method":"m","params":[{"a":"1","b":"2","a":"3"}]}]',
]

#: Texts of JSON, or not; ids and parameters are made of them.
ODD = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e-400", b"1.0", b"1.50", b"1e2", b"-0", b"-0.0", b"01", b"-"),
    *(b"9" * 5_000, b"-" + b"8" * 4_301, b"7" * 401, b"18446744073709551616", b"9223372036854775808", b"1.", b"+1"),
    *(b"true", b"false", b"null", b"tru", b"nul", b"", b"[]", b"{}", b"[[[[]]]]", b'[{"a":[{"b":["c"]}]}]', b"[1]"),
    *(b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc3"', b'"\xc0\xaf"'),
    *(b'"\x00"', b'"\x1f"', b'"\x7f"', b'"\n"', b'"\\x41"', b'"\\u12"', b'"\\/\\b\\f"', b'"a', b'"', b'"\\"', b"'a'"),
    *(b'"' + b"x" * 1_024 + b'"', b'"' + b"x" * 1_025 + b'"', b'"' + "\U0001f600".encode() * 1_024 + b'"'),
    *(b'{"a":1,"a":2}', b'{"a":"1","a":"2"}', b'{"a":{}}', b"[1,]", b'{"a":"b",}', b"{1:2}", b"[" * 300 + b"]" * 300),
    *(b"1/**/", b"0x1", b'"2.0"', b'"a" "b"', b"[" * 2_000, b'{"a":' * 2_000),
]
USUAL_IDS = st.sampled_from([b"1", b"22", b'"id"', b"null"])
USUAL_PARAMS = st.sampled_from([b'["0xab","latest"]', b'["0xab"]', b"[]", b"null", b'[{"to":"0xab"}]'])
TOKENS = USUAL_IDS | USUAL_PARAMS | st.sampled_from(ODD)
READS_OF_NODE = [b'"eth_chainId"', b'"eth_getBalance"', b'"eth_\\u0063hainId"']
METHODS = st.sampled_from(
    [*READS_OF_NODE * 2, *(b'"t_%b"' % name for name in (b"send", b"refuse", b"fail", b"big", b"no"))]
)
SPACES = st.sampled_from([b"", b"", b"", b" ", b"\n\t\r ", b"\x0b", b"\xc2\xa0", b"\xef\xbb\xbf"])


def shape(value: Any) -> Any:
    """*value* with all types in it, and the texts of its numbers."""
    if isinstance(value, Number):
        return Number, value.text
    if isinstance(value, Batch):
        return Batch, tuple(map(shape, value.entries))
    if isinstance(value, Request):
        return Request, value.id, value.method, shape(value.params)
    if isinstance(value, list):
        return list, tuple(map(shape, value))
    if isinstance(value, dict):
        return dict, tuple((shape(key), shape(one)) for key, one in value.items())
    return type(value), value


@st.composite
def members(draw: Any, usual_only: bool) -> bytes:
    pairs = [
        (b'"jsonrpc"', b'"2.0"' if usual_only else draw(st.sampled_from([b'"2.0"'] * 9 + [b'"1.0"', b"2.0"]))),
        (b'"method"', draw(METHODS)),
        *([(b'"id"', draw(USUAL_IDS if usual_only else TOKENS))] if draw(st.integers(0, 7)) else []),
        *([(b'"params"', draw(USUAL_PARAMS if usual_only else TOKENS))] if draw(st.integers(0, 3)) else []),
    ]
    if not usual_only:
        names = st.sampled_from([b'"id"', b'"params"', b'"method"', b'"jsonrpc"', b'"more"', b'"i\\u0064"', b"id"])
        pairs += draw(st.lists(st.tuples(names, TOKENS), max_size=2))
        pairs = draw(st.permutations(pairs))
    space = b"" if usual_only else draw(SPACES)
    return b"{" + b",".join(name + space + b":" + value for name, value in pairs) + space + b"}"


@st.composite
def bodies(draw: Any) -> bytes:
    """Mostly batches, half of them as clients write them, the others with a few things that are not."""
    plain = draw(st.booleans())
    entries = [draw(members(plain or draw(st.integers(0, 3)) > 0)) for _ in range(draw(st.integers(0, 8)))]
    if len(entries) == 1 and draw(st.booleans()):
        text: bytes = entries[0]
    else:
        text = b"[" + b",".join(entries if plain else [*entries, *draw(st.lists(TOKENS, max_size=1))]) + b"]"
    if plain:
        return text
    damage = draw(st.integers(0, 9))
    at = draw(st.integers(0, len(text)))
    if damage == 0:
        return text[:at]
    if damage == 1:
        return text[:at] + draw(st.binary(max_size=2)) + text[at + 1 :]
    return text


class Reading(SynchronousTestCase):
    def same(self, text: bytes) -> None:
        self.assertEqual(shape(usual.read(text)), shape(core.parse(text)), text[:200])

    def test_the_usual_form_is_read_fast(self) -> None:
        expected = [shape(core.parse(text)) for text in USUAL]
        self.patch(usual, "parse", lambda text: self.fail(f"{text[:200]!r} was read the strict way"))
        self.assertEqual([shape(usual.read(text)) for text in USUAL], expected)

    def test_each_oddity_in_each_place(self) -> None:
        for odd in ODD:
            for entry in (
                odd,
                b'{"jsonrpc":"2.0","method":"m","id":%b}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":%b}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":[%b]}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":[[%b],"x"]}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":[{"k":%b}]}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":[{"k":[%b]}]}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"params":[{%b:"k"}]}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,"more":%b}' % odd,
                b'{"jsonrpc":"2.0","method":"m","id":1,%b:1}' % odd,
                b'{"jsonrpc":"2.0","method":%b,"id":1}' % odd,
                b'{"jsonrpc":%b,"method":"m","id":1}' % odd,
                b'{"method":"m","id":%b}' % odd,
            ):
                self.same(entry)
                self.same(b"[" + entry + b"]")
                self.same(b'[{"jsonrpc":"2.0","method":"m","id":1},' + entry + b"]")
                self.same(entry + odd)

    def test_very_many_values(self) -> None:
        call = b'{"jsonrpc":"2.0","method":"m","id":1,"params":["a","b"]}'
        for count, good in ((100, True), (40_000, False)):
            text = b"[" + b",".join([call] * count) + b"]"
            self.same(text)
            self.assertIs(isinstance(usual.read(text), Batch), good)
        self.assertIsInstance(
            usual.read(b"[" + b",".join([call[:-2] + b' "' + b"x" * 9_000 + b'"]}']) + b"]"), Invalid | Batch
        )

    @settings(deadline=None, derandomize=True, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
    @given(bodies())
    def test_whatever_comes(self, text: bytes) -> None:
        self.same(text)
