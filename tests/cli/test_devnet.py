"""The devnet without processes: ports, directories, verbs."""

import random
import socket
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli.client import RpcFailure
from chainp2p.cli.devnet_control import run_verb
from chainp2p.cli.devnet_network import Devnet, Interrupted, parse_groups
from chainp2p.cli.devnet_plan import Folder, Options, choose_ports
from chainp2p.errors import SettingsError, StartupError
from chainp2p.ledger.formats.genesis import Genesis


class PortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.said: list[str] = []
        self.taken: set[int] = set()
        self.busy: set[int] = set()

    def choose(self, number: int, base: int | None = None) -> tuple[int, int, int]:
        return choose_ports(number, base, self.taken, self.said.append, lambda port: port not in self.busy)

    def test_the_usual_ports(self) -> None:
        self.assertEqual([self.choose(k) for k in (1, 2)], [(30303, 8545, 8580), (30304, 8546, 8581)])
        self.assertEqual(self.said, [])

    def test_busy_ones_are_replaced_and_told(self) -> None:
        self.busy = {8545}
        peers, rpc, admin = self.choose(1)
        self.assertEqual((peers, admin), (30303, 8580))
        self.assertNotEqual(rpc, 8545)
        self.assertEqual(self.said, [f"port 8545 is in use: node1 takes {rpc} instead"])

    def test_with_a_base_busy_is_an_error(self) -> None:
        self.assertEqual(self.choose(3, 20000), (20020, 20021, 20022))
        self.busy = {20011}
        self.assertIn("port 20011", str(self.assertRaises(StartupError, self.choose, 2, 20000)))
        self.assertRaises(SettingsError, self.choose, 2, 65530)

    def test_a_port_that_udp_has_is_busy(self) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as other:
                other.bind(("127.0.0.1", 0))
                port = other.getsockname()[1]
                error = self.assertRaises(StartupError, choose_ports, 1, port, set(), self.said.append)
                self.assertIn(f"port {port}", str(error))

    def test_a_port_is_given_once(self) -> None:
        self.taken = {30304}
        self.assertNotEqual(self.choose(2)[0], 30304)


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name)
        self.folder = Folder(self.path, random.Random(1).randbytes)

    def test_only_a_devnet_is_wiped(self) -> None:
        (self.path / "lock").write_text("")
        self.folder.check()
        (self.path / "thesis.txt").write_text("")
        self.assertIn("not a devnet", str(self.assertRaises(StartupError, self.folder.check)))
        (self.path / "devnet.json").write_text("{}")
        (self.path / "node1").mkdir()
        self.folder.check()
        self.folder.wipe()
        self.assertEqual([file.name for file in self.path.iterdir()], ["lock"])

    def test_keys_are_made_once(self) -> None:
        first = self.folder.plan(1, (1, 2, 3), True)
        again = self.folder.plan(1, (4, 5, 6), False)
        self.assertEqual((again.key, again.seals), (first.key, True))
        self.assertFalse(self.folder.plan(2, (1, 2, 3), False).seals)
        self.assertEqual(self.folder.node_numbers(), [1, 2])

    def test_the_genesis_file_is_valid_and_lists_the_signers(self) -> None:
        plans = [self.folder.plan(k, (1, 2, 3), True) for k in (1, 2)]
        self.folder.write_genesis(plans, 0.5, 1_700_000_000.9)
        genesis = Genesis.parse(self.folder.genesis.read_text())
        self.assertEqual((genesis.chain_id, genesis.consensus.period_ms), (31337, 500))
        self.assertEqual(len(genesis.signers_at(0)), 2)

    def test_arguments(self) -> None:
        first, second = (self.folder.plan(k, (1, 2, 3), k == 1) for k in (1, 2))
        words = first.arguments(self.folder.genesis, None, Options())
        self.assertIn("--seal", words)
        self.assertNotIn("--bootstrap", words)
        self.assertNotIn("--no-pex", words)
        words = first.arguments(self.folder.genesis, None, Options(discovery=False, pex=False))
        self.assertEqual(words[-2:], ["--no-discovery", "--no-pex"])
        words = second.arguments(self.folder.genesis, first, Options(latency=50, loss=1))
        self.assertNotIn("--seal", words)
        self.assertEqual(words[words.index("--bootstrap") + 1], f"{first.key.peer_id.hex()}@127.0.0.1:1")
        self.assertEqual((words[words.index("--latency") + 1], words[words.index("--loss") + 1]), ("50", "1"))


class GroupTests(SynchronousTestCase):
    def test_forms(self) -> None:
        for text in ("1,2/3", "1,2 / 3", "1 2 / node3", " node1,node2 /3 "):
            self.assertEqual(parse_groups(text, [1, 2, 3]), [[1, 2], [3]])

    def test_refused(self) -> None:
        for text in ("", "1,2", "/", "1/1", "1/9", "a/b", "1//"):
            self.assertRaises(SettingsError, parse_groups, text, [1, 2, 3])


