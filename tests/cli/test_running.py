"""Commands that talk to a running node, and to a running devnet, with the other end made up."""

import contextlib
import io
import json
import random
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

import jwt
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli import client as client_module
from chainp2p.cli import status as status_module
from chainp2p.cli.client import NodeClient, RpcFailure, find_node
from chainp2p.cli.devnet import _show
from chainp2p.cli.devnet_control import _answer
from chainp2p.cli.devnet_network import Devnet
from chainp2p.cli.devnet_plan import Folder, Options
from tests.cli.command import run

SECRET = bytes(range(32))
ANSWERS = {
    "admin_nodeInfo": {"name": "chainp2p/1", "id": "ab" * 32, "enr": "enr:x"},
    "chain_head": {"height": 7, "hash": "0xaa"},
    "eth_syncing": False,
    "admin_peers": [
        {
            "id": "cd" * 32,
            "name": "other/1",
            "role": "bank",
            "network": {"inbound": True, "remoteAddress": "10.0.0.1:3"},
        },
    ],
}


class Opener:
    """Stands for urllib's: answers from :data:`ANSWERS` and remembers what was asked."""

    def __init__(self, answers=None) -> None:
        self.answers = {**ANSWERS, **(answers or {})}
        self.requests: list[urllib.request.Request] = []

    def open(self, request, timeout):
        self.requests.append(request)
        method = json.loads(request.data)["method"]
        answer = self.answers.get(method, KeyError)
        if isinstance(answer, Exception):
            raise answer
        body = {"error": {"code": -32601, "message": "not here"}} if answer is KeyError else {"result": answer}
        return io.BytesIO(json.dumps({"jsonrpc": "2.0", "id": 1, **body}).encode())


class ClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.opener = Opener()
        self.patch(urllib.request, "build_opener", lambda *handlers: self.opener)

    def publish(self, name: str = "one", **facts: object) -> Path:
        folder = self.folder / name
        folder.mkdir()
        (folder / "jwt.hex").write_text(SECRET.hex() + "\n")
        facts = {"admin": "http://127.0.0.1:8580", "adminAuth": "jwt", **facts}
        (folder / "node.json").write_text(json.dumps(facts))
        return folder

    def test_the_token_is_made_from_the_secret_of_the_directory(self) -> None:
        find_node(self.publish(), None).call("chain_head")
        header = self.opener.requests[0].get_header("Authorization")
        claims = jwt.decode(header.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
        self.assertEqual(list(claims), ["iat"])
        find_node(self.publish("two", adminAuth="none"), None).call("chain_head")
        self.assertIsNone(self.opener.requests[1].get_header("Authorization"))

    def test_the_only_running_node_is_meant(self) -> None:
        self.patch(client_module, "ROOT", self.folder)
        self.assertIn("none below", str(self.assertRaises(RpcFailure, find_node, None, None)))
        self.publish("one")
        self.assertEqual(find_node(None, None).url, "http://127.0.0.1:8580")
        self.publish("two")
        error = self.assertRaises(RpcFailure, find_node, None, None)
        self.assertIn(str(self.folder / "two"), str(error))
        self.assertEqual(find_node(None, "http://x").url, "http://x")

    def test_no_admin_port(self) -> None:
        self.assertIn("no admin port", str(self.assertRaises(RpcFailure, find_node, self.publish(admin=None), None)))

    def test_failures_name_the_node(self) -> None:
        client = NodeClient("http://n")
        for answer, text in (
            (urllib.error.URLError("refused"), "http://n: refused"),
            (urllib.error.HTTPError("", 401, "", {}, io.BytesIO(b"missing token")), "give --data-dir"),
            (urllib.error.HTTPError("", 503, "Busy", {}, io.BytesIO(b"")), "HTTP 503: Busy"),
        ):
            self.opener.answers["chain_head"] = answer
            self.assertIn(text, str(self.assertRaises(RpcFailure, client.call, "chain_head")))
        self.assertEqual(str(self.assertRaises(RpcFailure, client.call, "a_b")), "a_b: not here")

    def test_status(self) -> None:
        folder = self.publish()
        facts = json.loads(run("status", "--data-dir", folder, "--json").out)
        self.assertEqual((facts["height"], facts["peers"], facts["syncing"]), (7, 1, False))
        self.assertIn("following the head", run("status", "--data-dir", folder).out)
        self.opener.answers["eth_syncing"] = KeyError
        self.assertEqual(run("status", "--data-dir", folder).code, 0)

    def test_watching_shows_progress_and_eta(self) -> None:
        self.opener.answers["eth_syncing"] = {"currentBlock": "0x32", "highestBlock": "0x64"}
        steps = iter((None, None, KeyboardInterrupt))
        self.patch(status_module.time, "sleep", mock.Mock(side_effect=lambda _: self.step(next(steps))))
        outcome = run("status", "--data-dir", self.publish(), "--watch")
        self.assertEqual(outcome.code, 130)
        self.assertIn("[###############...............] 50 of 100, 50.0%", outcome.out)
        self.assertIn("blocks/s", outcome.out)

    def test_what_sync_says_of_itself(self) -> None:
        waits = [
            {
                "what": "blocks",
                "peer": "0x" + "cd" * 32,
                "height": 26,
                "hash": "0x",
                "count": 16,
                "age": 0.5,
                "left": 1.5,
            }
            | {"otherwise": "another peer is asked"},
            {"what": "chain", "peer": None, "height": 20, "hash": "0x", "count": 6, "age": 0.1, "left": None}
            | {"otherwise": "the next are given to it"},
        ]
        sync = {"phase": "blocks", "starting": 0, "current": 25, "highest": 100, "target": None, "text": "it is asked"}
        sync["headers"] = 50
        self.opener.answers["admin_explainSync"] = {**sync, "rate": 5.0, "eta": 15.0, "waits": waits}
        folder = self.publish()
        self.assertEqual(json.loads(run("status", "--data-dir", folder, "--json").out)["sync"]["waits"], waits)
        self.patch(status_module.time, "sleep", mock.Mock(side_effect=KeyboardInterrupt))
        for option in ((), ("--watch",)):
            out = run("status", "--data-dir", folder, *option).out
            lines = [" ".join(line.split()) for line in out.splitlines()]
            self.assertIn("headers [###############...............] 50 of 100, 50.0%", lines)
            self.assertIn("blocks [#######.......................] 25 of 100, 25.0%", lines)
            self.assertIn("sync it is asked", lines)
            self.assertIn("eta 15 s at 5.0 blocks/s", lines)
        self.assertIn("awaited blocks from 26 (16), of cdcdcdcd, for 0.5 s; in 1.5 s: another peer is asked", lines)
        self.assertIn("awaited chain from 20 (6), of nobody, for 0.1 s", lines)
        self.opener.answers["admin_explainSync"] = {
            **sync,
            "phase": "following",
            "rate": None,
            "eta": None,
            "waits": [],
        }
        self.assertIn("following the head", run("status", "--data-dir", folder).out)
        self.opener.answers["admin_explainSync"]["phase"] = "idle"
        self.assertIn("there is nobody to follow", run("status", "--data-dir", folder).out)

    def step(self, error) -> None:
        height = self.opener.answers["chain_head"]["height"]
        self.opener.answers["chain_head"] = {"height": height + 5, "hash": "0x"}
        if error:
            raise error

    def test_peers(self) -> None:
        folder = self.publish()
        out = run("peers", "--data-dir", folder).out
        for text in ("cdcdcdcd", "in", "10.0.0.1:3", "bank", "other/1"):
            self.assertIn(text, out)
        self.assertEqual(json.loads(run("peers", "--data-dir", folder, "--json").out), ANSWERS["admin_peers"])
        peer = ANSWERS["admin_peers"][0]
        self.opener.answers["admin_peers"] = [{**peer, "network": {"remoteAddress": "[fd00::1]:3"}, "name": ":dog:/1"}]
        out = run("peers", "--data-dir", folder).out
        self.assertIn("[fd00::1]:3", out)
        self.assertIn(":dog:/1", out)

    def test_the_table_of_discovery(self) -> None:
        folder = self.publish()
        discovery = {
            "enabled": True,
            "nodes": 2,
            "buckets": [
                {"distance": 255, "entries": 3, "live": 1, "replacements": 4},
                {"distance": 256, "entries": 1, "live": 1, "replacements": 0},
            ],
            "live": [
                {"id": "ab" * 32, "distance": 255, "address": "10.0.0.1:3", "ago": 7.4, "ourNetwork": True},
                {"id": "cd" * 32, "distance": 256, "address": "[fd00::1]:4", "ago": 30.0, "ourNetwork": False},
            ],
            "sessions": 5,
            "lookups": 1,
            "votes": {"ip4": [{"address": "192.0.2.9", "voices": 6}], "ip6": []},
            "dropped": {"proof": 2, "size": 0},
        }
        self.opener.answers["admin_nodeInfo"] = {"discovery": discovery}
        lines = [line.split() for line in run("peers", "--table", "--data-dir", folder).out.splitlines()]
        for line in (
            "255 1 3 4",
            "256 1 1 0",
            f"{'ab' * 32} 255 10.0.0.1:3 7 s yes",
            f"{'cd' * 32} 256 [fd00::1]:4 30 s not said",
            "192.0.2.9 6",
            "sessions 5",
            "dropped proof: 2",
        ):
            self.assertIn(line.split(), lines)
        self.assertEqual(json.loads(run("peers", "--table", "--json", "--data-dir", folder).out), discovery)
        self.opener.answers["admin_nodeInfo"] = {"discovery": {"enabled": False, "nodes": 0}}
        self.assertIn("switched off", run("peers", "--table", "--data-dir", folder).out)


class ControlTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Folder(Path(temporary.name), random.Random(1).randbytes)
        self.devnet = Devnet(folder, Options(), lambda line: None, threading.Event())

    def ask(self, line: object):
        return _answer(self.devnet, "token", line if isinstance(line, bytes) else json.dumps(line).encode())

    def test_only_the_token_opens(self) -> None:
        request = {"token": "token", "verb": "status", "arguments": []}
        self.assertEqual(self.ask(request), {"result": []})
        self.assertEqual(self.ask({**request, "token": "other"}), {"error": "wrong token"})
        for bad in (b"", b"{", b"[]", b"3", b'{"token": "token"}'):
            self.assertEqual(self.ask(bad), {"error": "malformed request"})

    def test_refusals_come_back_as_text(self) -> None:
        self.assertIn("no node '7'", self.ask({"token": "token", "verb": "kill", "arguments": ["7"]})["error"])

    def test_status_for_people(self) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            _show([{"name": "node1", "pid": 5, "height": None, "head": None, "peers": 2}])
            _show("done")
        self.assertRegex(out.getvalue(), r"node1 +5 +- +- +2")
        self.assertIn("done\n", out.getvalue())
