"""Blocks that are bad in one way or another, among production nodes: the culprit is named, and no other link ends."""

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import BlockProduced, FailedBlock, HeaderInfo
from chainp2p.ledger.consensus.poa import Slots, rank_of
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_KEYS
from chainp2p.peer.link import PeerLeft
from chainp2p.settings import Settings
from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis
from chainp2p.testing.adversary import Adversary
from chainp2p.testing.machines import Machine
from chainp2p.testing.planting import with_network
from chainp2p.wire.messages import NewBlock
from tests.ledger.common import raw_transfer

SIGNERS, PERIOD, PEERS = 4, 1.0, 6
GENESIS = ledger_genesis(SIGNERS, PERIOD)


class Stage(SynchronousTestCase):
    """Honest nodes without keys, a rogue one linked with all, and a script that seals with all keys."""

    def setUp(self) -> None:
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self._log)
        self.addCleanup(globalLogPublisher.removeObserver, self._log)

    def _log(self, event: Any) -> None:
        if event.get("log_format", "").startswith("block 0x{hash} of signer"):
            self.logged.append(event["signer"])

    def stage(self, honest: int) -> None:
        def few(settings: Settings) -> Settings:
            return with_network(settings, max_peers=PEERS)

        self.simulation = Simulation(5, make_chain=ledger_chain(GENESIS), weather=Weather(low=0.005, high=0.05))
        self.addCleanup(self.simulation.close)
        self.honest: list[Machine] = []
        for _ in range(honest):
            self.honest.append(self.simulation.add_node(bootstrap=self.honest[-2:], settings=few))
        self.rogue = self.simulation.add_node("rogue", static=self.honest[:4], settings=few)
        self.simulation.start()
        self.left: list[tuple[str, str, str]] = []
        self.failed: dict[str, list[FailedBlock]] = {}
        for machine in self.honest:
            self.watch(machine)
        self.simulation.expect("linked", lambda: self.simulation.linked(2), 60)
        self.script = Adversary(
            GENESIS,
            dict(enumerate(DEV_KEYS[:SIGNERS])),
            SIGNERS,
            {GENESIS.hash: GENESIS.header},
            self.simulation.random,
        )
        self.left.clear()

    def watch(self, machine: Machine) -> None:
        assert machine.node is not None
        failed = self.failed.setdefault(machine.name, [])
        machine.node.events.subscribe(FailedBlock, failed.append)
        names = self.simulation.names

        def ended(event: PeerLeft) -> None:
            self.left.append((machine.name, names[event.peer_id], event.reason.code))

        machine.node.events.subscribe(PeerLeft, ended)

    def slot(self) -> int:
        """The slot that runs."""
        return int(self.simulation.clock.seconds() / PERIOD)

    def raw(self, hash: bytes, *transactions: bytes) -> bytes:
        return assemble(self.script.headers[hash].raw, transactions)

    def seal(self, parent: bytes, **flaws: Any) -> bytes:
        """Seal a block in the next slot, and wait until that begins."""
        hash = self.script.seal(self.slot() + 1, parent, 0, **flaws)
        self.simulation.run_for(PERIOD)
        return hash

    def grow(self, count: int, at: Machine, parent: bytes = GENESIS.hash) -> list[bytes]:
        """Let *count* good blocks come in at one node."""
        made: list[bytes] = []
        for _ in range(count):
            parent = self.seal(parent)
            self.simulation.wait(at.chain.submit_block(self.raw(parent)))
            made.append(parent)
        return made

    def push(self, raw: bytes, by: Machine, to: Machine | None = None) -> None:
        """Send a block whole to one peer, or to all."""
        assert by.node is not None
        for link in by.node.network.links():
            if to is None or link.peer_id == to.key.peer_id:
                link.send(NewBlock(raw))

    def serve(self, machine: Machine, line: list[bytes], bodies: Callable[[bytes], bytes] | None = None) -> None:
        """Let a machine state and serve this chain."""
        assert machine.node is not None
        chain, host, slots = machine.chain, machine.node.network.host, Slots(GENESIS)
        entry = slots.first()
        for height, hash in enumerate(line, 1):
            header = self.script.headers[hash]
            entry = slots.entry(header, entry, height, slots.in_turn(height, header.nonce))
        rank = rank_of(entry, len(line))
        hashes = [GENESIS.hash, *line]
        body = bodies or self.raw

        def headers_after(hash: bytes, count: int) -> Any:
            if hash not in hashes:
                return succeed(None)
            at = hashes.index(hash) + 1
            return succeed([self.script.headers[one].raw for one in hashes[at : at + count]])

        def blocks_from(hash: bytes, count: int, most: int) -> Any:
            if hash not in hashes[1:]:
                return succeed(None)
            at = hashes.index(hash)
            return succeed([body(one) for one in hashes[at : at + count]])

        chain.headers_after, chain.blocks_from = headers_after, blocks_from
        honest = host.status

        def status(observed: Any) -> Any:
            return evolve(honest(observed), head=hashes[-1], height=len(line), rank=rank)

        host.status = status

    def newcomer(self) -> Machine:
        """Start a node that knows honest ones and the rogue."""
        fresh = self.simulation.add_node("fresh", bootstrap=self.honest[:2], static=[self.rogue])
        self.simulation.start(fresh)
        self.watch(fresh)
        self.honest.append(fresh)
        return fresh

    def agree(self, head: bytes, within: float = 15.0) -> None:
        self.simulation.expect("all follow it", lambda: all(one.head.hash == head for one in self.honest), within)

    def nobody_left(self) -> None:
        """No link ended, but for want of a slot: some still look for peers."""
        self.assertEqual(self.blamed(), [])

    def blamed(self) -> list[tuple[str, str, str]]:
        """Two that dial each other keep one link, which may find no slot: that, too, blames nobody."""
        return [end for end in self.left if end[2] not in ("too_many_peers", "duplicate")]

    def only_the_rogue_left(self, code: str = "misbehaved") -> None:
        """Honest nodes ended links with the rogue alone, for that reason."""
        self.assertEqual({(peer, why) for _, peer, why in self.blamed()}, {("rogue", code)})

    def named(self, signer: int, machines: list[Machine], hash: bytes | None = None) -> None:
        """Each of *machines* names the signer: by an event, in the log, and in what sync explains."""
        address = DEV_ADDRESSES[signer]
        for machine in machines:
            assert machine.node is not None
            told = self.failed[machine.name]
            self.assertTrue(told, f"{machine.name} says nothing")
            self.assertEqual({one.signer for one in told}, {address})
            if hash is not None:
                self.assertEqual(told[0].header.hash, hash)
            self.assertEqual(machine.node.sync.explain().failed, tuple(told[-16:]))
        self.assertGreaterEqual(self.logged.count(address.hex()), len(machines))


