"""A leaked key of one of four signers: what it seals fills no disk, and the others' chain is followed."""

from random import Random
from typing import Any

import chainp2p.sync.headers.sieve
from chainp2p.chain.interfaces import HeaderAdded
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.consensus.poa import rank_of
from chainp2p.sync.service import SyncService
from chainp2p.testing.cheap import CheapHeaders
from chainp2p.wire.messages import Blocks, GetBlocks, GetHeaders, Headers, NotFound
from tests.ledger.forge import Forge, Made
from tests.ledger.network import TIME, Harness, genesis_of
from tests.links import Host, Net, Puppet, connect, make_status, not_found

LEAKED = 0


class Leaked:
    """Headers by one key on *parent*, in every slot of its own."""

    def __init__(self, forge: Forge, parent: Made, salt: int) -> None:
        self._forge, self._parent, self._salt = forge, parent, b"%d" % salt

    def start(self) -> tuple[bytes, object]:
        return self._parent.hash, self._parent

    def below(self, hash: bytes) -> list[bytes] | None:
        line = [self._forge.root, *self._parent.chain()]
        place = next((at for at, made in enumerate(line) if made.hash == hash), None)
        return None if place is None else [made.header.raw for made in line[place + 1 :]]

    def next(self, place: Any) -> tuple[bytes, bytes, object]:
        slot = place.entry.slot + 1
        while slot % 4 != LEAKED:
            slot += 1
        made = self._forge.grow(place, slot, extra=self._salt)
        return made.header.raw, made.hash, made


class LeakedKey(Harness):
    def setUp(self) -> None:
        super().setUp()
        for name, value in (("HELD_BYTES", 100 * 700), ("PERIOD", 8), ("LOOKAHEAD", 20)):
            self.patch(chainp2p.sync.headers.sieve, name, value)
        self.net = Net()
        self.forge = Forge(genesis_of(4))
        self.good = [self.forge.root]
        self.clock.now = TIME + 10**6
        self.ledger: Ledger = self.started(self.forge.genesis)
        self.strange: list[bytes] = []
        self.ledger.events.subscribe(HeaderAdded, self.note)
        self.sync = SyncService(
            chain=self.ledger,
            reactor=self.net.clock,
            now=self.clock,
            random=Random(1),
            events=self.ledger.events,
        )
        self.node = Host(self.net, "node", [self.sync])
        self.sync.start()
        self.addCleanup(self.sync.stop)
        self.sent = 0

    def note(self, event: HeaderAdded) -> None:
        if event.header.hash not in {made.hash for made in self.good}:
            self.strange.append(event.header.hash)

    def grow(self, count: int) -> None:
        tip = self.good[-1]
        self.good += self.forge.line(tip, range(tip.entry.slot + 1, tip.entry.slot + 1 + count))

    def claim(self, made: Made) -> Any:
        return make_status(made.hash, made.header.number, rank_of(made.entry, made.header.number))

    def honest(self) -> Puppet:
        def place(hash: bytes) -> int | None:
            return next((at for at, made in enumerate(self.good) if made.hash == hash), None)

        def headers(message: GetHeaders) -> Any:
            at = place(message.from_)
            return NotFound(()) if at is None else Headers(tuple(one.header.raw for one in self.good[at + 1 :]))

        def blocks(message: GetBlocks) -> Any:
            at = place(message.from_)
            return NotFound(()) if at is None else Blocks(tuple(one.raw for one in self.good[at:][: message.count]))

        return Puppet(self.net, "honest", self.claim(self.good[-1]), {GetHeaders: headers, GetBlocks: blocks})

    def attack(self, number: int, count: int, parent: Made) -> Puppet:
        def sent(count: int) -> None:
            self.sent += count

        cheap = CheapHeaders(Leaked(self.forge, parent, number), count, most=200, sent=sent)
        status = make_status(bytes([number + 1]) * 32, 10**6, b"\xff" * 32)
        return Puppet(self.net, f"attacker{number}", status, {GetHeaders: cheap.answer, GetBlocks: not_found})

    def rows(self) -> int:
        core = self.ledger._core()
        return int(core.store.connection.execute("SELECT count(*) FROM headers").fetchone()[0])

    def test_a_fresh_node(self) -> None:
        self.grow(250)
        for number in range(3):
            connect(self.node, self.attack(number, 500, self.forge.root))
        connect(self.node, self.honest())
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 250, 60.0), self.sync.explain())
        self.net.clock.run_for(30.0)
        self.assertGreaterEqual(self.sent, 1_500)
        self.assertEqual((self.strange, self.rows(), self.node.faults), ([], 251, []))

    def test_alone_with_it(self) -> None:
        connect(self.node, self.attack(0, 500, self.forge.root))
        self.net.clock.run_for(30.0)
        self.assertGreaterEqual(self.sent, 500)
        self.assertEqual((self.rows(), self.ledger.best_header.height), (1, 0))

    def test_a_node_in_step(self) -> None:
        """From the finalized block, as often as it likes."""
        self.grow(200)
        connect(self.node, self.honest())
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 200, 30.0))
        final = self.ledger.finalized.height
        self.assertGreater(final, 190)
        for number, height in enumerate((final, final, final, final)):
            connect(self.node, self.attack(number, 150, self.good[height]))
        self.grow(1)
        self.sync.heard(self.node.links[0], self.good[-1].hash, 201)
        self.assertTrue(self.net.clock.run_while(lambda: self.ledger.head.height < 201, 30.0))
        self.net.clock.run_for(60.0)
        self.assertGreaterEqual(self.sent, 600)
        self.assertEqual((self.strange, self.rows(), self.node.faults), ([], 202, []))
