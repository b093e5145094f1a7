"""``chainp2p chain export`` and ``import`` as their users meet them: on a directory, and through a running node."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

from tests.integration.processes import Daemon, call, scratch

QUIET = ("--listen", "tcp:0:interface=127.0.0.1", "--rpc", "tcp:0:interface=127.0.0.1", "--no-discovery")
ADMIN = ("--admin", "tcp:0:interface=127.0.0.1", "--admin-auth", "none")
MAKER = Path(__file__).parents[2] / "benchmarks" / "make_chain.py"
BLOCKS = 60


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-c", "from chainp2p.cli.main import main; main()", "chain", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


class ChainFileTests(unittest.TestCase):
    folder: Path

    def setUp(self) -> None:
        self.folder = scratch(self)
        sizes = ("--blocks", str(BLOCKS), "--transfers", "5", "--accounts", "50")
        subprocess.run([sys.executable, MAKER, self.folder, *sizes], check=True, capture_output=True, timeout=60)
        self.genesis, self.file = self.folder / "genesis.json", self.folder / "chain.blocks"

    def facts(self, *words: object) -> dict:
        done = command(*words, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def refused(self, text: str, *words: object, code: int = 1) -> None:
        done = command(*words)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (code, 1), done)
        self.assertIn(text, done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_on_a_directory(self) -> None:
        where = ("--data-dir", self.folder / "one", "--genesis", self.genesis)
        facts = self.facts("import", self.file, *where)
        self.assertEqual((facts["state"], facts["last"], facts["connected"]), ("done", BLOCKS, True))
        self.assertEqual(self.facts("import", self.file, *where)["skipped"], BLOCKS)
        copy = self.folder / "copy.blocks"
        done = command("export", copy, *where)
        self.assertIn(f"blocks 1 to {BLOCKS} written to {copy}", done.stdout)
        self.refused("is there already (--force replaces it)", "export", copy, *where, code=2)
        command("export", copy, "--force", *where)
        other = ("--data-dir", self.folder / "two", "--genesis", self.genesis)
        self.assertEqual(self.facts("import", copy, *other)["last"], BLOCKS)
        self.assertEqual(sorted(file.name for file in (self.folder / "two").iterdir()), ["chain.sqlite"])
        self.refused("of another network", "import", copy, "--data-dir", self.folder / "dev")
        copy.write_bytes(copy.read_bytes()[:-1000])
        self.refused("the file ends early, at byte", "import", copy, *other)
        self.refused("No such file", "import", self.folder / "none", *other)

    def test_through_a_running_node(self) -> None:
        node = Daemon(self, "--genesis", self.genesis, "--profile", "private", *QUIET, *ADMIN)
        admin = node.facts()["admin"]
        facts = self.facts("import", self.file, "--data-dir", node.data)
        self.assertEqual((facts["state"], facts["last"], facts["connected"]), ("done", BLOCKS, True))
        self.assertEqual(call(admin, "chain_head")["height"], BLOCKS)
        copy = self.folder / "copy.blocks"
        self.assertEqual(self.facts("export", copy, "--data-dir", node.data)["state"], "done")
        self.assertEqual(list((node.data / "export").iterdir()), [])
        facts = self.facts("export", "kept", "--admin-url", admin)
        self.assertEqual((node.data / "export" / "kept").read_bytes(), copy.read_bytes())
        self.refused("there already", "export", "kept", "--admin-url", admin)
        self.refused("say its name", "import", copy, "--admin-url", admin, code=2)
        copy.write_bytes(copy.read_bytes()[:-1000])
        self.refused("ends early", "import", copy, "--data-dir", node.data)
        node.stop()
        self.assertEqual(
            self.facts("import", self.file, "--data-dir", node.data, "--genesis", self.genesis)["skipped"], BLOCKS
        )

    def test_a_running_node_without_an_admin_port(self) -> None:
        node = Daemon(self, "--genesis", self.genesis, "--profile", "private", *QUIET, "--no-admin")
        node.facts()
        self.refused("has no admin port", "export", self.folder / "x", "--data-dir", node.data)
