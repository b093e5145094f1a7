"""Dispatch and the texts about arguments."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.namespaces import Method, Namespace, Param, RpcError, Subscription
from chainp2p.rpc.methods.rpc import rpc_namespace
from chainp2p.rpc.openrpc import discover
from chainp2p.rpc.reference import render_rpc
from chainp2p.rpc.registry import Registry, Subscribe, Unsubscribe, bind
from chainp2p.rpc.values import quantity


def echo(*values: Any) -> list[Any]:
    return list(values)


PARAMS = (Param("a", quantity), Param("b", quantity, required=False, default=7))
SPACE = Namespace(
    "eth",
    (Method("echo", echo, PARAMS, doc="Echoes.", cost=3), Method("none", lambda: None)),
    (Subscription("newHeads", lambda emit: lambda: None, doc="Heads."), Subscription("of", echo, PARAMS[:1])),
)


class Registering(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry([SPACE, rpc_namespace([SPACE], "1.0")])

    def refused(self, *args: Any) -> tuple[int, str]:
        error = self.assertRaises(RpcError, self.registry.invoke, *args)
        return error.code, error.message

    def test_it_calls(self) -> None:
        self.assertEqual(self.registry.invoke("eth_echo", ["0x1"]), [1, 7])
        self.assertEqual(self.registry.invoke("eth_echo", ["0x1", None]), [1, 7])
        self.assertEqual(self.registry.invoke("eth_echo", {"b": "0x2", "a": "0x1"}), [1, 2])
        self.assertIsNone(self.registry.invoke("eth_none", None))
        self.assertEqual((self.registry.cost("eth_echo"), self.registry.cost("eth_what")), (3, 1))

    def test_what_is_asked_for_may_cost_more(self) -> None:
        method = Method("many", echo, PARAMS, cost=2, extra=lambda a, b: a * b)
        registry = Registry([Namespace("eth", (method,))])
        for params, expected in ((["0x3"], 2 + 21), ({"b": "0x0", "a": "0x3"}, 2), ([], 2), (["3"], 2), (None, 2)):
            self.assertEqual(registry.cost("eth_many", params), expected, params)

    def test_argument_errors_are_geths(self) -> None:
        self.assertEqual(self.refused("eth_echo", []), (-32602, "missing value for required argument 0"))
        self.assertEqual(self.refused("eth_echo", None), (-32602, "missing value for required argument 0"))
        self.assertEqual(self.refused("eth_echo", [None]), (-32602, "missing value for required argument 0"))
        self.assertEqual(self.refused("eth_echo", ["0x1", "0x2", 3]), (-32602, "too many arguments, want at most 2"))
        text = "json: cannot unmarshal hex string without 0x prefix into Go value of type hexutil.Big"
        self.assertEqual(self.refused("eth_echo", ["0x1", "2"]), (-32602, f"invalid argument 1: {text}"))
        self.assertEqual(self.refused("eth_echo", {"a": "0x1", "c": 1}), (-32602, "unknown argument 'c'"))

    def test_what_does_not_exist(self) -> None:
        for name in ("eth_what", "what", "", "eth_", "net_subscribe", "_subscribe"):
            self.assertEqual(self.refused(name, []), (-32601, f"the method {name} does not exist/is not available"))

    def test_long_names_are_not_told_back(self) -> None:
        for name in ("x" * 2_049, "x" * 3_000 + "_subscribe"):
            self.assertEqual(self.refused(name, []), (-32600, f"method name too long: {len(name)} > 2048"))

    def test_subscribing(self) -> None:
        self.assertEqual(self.refused("eth_subscribe", ["newHeads"]), (-32601, "notifications not supported"))
        found = self.registry.invoke("eth_subscribe", ["newHeads"], True)
        self.assertIsInstance(found, Subscribe)
        self.assertEqual((found.namespace, found.arguments), ("eth", ()))
        with_argument = self.registry.invoke("eth_subscribe", ["of", "0x1"], True)
        self.assertEqual(with_argument.arguments, (1,))
        self.assertNotEqual(with_argument.key, self.registry.invoke("eth_subscribe", ["of", "0x2"], True).key)
        self.assertEqual(self.registry.invoke("eth_unsubscribe", ["0xab"], True), Unsubscribe("eth", "0xab"))

    def test_subscribing_wrongly(self) -> None:
        self.assertEqual(
            self.refused("eth_subscribe", ["what"], True), (-32601, 'no "what" subscription in eth namespace')
        )
        self.assertEqual(self.refused("eth_subscribe", None, True), (-32602, "missing value for required argument 0"))
        self.assertEqual(self.refused("eth_subscribe", ["of"], True), (-32602, "missing value for required argument 1"))
        self.assertEqual(
            self.refused("eth_subscribe", [7], True), (-32602, "expected subscription name as first argument")
        )
        self.assertEqual(self.refused("eth_subscribe", {"name": "x"}, True), (-32602, "non-array args"))
        self.assertEqual(
            self.refused("eth_subscribe", ["newHeads", 1], True), (-32602, "too many arguments, want at most 1")
        )
        self.assertEqual(self.refused("eth_unsubscribe", [5], True)[0], -32602)

    def test_a_parser_may_choose_its_error(self) -> None:
        def refuse(value: object) -> None:
            raise RpcError(-32000, "mine")

        error = self.assertRaises(RpcError, bind, [Param("a", refuse)], [1])
        self.assertEqual(error.code, -32000)

    def test_what_there_is(self) -> None:
        self.assertEqual(self.registry.invoke("rpc_modules", None), {"eth": "1.0", "rpc": "1.0"})
        document = self.registry.invoke("rpc.discover", None)
        self.assertEqual(document, self.registry.invoke("rpc_discover", []))
        names = [method["name"] for method in document["methods"]]
        self.assertEqual(
            names, ["eth_echo", "eth_none", "eth_subscribe", "eth_unsubscribe", "rpc_modules", "rpc_discover"]
        )
        self.assertEqual(document["methods"][0]["params"][1], {"name": "b", "required": False, "schema": {}})
        self.assertEqual(document["info"]["version"], "1.0")

    def test_the_reference(self) -> None:
        text = render_rpc([SPACE])
        self.assertIn("``eth_echo(a, [b])``\n    Echoes.", text)
        self.assertIn('``eth_subscribe("of", [a])``', text)
        self.assertEqual(discover([], "")["methods"], [])
