"""The daemon as its users meet it: three doors, exit codes, signals."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import unittest

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from tests.integration.processes import DOORS, Daemon, call, eventually, free_port, run_door, scratch

#: A node of the dev network that meets nothing else on the machine.
QUIET = (
    "--listen",
    "tcp:0:interface=127.0.0.1",
    "--rpc",
    "tcp:0:interface=127.0.0.1",
    "--admin",
    "tcp:0:interface=127.0.0.1",
)


class WrongSettingsTests(unittest.TestCase):
    def test_every_door_says_what_is_wrong_and_exits_2(self) -> None:
        folder = scratch(self)
        (folder / "bad.toml").write_text("[network]\nmax_peer = 3\n")
        (folder / "bad.json").write_text('{"config": {"chainId": 1}}')
        cases = (
            (("--nonsense",), "nonsense"),
            (("--config", folder / "bad.toml"), "did you mean max_peers?"),
            (("--genesis", folder / "bad.json"), "bad.json"),
        )
        for door in DOORS:
            for words, text in cases:
                self.check(door, words, text)

    def test_one_door_knows_every_mistake(self) -> None:
        for words, text in (
            (("--genesis", "/none/such.json"), "/none/such.json"),
            (("--listen", "ssl:1"), "ssl:"),
            (("--external", "nowhere"), "node.external"),
            (("--rpc-api", "eth,admin"), "rpc.api: 'admin' is served on the admin port only"),
            (("--rpc-api", "eth,nett"), "rpc.api: there is no namespace 'nett'"),
        ):
            self.check("python -m twisted", words, text)

    def check(self, door: str, words, text: str) -> None:
        done = run_door(door, *words)
        self.assertEqual(done.returncode, 2, (door, words, done))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)


class FailedStartTests(unittest.TestCase):
    def test_a_busy_port_under_every_door(self) -> None:
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            endpoint = f"tcp:{busy.getsockname()[1]}:interface=127.0.0.1"
            for door, option in zip(DOORS, ("--listen", "--rpc", "--admin"), strict=True):
                self.check(door, str(busy.getsockname()[1]), *QUIET_BUT[option], option, endpoint)

    def test_a_locked_directory_another_network_and_an_open_admin_port(self) -> None:
        first = Daemon(self, *QUIET)
        first.facts()
        for door in DOORS:
            self.check(door, "in use by another node", *QUIET, data=first.data)
        first.stop()
        genesis = first.data / "other.json"
        document = genesis_json(chain_id=9, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1)
        genesis.write_text(json.dumps(document))
        for door in DOORS:
            self.check(door, "genesis", *QUIET, "--genesis", genesis, data=first.data)
        wide = ("--admin", "tcp:0:interface=0.0.0.0", "--admin-auth", "none")
        self.check("python -m twisted", "loopback", *QUIET_BUT["--admin"], *wide)

    def check(self, door: str, text: str, *words: object, data=None) -> None:
        done = run_door(door, "--data-dir", data or scratch(self), *words)
        self.assertEqual(done.returncode, 1, (door, words, done))
        lines = [line for line in done.stderr.splitlines() if line.startswith("chainp2p: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertIn(text, lines[0])
        self.assertNotIn("Traceback", done.stdout + done.stderr)


QUIET_BUT = {
    option: tuple(word for pair in zip(QUIET[::2], QUIET[1::2], strict=True) if pair[0] != option for word in pair)
    for option in ("--listen", "--rpc", "--admin")
}


class LifeTests(unittest.TestCase):
    def test_start_lines_addresses_and_a_clean_end_under_every_door(self) -> None:
        for door in DOORS:
            node = Daemon(self, *QUIET, door=door)
            facts = node.facts()
            log = eventually(lambda node=node: (text := node.log()).count("head: ") and text, 10, "start lines")
            for line in (
                f"peer id: {facts['peerId']}",
                f"enr: {facts['enr']}",
                f"listening: {facts['listening'][0]}",
                f"rpc: {facts['rpc']}",
                f"admin: {facts['admin']}",
                f"head: 0 {facts['head']['hash']}",
            ):
                self.assertIn(line + "\n", log)
            self.assertEqual(call(facts["rpc"], "eth_chainId"), "0x7a69")
            self.assertLess(node.stop(signal.SIGINT if door == "twist" else signal.SIGTERM), 5.0)
            self.assertEqual(node.process.returncode, 0)
            self.assertFalse({"node.json", "lock"} & set(os.listdir(node.data)))
            self.assertNotIn("Traceback", node.log())

    def test_open_connections_do_not_hold_it_up(self) -> None:
        node = Daemon(self, *QUIET)
        facts = node.facts()
        port = int(facts["rpc"].rpartition(":")[2])
        idle = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(idle.close)
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.addCleanup(kept.close)
        kept.request("GET", "/livez")
        self.assertEqual(kept.getresponse().read(), b'{"status": "ok"}\n')
        upgraded = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.addCleanup(upgraded.close)
        upgraded.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.assertIn(b"101 ", upgraded.recv(64))
        self.assertLess(node.stop(), 5.0)
        self.assertFalse((node.data / "lock").exists())
        self.assertNotIn("Traceback", node.log())

    def test_killed_and_started_again(self) -> None:
        node = Daemon(self, *QUIET)
        first = node.facts()
        node.stop(signal.SIGKILL)
        again = Daemon(self, *QUIET, data=node.data)
        self.assertEqual(again.facts()["peerId"], first["peerId"])
        again.process.send_signal(signal.SIGHUP)
        self.assertEqual(call(again.facts()["rpc"], "eth_blockNumber"), "0x0")

    def test_it_ends_with_its_supervisor(self) -> None:
        reading, writing = os.pipe()
        data = scratch(self)
        command = [*DOORS["python -m twisted"], "chainp2p", "--data-dir", str(data), *QUIET, "--lifeline", str(reading)]
        process = subprocess.Popen(command, pass_fds=(reading,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        os.close(reading)
        eventually((data / "node.json").exists, 60, "node.json")
        os.close(writing)
        process.wait(60)
        self.assertFalse((data / "lock").exists())


class LazinessTests(unittest.TestCase):
    def test_the_wire_loads_no_twisted_and_no_rpc_loads_no_autobahn(self) -> None:
        script = (
            "import sys, chainp2p.wire; assert not [m for m in sys.modules if m.split('.')[0] in ('twisted', 'zope')]"
        )
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
        script = "import sys, chainp2p.node.node; assert 'autobahn.twisted.websocket' not in sys.modules"
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60)

    def test_a_free_port_is_free(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", free_port()))
