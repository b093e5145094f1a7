"""Messages in their usual form against the strict way to read and answer them: there is no difference but in speed."""

import json
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.namespaces import Method, Namespace, Param, RpcError
from chainp2p.node.surface import documented_namespaces
from chainp2p.rpc import calls, core, usual
from chainp2p.rpc.atonce import at_once
from chainp2p.rpc.calls import Answering, Service
from chainp2p.rpc.core import Batch, Invalid, Number, Request
from chainp2p.rpc.fairuse import FairUse
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.registry import Registry
from chainp2p.rpc.tally import Tally

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

    def test_equal_parameters_of_a_batch_are_one_object(self) -> None:
        params = (
            b'["a","b"]',
            b'["a", "b"]',
            b'["a"]',
            b"[]",
            b"[ ]",
            b"[true]",
            b'["true"]',
            b"[null]",
            b'[["a"]]',
            b'[["a"]]',
        )
        entry = b'{"jsonrpc":"2.0","method":"m","id":1,"params":%b}'
        batch = usual.read(b"[" + b",".join(entry % one for one in params) + b"]")
        assert isinstance(batch, Batch)
        known = [cast(Request, one).params for one in batch.entries]
        same = {(a, b) for a in range(len(known)) for b in range(a) if known[a] is known[b]}
        self.assertEqual(same, {(1, 0), (4, 3)})


class Node:
    """Methods that read and one that changes what they read."""

    def __init__(self) -> None:
        self.sent = 0
        self.asked = 0
        self.waited: Deferred[Any] = Deferred()

    def _read(self, *arguments: Any) -> Any:
        self.asked += 1
        return f"{self.sent} \u20ac {arguments!r}"

    async def _later(self, *arguments: Any) -> Any:
        return self._read(*arguments)

    def _send(self, *arguments: Any) -> int:
        self.sent += 1
        return self.sent

    def _refuse(self) -> None:
        raise RpcError(-32000, "no", {"sent": self.sent})

    def _fail(self) -> None:
        raise KeyError("ours")

    def registry(self) -> Registry:
        two = (Param("a", required=False), Param("b", required=False))
        return Registry(
            [
                Namespace(
                    "eth",
                    (
                        Method("chainId", self._read, reads=True),
                        Method("getBalance", self._later, two, cost=2, reads=True),
                    ),
                ),
                Namespace(
                    "t",
                    (
                        Method("send", self._send, two),
                        Method("refuse", self._refuse),
                        Method("fail", self._fail),
                        Method("big", lambda: "x" * 3_000),
                        Method("wait", lambda: self.waited),
                    ),
                ),
            ]
        )


