"""The real daemon keeps to JSON-RPC 2.0 and says how it does: the same cases as in memory, health and metrics."""

import json
import unittest
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from chainp2p.node.metric_help import HELP
from tests.integration.processes import Daemon, call, eventually
from tests.integration.rawweb import BINARY, TEXT, RawWebSocket, post
from tests.integration.test_abuse import QUIET
from tests.rpc.cases import exact, malformed, specification
from tests.rpc.test_conformance import is_utf8

#: Examples of the specification that need no method of its own.
WITHOUT_METHODS = {
    *("a Notification", "invalid JSON", "invalid Request object", "Batch, invalid JSON", "an empty Array"),
    *("an invalid Batch (but not empty)", "invalid Batch", "Batch (all notifications)"),
}
#: Metrics that a node which has met nobody does not have.
LATER = ("queue_bytes", "queue_highest_bytes", "turned_away", "dns_names", "rpc_http_refused")
#: Keccak-256 of nothing.
SHA3 = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


class ConformanceTests(unittest.TestCase):
    node: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.cleanups = unittest.TestCase()
        cls.node = Daemon(cls.cleanups, *QUIET, "--admin-auth", "none")
        cls.facts = cls.node.facts()
        cls.port = int(cls.facts["rpc"].rpartition(":")[2])

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cleanups.doCleanups()

    def both(self, websocket: RawWebSocket, text: bytes):
        """Answers over HTTP and over WebSocket; a call behind it tells that there is none."""
        status, _, body = post(self.port, text)
        self.assertIn((status, bool(body)), ((200, True), (204, False)))
        websocket.frame(text, TEXT if is_utf8(text) else BINARY)
        websocket.frame(b'{"jsonrpc":"2.0","method":"rpc_modules","id":"behind"}')
        answer = websocket.message()
        assert answer is not None
        if b'"behind"' in answer[:40]:
            return body or None, None
        behind = websocket.message()
        assert behind is not None
        self.assertIn(b'"behind"', behind[:40])
        return body or None, answer

    def test_the_specification_and_malformed_requests(self) -> None:
        websocket = RawWebSocket(self.port)
        self.addCleanup(websocket.close)
        for name, request, expected in malformed():
            self.assertEqual(self.both(websocket, request), (expected, expected), (name, request[:200]))
        shown = 0
        for name, request, response in specification():
            if name in WITHOUT_METHODS:
                shown += 1
                for answer in self.both(websocket, request):
                    self.assertEqual(exact(answer), exact(response), name)
        self.assertEqual(shown, 9)
        for params in (b'["0x"]', b'{"data":"0x"}'):
            text = b'{"jsonrpc":"2.0","method":"web3_sha3","id":3,"params":' + params + b"}"
            for answer in self.both(websocket, text):
                self.assertEqual(exact(answer), {"jsonrpc": "2.0", "id": "3", "result": SHA3})
        self.assertNotIn("Traceback", self.node.log())

    def fetch(self, url: str):
        try:
            with urllib.request.urlopen(url, timeout=20) as response:
                return response.status, response.headers, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def test_health_on_both_ports(self) -> None:
        for url in (self.facts["rpc"], self.facts["admin"]):
            for path in ("/livez", "/readyz"):
                eventually(lambda ask=url + path: self.fetch(ask)[0] == 200, 15, url + path)
                self.assertEqual(json.loads(self.fetch(url + path)[2]), {"status": "ok"})
                verbose = json.loads(self.fetch(url + path + "?verbose")[2])
                self.assertEqual((verbose["status"], verbose["reasons"]), ("ok", []))
                self.assertRegex(verbose["version"], "^chainp2p/")

    def test_metrics_are_on_the_admin_port_and_each_has_a_meaning(self) -> None:
        self.assertEqual(self.fetch(self.facts["rpc"] + "/metrics")[0], 404)
        websocket = RawWebSocket(self.port)
        self.addCleanup(websocket.close)
        websocket.frame(b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
        websocket.message()
        before = self.samples()
        for _ in range(3):
            call(self.facts["rpc"], "eth_chainId")
        post(self.port, b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}')
        found = self.samples()
        rpc = ("port", "rpc")

        def grown(name: str, *labels: tuple[str, str]) -> float:
            key = (name, frozenset(labels))
            return found[key] - before.get(key, 0)

        chain_id, balance = ("method", "eth_chainId"), ("method", "eth_getBalance")
        self.assertEqual(grown("chainp2p_rpc_call_seconds_count", rpc, chain_id), 3)
        self.assertEqual(grown("chainp2p_rpc_call_seconds_bucket", rpc, chain_id, ("le", "+Inf")), 3)
        self.assertEqual(grown("chainp2p_rpc_errors_total", rpc, balance, ("code", "-32602")), 1)
        self.assertGreater(grown("chainp2p_rpc_received_bytes_total", rpc, ("transport", "http")), 200)
        self.assertEqual(found["chainp2p_rpc_subscriptions", frozenset({rpc, ("kind", "eth_newHeads")})], 1)
        self.assertGreaterEqual(found["chainp2p_rpc_connections", frozenset({rpc, ("transport", "websocket")})], 1)
        self.assertEqual(found["chainp2p_chain_height", frozenset({("of", "head")})], 0)
        self.assertGreater(found["process_resident_memory_bytes", frozenset()], 10_000_000)
        ours = {name for name in self.families if name.startswith("chainp2p_")}
        self.assertEqual(ours - HELP.keys(), set())
        # of queues, callers, lists and refusals nothing is told before there was one
        missing = HELP.keys() - ours
        self.assertLessEqual(missing, {f"chainp2p_{name}" for name in LATER})

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        status, headers, text = self.fetch(self.facts["admin"] + "/metrics")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        families = list(text_string_to_metric_families(text))
        self.families = {family.name: family.type for family in families}
        self.assertNotIn("unknown", self.families.values())
        return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}
