"""HTTP and WebSocket abused at the real daemon: the right status, memory flat, ``/livez`` answers throughout."""

import contextlib
import json
import select
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.request
from collections.abc import Callable

from tests.integration.processes import ROOT, Daemon, call, scratch
from tests.integration.rawweb import BINARY, CONTINUATION, PING, TEXT, RawWebSocket, post, raw, reply
from tests.integration.test_abuse import QUIET, resident_kib
from tests.integration.traffic import Repeated

#: Seconds that the daemon gives a request here.
DEADLINE = 3.0
IDLE_SOCKETS = 10_000
#: What memory may grow by (KiB) while all this goes on: 64 MiB of large requests, and some room for the allocator.
GROWTH = 96 * 1024
CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
#: Units a second that a connection may spend where fair use is tested.
RATE = 100.0


class Probe(Repeated):
    """Asks for ``/livez`` all the time, over a connection of its own each time."""

    def __init__(self, url: str) -> None:
        super().__init__(0.1)
        self._url = url
        self.times: list[float] = []
        self.failures: list[str] = []

    def step(self) -> None:
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(self._url, timeout=10) as response:
                assert response.read() == b'{"status": "ok"}\n'
        except (OSError, AssertionError) as error:
            self.failures.append(repr(error))
        self.times.append(time.monotonic() - begun)


