"""Floods at ten times what a peer may send, and one that never reads: the others go on. Figures: table_floods.py."""

import time
import unittest
from typing import Any

from chainp2p.errors import Reason
from chainp2p.wire.sending import QUEUE_LIMIT
from tests.integration.floods import NEVER_READS, Flood, Honest, connects_within
from tests.integration.processes import Daemon, call, eventually
from tests.integration.test_abuse import QUIET, resident_kib
from tests.integration.traffic import Traffic

#: Seconds in which an honest peer becomes ready, whatever happens.
CONNECT = 10.0
#: How much the node may grow (MiB): six of these peers, at most the limit of the send queue and one reply for each.
MEMORY = 48
#: Seconds of flood.
LENGTH = 8.0


class FloodTests(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Daemon(self, *QUIET, "--admin-auth", "none")
        self.facts = self.node.facts()
        self.port = int(self.facts["listening"][0].rpartition(":")[2])

    def flood(self, kind: str, seconds: float, factor: float = 1.0) -> Flood:
        flood = Flood(kind, self.port, seconds, factor)
        self.addCleanup(flood.kill)
        return flood

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = call(self.facts["admin"], "admin_nodeInfo")
        return info

    def test_at_almost_ten_times_the_others_go_on(self) -> None:
        with Traffic(0, lambda: [self.facts["rpc"]]) as traffic, Honest(self.port, 1) as honest:
            eventually(lambda: len(traffic.sent) > 10, 30, "blocks")
            before = resident_kib(self.node.process.pid)
            kinds = ("ping", "headers, one", "blocks, many", "transactions, many", "unknown requests")
            floods = [self.flood(kind, LENGTH, 9.5) for kind in kinds]
            silent = self.flood(NEVER_READS, LENGTH)
            asked = len(honest.times)
            for seed in range(100, 110):
                self.assertLess(connects_within(self.port, seed), CONNECT)
                time.sleep(0.5)
            results = [flood.result() for flood in floods]
            silent.result()
            self.assertGreater(len(honest.times), asked)
            self.assertIsNone(honest.error)
            self.assertLess(max(took for _, took in honest.times), CONNECT)
        self.assertEqual([result["reason"] for result in results], [None] * len(floods))
        self.assertLess(resident_kib(self.node.process.pid) - before, MEMORY * 1024)
        info = self.info()
        self.assertGreater(info["counters"]["over_quota"], 1_000)
        bounds = {
            metric["labels"]["queue"]: metric["value"]
            for metric in info["metrics"]
            if metric["name"] == "chainp2p_queue_limit_bytes"
        }
        self.assertEqual(bounds["send"], QUEUE_LIMIT)
        self.assertNotIn("Traceback", self.node.log())

    def test_at_twenty_times_the_link_ends_and_says_why(self) -> None:
        floods = [self.flood(kind, 90, 20) for kind in ("ping", "headers, many", "unknown requests")]
        for flood in floods:
            self.assertEqual(flood.result()["reason"], Reason.MISBEHAVED)
        ends = [end for end in self.info()["ends"] if end["rule"] == "message_quota"]
        self.assertEqual([(end["reason"], end["penalty"]) for end in ends], [("misbehaved", "useless")] * len(floods))
        self.assertIn("10 times more than", ends[0]["detail"])
