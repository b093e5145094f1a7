"""The OpenRPC document against its meta-schema; every schema in it is one."""

from typing import Any

from jsonschema import Draft7Validator
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.surface import documented_namespaces
from chainp2p.rpc.openrpc import discover
from tests.rpc.openrpc import document_errors, schema_errors


class Documents(SynchronousTestCase):
    def setUp(self) -> None:
        self.document = discover(documented_namespaces(), "1.0")

    def methods(self) -> list[dict[str, Any]]:
        methods: list[dict[str, Any]] = self.document["methods"]
        return methods

    def test_it_is_one(self) -> None:
        self.assertEqual(document_errors(self.document), [])
        self.assertEqual(document_errors({**self.document, "methods": []}), [])

    def test_the_check_finds_what_is_wrong(self) -> None:
        for broken in (
            {**self.document, "openrpc": "0.9"},
            {**self.document, "more": 1},
            {**self.document, "methods": [{"name": "x"}]},
            {**self.document, "methods": [{"name": "x", "params": [{"name": "p", "schema": {"type": "strin"}}]}]},
            {**self.document, "methods": [{**self.methods()[0], "result": {"name": "r", "schema": {"type": 7}}}]},
        ):
            self.assertNotEqual(document_errors(broken), [])
        self.assertNotEqual(schema_errors("0x01", {"type": "string", "pattern": "^0x1$"}), [])

    def test_names_differ_and_everything_is_said_of_each(self) -> None:
        names = [method["name"] for method in self.methods()]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreater(len(names), 80)
        for method in self.methods():
            self.assertTrue(method["summary"], method["name"])
            self.assertTrue(method["result"]["schema"], f"{method['name']} does not say what it answers")
            for param in method["params"]:
                self.assertTrue(param["schema"] or param["name"] == "options", (method["name"], param["name"]))
                Draft7Validator.check_schema(param["schema"])
            required = [param["required"] for param in method["params"]]
            self.assertEqual(required, sorted(required, reverse=True), f"{method['name']}: optional ones come last")
