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
        outcome = self.ask(ANSWER, "sync", "x")
        self.assertEqual(outcome.code, 2)
        self.assertIn("'sync' is not one of 'peer', 'ban'", outcome.err)
