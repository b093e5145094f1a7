"""Where the gateway is, by what operating systems print."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from chainp2p.node import router
from chainp2p.node.router import MachineRouter, default_gateway, parse_bsd_route, parse_routes

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def word(ip: str) -> str:
    return f"{int.from_bytes(bytes(int(part) for part in ip.split('.')), sys.byteorder):08X}"


def line(target: str, gateway: str, flags: int, metric: int, mask: str) -> str:
    return f"eth0\t{word(target)}\t{word(gateway)}\t{flags:04X}\t0\t0\t{metric}\t{word(mask)}\t0\t0\t0\n"


class RouteTests(SynchronousTestCase):
    def test_linux(self) -> None:
        default = line("0.0.0.0", "192.168.1.1", 3, 100, "0.0.0.0")
        for lines, gateway in (
            (default, "192.168.1.1"),
            (default + line("0.0.0.0", "10.0.0.1", 3, 50, "0.0.0.0"), "10.0.0.1"),
            (line("192.168.1.0", "0.0.0.0", 1, 0, "255.255.255.0") + default, "192.168.1.1"),
            (line("0.0.0.0", "10.0.0.1", 2, 0, "0.0.0.0"), None),
            (line("0.0.0.0", "0.0.0.0", 1, 0, "0.0.0.0"), None),
            (line("0.0.0.0", "10.8.0.1", 3, 0, "128.0.0.0") + default, "192.168.1.1"),
            ("no route at all\n" + default, "192.168.1.1"),
            ("", None),
        ):
            self.assertEqual(parse_routes(HEAD + lines), gateway, lines)
        self.assertIsNone(parse_routes(""))

    def test_macos(self) -> None:
        text = "   route to: default\ndestination: default\n    gateway: {}\n  interface: en0\n"
        self.assertEqual(parse_bsd_route(text.format("192.168.1.1")), "192.168.1.1")
        for other in ("link#14", "fe80::1%en0", ""):
            self.assertIsNone(parse_bsd_route(text.format(other)))
        self.assertIsNone(parse_bsd_route("route: writing to routing socket: not in table\n"))

    def test_where_there_is_no_such_file(self) -> None:
        self.patch(router, "_ROUTES", Path("/nowhere/route"))
        asked: list[Any] = []

        def run(words: list[str], **_: Any) -> Any:
            asked.append(words)
            return subprocess.CompletedProcess(words, 0, stdout="    gateway: 192.168.1.1\n")

        self.patch(subprocess, "run", run)
        self.assertEqual((default_gateway(), asked), ("192.168.1.1", [["/sbin/route", "-n", "get", "default"]]))

        def fail(words: list[str], **_: Any) -> Any:
            raise FileNotFoundError

        self.patch(subprocess, "run", fail)
        self.assertIsNone(default_gateway())


class MachineRouterTests(TestCase):
    async def test_it_asks_on_a_thread_of_its_own(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        def find() -> str:
            return threading.current_thread().name

        made = MachineRouter(reactor, find)
        self.assertEqual(await made.gateway(), "chainp2p pool")
        await made.end()
