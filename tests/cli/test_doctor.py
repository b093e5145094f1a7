"""``chainp2p doctor``, with the running node made up and the stopped one in a directory."""

import io
import json
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli import client as client_module
from chainp2p.node import checkup
from chainp2p.node.home import lock_file
from tests.cli.command import run
from tests.cli.test_running import Opener

WRONG = {
    "code": "wrong_clock",
    "severity": "warning",
    "text": "this clock is late",
    "remedy": "set it",
    "evidence": {"peers": 5},
}
NOTE = {**WRONG, "code": "peer_clock", "severity": "note", "evidence": {}}


class DoctorTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.opener = Opener({"admin_doctor": []})
        self.patch(urllib.request, "build_opener", lambda *handlers: self.opener)
        # what the machine that runs the tests may open is not what is tested
        self.patch(checkup, "_limits", lambda: (1 << 20, 1 << 20))

    def publish(self) -> None:
        (self.folder / "node.json").write_text(json.dumps({"admin": "http://n", "adminAuth": "none"}))

    def test_a_healthy_node(self) -> None:
        self.publish()
        outcome = run("doctor", "--data-dir", self.folder)
        self.assertEqual((outcome.code, outcome.out), (0, "the node was examined: nothing is wrong\n"))

    def test_findings_are_printed_and_make_the_exit_code(self) -> None:
        self.publish()
        self.opener.answers["admin_doctor"] = [WRONG, NOTE]
        outcome = run("doctor", "--admin-url", "http://n")
        self.assertEqual(outcome.code, 1)
        self.assertEqual(
            outcome.out.splitlines(),
            [
                "warning: wrong_clock: this clock is late",
                "  remedy: set it",
                '  evidence: "peers": 5',
                "note: peer_clock: this clock is late",
                "  remedy: set it",
                "the node was examined: 1 to look at",
            ],
        )
        self.opener.answers["admin_doctor"] = [NOTE]
        outcome = run("doctor", "--data-dir", self.folder, "--json")
        self.assertEqual((outcome.code, json.loads(outcome.out)), (0, [NOTE]))

    def test_a_stopped_node(self) -> None:
        outcome = run("doctor", "--data-dir", self.folder)
        self.assertEqual(outcome.code, 0)
        self.assertIn(f"no node answers; {self.folder} was examined from outside: nothing is wrong", outcome.out)
        (self.folder / "node.key").write_text("x")
        (self.folder / "node.key").chmod(0o644)
        outcome = run("doctor", "--data-dir", self.folder)
        self.assertEqual(outcome.code, 1)
        self.assertIn("key_permissions", outcome.out)

    def test_one_that_was_killed(self) -> None:
        self.publish()
        self.opener.answers["admin_doctor"] = urllib.error.URLError("refused")
        outcome = run("doctor", "--data-dir", self.folder)
        self.assertEqual(outcome.code, 0)
        self.assertIn("note: not_stopped_cleanly", outcome.out)

    def test_one_that_hangs(self) -> None:
        self.publish()
        self.opener.answers["admin_doctor"] = urllib.error.HTTPError("", 503, "Busy", {}, io.BytesIO(b""))  # type: ignore[arg-type]
        descriptor = lock_file(self.folder / "lock")
        self.addCleanup(os.close, descriptor)
        outcome = run("doctor", "--data-dir", self.folder)
        self.assertEqual(outcome.code, 1)
        self.assertIn(f"not_answering: process {os.getpid()} holds", outcome.out)
        self.assertIn("HTTP 503", outcome.out)

    def test_settings_that_it_is_to_be_started_with(self) -> None:
        config, genesis = self.folder / "node.toml", self.folder / "genesis.json"
        genesis.write_text("{}")
        config.write_text(f'[node]\ndata_dir = "{self.folder}"\n')
        self.assertEqual(run("doctor", "--config", config).code, 0)
        outcome = run("doctor", "--config", config, "--genesis", genesis)
        self.assertEqual(outcome.code, 1)
        self.assertIn("error: genesis_unreadable", outcome.out)
        config.write_text("[nodes]\n")
        self.assertEqual(run("doctor", "--config", config).code, 2)

    def test_where_there_is_nothing_to_examine(self) -> None:
        outcome = run("doctor", "--data-dir", self.folder / "none")
        self.assertEqual(outcome.code, 2)
        self.assertIn("no such directory", outcome.err)
        self.patch(client_module, "ROOT", self.folder)
        outcome = run("doctor")
        self.assertIn("which node?", outcome.err)
        self.opener.answers["admin_doctor"] = urllib.error.URLError("refused")
        self.assertIn("http://x: refused", run("doctor", "--admin-url", "http://x").err)
