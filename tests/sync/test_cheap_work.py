"""Long chains of headers that were mined at next to no cost: none is kept, the chain with more work is followed."""

from random import Random
from typing import Any

import chainp2p.sync.headers.sieve
from chainp2p.chain.interfaces import HeaderAdded
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.header import Header
from chainp2p.sync.service import SyncService
from chainp2p.testing.cheap import CheapHeaders
from chainp2p.wire.messages import Blocks, GetBlocks, GetHeaders, Headers, NotFound
from tests.ledger.network import TIME, Harness
from tests.ledger.quarry import Quarry, work_genesis
from tests.links import Host, Net, Puppet, connect, make_status, not_found

#: Cheap headers of a peer, and seconds between them: their difficulty falls from 64 to 1.
COUNT, APART = 600, 900


class Fixed:
    """Headers on genesis that were made before."""

    def __init__(self, genesis: bytes, headers: list[Header]) -> None:
        self._genesis, self._headers = genesis, headers

    def start(self) -> tuple[bytes, object]:
        return self._genesis, 0

    def below(self, hash: bytes) -> list[bytes] | None:
        return [] if hash == self._genesis else None

    def next(self, place: Any) -> tuple[bytes, bytes, object]:
        return self._headers[place].raw, self._headers[place].hash, place + 1


class CheapWork(Harness):
    def setUp(self) -> None:
        super().setUp()
        for name, value in (("HELD_BYTES", 100 * 700), ("PERIOD", 8), ("LOOKAHEAD", 20)):
            self.patch(chainp2p.sync.headers.sieve, name, value)
        self.net = Net()
        self.quarry = Quarry(work_genesis(difficulty=64))
        self.good = [self.quarry.root]
        self.cheap = list(self.quarry.cheap(COUNT, APART))
        self.clock.now = TIME + 10**7
        self.ledger: Ledger = self.started(self.quarry.genesis)
        self.strange: list[bytes] = []
        self.ledger.events.subscribe(HeaderAdded, self.note)
        self.sync = SyncService(
            chain=self.ledger, reactor=self.net.clock, now=self.clock, random=Random(1), events=self.ledger.events
        )
        self.node = Host(self.net, "node", [self.sync])
        self.sync.start()
        self.addCleanup(self.sync.stop)
        self.sent = 0

    def note(self, event: HeaderAdded) -> None:
        if event.header.hash not in {made.hash for made in self.good}:
            self.strange.append(event.header.hash)

    def honest(self, blocks: int) -> Puppet:
        self.good += self.quarry.line(self.good[-1], blocks)

        def after(message: Any) -> list[Any] | None:
            at = next((at for at, made in enumerate(self.good) if made.hash == message.from_), None)
            return None if at is None else self.good[at:]

        def headers(message: GetHeaders) -> Any:
            found = after(message)
            return NotFound(()) if found is None else Headers(tuple(made.header.raw for made in found[1:]))

        def blocks_of(message: GetBlocks) -> Any:
            found = after(message)
            return NotFound(()) if found is None else Blocks(tuple(made.raw for made in found[: message.count]))

        tip = self.good[-1]
        claim = make_status(tip.hash, tip.header.number, tip.entry.total.to_bytes(32, "big"))
        return Puppet(self.net, "honest", claim, {GetHeaders: headers, GetBlocks: blocks_of})

    def attack(self, number: int) -> None:
        def sent(count: int) -> None:
            self.sent += count

        cheap = CheapHeaders(Fixed(self.quarry.root.hash, self.cheap), COUNT, most=200, sent=sent)
        status = make_status(bytes([number + 1]) * 32, 10**6, b"\xff" * 32)
        connect(self.node, Puppet(self.net, f"bad{number}", status, {GetHeaders: cheap.answer, GetBlocks: not_found}))

    def check(self, height: int) -> None:
        self.net.clock.run_for(30.0)
        rows = self.ledger._core().store.connection.execute("SELECT count(*) FROM headers").fetchone()[0]
        self.assertEqual((self.strange, rows, self.node.faults), ([], height + 1, []))
        self.assertGreaterEqual(self.sent, 3 * COUNT)

    def test_it_is_cheap(self) -> None:
        self.assertEqual((self.cheap[0].difficulty, self.cheap[-1].difficulty), (64, 1))

    def test_a_fresh_node(self) -> None:
        for number in range(3):
            self.attack(number)
        connect(self.node, self.honest(60))
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 60, 60.0), self.sync.explain())
        self.check(60)

    def test_a_node_in_step(self) -> None:
        good = self.honest(60)
        connect(self.node, good)
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 60, 30.0))
        for number in range(3):
            self.attack(number)
        self.good += self.quarry.line(self.good[-1], 1)
        self.sync.heard(self.node.links[0], self.good[-1].hash, 61)
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 61, 30.0))
        self.check(61)
