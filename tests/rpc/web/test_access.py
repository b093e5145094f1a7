"""Hosts, origins and tokens, as forgers write them."""

from typing import Any

from jwt import encode
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.access import admin_origin_allowed, host_allowed, origin_allowed, token_refusal

SECRET = b"s" * 32
NOW = 1_700_000_000.0


class Hosts(SynchronousTestCase):
    def test_literals_pass(self) -> None:
        for host in ("127.0.0.1", "127.0.0.1:8545", "[::1]:8545", "[::1]", "10.1.2.3:80"):
            self.assertTrue(host_allowed(host, ()), host)

    def test_names_must_be_listed(self) -> None:
        self.assertTrue(host_allowed("LocalHost:8545", ("localhost",)))
        self.assertTrue(host_allowed("node.example", ("localhost", "Node.Example")))
        self.assertTrue(host_allowed("anything", ("*",)))
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "localhost:x", "[evil]"):
            self.assertFalse(host_allowed(host, ("localhost",)), host)


class Origins(SynchronousTestCase):
    def test_who_passes(self) -> None:
        listed = ("http://localhost:*", "https://dapp.example")
        for origin in (
            "http://node:8545",
            "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn",
            "moz-extension://0a",
            "http://localhost:3000",
            "http://localhost",
            "HTTPS://DAPP.example",
        ):
            self.assertTrue(origin_allowed(origin, "node:8545", listed), origin)

    def test_who_does_not(self) -> None:
        listed = ("http://localhost:*", "https://dapp.example")
        for origin in (
            "null",
            "https://evil.example",
            "http://localhost:3000.evil.example",
            "http://localhost.evil.example",
            "https://dapp.example.evil",
            "http://dapp.example",
            "http://node:9999",
            "ftp://node:8545",
            "",
        ):
            self.assertFalse(origin_allowed(origin, "node:8545", listed), origin)
        self.assertTrue(origin_allowed("null", "node:8545", ("*",)))

    def test_default_ports(self) -> None:
        self.assertTrue(origin_allowed("http://node", "node:80", ()))
        self.assertTrue(origin_allowed("https://node", "node:443", ()))
        self.assertTrue(origin_allowed("http://node", "node", ()))

    def test_the_admin_port_knows_only_itself(self) -> None:
        self.assertTrue(admin_origin_allowed("http://127.0.0.1:8580", "127.0.0.1:8580"))
        for origin in ("chrome-extension://x", "null", "http://127.0.0.1:8545", "http://localhost:8580"):
            self.assertFalse(admin_origin_allowed(origin, "127.0.0.1:8580"), origin)


class Tokens(SynchronousTestCase):
    def refusal(self, claims: dict[str, Any], secret: bytes = SECRET, algorithm: str = "HS256") -> str | None:
        return token_refusal(f"Bearer {encode(claims, secret, algorithm=algorithm)}", SECRET, NOW)

    def test_a_fresh_token_opens(self) -> None:
        for off in (-60, 0, 0.5, 60):
            self.assertIsNone(self.refusal({"iat": NOW + off}))
        self.assertIsNone(self.refusal({"iat": NOW, "exp": NOW + 1}))

    def test_what_does_not(self) -> None:
        self.assertEqual(self.refusal({"iat": NOW - 61}), "stale token")
        self.assertEqual(self.refusal({"iat": NOW + 61}), "stale token")
        self.assertEqual(self.refusal({}), "missing issued-at")
        self.assertEqual(self.refusal({"iat": True}), "missing issued-at")
        self.assertEqual(self.refusal({"iat": float("nan")}), "stale token")
        self.assertEqual(self.refusal({"iat": NOW, "exp": NOW}), "token is expired")
        self.assertEqual(self.refusal({"iat": NOW, "exp": "x"}), "token is expired")
        self.assertEqual(self.refusal({"iat": NOW}, secret=b"t" * 32), "invalid token")
        self.assertEqual(self.refusal({"iat": NOW}, secret=b"s" * 64, algorithm="HS512"), "invalid token")
        for header in (None, "", "Bearer", "Bearer ", "Basic abc"):
            self.assertEqual(token_refusal(header, SECRET, NOW), "missing token", header)
        for header in (
            "Bearer x",
            "bearer a.b.c",
            "Bearer é",
            f"Bearer {encode({'iat': NOW}, None, algorithm='none')}",
        ):
            self.assertEqual(token_refusal(header, SECRET, NOW), "invalid token", header)
