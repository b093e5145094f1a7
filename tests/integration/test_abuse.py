"""Strangers that keep no rules: each ends with its named reason in the log and by RPC, and the node goes on."""

import random
import struct
import unittest
from pathlib import Path
from typing import Any

from chainp2p.errors import Reason
from chainp2p.ledger.formats.genesis import DEV_GENESIS
from chainp2p.peer.key import NodeKey
from chainp2p.wire import AnnounceBlocks, Headers, Ping, Pong, encode
from chainp2p.wire.schema import Kind
from tests.integration.processes import Daemon, call, eventually
from tests.integration.stranger import Stranger

QUIET = (
    "--listen",
    "tcp:0:interface=127.0.0.1",
    "--rpc",
    "tcp:0:interface=127.0.0.1",
    "--admin",
    "tcp:0:interface=127.0.0.1",
)
#: A message tag that nobody has given out.
UNKNOWN_TAG = 999


def resident_kib(pid: int) -> int:
    """Memory that a process holds, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))


class AbuseTests(unittest.TestCase):
    def setUp(self) -> None:
        self.random = random.Random(5)
        self.node = Daemon(self, *QUIET, "--admin-auth", "none")
        self.facts = self.node.facts()
        self.port = int(self.facts["listening"][0].rpartition(":")[2])

    def stranger(self, tls: bool = True) -> Stranger:
        # a key of its own for each: a malicious one is banned
        made = Stranger(self.port, DEV_GENESIS.hash, NodeKey.generate(self.random.randbytes), tls)
        self.addCleanup(made.close)
        return made

    def info(self) -> dict[str, Any]:
        info: dict[str, Any] = call(self.facts["admin"], "admin_nodeInfo")
        return info

    def named(self, reason: Reason) -> None:
        """The reason is in the log and in ``admin_nodeInfo``."""
        eventually(lambda: f"ended: {reason.code}" in self.node.log(), 60, f"{reason.code} in the log")
        eventually(lambda: self.info()["counters"]["ends"].get(reason.code), 60, f"{reason.code} by RPC")

    def refused(self, stranger: Stranger, reason: Reason) -> None:
        self.assertIn(stranger.ending(), (reason.value, None))
        self.named(reason)

    def ready(self) -> Stranger:
        stranger = self.stranger()
        stranger.greet()
        stranger.send(Ping(1), Kind.REQUEST)
        stranger.wait_for(Pong)
        return stranger

    def test_every_breach_has_its_name_and_the_node_goes_on(self) -> None:
        silent = self.stranger()  # ends by itself while the others are tried
        mute = self.stranger(tls=False)

        stranger = self.stranger()
        stranger.greet(genesis=b"\1" * 32)
        self.refused(stranger, Reason.WRONG_GENESIS)
        stranger = self.stranger()
        stranger.greet(version=99)
        self.refused(stranger, Reason.WRONG_VERSION)
        stranger = self.stranger()
        stranger.greet(settings=((0, b"\1" * 32),))
        self.refused(stranger, Reason.WRONG_SETTINGS)

        stranger = self.stranger()
        stranger.send(Ping(1), Kind.REQUEST)
        self.refused(stranger, Reason.OUT_OF_ORDER)

        stranger = self.ready()
        stranger.send_frame(b"", length=0x7FFFFFFF)
        self.refused(stranger, Reason.OVERSIZE)
        stranger = self.ready()
        stranger.send_frame(struct.pack("<I", 6) + b"\xff" * 4, flags=0xFE)
        self.refused(stranger, Reason.MALFORMED_FRAME)
        stranger = self.ready()
        stranger.send_frame(struct.pack("<IQ", 17, 1 << 60) + bytes(40))
        self.refused(stranger, Reason.OVERSIZE)
        stranger = self.ready()
        stranger.send_frame(encode(AnnounceBlocks(())) + b"trailing")
        self.refused(stranger, Reason.MALFORMED_MESSAGE)
        stranger = self.ready()
        stranger.send(Headers(()), Kind.REPLY)
        self.refused(stranger, Reason.UNEXPECTED_REPLY)

        before = resident_kib(self.node.process.pid)
        for _ in range(60):
            garbage = self.stranger(tls=False)
            garbage.socket.sendall(self.random.randbytes(2_000))
            garbage.close()
        self.assertIsNone(mute.read_frame())
        self.assertEqual(silent.ending(), Reason.HANDSHAKE_TIMEOUT.value)
        self.named(Reason.HANDSHAKE_TIMEOUT)
        self.assertLess(resident_kib(self.node.process.pid) - before, 16 * 1024)

        stranger = self.ready()
        for _ in range(3):
            stranger.send_frame(struct.pack("<I", UNKNOWN_TAG) + b"what a later version says")
        stranger.send(Ping(2), Kind.REQUEST)
        stranger.wait_for(Pong)
        self.assertEqual(self.info()["counters"]["unknown_tags"], 3)
        self.assertEqual(call(self.facts["rpc"], "eth_blockNumber"), "0x0")
        self.assertEqual(len(call(self.facts["admin"], "admin_peers")), 1)
        self.assertNotIn("Traceback", self.node.log())

    def test_whoever_dials_a_wrong_key_is_told(self) -> None:
        other = Daemon(self, *QUIET, "--bootstrap", f"{'ab' * 32}@127.0.0.1:{self.port}")
        other.facts()
        eventually(lambda: "ended: wrong_peer_id" in other.log(), 60, "wrong_peer_id in the log")
        self.assertEqual(call(self.facts["admin"], "admin_peers"), [])
