"""What is typed at the prompt of ``attach``: lines, completion, help."""

from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from chainp2p.cli.console import VERBS, Call, Offered, Verb, read_line
from chainp2p.node.surface import documented_namespaces
from chainp2p.rpc.openrpc import discover

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Lines(TestCase):
    def check(self, line: str, method: str, *params: Any) -> None:
        self.assertEqual(read_line(line), Call(method, list(params)))

    def test_calls(self) -> None:
        self.check("eth_blockNumber", "eth_blockNumber")
        self.check("  eth.blockNumber()  ", "eth_blockNumber")
        self.check("rpc.discover", "rpc.discover")
        self.check("eth_getBlockByNumber latest false", "eth_getBlockByNumber", "latest", False)
        self.check('eth_getBlockByNumber("latest", true)', "eth_getBlockByNumber", "latest", True)
        self.check("eth_getBlockByNumber (0x1f,true)", "eth_getBlockByNumber", "0x1f", True)
        self.check("chain_getBlock 7", "chain_getBlock", 7)
        self.check('eth_call {"to": "0x00", "data": "a b"} latest', "eth_call", {"to": "0x00", "data": "a b"}, "latest")
        self.check('chain_subscribe ["heads"]', "chain_subscribe", ["heads"])
        self.check("eth_foo null 1.5 -3 'x'", "eth_foo", None, 1.5, -3, "'x'")

    def test_what_is_no_call(self) -> None:
        for line in ("", "   ", "# eth_blockNumber"):
            self.assertIsNone(read_line(line))
        self.assertEqual(read_line("wait 0.5"), Verb("wait", [0.5]))
        self.assertEqual(read_line("help eth_call"), Verb("help", ["eth_call"]))
        for line, text in (
            ("blockNumber", "'blockNumber': a method such as eth_blockNumber, or help"),
            ("eth_call(1", "')' is missing"),
            ('eth_call {"to": ', "argument 1: '{\"to\":'"),
            ('eth_call 1 "x', "argument 2"),
            ("eth_call " + "[" * 5_000, "argument 1"),
        ):
            with self.assertRaises(ValueError, msg=line[:40]) as caught:
                read_line(line)
            self.assertIn(text, str(caught.exception))
            self.assertLess(len(str(caught.exception)), 300)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(VALUES, max_size=4))
    def test_json_comes_back_as_it_was(self, values: list[Any]) -> None:
        import json

        texts = list(map(json.dumps, values))
        self.check(f"a_b {' '.join(texts)}", "a_b", *values)
        self.check(f"a_b({', '.join(texts)})", "a_b", *values)

    @settings(deadline=None, derandomize=True)
    @given(st.text())
    def test_any_line_is_read_or_refused(self, text: str) -> None:
        try:
            read_line(text)
        except ValueError as error:
            self.assertTrue(str(error))


class Completing(TestCase):
    def setUp(self) -> None:
        self.offered = Offered.of(discover(documented_namespaces(), "test"))

    def test_methods_and_verbs(self) -> None:
        self.assertEqual(self.offered.complete("", "eth_getBlockB"), ["eth_getBlockByHash", "eth_getBlockByNumber"])
        self.assertEqual(self.offered.complete("", "he"), ["help"])
        self.assertEqual(self.offered.complete("help ", "web3_"), ["web3_clientVersion", "web3_sha3"])
        self.assertEqual(self.offered.complete("", "nothing"), [])

    def test_values_that_a_parameter_may_have(self) -> None:
        tags = ["earliest", "finalized", "latest", "pending", "safe"]
        self.assertEqual(self.offered.complete("eth_getBlockByNumber ", ""), tags)
        self.assertEqual(self.offered.complete("eth_getBlockByNumber latest ", "t"), ["true"])
        self.assertEqual(self.offered.complete("eth_getBlockByNumber latest true ", ""), [])
        self.assertEqual(self.offered.complete("eth_subscribe ", "new"), ["newHeads", "newPendingTransactions"])
        self.assertEqual(self.offered.complete("no_such ", ""), [])

    def test_help(self) -> None:
        text = self.offered.describe(None)
        self.assertIn("eth_getBalance address [block]\n", text)
        for verb in VERBS:
            self.assertIn(f"\n{verb} ", text)
        one = self.offered.describe("eth_getBalance").splitlines()
        self.assertEqual(one[:2], ["eth_getBalance address [block]", "  Balance in wei."])
        self.assertIn("block (optional): ", one[3])
        self.assertEqual(self.offered.describe("wait"), VERBS["wait"])
        with self.assertRaisesRegex(ValueError, "there is no method 'eth_foo'"):
            self.offered.describe("eth_foo")
