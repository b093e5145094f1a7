"""``chainp2p enrtree``: what it prints is a list that is read."""

import json
import shlex
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.tree import parse_tree_url, read_root
from chainp2p.peer.key import NodeKey
from tests.cli.command import run
from tests.discovery.test_tree import everything, record


class EnrTreeTest(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.key, self.nodes = self.folder / "list.key", self.folder / "nodes.txt"
        self.key.write_text("05" * 32)
        self.nodes.write_text(f"# first\n{record(1).text}\n\n{record(2).text}  # second\n")

    def made(self, *words: object):
        return run("enrtree", self.nodes, "--domain", "Nodes.example.org", "--key", self.key, *words)

    def test_the_lines_of_a_zone_file(self) -> None:
        link = "enrtree://AKPYQIUQIL7PSIACI32J7FGZW56E5FKHEFCCOFHILBIMW3M6LWXS2@more.example.org"
        outcome = self.made("--seq", 7, "--link", link)
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        first, *lines = outcome.out.splitlines()
        url = parse_tree_url(first.removeprefix("; "))
        self.assertEqual((url.domain, url.public), ("nodes.example.org", NodeKey(b"\x05" * 32).compressed))
        texts = {}
        for line in lines:
            name, ttl, _, _, *strings = shlex.split(line)
            texts[name.removesuffix(".")] = "".join(strings)
        self.assertEqual(
            {str(getattr(one, "text", one)) for one in everything(url, texts)}, {record(1).text, record(2).text, link}
        )
        self.assertEqual(read_root(url, [texts[url.domain]]).seq, 7)

    def test_json_and_the_number(self) -> None:
        made = json.loads(self.made("--json").out)
        self.assertGreater(made["seq"], 1.7e9)
        url = parse_tree_url(made["url"])
        self.assertEqual(len(everything(url, made["records"])), 2)

    def test_what_is_wrong_is_named(self) -> None:
        self.nodes.write_text(record(1).text + "\nenr:junk\n")
        outcome = self.made()
        self.assertEqual(outcome.code, 2)
        self.assertIn("nodes.txt: line 2: ", outcome.err)
        self.nodes.unlink()
        self.assertIn("No such file", self.made().err)
        self.assertIn("key that signs the tree is missing", self.made("--link", "enrtree://nodes.example.org").err)
        outcome = run("enrtree", self.nodes, "--domain", "a b", "--key", self.key)
        self.assertIn("is no domain", outcome.err)