class ExecutionTests(Stage):
    def test_a_block_that_fails_passes_fifty_nodes(self) -> None:
        """It is relayed once its header and body are seen to match, before anybody has found out about the rest."""
        self.stage(49)
        (good,) = self.grow(1, self.honest[0])
        self.agree(good)
        bad = self.seal(good, state_root=b"\7" * 32)
        header = self.script.headers[bad]
        info = HeaderInfo(bad, good, header.number, bytes(32))
        self.rogue.chain.events.publish(BlockProduced(info, self.raw(bad)))  # its own relay takes it for good
        self.simulation.expect("everybody has found out", lambda: all(self.failed.values()), 10)
        self.named(header.nonce % SIGNERS, self.honest, bad)
        (better,) = self.grow(1, self.honest[-1], good)
        self.agree(better)
        self.nobody_left()

    def test_a_bad_root_comes_by_sync(self) -> None:
        """Who comes new hears of the better branch from the rogue first; its third block lies about the state."""
        self.stage(4)
        good = self.grow(6, self.honest[0])
        self.agree(good[-1])
        bad = [good[1]]
        for flaws in ({}, {"state_root": b"\7" * 32}, {}, {}, {}, {}, {}, {}):
            bad.append(self.seal(bad[-1], **flaws))
        self.serve(self.rogue, [*good[:2], *bad[1:]])
        fresh = self.newcomer()
        self.simulation.expect("it is found out", lambda: self.failed["fresh"], 30)
        self.agree(good[-1], 30.0)
        self.nobody_left()
        self.named(self.script.headers[bad[2]].nonce % SIGNERS, [fresh], bad[2])

    def test_a_bad_signature_of_a_transaction_deep_in_a_branch(self) -> None:
        self.stage(4)
        good = self.grow(6, self.honest[0])
        transaction = bytearray(raw_transfer(5))
        transaction[-1] ^= 1  # s: somebody else signed it, or nobody
        raws = [bytes(transaction)]
        branch = [
            good[1],
            self.seal(good[1]),
        ]
        flawed = self.seal(branch[-1], transactions_root=transactions_root(raws), gas_used=21_000)
        branch += [flawed]
        for _ in range(6):
            branch.append(self.seal(branch[-1]))
        self.serve(self.rogue, [*good[:2], *branch[1:]], lambda hash: self.raw(hash, *(raws if hash == flawed else ())))
        fresh = self.newcomer()
        self.simulation.expect("it is found out", lambda: self.failed["fresh"], 30)
        self.agree(good[-1], 30.0)
        self.nobody_left()
        self.named(self.script.headers[flawed].nonce % SIGNERS, [fresh], flawed)


