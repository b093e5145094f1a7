"""A node behind a real router: miniupnpd over nftables, in network namespaces of its own.

Needs root, ``ip``, ``nft`` and ``miniupnpd`` (Debian: ``miniupnpd-nftables``); skipped where one is missing.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import pytest

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.node.upnp import find_library
from tests.integration.processes import DOORS, ROOT, eventually, scratch

OUTSIDE = "93.184.216.34"
MISSING = [name for name in ("ip", "nft", "miniupnpd") if shutil.which(name) is None]
if os.geteuid():
    MISSING.append("root")

RULES = """
flush ruleset
table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    iifname "lan0" accept
    ct state established,related accept
    jump miniupnpd
  }
  chain miniupnpd { }
}
table inet nat {
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; jump postrouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
SETTINGS = """
ext_ifname=wan0
listening_ip=lan0
http_port=0
enable_natpmp={pcp}
enable_upnp=yes
secure_mode=yes
uuid=f9f3a1b0-0000-4000-8000-000000000001
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
upnp_table_name=filter
upnp_nat_table_name=nat
allow 1024-65535 192.168.1.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
#: Builds the three machines; each line is an ``ip`` command.
PLAN = """
-n {router} link add lan0 type veth peer name eth0 netns {inside}
-n {router} link add wan0 type veth peer name eth0 netns {outside}
-n {router} addr add 192.168.1.1/24 dev lan0
-n {router} addr add 93.184.216.34/24 dev wan0
-n {inside} addr add 192.168.1.7/24 dev eth0
-n {outside} addr add 93.184.216.1/24 dev eth0
-n {router} link set lan0 up
-n {router} link set wan0 up
-n {inside} link set eth0 up
-n {outside} link set eth0 up
-n {inside} route add default via 192.168.1.1
"""


@pytest.mark.integration
@unittest.skipIf(MISSING, f"missing: {', '.join(MISSING)}")
class RouterTests(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = scratch(self)
        self.names = {role: f"c2p-{os.getpid()}-{role}" for role in ("router", "inside", "outside")}
        for name in self.names.values():
            self.run_("ip", "netns", "add", name)
            self.addCleanup(self.run_, "ip", "netns", "del", name)
            self.run_("ip", "-n", name, "link", "set", "lo", "up")
        for line in PLAN.format(**self.names).strip().splitlines():
            self.run_("ip", *line.split())
        self.on("router", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        document = genesis_json(chain_id=7, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1)
        (self.folder / "genesis.json").write_text(json.dumps(document))
        (self.folder / "rules").write_text(RULES)

    def run_(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, (command, done.stdout, done.stderr))
        return done.stdout

    def on(self, role: str, *command: str) -> str:
        return self.run_("ip", "netns", "exec", self.names[role], *command)

    def spawn(self, role: str, name: str, *command: str) -> "subprocess.Popen[bytes]":
        with (self.folder / name).open("wb") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.names[role], *command], stdout=out, stderr=out, cwd=ROOT
            )
        self.addCleanup(self.end, process, signal.SIGKILL)
        return process

    def end(self, process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        process.wait(30)

    def router(self, pcp: str = "yes") -> "subprocess.Popen[bytes]":
        self.on("router", "nft", "-f", str(self.folder / "rules"))
        (self.folder / "router.conf").write_text(SETTINGS.format(pcp=pcp))
        pid = str(self.folder / "router.pid")
        started = self.spawn(
            "router", "router.log", "miniupnpd", "-d", "-f", str(self.folder / "router.conf"), "-P", pid
        )
        eventually(lambda: "HTTP listening" in self.text("router.log"), 20, "miniupnpd")
        return started

    def node(self, name: str) -> "subprocess.Popen[bytes]":
        return self.spawn(
            "inside",
            name,
            *DOORS["python -m twisted"],
            *("chainp2p", "--data-dir", str(self.folder / "data"), "--genesis", str(self.folder / "genesis.json")),
            *("--no-rpc", "--no-admin"),
        )

    def text(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8", "replace")

    def mapped(self) -> int:
        return self.on("router", "nft", "list", "ruleset").count("dport 30303 dnat")

    def dial(self) -> None:
        """Call from outside."""
        code = f"import socket; socket.create_connection(({OUTSIDE!r}, 30303), 10)"
        self.on("outside", sys.executable, "-c", code)

    def wait_mapped(self, log: str, by: str) -> None:
        line = f"the gateway maps {OUTSIDE}, TCP port 30303, UDP port 30303 to this machine ({by})"
        eventually(lambda: line in self.text(log), 60, line)
        self.assertEqual(self.mapped(), 2)
        self.dial()

    def test_pcp(self) -> None:
        router = self.router()
        node = self.node("one.log")
        self.wait_mapped("one.log", "PCP")
        # who comes back after a crash takes over what it had
        self.end(node, signal.SIGKILL)
        node = self.node("two.log")
        self.wait_mapped("two.log", "PCP")
        # the router forgets everything, and is asked once a minute whether it has
        self.end(router)
        self.router()
        self.assertEqual(self.mapped(), 0)
        begun = time.monotonic()
        eventually(lambda: self.mapped() == 2, 90, "both ports mapped again")
        self.assertLess(time.monotonic() - begun, 75)
        self.dial()
        self.end(node)
        self.assertEqual(self.mapped(), 0)

    @unittest.skipIf(find_library() is None, "miniupnpc is not installed")
    def test_upnp(self) -> None:
        self.router(pcp="no")
        node = self.node("one.log")
        self.wait_mapped("one.log", "UPnP")
        self.end(node)
        self.assertEqual(self.mapped(), 0)