class Answers(SynchronousTestCase):
    """Answers, tally and debts, with messages read the usual way and results told again, and without both."""

    def answer(self, text: bytes, pays: bool, strictly: bool) -> Any:
        limits = Limits(
            batch=6, batch_answers=4_000, cost_rate=1.0, cost_soft=20.0, cost_hard=8.0, subnet_cost_hard=1e9
        )
        node, clock, tally = Node(), Clock(), Tally()
        allowance = FairUse(limits).allowance("203.0.113.5") if pays else None
        registry = node.registry()
        service = Service(registry, limits, cast(Any, clock), tally)
        patches = [self.patch(calls, "read", core.parse), self.patch(registry, "reads", ())] if strictly else []
        found = at_once(Answering(service, allowance, None).answer(text))
        for patch in patches:
            patch.restore()
        self.flushLoggedErrors(KeyError)
        counts = {name: latencies.counts for name, latencies in tally.latencies.items()}
        debt = None if allowance is None else round(allowance._full_at, 9)
        return found, node.sent, counts, tally.errors, tally.sent, tally.received, debt

    def same(self, text: bytes, pays: bool) -> None:
        self.assertEqual(self.answer(text, pays, False), self.answer(text, pays, True), text[:300])

    @settings(deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
    @given(bodies(), st.booleans())
    def test_whatever_comes(self, text: bytes, pays: bool) -> None:
        self.same(text, pays)


class Repeats(SynchronousTestCase):
    """A batch makes a call once that it has several times, as long as nothing can have changed."""

    def setUp(self) -> None:
        self.node, self.clock, self.tally = Node(), Clock(), Tally()
        self.limits = Limits()

    def ask(self, *asked: Any, pays: bool = False) -> Any:
        """Answer a batch of methods, or of pairs (method, parameters)."""
        pairs = [(one, []) if isinstance(one, str) else one for one in asked]
        text = json.dumps(
            [{"jsonrpc": "2.0", "id": id, "method": pair[0], "params": pair[1]} for id, pair in enumerate(pairs)]
        )
        service = Service(self.node.registry(), self.limits, cast(Any, self.clock), self.tally)
        allowance = FairUse(self.limits).allowance("203.0.113.5") if pays else None
        return at_once(Answering(service, allowance, None).answer(text.encode()))

    def results(self, answer: bytes) -> list[str]:
        entries = json.loads(answer)
        self.assertEqual([entry["id"] for entry in entries], list(range(len(entries))))
        return [str(entry["result"]).partition(" ")[0] for entry in entries]

    def calls(self, method: str) -> int:
        return sum(self.tally.latencies[method].counts)

    def test_each_is_made_once_and_counted(self) -> None:
        balances = [("eth_getBalance", ["a", block]) for block in ("x", "y")]
        self.assertEqual(self.results(self.ask(*["eth_chainId", *balances] * 50)), ["0"] * 150)
        self.assertEqual(self.node.asked, 3)
        self.assertEqual((self.calls("eth_chainId"), self.calls("eth_getBalance")), (50, 100))

    def test_what_may_change_something_lies_between(self) -> None:
        answer = self.ask("eth_chainId", "eth_chainId", "t_send", "eth_chainId", "t_send", "eth_chainId")
        self.assertEqual(self.results(answer), ["0", "0", "1", "1", "2", "2"])

    def test_what_may_change_something_and_is_refused_lies_between(self) -> None:
        self.ask(
            "eth_chainId", "t_refuse", "eth_chainId", "t_none", "eth_chainId", ("eth_chainId", ["x"]), "eth_chainId"
        )
        self.assertEqual(self.node.asked, 3)

    def test_time_lies_between(self) -> None:
        waiting = self.ask("eth_chainId", "t_wait", "eth_chainId", "eth_chainId")
        self.node.sent = 7
        self.node.waited.callback("0")
        self.assertEqual(self.results(self.successResultOf(waiting)), ["0", "0", "7", "7"])

    def test_others_were_let_in_between(self) -> None:
        node, clock = self.node, self.clock

        class Slow(Node):
            def _read(self, *arguments: Any) -> Any:
                clock.rightNow += 1
                return super()._read(*arguments)

        self.node = node = Slow()
        waiting = self.ask("eth_chainId", "eth_chainId", "eth_chainId")
        self.assertNoResult(waiting)
        node.sent = 7
        clock.pump([0, 0])
        self.assertEqual(self.results(self.successResultOf(waiting)), ["0", "7", "7"])

    def test_who_pays_is_looked_at_call_by_call(self) -> None:
        self.limits = Limits(cost_hard=3.0, cost_soft=3.0)
        answers = json.loads(self.ask(*["eth_chainId"] * 6, pays=True))
        self.assertEqual(["result" in one for one in answers], [True] * 3 + [False] * 3)
        self.assertEqual(self.tally.errors, {("eth_chainId", -32005): 3})

    def test_too_large_answers_end_here_too(self) -> None:
        self.limits = Limits(batch_answers=200)
        answers = json.loads(self.ask(*["eth_chainId"] * 9))
        self.assertEqual(["result" in one for one in answers], [True] * 5 + [False] * 4)

    def test_only_what_is_cheap(self) -> None:
        """Answers are kept beside the batch, and nothing that waits gains by it."""
        known = Registry(documented_namespaces())
        self.assertIn("eth_getBalance", known.reads)
        self.assertEqual([name for name in known.reads if known.cost(name) != 1], [])
