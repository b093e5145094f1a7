"""``chainp2p sim`` as people and programs use it."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli.sim import sim
from chainp2p.errors import SettingsError
from chainp2p.testing import shipped

SCENARIO = """
text = "two nodes"
[network]
nodes = 2
[[step]]
expect = "linked"
"""


class SimTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.file = self.folder / "two.toml"
        self.file.write_text(SCENARIO)

    def run_sim(self, *arguments: str) -> Result:
        return CliRunner().invoke(sim, list(arguments))

    def test_the_last_line_is_the_event_log(self) -> None:
        first, again = self.run_sim(str(self.file)), self.run_sim(str(self.file))
        self.assertEqual(first.exit_code, 0, first.output)
        label, _, hash = first.output.splitlines()[-1].partition(": ")
        self.assertEqual((label, len(hash)), ("event log", 64))
        self.assertEqual(first.output, again.output)
        self.assertIn("expect linked", first.output)
        other = self.run_sim(str(self.file), "--seed", "2")
        self.assertNotIn(hash, other.output)

    def test_json(self) -> None:
        document: dict[str, Any] = json.loads(self.run_sim(str(self.file), "--json").output)
        self.assertEqual((document["scenario"], document["nodes"], document["failure"]), ("two", 2, None))
        self.assertEqual(len(document["eventLog"]), 64)
        self.assertEqual(document["steps"][0]["step"], "expect linked")

    def test_several_seeds(self) -> None:
        document = json.loads(self.run_sim(str(self.file), "--seeds", "3", "--nodes", "3", "--json").output)
        self.assertEqual([run["seed"] for run in document["runs"]], [1, 2, 3])
        self.assertEqual({run["nodes"] for run in document["runs"]}, {3})
        lines = self.run_sim(str(self.file), "--seeds", "3", "--nodes", "3").output.splitlines()
        self.assertEqual(lines[-1], f"event log: {document['eventLog']}")
        self.assertEqual(len(lines), 4)

    def test_report(self) -> None:
        folder = self.folder / "out"
        self.assertEqual(self.run_sim(str(self.file), "--report", str(folder)).exit_code, 0)
        document = json.loads((folder / "two-1.json").read_text())
        log = (folder / "two-1.log").read_bytes()
        from hashlib import sha256

        self.assertEqual(sha256(log).hexdigest(), document["eventLog"])

    def test_failure(self) -> None:
        self.file.write_text(SCENARIO + "[[step]]\nexpect = 'height'\nheight = 99\nwithin = 1")
        result = self.run_sim(str(self.file))
        self.assertEqual(result.exit_code, 1)
        self.assertIn("not within 1 s", result.stderr)
        self.assertTrue(result.stdout.splitlines()[-1].startswith("event log: "))
        self.assertEqual(self.run_sim(str(self.file), "--json").exit_code, 1)

    def test_list(self) -> None:
        text = self.run_sim("--list").output
        for scenario in shipped():
            self.assertIn(scenario.name, text)
        names = [entry["name"] for entry in json.loads(self.run_sim("--list", "--json").output)]
        self.assertEqual(names[0], "quickstart")

    def test_usage(self) -> None:
        self.assertEqual(self.run_sim().exit_code, 2)
        self.assertIsInstance(self.run_sim("--suite", "none").exception, SettingsError)
        self.assertIsInstance(self.run_sim("nonsense").exception, SettingsError)
        self.assertIn("Examples", self.run_sim("--help").output)

    def test_suites(self) -> None:
        import chainp2p.testing.scenario as module

        small = module.parse_scenario("suites = ['ci']\n" + SCENARIO, "small")
        self.patch(module, "shipped", lambda: [small, module.parse_scenario(SCENARIO, "other")])
        self.assertEqual(json.loads(self.run_sim("--suite", "ci", "--json").output)["scenario"], "small")
        self.assertEqual(len(json.loads(self.run_sim("--suite", "all", "--json").output)["runs"]), 2)
