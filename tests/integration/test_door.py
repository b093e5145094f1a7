"""A thousand sockets that dribble and a thousand that say nothing: an honest peer gets in, and memory stays bounded."""

import json
import random
import subprocess
import sys
import time
import unittest
from pathlib import Path

from chainp2p.ledger.formats.genesis import DEV_GENESIS
from chainp2p.peer.intake import IN_FLIGHT
from chainp2p.peer.key import NodeKey
from chainp2p.wire import Ping, Pong
from chainp2p.wire.schema import Kind
from tests.integration.processes import ROOT, Daemon, call, eventually, scratch
from tests.integration.stranger import Stranger
from tests.integration.test_abuse import QUIET, resident_kib

#: Sockets of the crowd, and seconds that it stays.
COUNT, LENGTH = 2_000, 25.0
#: Seconds in which an honest peer becomes ready, whatever happens.
CONNECT = 10.0
#: What one handshake in flight may hold (KiB): OpenSSL's connection, buffers, and a link that has not begun.
PER_HANDSHAKE = 128
#: Growth for what is counted and remembered of so many addresses: causes, ends, rates (KiB).
REMEMBERED = 16 * 1024


class DoorTests(unittest.TestCase):
    def setUp(self) -> None:
        file = scratch(self) / "chainp2p.toml"
        file.write_text('[node]\nprofile = "public"\n\n[network]\nloopback_exempt = false\n')
        self.node = Daemon(self, "--config", file, *QUIET, "--admin-auth", "none")
        self.facts = self.node.facts()
        self.port = int(self.facts["listening"][0].rpartition(":")[2])

    def metrics(self) -> dict[str, float]:
        info = call(self.facts["admin"], "admin_nodeInfo")
        return {metric["name"] + "".join(metric["labels"].values()): metric["value"] for metric in info["metrics"]}

    def connect(self, number: int) -> float:
        """Seconds until an honest peer at an address of its own is ready; it calls again each second if refused."""
        start = time.monotonic()
        key = NodeKey.generate(random.Random(number).randbytes)
        for attempt in range(10):
            try:
                stranger = Stranger(self.port, DEV_GENESIS.hash, key, source=f"127.200.{number}.{attempt + 1}")
                stranger.greet()
                stranger.send(Ping(1), Kind.REQUEST)
                stranger.wait_for(Pong)
                stranger.close()
                break
            except (OSError, AssertionError):
                time.sleep(0.5)
        return time.monotonic() - start

    def test_an_honest_peer_gets_in(self) -> None:
        self.connect(0)
        before = resident_kib(self.node.process.pid)
        command = [sys.executable, "-m", "tests.integration.crowd", str(self.port), str(LENGTH), str(COUNT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(ROOT)) as crowd:
            self.addCleanup(crowd.kill)
            eventually(lambda: self.metrics()["chainp2p_handshakes_in_flight"] >= IN_FLIGHT - 16, 20, "a crowd")
            times, in_flight, number = [], [], 0
            while crowd.poll() is None:
                number += 1
                times.append(self.connect(number))
                in_flight.append(self.metrics()["chainp2p_handshakes_in_flight"])
                time.sleep(0.2)
            assert crowd.stdout is not None
            facts = json.loads(crowd.stdout.read())
        grown = resident_kib(self.node.process.pid) - before
        metrics = self.metrics()
        figures = (len(times), max(times), facts, max(in_flight), grown)
        self.assertGreater(facts["calls"], COUNT)
        self.assertLess(max(times), CONNECT, figures)
        self.assertLessEqual(max(in_flight), IN_FLIGHT)
        self.assertLess(grown, IN_FLIGHT * PER_HANDSHAKE + REMEMBERED, figures)
        # which of the two it is depends on how fast the crowd calls
        turned_away = (
            metrics["chainp2p_turned_away_totalhandshake_replaced"] + metrics["chainp2p_refused_connections_total"]
        )
        self.assertGreater(turned_away, 100)