class RpcAbuseTests(unittest.TestCase):
    def setUp(self) -> None:
        file = scratch(self) / "chainp2p.toml"
        file.write_text(f"[rpc.limits]\ndeadline = {DEADLINE}\nheld = {64 << 20}\n")
        self.node = Daemon(self, "--config", file, *QUIET, "--admin-auth", "none")
        self.facts = self.node.facts()
        self.port = int(self.facts["rpc"].rpartition(":")[2])
        self.assertEqual(post(self.port, CALL)[0], 200)
        self.before = resident_kib(self.node.process.pid)

    def grown(self) -> int:
        return resident_kib(self.node.process.pid) - self.before

    def websocket(self, **headers: str) -> RawWebSocket:
        made = RawWebSocket(self.port, **headers)
        self.addCleanup(made.close)
        return made

    def test_all_of_it_while_livez_answers(self) -> None:
        steps: dict[str, Callable[[], None]] = {
            "lengths": self.lengths,
            "heads": self.heads,
            "forgeries": self.forgeries,
            "batches": self.batches,
            "frames": self.frames,
            "slow requests": self.slow_requests,
            "large requests": self.large_requests,
            "idle sockets": self.idle_sockets,
        }
        grown = {}
        with Probe(self.facts["rpc"] + "/livez") as probe, Probe(self.facts["admin"] + "/livez") as other:
            for name, step in steps.items():
                begun = time.monotonic()
                step()
                grown[name] = self.grown()
                print(f"{name}: {time.monotonic() - begun:.1f} s, {grown[name]} KiB grown, {len(probe.times)} probes")
        figures = (grown, len(probe.times), max(probe.times), max(other.times))
        print(f"grown (KiB), probes, slowest on both ports (s): {figures}")
        self.assertEqual((probe.failures, other.failures), ([], []))
        self.assertGreater(len(probe.times), 20)
        self.assertLess(max(probe.times + other.times), 8.0, figures)
        self.assertLess(max(grown.values()), GROWTH, figures)
        self.assertEqual(call(self.facts["rpc"], "eth_blockNumber"), "0x0")
        self.assertNotIn("Traceback", self.node.log())

    def lengths(self) -> None:
        for length, status in (
            ("5242881", 413),
            (str(2**31), 413),
            (str(2**64), 413),
            ("9" * 4_000, 413),
            ("-1", 400),
            ("+5", 400),
            ("0x10", 400),
            ("1e3", 400),
            ("5, 6", 400),
            ("five", 400),
        ):
            self.assertEqual(post(self.port, b"", content_length=length)[0], status, length[:40])
        two = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345"
        self.assertEqual(raw(self.port, two)[0], 400)
        both = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        self.assertEqual(raw(self.port, both)[0], 400)
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        for chunks, status in (
            (b"%x\r\n" % len(CALL) + CALL + b"\r\n0\r\n\r\n", 200),
            (b"-5\r\nhello\r\n", 400),
            (b"zz\r\n", 400),
            (b"f" * 2_000, 400),
            ((b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 6, 413),
        ):
            self.assertEqual(raw(self.port, head + chunks)[0], status, chunks[:20])

    def heads(self) -> None:
        for request, status in (
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
            (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            (b"GET /livez/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            (b"POST /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 120 + b"\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 9_000 + b"\r\n\r\n", 431),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nx:" + b" y" * 500 + b"\r\n\r\n", 415),
            (b"POST / HTTP/1.1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ):
            self.assertEqual(raw(self.port, request)[0], status, request[:60])
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"):
            self.assertEqual(post(self.port, CALL, content_type=kind)[0], 415, kind)

    def forgeries(self) -> None:
        for host in (
            "evil.example",
            "localhost.evil.example",
            "evil.example:8545",
            "127.0.0.1.evil.example",
            "::1@evil",
        ):
            status, _, body = post(self.port, CALL, host=host)
            self.assertEqual((status, b"--rpc-hosts" in body), (403, True), host)
            self.assertEqual(self.websocket(host=host).status, 403, host)
        # the dev network's settings let pages of this machine in, and those alone
        for origin in (
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
            "file://",
            "http://localhost:1@x",
        ):
            status, headers, body = post(self.port, CALL, origin=origin)
            self.assertEqual((status, b"--rpc-origins" in body), (403, True), origin)
            self.assertNotIn("access-control-allow-origin", headers)
            self.assertEqual(self.websocket(origin=origin).status, 403, origin)
            preflight = f"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n".encode()
            self.assertEqual(raw(self.port, preflight)[0], 403, origin)
        self.assertEqual(post(self.port, CALL, origin="http://localhost:3000")[0], 200)
        self.assertEqual(self.websocket(origin="http://127.0.0.1:5173").status, 101)

    def batches(self) -> None:
        million = b"[" + b",".join([b"1"] * 1_000_000) + b"]"
        status, _, body = post(self.port, million)
        self.assertEqual((status, b"too many values" in body), (200, True))
        notifications = b"[" + b",".join([b'{"jsonrpc":"2.0","method":"eth_chainId"}'] * 1_000_000) + b"]"
        self.assertEqual(post(self.port, notifications)[0], 413)
        websocket = self.websocket()
        websocket.frame(million)
        self.assertIn(b"too many values", websocket.message() or b"")
        websocket.frame(b"[" + b",".join([CALL] * 1_001) + b"]")
        self.assertIn(b"batch too large", websocket.message() or b"")
        try:
            websocket.frame(notifications)
        except OSError:
            pass  # it was ended in the middle
        self.assertIn(self.code(websocket), (1009, None))

    def code(self, websocket: RawWebSocket) -> int | None:
        try:
            return websocket.close_code()
        except OSError:
            return None

    def frames(self) -> None:
        def sends(*frames: tuple[bytes, int, dict[str, object]]) -> RawWebSocket:
            websocket = self.websocket()
            for payload, opcode, more in frames:
                websocket.frame(payload, opcode, **more)  # type: ignore[arg-type]
            return websocket

        part = {"final": False}
        for code, frames in (
            (1002, [(CALL, TEXT, {"mask": False})]),
            (1002, [(b"x" * 126, PING, {})]),
            (1002, [(b"", PING, part)]),
            (1002, [(b"x", CONTINUATION, {})]),
            (1002, [(b"x", TEXT, part), (b"y", TEXT, {})]),
            (1002, [(b"x", 3, {})]),
            (1002, [(b"x", 0x70 | TEXT, {})]),
            (1007, [(b"\xff", TEXT, {})]),
            (1007, [(b"\xce", TEXT, part), (b"\xce", CONTINUATION, {})]),
            (1009, [(b"", TEXT, {"claim": 1 << 62})]),
            (1009, [(b"", BINARY, {"claim": (1 << 63) - 1})]),
            (1002, [(b"", BINARY, {"claim": 1 << 63})]),
            (1009, [(b"", TEXT, {"claim": 5 * 1024 * 1024 + 1})]),
            (1009, [(b" " * 1_000_000, TEXT, part), (b"", CONTINUATION, {"claim": 5_000_000})]),
            (1009, [(b"", TEXT, part), *[(b"", CONTINUATION, part)] * 4_096]),
        ):
            self.assertEqual(self.code(sends(*frames)), code, str(frames)[:80])
        pieces = [CALL[at : at + 1] for at in range(len(CALL))]
        cut = [(piece, CONTINUATION if at else TEXT, part) for at, piece in enumerate(pieces)]
        pings = [(b"between", PING, {})]
        websocket = sends(*cut[:20], *pings, *cut[20:], (b"", CONTINUATION, {}))
        self.assertIn(b'"result":"0x7a69"', websocket.message() or b"")

    def slow_requests(self) -> None:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        links = [socket.create_connection(("127.0.0.1", self.port), 20.0) for _ in range(20)]
        begun = time.monotonic()
        bytes_of = [iter(head + b" " * 900), iter(b"POST / HTTP/1.1\r\nx: " + b"y" * 900)]
        # they dribble until all are answered, so that a deadline which a byte puts off never comes
        while len(select.select(links, [], [], 0)[0]) < len(links):
            for index, link in enumerate(links):
                with contextlib.suppress(OSError):  # it has ended
                    link.sendall(bytes((next(bytes_of[index % 2]),)))
            time.sleep(0.05)
            self.assertLess(time.monotonic() - begun, DEADLINE + 10.0)
        for link in links:
            self.assertEqual(reply(link)[0], 408)
            link.close()

    def large_requests(self) -> None:
        """A hundred bodies of 4 MiB at once, none whole: most are told to come again, ordinary calls are answered."""
        head = (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4194305\r\n\r\n"
        )
        body = b" " * (4 << 20)
        statuses: list[int] = []

        def send(count: int) -> None:
            links = []
            for _ in range(count):
                link = socket.create_connection(("127.0.0.1", self.port), 20.0)
                try:
                    link.sendall(head + body)
                except OSError:
                    pass
                links.append(link)
            for link in links:
                statuses.append(reply(link)[0])
                link.close()

        threads = [threading.Thread(target=send, args=(25,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            self.assertEqual(post(self.port, CALL)[0], 200)
            self.assertLess(self.grown(), GROWTH)
        for thread in threads:
            thread.join(60)
        counts = {status: statuses.count(status) for status in set(statuses)}
        print(f"large requests: {counts}")
        self.assertLessEqual(set(counts), {0, 408, 503}, counts)
        self.assertGreater(counts.get(503, 0), 40, counts)

    def idle_sockets(self) -> None:
        command = [sys.executable, "-m", "tests.integration.idlecrowd", str(self.port), str(IDLE_SOCKETS)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as crowd:
            self.addCleanup(crowd.kill)
            assert crowd.stdin is not None and crowd.stdout is not None
            opened = int(crowd.stdout.readline())
            print(f"idle sockets: {opened}")
            for _ in range(20):
                self.assertEqual(post(self.port, CALL)[0], 200)
            websocket = self.websocket()
            websocket.frame(CALL)
            self.assertIn(b"0x7a69", websocket.message() or b"")
            crowd.stdin.close()
            ended = int(crowd.stdout.readline())
        self.assertGreaterEqual(ended, opened - 1_024)
        self.assertGreater(opened, 1_024)


class FairUseTests(unittest.TestCase):
    def test_who_asks_for_too_much_is_told_when_to_come_back_and_is_served_then(self) -> None:
        file = scratch(self) / "chainp2p.toml"
        limits = f"cost_rate = {RATE}\ncost_soft = 200.0\ncost_hard = 400.0"
        file.write_text(f"[network]\nloopback_exempt = false\n\n[rpc.limits]\n{limits}\n")
        node = Daemon(self, "--config", file, *QUIET, "--admin-auth", "none")
        facts = node.facts()
        port, admin = (int(facts[name].rpartition(":")[2]) for name in ("rpc", "admin"))
        batch = b"[" + b",".join([CALL] * 600) + b"]"
        websocket = RawWebSocket(port)
        self.addCleanup(websocket.close)
        begun = time.monotonic()
        websocket.frame(batch)
        answers = json.loads(websocket.message() or b"")
        earned = RATE * (time.monotonic() - begun)
        refused = [one["error"] for one in answers if "error" in one]
        served = len(answers) - len(refused)
        self.assertGreater(served, 340)
        self.assertLess(served, 460 + earned)
        self.assertEqual({one["code"] for one in refused}, {-32005})
        seconds = refused[-1]["data"]["retryAfter"]
        self.assertLess(seconds, 3.0)
        time.sleep(seconds + 0.1)
        websocket.frame(CALL)
        begun = time.monotonic()
        self.assertIn(b'"result":"0x7a69"', websocket.message() or b"")
        self.assertLess(time.monotonic() - begun, 0.9)
        # another connection has debts of its own, and the operator none
        self.assertIn(b'"result"', post(port, CALL)[2])
        self.assertNotIn(b"error", post(admin, batch)[2])
        with urllib.request.urlopen(facts["admin"] + "/metrics", timeout=10) as response:
            text = response.read().decode()
        line = 'chainp2p_rpc_errors_total{code="-32005",method="eth_chainId",port="rpc"} '
        self.assertIn(f"{line}{float(len(refused))}\n", text)