class SenderTests(Stage):
    def test_a_body_that_was_changed_on_the_way(self) -> None:
        self.stage(6)
        good = self.grow(3, self.honest[0])
        self.agree(good[-1])
        block = self.seal(good[-1])
        self.push(self.raw(block, raw_transfer(6)), self.rogue)
        self.simulation.run_for(0.5)
        self.only_the_rogue_left()
        self.simulation.wait(self.honest[0].chain.submit_block(self.raw(block)))
        self.agree(block)
        self.assertFalse(any(self.failed.values()))
        self.only_the_rogue_left()

    def test_bodies_that_were_changed_are_fetched_elsewhere(self) -> None:
        self.stage(4)
        good = self.grow(12, self.honest[0])
        self.agree(good[-1])
        self.serve(self.rogue, good, lambda hash: self.raw(hash, raw_transfer(6)))
        self.newcomer()
        self.agree(good[-1], 30.0)
        self.assertFalse(any(self.failed.values()))
        self.assertEqual(set(self.left), {("fresh", "rogue", "misbehaved")})

    def test_a_seal_by_another_key_deep_in_a_branch(self) -> None:
        self.stage(4)
        good = self.grow(6, self.honest[0])
        self.agree(good[-1])
        branch = [good[1]]
        for number in range(30):
            key = DEV_KEYS[7] if number == 20 else None
            branch.append(self.script.seal(self.script.headers[branch[-1]].nonce + 1, branch[-1], 0, key=key))
        self.simulation.run_for(30 * PERIOD)
        self.serve(self.rogue, [*good[:2], *branch[1:]])
        fresh = self.newcomer()
        self.simulation.expect("the rogue is left", lambda: self.left, 30)
        assert fresh.node is not None
        ends = [end for end in fresh.node.network.ends() if end.reason.code == "misbehaved"]
        self.assertIn("sealed by", ends[0].detail)
        self.agree(good[-1], 30.0)
        self.assertEqual(set(self.left), {("fresh", "rogue", "misbehaved")})
        self.assertFalse(any(self.failed.values()))


class NobodyTests(Stage):
    def test_two_seals_of_one_slot(self) -> None:
        self.stage(6)
        good = self.grow(3, self.honest[0])
        self.agree(good[-1])
        slot = self.slot() + 1
        twins = [self.script.seal(slot, good[-1], 0) for _ in range(2)]
        self.simulation.run_for(PERIOD)
        self.push(self.raw(twins[0]), self.rogue, self.honest[1])
        self.push(self.raw(twins[1]), self.rogue, self.honest[2])
        self.agree(min(twins))
        self.simulation.expect("all can prove it", lambda: all(one.chain.evidence for one in self.honest), 5.0)
        for machine in self.honest:
            self.assertEqual({one.signer for one in machine.chain.evidence}, {DEV_ADDRESSES[slot % SIGNERS]})
            self.assertEqual({machine.chain.evidence[0].first, machine.chain.evidence[0].second}, set(twins))
        self.nobody_left()

    def test_a_block_from_the_future(self) -> None:
        self.stage(6)
        good = self.grow(3, self.honest[0])
        self.agree(good[-1])
        early = self.script.seal(self.slot() + 5, good[-1], 0)
        self.push(self.raw(early), self.rogue)
        self.simulation.run_for(2.0)
        self.assertTrue(all(machine.head.hash == good[-1] for machine in self.honest))
        self.agree(early, 5.0)
        self.nobody_left()
        self.assertFalse(any(self.failed.values()))
