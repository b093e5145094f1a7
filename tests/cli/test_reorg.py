"""``chainp2p reorg``: what it lists, and what it sends."""

import json
import urllib.request
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.command import Outcome, run
from tests.cli.test_running import Opener

URL = "http://127.0.0.1:1"


def point(height: int) -> dict[str, Any]:
    return {"height": height, "hash": "0x" + f"{height:02x}" * 32, "rank": "0x" + f"{height:064x}"}


REFUSED = {"refused": True, "depth": 51, "head": point(60), "tip": point(70), "ancestor": point(9)}
UNKNOWN = {"refused": True, "depth": None, "head": point(60), "tip": point(71), "ancestor": None}
DONE = {"refused": False, "depth": 2, "head": point(8), "left": [point(7), point(6)], "entered": [point(8)]}


class ReorgTests(SynchronousTestCase):
    def ask(self, answers: dict[str, Any], *words: str) -> Outcome:
        opener = Opener(answers)
        self.patch(urllib.request, "build_opener", lambda *handlers: opener)
        outcome = run("reorg", *words, "--admin-url", URL)
        self.sent = [json.loads(request.data) for request in opener.requests]
        return outcome

    def test_the_list(self) -> None:
        outcome = self.ask({"admin_reorgs": [REFUSED, UNKNOWN, DONE]})
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        refused, unknown, done = (line.split() for line in outcome.out.splitlines()[1:])
        self.assertEqual(refused, ["refused", "51", *where(9), *where(60), *where(70)])
        self.assertEqual(unknown, ["refused", "?", "unknown", *where(60), *where(71)])
        self.assertEqual(done, ["done", "2", "5", *where(7), *where(8)])
        self.assertIn("no reorganisation", self.ask({"admin_reorgs": []}).out)
        self.assertEqual(json.loads(self.ask({"admin_reorgs": [DONE]}, "--json").out), [DONE])

    def test_decisions(self) -> None:
        for action, method in (
            ("accept", "admin_acceptReorg"),
            ("finalize", "admin_setFinalized"),
            ("invalidate", "admin_invalidateBlock"),
            ("reconsider", "admin_reconsiderBlock"),
        ):
            outcome = self.ask({method: True}, action, point(5)["hash"])
            self.assertEqual((outcome.code, outcome.out), (0, "done\n"))
            self.assertEqual([(one["method"], one["params"]) for one in self.sent], [(method, [point(5)["hash"]])])
            self.assertEqual(json.loads(self.ask({method: True}, action, point(5)["hash"], "--json").out), True)

    def test_an_action_needs_a_block(self) -> None:
        outcome = self.ask({}, "accept")
        self.assertEqual((outcome.code, outcome.out, self.sent), (2, "", []))
        self.assertIn("belong together", outcome.err)


def where(height: int) -> list[str]:
    return [str(height), point(height)["hash"]]
