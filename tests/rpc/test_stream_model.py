"""Naive clients of the loss-free stream against whatever may happen: blocks, reorganisations, slow reading, frozen
readers, lost connections, restarts, moves to another node, answers of the chain that come late.

Each client keeps nothing but what the events told it and the last cursor; it complains about any event that does not
fit what came before. In the end its chain has to be the node's.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from twisted.internet.task import Clock

from chainp2p.testing.toychain import ToyChain
from tests.rpc.streaming import LateChain, NaiveClient, Server, Socket

#: Seconds by which time goes on: what takes longer may be overtaken.
STEP = 0.02
NODES = st.integers(0, 1)
CLIENTS = st.integers(0, 2)


class Node:
    """A node that may be restarted: its chain stays."""

    def __init__(self, clock: Clock, delay: float, lag: float, finality: int | None) -> None:
        self.chain = ToyChain(reactor=clock if delay else None, delay=delay, finality=finality)
        self.late = LateChain(self.chain, clock, lag)
        self.server = Server(self.late)

    def best(self) -> list[str]:
        return ["0x" + node.info.hash.hex() for node in self.chain._chain]

    def parent(self, hash: str) -> str:
        node = self.chain._tree.get(bytes.fromhex(hash[2:]))
        assert node is not None
        return "0x" + node.info.parent.hex()


class Reader:
    """A client and its connection, if it has one."""

    def __init__(self, genesis: bytes) -> None:
        self.client = NaiveClient(genesis, lambda hash: self.node.parent(hash))
        self.node: Any = None
        self.socket: Socket | None = None
        self.asked: Any = None
        self.first = True
        self.gaps = 0

    def connect(self, node: Node, **limits: int) -> None:
        self.leave()
        self.node, self.socket = node, Socket(node.server, **limits)
        self.first = True
        self.asked = self.socket.ask("chain_subscribe", ["transactions", "heads"], self.client.cursor)

    def leave(self) -> None:
        if self.socket is not None:
            self.asked.addErrback(lambda _: None)
            self.asked.cancel()
            self.socket.close()
            self.socket = None

    def read(self, count: int, fills: bool) -> int:
        """Take events; at a gap of heads either fetch what is missing or begin again where nothing is."""
        taken = 0
        while self.socket is not None and taken < count:
            events = self.socket.results(1)
            if not events:
                break
            taken += 1
            (event,) = events
            assert (event["type"] == "ready") is self.first, event
            self.first = False
            if event["type"] in ("pending", "dropped") or event.get("topic") == "transactions":
                continue
            if event["type"] == "gap":
                self.gaps += 1
                if not fills:
                    assert event["resume"] == self.client.cursor
                    self.connect(self.node)
                    continue
            self.client.take(event)
        return taken


class StreamMachine(RuleBasedStateMachine):
    """See the module."""

    @initialize(
        delay=st.sampled_from([0.0, 0.02, 0.1]),
        lag=st.sampled_from([0.0, 0.1, 1.0]),
        finality=st.sampled_from([None, 6]),
    )
    def begin(self, delay: float, lag: float, finality: int | None) -> None:
        self.clock = Clock()
        self.finality = finality
        self.nodes = [Node(self.clock, delay, lag, finality) for _ in range(2)]
        self.readers = [Reader(self.nodes[0].chain.genesis_hash) for _ in range(3)]
        self.raws: list[bytes] = []

    def submit(self, node: Node, raw: bytes) -> None:
        node.chain._submit(raw)

    def make(self, node: Node, **fields: Any) -> bytes:
        raw = node.chain.make(salt=len(self.raws), **fields)
        self.raws.append(raw)
        return raw

    @rule(node=NODES, count=st.sampled_from([1, 1, 2, 5]), large=st.booleans())
    def blocks(self, node: int, count: int, large: bool) -> None:
        for index in range(count):
            transactions = [b"%d %d" % (len(self.raws), index) for index in range(40 if large else 1)]
            self.submit(self.nodes[node], self.make(self.nodes[node], transactions=transactions))

    @rule(node=NODES, depth=st.integers(1, 6), count=st.integers(1, 4))
    def reorganisation(self, node: int, depth: int, count: int) -> None:
        at = self.nodes[node]
        depth = min(depth, len(at.chain._chain) - 1, 6 if self.finality is None else 5)
        depth = min(depth, at.chain.head.height - at.chain.finalized.height)
        parent = at.chain._chain[len(at.chain._chain) - 1 - depth].info.hash
        for weight in [1] * (count - 1) + [depth + 1]:
            raw = self.make(at, parent=parent, weight=weight)
            self.submit(at, raw)
            parent = at.chain.block_hash(raw)

    @rule(node=NODES)
    def blocks_reach(self, node: int) -> None:
        for raw in self.raws:
            self.submit(self.nodes[node], raw)

    @rule(node=NODES)
    def transaction(self, node: int) -> None:
        self.nodes[node].chain._admit(b"tx %d" % self.clock.rightNow, True)

    @rule(client=CLIENTS, node=NODES, room=st.sampled_from([200, 2_000, 1 << 20]), ring=st.sampled_from([1, 4, 256]))
    def connect(self, client: int, node: int, room: int, ring: int) -> None:
        self.readers[client].connect(self.nodes[node], room=room, ring_events=ring)

    @rule(client=CLIENTS)
    def leave(self, client: int) -> None:
        self.readers[client].leave()

    @rule(client=CLIENTS, count=st.integers(1, 30), fills=st.booleans())
    def read(self, client: int, count: int, fills: bool) -> None:
        self.readers[client].read(count, fills)

    @rule(node=NODES)
    def restart(self, node: int) -> None:
        at = self.nodes[node]
        for reader in self.readers:
            if reader.node is at:
                reader.leave()
        at.server = Server(at.late)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0]))
    def time(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)

    def teardown(self) -> None:
        if not hasattr(self, "nodes"):
            return
        for index, reader in enumerate(self.readers):
            if reader.socket is None:
                reader.connect(self.nodes[index % 2])
        for _ in range(2_000):
            self.pass_time(0.2)
            if not sum(reader.read(1_000, True) for reader in self.readers) and not self.clock.getDelayedCalls():
                break
        for reader in self.readers:
            assert reader.client.chain == reader.node.best()
            assert not reader.socket.failed
            reader.leave()
        assert not any(map(len, (node.server.streams for node in self.nodes)))


StreamModelTests = StreamMachine.TestCase
StreamModelTests.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
