"""The devnet from outside: real processes, kills, partitions, and what is left at the end."""

import json
import os
import signal
import unittest
from typing import Any

from tests.integration.processes import Devnet, Prompt, call, eventually, process_exists
from tests.integration.traffic import Traffic


def _locks(devnet: Devnet) -> list[str]:
    return [str(file) for file in devnet.data.rglob("lock")]


class DevnetTests(unittest.TestCase):
    def test_four_nodes_find_each_other_and_seal_a_block_a_second(self) -> None:
        devnet = Devnet(self)
        document = devnet.document
        self.assertEqual((document["chainId"], len(document["nodes"]), len(document["accounts"])), (31337, 4, 10))
        for number, node in enumerate(document["nodes"], 1):
            self.check_entry(number, node)
        said = devnet.out.read_text()
        for text in (document["nodes"][3]["enr"], document["accounts"][9]["privateKey"], "node4"):
            self.assertIn(text, said)
        for number in (1, 2, 3, 4):
            eventually(lambda n=number: devnet.peers(n) >= 2, 60, f"two peers of node {number}")
        height = eventually(lambda: devnet.height(1), 20, "a block")
        eventually(lambda: devnet.height(1) >= height + 5, 30, "five more blocks")
        first, last = (devnet.timestamp(1, at) for at in (height, height + 5))
        self.assertGreaterEqual(last - first, 5)
        eventually(lambda: devnet.agree([1, 2, 3, 4]), 30, "one chain")
        status = json.loads(devnet.verb("status", "--json"))
        self.assertEqual([row["name"] for row in status], ["node1", "node2", "node3", "node4"])
        self.assertTrue(all(row["height"] > 0 and row["peers"] >= 2 for row in status), status)
        self.assertIn("node5", devnet.verb("add"))
        eventually(lambda: devnet.agree([1, 5]), 60, "the fifth node follows")
        pids = [node["pid"] for node in devnet.nodes]
        devnet.process.send_signal(signal.SIGINT)
        self.assertEqual(devnet.process.wait(60), 0)
        self.assertEqual([pid for pid in pids if process_exists(pid)], [])
        self.assertEqual(_locks(devnet), [])

    def test_without_peer_exchange_they_find_each_other_by_udp(self) -> None:
        devnet = Devnet(self, "--no-pex")
        eventually(lambda: [devnet.peers(n) for n in (1, 2, 3, 4)] == [3] * 4, 60, "all linked")
        for node in devnet.nodes:
            eventually(lambda url=node["admin"]: self.discovery(url)["nodes"] == 3, 60, "three live nodes")

    def test_without_udp_they_find_each_other_by_peer_exchange(self) -> None:
        devnet = Devnet(self, "--no-discovery")
        eventually(lambda: [devnet.peers(n) for n in (1, 2, 3, 4)] == [3] * 4, 60, "all linked")
        self.assertEqual(self.discovery(devnet.nodes[3]["admin"]), {"enabled": False, "nodes": 0})

    def discovery(self, url: str) -> dict[str, Any]:
        found: dict[str, Any] = call(url, "admin_nodeInfo")["discovery"]
        return found

    def check_entry(self, number: int, node: dict[str, Any]) -> None:
        keys = ["name", "pid", "peerId", "enr", "p2p", "discovery", "rpc", "ws", "admin", "dataDir"]
        self.assertEqual(list(node), keys)
        self.assertEqual((node["name"], node["discovery"]), (f"node{number}", node["p2p"]))
        self.assertTrue(process_exists(node["pid"]))
        self.assertEqual((len(node["peerId"]), node["enr"][:4]), (64, "enr:"))
        self.assertEqual(node["ws"], node["rpc"].replace("http", "ws") + "/ws")
        self.assertEqual(call(node["rpc"], "eth_chainId"), "0x7a69")
        self.assertEqual(call(node["admin"], "admin_nodeInfo")["id"], node["peerId"])

    def test_a_killed_node_and_the_killed_bootstrap_come_back(self) -> None:
        devnet = Devnet(self, "--period", "0.3")
        urls = [node["rpc"] for node in devnet.nodes]
        eventually(lambda: all(devnet.peers(n) >= 2 for n in (1, 2, 3, 4)), 60, "peers")
        with Traffic(0, lambda: urls[1:3]) as traffic:
            for victim in (4, 1):
                others = [n for n in (1, 2, 3, 4) if n != victim]
                eventually(lambda: devnet.height(2) > 0 and traffic.sent, 60, "traffic")
                devnet.verb("kill", victim)
                self.assertIsNone(devnet.nodes[victim - 1]["pid"])
                height = devnet.height(2)
                eventually(lambda h=height: devnet.height(2) >= h + 20, 90, "twenty blocks without it")
                for number in others:
                    self.assertGreaterEqual(devnet.peers(number), 1)
                devnet.verb("start", victim)
                eventually(lambda: devnet.agree([1, 2, 3, 4]), 60, f"node {victim} caught up")
        self.assertGreater(len(traffic.sent), 20)
        eventually(
            lambda: (
                len({json.dumps(call(url, "eth_getTransactionReceipt", traffic.sent[-1])) for url in urls}) == 1
                and call(urls[0], "eth_getTransactionReceipt", traffic.sent[-1])
            ),
            60,
            "the last transfer has one receipt everywhere",
        )

    def test_parted_in_two_and_healed(self) -> None:
        devnet = Devnet(self, "--period", "0.5")
        urls = [node["rpc"] for node in devnet.nodes]
        eventually(lambda: all(devnet.peers(n) == 3 for n in (1, 2, 3, 4)), 60, "all connected")
        eventually(lambda: devnet.agree([1, 2, 3, 4]) and devnet.height(1) >= 2, 60, "one chain")
        devnet.verb("partition", "1,2", "/", "3,4")
        eventually(lambda: all(devnet.peers(n) == 1 for n in (1, 2, 3, 4)), 60, "two halves")
        parted = max(devnet.height(n) for n in (1, 3))
        with Traffic(1, lambda: urls[:2]) as left, Traffic(2, lambda: urls[2:]) as right:
            eventually(lambda: min(devnet.height(n) for n in (1, 3)) >= parted + 4, 60, "both sides produce")
        self.assertNotEqual(devnet.hash_at(1, parted + 3), devnet.hash_at(3, parted + 3))
        devnet.verb("heal")
        eventually(lambda: devnet.agree([1, 2, 3, 4]), 60, "one chain again")
        for sent in left.sent + right.sent:
            eventually(
                lambda sent=sent: all(call(url, "eth_getTransactionReceipt", sent) for url in (urls[0], urls[3])),
                60,
                "every transfer of both sides is in a block",
            )

    def test_kept_it_goes_on_where_it_stopped(self) -> None:
        devnet = Devnet(self, "-n", "2", "--signers", "1", "--period", "0.25")
        height, head = eventually(lambda: (at := devnet.head(2))[0] >= 3 and at, 60, "three blocks")
        accounts, peer_id = devnet.document["accounts"], devnet.nodes[1]["peerId"]
        devnet.process.terminate()
        self.assertEqual(devnet.process.wait(60), 0)
        again = Devnet(self, "-n", "2", "--period", "0.25", "--keep", data=devnet.data)
        self.assertEqual((again.document["accounts"], again.nodes[1]["peerId"]), (accounts, peer_id))
        eventually(lambda: again.height(2) > height, 60, "more blocks")
        self.assertEqual(again.hash_at(2, height), head)

    def test_at_its_prompt(self) -> None:
        prompt = Prompt(self, "-n", "1")
        prompt.expect("devnet> ")
        prompt.say("status")
        self.assertIn("node1", prompt.expect("devnet> "))
        prompt.say("explode")
        self.assertIn("verbs: kill N", prompt.expect("devnet> "))
        prompt.say("kill 1")
        self.assertIn("node1 killed", prompt.expect("devnet> "))
        prompt.say("start 1")
        self.assertIn("node1 started", prompt.expect("devnet> "))
        prompt.say("\x03", end="")
        self.assertIn("stopped", prompt.expect("stopped"))
        self.assertEqual(prompt.process.wait(60), 0)
        self.assertEqual(sorted(file.name for file in prompt.data.glob("*lock")), [])

    def test_the_nodes_end_with_a_killed_supervisor(self) -> None:
        devnet = Devnet(self, "-n", "2", "--latency", "20", "--loss", "1")
        pids = [node["pid"] for node in devnet.nodes]
        eventually(lambda: devnet.peers(1) == 1, 60, "they meet over a slow network")
        os.kill(devnet.process.pid, signal.SIGKILL)
        devnet.process.wait()
        eventually(lambda: not any(process_exists(pid) for pid in pids), 30, "the end of the nodes")
        self.assertEqual([lock for lock in _locks(devnet) if "node" in lock.rpartition("devnet/")[2]], [])
