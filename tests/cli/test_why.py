"""``chainp2p why``: the first line names the cause, evidence and history follow."""

import json
import urllib.request

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.command import run
from tests.cli.test_running import Opener

URL = "http://127.0.0.1:1"
CAUSE = {
    "when": 1_700_000_000.0,
    "since": 1_699_999_000.0,
    "count": 7,
    "kind": "dial_failed",
    "code": "refused",
    "id": None,
    "meant": "ab" * 32,
    "address": "10.0.0.2:30303",
    "text": "nobody listens at this port",
    "evidence": {},
}
ANSWER = {
    "subject": "ab" * 32,
    "state": "away",
    "code": "refused",
    "line": "peer abababab: not reached 7 times 5 s ago, first 17 min ago: refused: nobody listens at this port",
    "evidence": {"when": 1_700_000_000.0, "open_seconds": 0.25, "by": "peer", "agent": "", "count": 7},
    "history": [CAUSE, {**CAUSE, "address": None, "kind": "ended", "code": "shutdown", "text": ""}],
}


class WhyTests(SynchronousTestCase):
    def ask(self, answer, *words):
        opener = Opener({"admin_why": answer})
        self.patch(urllib.request, "build_opener", lambda *handlers: opener)
        outcome = run("why", *words, "--admin-url", URL)
        self.sent = [json.loads(request.data) for request in opener.requests]
        return outcome

    def test_for_people(self):
        outcome = self.ask(ANSWER, "peer", "abababab")
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        self.assertEqual((self.sent[0]["method"], self.sent[0]["params"]), ("admin_why", ["peer", "abababab"]))
        lines = outcome.out.splitlines()
        self.assertEqual(lines[0], ANSWER["line"])
        self.assertIn("  when          2023-11-14 22:13:20 UTC", lines)
        self.assertIn("  open_seconds  0.2 s", lines)
        self.assertNotIn("agent", outcome.out)
        dial, end = lines[-2:]
        self.assertEqual(dial.split()[:6], ["2023-11-14", "22:13:20", "UTC", "7x", "dial_failed", "refused"])
        self.assertIn("shutdown", end)

    def test_nothing_below_the_line(self):
        outcome = self.ask({**ANSWER, "evidence": {}, "history": []}, "ban", "abababab")
        self.assertEqual(outcome.out, ANSWER["line"] + "\n")

    def test_a_long_history_is_cut(self):
        outcome = self.ask({**ANSWER, "history": [CAUSE] * 25}, "peer", "abababab")
        self.assertTrue(outcome.out.endswith("and 5 older ones (--json shows them)\n"))

    def test_for_programs(self):
        self.assertEqual(json.loads(self.ask(ANSWER, "peer", "abababab", "--json").out), ANSWER)

    def test_other_kinds_come_with_their_parts(self):
        outcome = self.ask(ANSWER, "block", "x")
        self.assertEqual(outcome.code, 2)
        self.assertIn("'block' is not one of 'peer', 'ban', 'sync', 'tx'", outcome.err)

    def test_of_a_transaction(self):
        happened = {**CAUSE, "kind": "refused", "code": "pool_full", "address": None, "text": "too cheap"}
        answer = {**ANSWER, "line": "transaction abababab: not admitted", "history": [happened]}
        outcome = self.ask(answer, "tx", "0x" + "ab" * 32)
        self.assertEqual(self.sent[0]["params"], ["tx", "0x" + "ab" * 32])
        lines = outcome.out.splitlines()
        self.assertEqual(lines[0], answer["line"])
        self.assertEqual(lines[-1].split()[4:], ["refused", "pool_full", "too", "cheap"])


WAIT = {
    "what": "blocks",
    "peer": "0x" + "cd" * 32,
    "height": 26,
    "hash": "0x",
    "count": 16,
    "age": 0.5,
    "left": 1.5,
    "otherwise": "another peer is asked",
}
SYNC = {
    "phase": "blocks",
    "starting": 0,
    "current": 25,
    "highest": 100,
    "headers": 100,
    "target": "0x" + "cd" * 32,
    "text": "cdcdcdcd is asked for 16 blocks, block 26 is awaited",
    "rate": 5.0,
    "eta": 15.0,
    "waits": [WAIT, {**WAIT, "what": "chain", "peer": None, "left": None}],
}


class WhySync(SynchronousTestCase):
    def ask(self, answer, *words):
        opener = Opener({"admin_explainSync": answer})
        self.patch(urllib.request, "build_opener", lambda *handlers: opener)
        return run("why", *words, "--admin-url", URL)

    def test_for_people(self):
        lines = [" ".join(line.split()) for line in self.ask(SYNC, "sync").out.splitlines()]
        self.assertEqual(lines[0], "blocks: cdcdcdcd is asked for 16 blocks, block 26 is awaited")
        self.assertIn("blocks [#######.......................] 25 of 100, 25.0%", lines)
        self.assertIn("eta 15 s at 5.0 blocks/s", lines)
        self.assertIn("blocks from 26 (16) cdcdcdcd 0.5 s 1.5 s another peer is asked", lines)
        self.assertIn("chain from 26 (16) nobody 0.5 s another peer is asked", lines)

    def test_many_and_what_failed(self):
        failed = {"signer": "0xab", "header": {"height": 7, "hash": "0x07"}, "reason": "a wrong root"}
        out = self.ask({**SYNC, "waits": [WAIT] * 25, "failed": [failed]}, "sync").out
        self.assertIn("and 5 more (--json shows them)", out)
        self.assertIn("Failed: block 7 0x07 of signer 0xab: a wrong root", out)

    def test_for_programs(self):
        self.assertEqual(json.loads(self.ask(SYNC, "sync", "--json").out), SYNC)

    def test_an_id_where_there_is_one(self):
        self.assertIn("no ID is expected", self.ask(SYNC, "sync", "abcd").err)
        self.assertIn("an ID is expected", self.ask(SYNC, "peer").err)
