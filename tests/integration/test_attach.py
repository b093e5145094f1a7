"""``chainp2p attach`` against a node whose admin port wants tokens: by a terminal and by a pipe."""

import json
import os
import re
import subprocess
import threading
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from eth_account import Account

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from tests.cli.command import run
from tests.integration.processes import CHAINP2P, Daemon, Terminal, call, free_port, scratch

TO = "0x" + "12" * 20


class AttachTests(unittest.TestCase):
    node: ClassVar[Daemon]
    facts: ClassVar[dict[str, Any]]
    home: ClassVar[Path]
    words: ClassVar[list[str]]

    @classmethod
    def setUpClass(cls) -> None:
        test: Any = SimpleNamespace(addCleanup=cls.addClassCleanup)
        cls.words = ["--listen", "tcp:0:interface=127.0.0.1", "--no-discovery"]
        for option in ("--rpc", "--admin"):
            cls.words += [option, f"tcp:{free_port()}:interface=127.0.0.1"]
        cls.node = Daemon(test, *cls.words)
        cls.facts = cls.node.facts()
        cls.home = scratch(test)

    def attach(self, text: str, *words: object) -> "subprocess.CompletedProcess[str]":
        command = [*CHAINP2P, "attach", *map(str, words or ("--data-dir", self.node.data))]
        env = {**os.environ, "HOME": str(self.home)}
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=90, env=env)

    def pay(self) -> str:
        """A raw transaction, which seals a block."""
        address = Account.from_key(DEV_KEYS[1]).address
        return self.signed(int(call(self.facts["rpc"], "eth_getTransactionCount", address), 16))

    def signed(self, nonce: int) -> str:
        signer = Account.from_key(DEV_KEYS[1])
        fields = {"chainId": 31337, "nonce": nonce, "to": TO, "value": 1, "gas": 21_000, "gasPrice": 5 * 10**9}
        return str(signer.sign_transaction(fields).raw_transaction.to_0x_hex())

    def piped(self, data: Path, lines: str, count: int, then: str) -> tuple[list[Any], int, str]:
        """Write *lines*, wait for *count* of answer, write what follows; what came first, the exit code, the rest."""
        pipe = subprocess.PIPE
        command, env = [*CHAINP2P, "attach", "--data-dir", str(data)], {**os.environ, "HOME": str(self.home)}
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env) as attached:
            watch = threading.Timer(60, attached.kill)
            watch.start()
            self.addCleanup(watch.cancel)
            assert attached.stdin is not None and attached.stdout is not None
            attached.stdin.write(lines)
            attached.stdin.flush()
            said = [json.loads(attached.stdout.readline()) for _ in range(count)]
            rest, errors = attached.communicate(then, timeout=60)
        self.assertEqual(errors, "")
        return said, attached.returncode, rest

    def test_a_pipe(self) -> None:
        said, code, rest = self.piped(
            self.node.data,
            "# a comment\n"
            "eth.chainId\n"
            'eth_getBlockByNumber("earliest", false)\n'
            "admin_datadir\n"
            "eth_subscribe newHeads\n"
            f"eth_sendRawTransaction {self.pay()}\n"
            "wait 0.5\n",
            6,
            "exit\neth_never\n",
        )
        self.assertEqual((code, rest), (0, ""))
        chain, block, folder, id, _, head = said
        self.assertEqual((chain, block["number"], folder), ("0x7a69", "0x0", str(self.node.data)))
        self.assertEqual((head["method"], head["subscription"]), ("eth_subscription", id))
        self.assertEqual(head["result"]["gasUsed"], hex(21_000))

    def test_failures(self) -> None:
        done = self.attach("eth_never\n{\nwait soon\neth_chainId\n", "--admin-url", self.facts["rpc"])
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        *errors, last = map(json.loads, done.stdout.splitlines())
        self.assertEqual(last, "0x7a69")
        self.assertEqual(errors[0]["error"]["code"], -32601)
        self.assertIn("'{'", errors[1]["error"]["message"])
        self.assertIn("wait SECONDS", errors[2]["error"]["message"])
        for words, text in (
            (["--admin-url", self.facts["admin"]], "401"),
            (["--admin-url", "http://127.0.0.1:1"], "ws://127.0.0.1:1: Connection was refused"),
            (["--admin-url", "unix:/nowhere"], "unix:/nowhere: "),
        ):
            done = self.attach("", *words)
            self.assertEqual((done.returncode, done.stdout), (1, ""), words)
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        for words, text in (
            (["--admin-url", "ftp://nowhere"], "ftp://nowhere: http, https, ws, wss or unix:/path is needed"),
            (["--data-dir", self.home], f"no node runs in {self.home} (there is no node.json)"),
        ):
            outcome = run("attach", *words)
            self.assertEqual((outcome.code, outcome.out, outcome.err), (1, "", f"chainp2p: {text}\n"))

    def test_lines_as_options(self) -> None:
        done = self.attach("", "--data-dir", self.node.data, "-e", "net_version", "-e", "eth_accounts")
        self.assertEqual((done.returncode, done.stdout), (0, '"31337"\n[]\n'), done.stderr)

    def test_unix_sockets(self) -> None:
        folder = scratch(self)
        sockets = [folder / "rpc.sock", folder / "admin.sock"]
        node = Daemon(self, *self.words[:3], "--rpc", f"unix:{sockets[0]}", "--admin", f"unix:{sockets[1]}")
        facts = node.facts()
        self.assertEqual((facts["rpc"], facts["admin"]), tuple(f"unix:{one}" for one in sockets))
        lines = f"admin_datadir\neth_subscribe newHeads\neth_sendRawTransaction {self.signed(0)}\n"
        said, code, _ = self.piped(node.data, lines, 4, "exit\n")
        self.assertEqual((code, said[0]), (0, str(node.data)))
        self.assertEqual([one["result"]["number"] for one in said if isinstance(one, dict)], ["0x1"])
        done = self.attach("eth_blockNumber\n", "--admin-url", facts["rpc"])
        self.assertEqual((done.returncode, done.stdout), (0, '"0x1"\n'), done.stderr)
        outcome = run("status", "--data-dir", node.data, "--json")
        self.assertEqual((outcome.code, json.loads(outcome.out)["height"]), (0, 1), outcome.err)

    def test_a_terminal(self) -> None:
        command = [*CHAINP2P, "attach", "--data-dir", str(self.node.data)]
        first = Terminal(self, command, HOME=str(self.home), TERM="xterm")
        first.expect("> ")
        first.say("eth_getBlockByN\tearl\tfa\t")
        self.assertIn('"number": "0x0"', first.expect("> "))
        first.say("eth_never")
        first.expect("error -32601: the method eth_never does not exist/is not available")
        first.expect("> ")
        first.say("eth_subscribe newHea\t")
        first.expect('"0x')
        first.expect("> ")
        first.say("web3_client", end="")  # still typing when a block comes
        first.expect("web3_client")
        call(self.facts["rpc"], "eth_sendRawTransaction", self.pay())
        told = first.expect("> web3_client")
        self.assertIn('"method": "eth_subscription"', told)
        first.say("\x03", end="")  # Ctrl-C forgets the line
        first.expect("> ")
        first.say("web3_clientVersion")
        first.expect('"chainp2p')
        first.expect("> ")  # before, Ctrl-D would not be a key
        first.say("\x04", end="")
        self.assertEqual(first.process.wait(60), 0)
        history = self.home / ".chainp2p/attach.history"
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        self.assertIn("eth_getBlockByNumber earliest false", re.sub(" +", " ", history.read_text()))
        again = Terminal(self, command, HOME=str(self.home), TERM="xterm")
        again.expect("> ")
        again.say("\x1b[A")  # the line before
        again.expect('"chainp2p')
        again.expect("> ")
        again.say("exit")
        self.assertEqual(again.process.wait(60), 0)

    def test_the_node_goes_and_comes_again(self) -> None:
        command = [*CHAINP2P, "attach", "--data-dir", str(self.node.data)]
        there = Terminal(self, command, HOME=str(self.home), TERM="xterm")
        there.expect("> ")
        there.say("net_ver", end="")
        there.expect("net_ver")
        self.node.stop()
        there.expect("error: ws://127.0.0.1:")
        there.expect("; subscriptions have ended, the next call connects again\r\n> net_ver")
        there.say("\x15eth_chainId")  # Ctrl-U takes away what was typed
        there.expect("error: ws://127.0.0.1:")
        there.expect("refused")
        there.expect("> ")
        type(self).node = Daemon(SimpleNamespace(addCleanup=self.addClassCleanup), *self.words, data=self.node.data)
        self.node.facts()
        there.say("eth_chainId")
        there.expect('"0x7a69"')
        there.expect("> ")
        there.say("exit")
        self.assertEqual(there.process.wait(60), 0)
