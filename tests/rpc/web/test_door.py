"""What becomes of a request by its head."""

import json
from typing import Any

from attrs import evolve
from jwt import encode
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.door import Asked, Door, Go, Reply, Route

POST = Asked("POST", "/", hosts=("localhost:8545",), content_type="application/json")
SECRET = b"s" * 32


class Doors(SynchronousTestCase):
    def ask(self, door: Door | None = None, **changes: Any) -> Reply | Go:
        return (door or Door()).admit(evolve(POST, **changes), 1_000.0)

    def refused(self, status: int, door: Door | None = None, **changes: Any) -> Reply:
        reply = self.ask(door, **changes)
        assert isinstance(reply, Reply)
        self.assertEqual(reply.status, status)
        return reply

    def test_a_call(self) -> None:
        self.assertEqual(self.ask(), Go(Route.CALL))
        for kind in ("application/json; charset=utf-8", "Application/JSON-RPC", "application/jsonrequest"):
            self.assertEqual(self.ask(content_type=kind), Go(Route.CALL))

    def test_paths(self) -> None:
        for path in ("/x", "//", "/ws/", "", "/index.html", "/LIVEZ"):
            self.refused(404, path=path)
        self.assertEqual(self.refused(426, path="/ws").headers[-1], ("Upgrade", "websocket"))
        for path in ("/", "/ws"):
            self.assertEqual(self.ask(path=path, method="GET", upgrade=True), Go(Route.WEBSOCKET))

    def test_methods_and_content_types(self) -> None:
        for method in ("GET", "PUT", "DELETE", "HEAD", "BREW"):
            self.assertIn(("Allow", "POST, OPTIONS"), self.refused(405, method=method).headers)
        for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "application/json2"):
            self.refused(415, content_type=kind)

    def test_hosts(self) -> None:
        reply = self.refused(403, hosts=("evil.example",))
        self.assertIn("--rpc-hosts", reply.body)
        self.refused(400, hosts=())
        self.refused(400, hosts=("localhost", "localhost"))
        self.assertEqual(self.ask(hosts=(), version="HTTP/1.0"), Go(Route.CALL))
        self.refused(403, hosts=("evil.example",), path="/readyz", method="GET")
        self.assertEqual(self.ask(Door(hosts=("*",)), hosts=("x.example",)), Go(Route.CALL))
        self.assertNotIn("\n\n", self.refused(403, hosts=("evil\r\n\r\n<html>",)).body)

    def test_origins(self) -> None:
        self.assertIn("--rpc-origins", self.refused(403, origin="https://evil.example").body)
        self.refused(403, origin="https://evil.example", method="OPTIONS")
        self.refused(403, origin="https://evil.example", method="GET", upgrade=True)
        door = Door(origins=("https://dapp.example",))
        cors = (("Access-Control-Allow-Origin", "https://dapp.example"), ("Vary", "Origin"))
        self.assertEqual(self.ask(door, origin="https://dapp.example"), Go(Route.CALL, cors))
        self.assertEqual(self.refused(415, door, origin="https://dapp.example", content_type=None).headers, cors)

    def test_preflight(self) -> None:
        door = Door(origins=("https://dapp.example",))
        reply = self.refused(204, door, method="OPTIONS", origin="https://dapp.example")
        names = dict(reply.headers)
        self.assertEqual(names["Access-Control-Allow-Methods"], "POST")
        self.assertNotIn("Access-Control-Allow-Private-Network", names)
        private = self.refused(204, door, method="OPTIONS", origin="https://dapp.example", private_network=True)
        self.assertEqual(dict(private.headers)["Access-Control-Allow-Private-Network"], "true")
        self.assertEqual(self.refused(204, method="OPTIONS").headers, (("Allow", "POST, OPTIONS"),))

    def test_tokens_and_the_admin_port(self) -> None:
        door = Door(token=SECRET, admin=True)
        self.assertIn(("WWW-Authenticate", "Bearer"), self.refused(401, door).headers)
        good = f"Bearer {encode({'iat': 1_000}, SECRET, algorithm='HS256')}"
        self.assertEqual(self.ask(door, authorization=good), Go(Route.CALL))
        self.refused(401, door, method="GET", upgrade=True)
        self.refused(200, door, path="/livez", method="GET")
        self.assertIn("own pages", self.refused(403, door, authorization=good, origin="moz-extension://x").body)
        own = self.ask(door, authorization=good, origin="http://localhost:8545")
        self.assertIsInstance(own, Go)

    def test_health(self) -> None:
        reasons: list[str] = []
        door = Door(livez=list, readyz=lambda: reasons, version="1")
        self.assertEqual(json.loads(self.refused(200, door, path="/readyz", method="GET").body), {"status": "ok"})
        reasons.append("peers: 0 of 1")
        bad = self.refused(503, door, path="/readyz", method="HEAD")
        self.assertEqual(json.loads(bad.body), {"status": "unavailable", "reasons": ["peers: 0 of 1"]})
        verbose = self.refused(200, door, path="/livez", method="GET", query="x=1&verbose")
        self.assertEqual(json.loads(verbose.body), {"status": "ok", "reasons": [], "version": "1"})
        self.refused(405, door, path="/livez")

    def test_metrics_where_they_are_served(self) -> None:
        self.refused(404, Door(), path="/metrics", method="GET")
        door = Door(token=SECRET, admin=True, metrics=lambda: "a 1\n")
        told = self.refused(200, door, path="/metrics", method="GET")
        self.assertEqual((told.body, told.content_type), ("a 1\n", "text/plain; version=0.0.4; charset=utf-8"))
        self.refused(405, door, path="/metrics")
        self.refused(403, door, path="/metrics", method="GET", hosts=("evil.example",))
