"""Memory of an idle peer: resident bytes that a process grows by for each ready link over TLS.

The measured process only listens; another one opens the links. All of a link counts: socket, TLS, protocol, queues and
tables. There is no yardstick; the aim is 40 KiB a peer in all.
"""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench_requests import Host
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import deferLater, react

from chainp2p.net.factory import PeerFactory
from chainp2p.peer.key import NodeKey

LINKS = 400
AIM_KIB = 40
SERVER = NodeKey(b"\x01" * 32)


def resident() -> int:
    """Resident bytes of this process (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class Counting(Host):
    """Tells when so many links are ready."""

    def expect(self, count: int) -> "Deferred[None]":
        self.missing = count
        self.all_ready: Deferred[None] = Deferred()
        return self.all_ready

    def link_ready(self, link: Any) -> None:
        self.missing -= 1
        if not self.missing:
            self.all_ready.callback(None)


async def measure(reactor: Any) -> None:
    host = Counting(reactor, SERVER)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1", backlog=LINKS).listen(
        host.security.server(PeerFactory(host))
    )
    sizes = []
    for links in (LINKS // 4, LINKS):
        ready = host.expect(links)
        process = subprocess.Popen([sys.executable, __file__, str(port.getHost().port), str(links)])
        try:
            await ready
            await deferLater(reactor, 1.0, gc.collect)
            sizes.append((links, resident()))
        finally:
            process.terminate()
            process.wait()
        await deferLater(reactor, 1.0, gc.collect)
    (few, before), (many, after) = sizes
    each = (after - before) / (many - few) / 1024
    print(f"{'measure':<52} {'KiB':>10} {'aim':>8}")
    print(f"{'idle peer over TLS, all in':<52} {each:>10.1f} {AIM_KIB:>8} {'met' if each <= AIM_KIB else 'missed'}")
    await port.stopListening()


async def dial(reactor: Any, port: str, links: str) -> None:
    dialling = []
    for number in range(int(links)):
        host = Host(reactor, NodeKey(number.to_bytes(32, "big", signed=False)[:31] + b"\x07"))
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
        dialling.append(endpoint.connect(host.security.client(PeerFactory(host, SERVER.peer_id))))
    await gatherResults(dialling)
    await Deferred()


if __name__ == "__main__":
    react(measure if len(sys.argv) == 1 else dial, sys.argv[1:])