class Client:
    def __init__(self, number: int, calls: list) -> None:
        self.number, self.calls = number, calls
        self.fails = False

    def call(self, method: str, *params):
        if self.fails:
            raise RpcFailure("no answer")
        self.calls.append((self.number, method, *params))
        return {"chain_head": {"height": 5, "hash": "0xaa"}, "admin_peers": [1, 2]}.get(method, True)


class FakeChild:
    def __init__(self, plan, calls: list) -> None:
        self.plan, self.running, self.exit_code, self.log = plan, True, None, "log"
        self.client = Client(plan.number, calls)

    def entry(self, enr: str) -> dict[str, object]:
        return {"name": self.plan.name, "pid": 7 if self.running else None, "enr": enr}

    def kill(self) -> None:
        self.running, self.exit_code = False, -9

    def spawn(self) -> None:
        self.running = True

    def facts(self):
        return {"enr": f"enr:{self.plan.number}"} if self.running else None

    def terminate(self) -> None:
        self.running = False

    def wait(self) -> None:
        pass


class VerbTests(SynchronousTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Folder(Path(temporary.name), random.Random(1).randbytes)
        self.said: list[str] = []
        self.calls: list = []
        self.stopping = threading.Event()
        self.devnet = Devnet(self.folder, Options(), self.said.append, self.stopping)
        for number in (1, 2, 3, 4):
            plan = self.folder.plan(number, (number, 10 + number, 20 + number), False)
            self.devnet.children[number] = FakeChild(plan, self.calls)

    def do(self, line: str):
        verb, *words = line.split()
        return run_verb(self.devnet, verb, words)

    def refused(self, line: str) -> str:
        return str(self.assertRaises((SettingsError, StartupError), self.do, line))

    def test_kill_and_start(self) -> None:
        self.assertEqual(self.do("kill 2"), "node2 killed")
        self.assertIn('"pid": null', (self.folder.path / "devnet.json").read_text())
        self.assertIn("does not run", self.refused("kill node2"))
        self.assertEqual(self.do("start 2"), "node2 started")
        self.assertNotIn('"pid": null', (self.folder.path / "devnet.json").read_text())
        self.assertIn("runs already", self.refused("start 2"))
        self.assertIn("no node '9'", self.refused("kill 9"))

    def test_partition_cuts_both_ways_and_heal_joins_the_same(self) -> None:
        self.assertEqual(self.do("partition 1,2 / 3,4"), "parted: 1,2 / 3,4")
        cut = {(number, address.rpartition(":")[2]) for number, method, address in self.calls}
        self.assertEqual(
            cut, {(a, str(b)) for a in (1, 2) for b in (3, 4)} | {(a, str(b)) for a in (3, 4) for b in (1, 2)}
        )
        self.assertEqual({method for _, method, _ in self.calls}, {"admin_removePeer"})
        removed = {(number, address) for number, _, address in self.calls}
        self.calls.clear()
        self.assertEqual(self.do("heal"), "healed: 4 pairs joined")
        self.assertEqual({(number, address) for number, _, address in self.calls}, removed)
        self.assertEqual({method for _, method, _ in self.calls}, {"admin_addPeer"})
        self.assertEqual(self.do("heal"), "healed: 0 pairs joined")

    def test_a_dead_node_is_passed_over(self) -> None:
        self.do("kill 1")
        self.do("partition 1 / 2")
        self.assertEqual([number for number, _, _ in self.calls], [2])

    def test_status(self) -> None:
        self.do("kill 1")
        self.devnet.children[2].client.fails = True
        dead, mute, well, _ = self.do("status")
        self.assertEqual((dead["pid"], dead["height"]), (None, None))
        self.assertEqual(mute["error"], "no answer")
        self.assertEqual((well["height"], well["peers"], well["head"]), (5, 2, "0xaa"))

    def test_what_is_not_a_verb(self) -> None:
        for line in ("explode", "kill", "kill 1 2", "heal now", "add 3", "partition"):
            self.assertIn("verbs: kill N", self.refused(line))

    def test_a_node_that_ends_by_itself_is_told_once(self) -> None:
        self.devnet.children[3].kill()
        self.devnet.report_ended()
        self.devnet.report_ended()
        self.assertEqual(self.said, ["node3 has ended (exit code -9); its log is log"])

    def test_stopping_while_a_node_starts(self) -> None:
        self.do("kill 2")
        self.stopping.set()
        self.assertRaises(Interrupted, self.do, "start 2")
        self.devnet.stop()
        self.assertFalse(any(child.running for child in self.devnet.children.values()))
