"""A head to 1,000 subscribers, and what an idle subscriber holds, against Autobahn as it comes.

The node is a whole one on the dev network, which makes a block of each transaction; its clients have subscribed to
``newHeads``. The yardstick is a plain Autobahn server that calls ``sendMessage`` with the same text for each of its
connections. Both have a process of their own and a process of bare sockets (``socket_load.py``) on the other side; they
take turns. Compression is off.

- first to last: from the first socket that has the message to the last one.
- head to last: from the head, or the call of the first ``sendMessage``, to the last socket.
- CPU: of the server's process, for each head; what the node needs for a block that nobody is told of is taken off.

Memory is the growth of resident bytes after a collection, divided by the number of connections. A server of bare
Twisted protocols that do nothing is there to show what the transport takes.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measure import Measured, show
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

ROUNDS = 15
#: Connections in the turns, and at most (for memory).
FEW, MANY = 1_000, 5_000
#: How many times as good as the yardstick; KiB of an idle subscriber.
AIM, AIM_KIB = 1.5, 12
#: Seconds after which a server has done all about a head, and between two heads.
REST = 0.05
SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})


# -- the servers: each line of input is a verb, each line of output its answer


def resident() -> int:
    """Resident bytes of this process after a collection (Linux)."""
    gc.collect()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


class Verbs(LineOnlyReceiver):
    """Answers ``weigh``; what ``send`` does tells its own answer."""

    delimiter = b"\n"
    MAX_LENGTH = 65_536

    def __init__(self, send: Callable[[str], Any], ended: "Deferred[None]") -> None:
        self._send = send
        self._ended = ended

    def lineReceived(self, line: bytes) -> None:
        asked = json.loads(line)
        if asked["verb"] == "weigh":
            self.tell(resident())
        else:
            self._send(asked["text"])

    def tell(self, answer: Any) -> None:
        self.sendLine(json.dumps(answer).encode())  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: object = None) -> None:
        self._ended.callback(None)


def told(port: int | None, send: Callable[[str], Any]) -> "tuple[Verbs, Deferred[None]]":
    ended: Deferred[None] = Deferred()
    verbs = Verbs(send, ended)
    StandardIO(verbs)  # type: ignore[no-untyped-call]
    verbs.tell(port)
    return verbs, ended


async def serve_node(reactor: Any) -> None:
    """The text is a raw transaction; tells when its block is the head."""
    import chainp2p
    from chainp2p.chain.interfaces import HeadChanged
    from chainp2p.node.pauses import shorten_pauses
    from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings

    shorten_pauses()
    loopback = ("tcp:0:interface=127.0.0.1",)
    with tempfile.TemporaryDirectory() as folder:
        settings = chainp2p.Settings(
            node=NodeSettings(data_dir=Path(folder)),
            network=NetworkSettings(listen_addr=loopback),
            rpc=RpcSettings(listen=loopback, limits=(("connections", 2 * MANY),)),
            admin=AdminSettings(listen=()),
        )
        node = chainp2p.Node(reactor, settings)
        node.startService()
        bound = await node.ready()
        verbs, ended = told(urlsplit(bound.rpc[0]).port, lambda raw: node.submit_transaction(bytes.fromhex(raw)))
        node.events.subscribe(HeadChanged, lambda event: verbs.tell(time.monotonic()))
        await ended
        await node.stopService()


async def serve_autobahn(reactor: Any) -> None:
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    everybody: set[Any] = set()

    class Server(WebSocketServerProtocol):  # type: ignore[misc]
        def onOpen(self) -> None:
            everybody.add(self)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(b'"subscribed"')

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            everybody.discard(self)

    def send(text: str) -> None:
        """Tell when it began."""
        data = text.encode()
        verbs.tell(time.monotonic())
        for one in everybody:
            one.sendMessage(data)

    factory = WebSocketServerFactory(reactor=reactor)
    factory.protocol = Server
    port = reactor.listenTCP(0, factory, backlog=MANY, interface="127.0.0.1")
    verbs, ended = told(port.getHost().port, send)
    await ended


async def serve_bare(reactor: Any) -> None:
    port = reactor.listenTCP(0, Factory.forProtocol(Protocol), backlog=MANY, interface="127.0.0.1")
    await told(port.getHost().port, lambda text: None)[1]


# -- who drives them


class Child:
    """A process that is told verbs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def tell(self, **what: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} has ended")
        return json.loads(line)

    def ask(self, **what: Any) -> Any:
        self.tell(**what)
        return self.hear()

    def cpu(self) -> float:
        """CPU seconds that it has used (Linux: its clock id)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)


@contextmanager
def child(*words: str) -> Iterator[Child]:
    process = subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    try:
        yield Child(process)
    finally:
        process.stdin.close()
        process.wait()


class Side:
    """One kind of server, its clients, and its samples."""

    def __init__(self, kind: str, stack: ExitStack, texts: Iterator[str], *, subscribe: bool, upgrade: bool) -> None:
        self.kind = kind
        self.server = stack.enter_context(child(__file__, kind))
        self.port: int = self.server.hear()
        self._stack, self._texts = stack, texts
        self._how = {"subscribe": SUBSCRIBE if subscribe else None, "upgrade": upgrade}
        self.clients = self._load()
        self.spread: list[float] = []
        self.delay: list[float] = []
        self.cpu: list[float] = []
        self.weights: dict[int, int] = {}
        self.text = ""  #: of the last message
        self._count = 0
        #: What is loaded and made with the first connections does not belong to any of them.
        first = self._load()
        first.ask(verb="open", port=self.port, count=3, **self._how)
        if subscribe:
            self._round(first)
        first.process.kill()
        first.process.wait()
        time.sleep(REST)
        self.weights[0] = self.server.ask(verb="weigh")

    def _load(self) -> Child:
        return self._stack.enter_context(child(str(Path(__file__).with_name("socket_load.py"))))

    def grow(self, count: int) -> None:
        self.clients.ask(verb="open", port=self.port, count=count - self._count, **self._how)
        self._count = count
        time.sleep(REST)
        self.weights[count] = self.server.ask(verb="weigh")

    def each(self, count: int) -> float:
        """KiB of each of so many connections."""
        return (self.weights[count] - self.weights[0]) / count / 1024

    def send(self) -> float:
        """Let a text go out; answers the CPU seconds it took when nobody gets it."""
        before = self.server.cpu()
        self.server.ask(verb="send", text=next(self._texts))
        time.sleep(REST)
        return self.server.cpu() - before

    def round(self) -> None:
        spread, delay, cpu = self._round(self.clients)
        self.spread.append(spread)
        self.delay.append(delay)
        self.cpu.append(cpu)

    def _round(self, clients: Child) -> tuple[float, float, float]:
        clients.ask(verb="await")
        before = self.server.cpu()
        begun = self.server.ask(verb="send", text=next(self._texts))
        got = clients.hear()
        self.text = got["text"]
        time.sleep(REST)
        return got["last"] - got["first"], got["last"] - begun, self.server.cpu() - before


def transactions() -> Iterator[str]:
    """Raw transactions of a dev account, one after another."""
    from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS
    from chainp2p.ledger.formats.transaction import sign_transaction

    nonce = 0
    while True:
        yield sign_transaction(
            DEV_KEYS[0], chain_id=DEV_CHAIN_ID, nonce=nonce, to=DEV_ADDRESSES[1], value=1, max_fee=10**10
        ).hex()
        nonce += 1


def main(few: int, many: int, rounds: int) -> None:
    with ExitStack() as stack:
        node = Side("node", stack, transactions(), subscribe=True, upgrade=True)
        autobahn = Side("autobahn", stack, repeat(node.text), subscribe=True, upgrade=True)
        bare = Side("bare", stack, repeat(node.text), subscribe=False, upgrade=False)
        block = statistics.median(node.send() for _ in range(rounds))
        for side in (node, autobahn, bare):
            side.grow(few)
        for _ in range(rounds):
            node.round()
            autobahn.round()
        for side in (node, autobahn, bare):
            side.grow(many)

        def line(measure: str, own: list[float], other: list[float], aim: float | None, less: float = 0.0) -> Measured:
            mine = [max(one - less, 1e-6) for one in own]
            ratio = statistics.median(its / ours for ours, its in zip(mine, other, strict=True))
            return Measured(
                measure, statistics.median(mine) * 1e6, "Autobahn", statistics.median(other) * 1e6, ratio, aim
            )

        show(
            [
                line(f"a head to {few:,}, first to last", node.spread, autobahn.spread, AIM),
                line(f"a head to {few:,}, head to last", node.delay, autobahn.delay, None),
                line(f"a head to {few:,}, CPU", node.cpu, autobahn.cpu, AIM, block),
                line(f"a head to {few:,}, CPU with the block", node.cpu, autobahn.cpu, None),
            ],
            ("Twisted", "autobahn"),
        )
        print(f"{'KiB of an idle subscriber, of':<30} {'own':>8} {'Autobahn':>10} {'Twisted':>10} {'aim':>6}")
        for count in (few, many):
            own = node.each(count)
            verdict = "met" if own <= AIM_KIB else "missed"
            print(
                f"{count:<30,} {own:>8.1f} {autobahn.each(count):>10.1f} {bare.each(count):>10.1f}"
                f" {AIM_KIB:>6} {verdict}",
                flush=True,
            )


if __name__ == "__main__":
    servers = {"node": serve_node, "autobahn": serve_autobahn, "bare": serve_bare}
    if sys.argv[1:] and sys.argv[1] in servers:
        react(servers[sys.argv[1]])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=FEW)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    main(**vars(parser.parse_args()))
