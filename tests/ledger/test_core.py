"""Fork choice, reorganisations, restarts at every point, finality conflicts: the core over real databases."""

import random
from typing import Any

from attrs import evolve

from chainp2p.chain.interfaces import (
    AlreadyKnown,
    Connected,
    FailedBlock,
    Fault,
    FinalityConflict,
    FinalizedChanged,
    HeadChanged,
    HeadersRejected,
    Invalid,
    NotYet,
    ParentMissing,
    Stored,
)
from chainp2p.errors import StartupError
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.consensus.poa import rank_of
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.transaction import Transaction, TransactionError, sign_transaction
from tests.ledger.consensus.test_poa import planned
from tests.ledger.forge import Forge, Made
from tests.ledger.network import ADDRESSES, KEYS, Disk, Harness, genesis_of, transfer

FUTURE = 10**7


def rank(made: Made) -> tuple[bytes, bytes]:
    return rank_of(made.entry, made.header.number), bytes(255 - byte for byte in made.hash)


def header_root(forge: Forge) -> bytes:
    """Nothing but empty blocks came after genesis."""
    return forge.root.header.state_root


class ForkChoice(Harness):
    def setUp(self) -> None:
        super().setUp()
        self.clock.now += FUTURE

    def tree_of(self, forge: Forge, chance: random.Random) -> list[Made]:
        """A random tree of headers, some with bases that only a liar would claim."""
        liars = chance.random() < 0.4
        made = [forge.root]
        while len(made) < 20:
            parent = made[-1] if chance.random() < 0.65 else chance.choice(made)
            slot = parent.entry.slot + chance.randint(1, 4)
            base = chance.randrange(slot) if chance.random() < 0.3 else 0
            if not liars:
                own = [one for one in made if one.entry.signer == forge.slots.in_turn(parent.header.number + 1, slot)]
                lower = [one.entry.slot for one in own if one not in parent.chain() and one.entry.slot < slot]
                base = max(lower, default=0)
            one = forge.grow(parent, slot, base)
            if one.hash not in [other.hash for other in made]:
                made.append(one)
        return made

    def test_any_order_and_any_restart_agree_with_looking_at_everything(self) -> None:
        for seed in range(self.SEEDS):
            self.life(seed)

    SEEDS = 25

    def life(self, seed: int) -> None:
        chance = random.Random(seed)
        genesis = genesis_of(chance.randint(1, 4))
        if chance.random() < 0.3:
            genesis = planned([(0, [0, 1]), (3, [0, 1, 2]), (6, [1, 2])])
        forge = Forge(genesis)
        made = self.tree_of(forge, chance)
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        headers, bodies = {forge.root.hash}, {forge.root.hash}
        head = final = forge.root
        conflict = False
        rest = [*made[1:], *made[1:]]  # some come as headers first, all as blocks
        chance.shuffle(rest)
        while rest:
            one = next((other for other in rest if other.parent.hash in headers), None)
            assert one is not None
            rest.remove(one)
            if one.hash not in headers and chance.random() < 0.5:
                self.get(ledger.add_headers([one.header.raw]))
                headers.add(one.hash)
            else:
                verdict = self.feed(ledger, one.raw)
                headers.add(one.hash)
                if final in (forge.root, *one.chain()):
                    bodies.add(one.hash)
                self.assertNotIsInstance(verdict, Invalid)
            known = [other for other in made if other.hash in headers]
            live = [other for other in known if final in (forge.root, *other.chain())]
            ready = [other for other in live if all(step.hash in bodies for step in other.chain())]
            head = max([head, *ready], key=rank)
            chain = {step.hash: step for step in (forge.root, *head.chain())}
            for step in (final, chain[head.entry.tally.finalized.hash]):
                if not conflict:  # finality stands still as soon as it is disputed
                    final = max(final, step, key=lambda step: step.header.number)
                live = [other for other in known if final in (forge.root, *other.chain())]
                dead = [other for other in known if other not in live and other not in final.chain()]
                conflict |= any(other.entry.tally.justified.slot >= final.entry.slot for other in dead)
            if chance.random() < 0.2:
                disk = disk.copy()
                ledger = self.started(forge.genesis, disk=disk)
            self.assertEqual(ledger.head.hash, head.hash, f"seed {seed}")
            self.assertEqual(ledger.finalized.hash, final.hash, f"seed {seed}")
            self.assertEqual(ledger.best_header.hash, max(live, key=rank).hash, f"seed {seed}")
            self.assertEqual(ledger.conflict is not None, conflict, f"seed {seed}")
            safe = max(final.entry.slot, head.entry.tally.justified.slot)
            self.assertEqual(chain[ledger.safe.hash].entry.slot, safe, f"seed {seed}")

    def test_headers_alone_move_only_the_best_header(self) -> None:
        forge = Forge(genesis_of(2))
        line = forge.line(forge.root, range(1, 8))
        ledger = self.started(forge.genesis)
        infos = self.get(ledger.add_headers([one.header.raw for one in line]))
        self.assertEqual(ledger.best_header, infos[-1])
        self.assertEqual(ledger.head.height, 0)
        self.assertEqual(ledger.finalized.height, 0)
        self.assertEqual(self.get(ledger.missing(3)), infos[:3])
        self.assertEqual(self.get(ledger.header_at(4)), infos[3])
        self.assertIsNone(self.get(ledger.header_at(9)))
        verdicts = self.get(ledger.submit_blocks([one.raw for one in line], line[-1].hash))
        self.assertEqual([type(one) for one in verdicts], [Connected] * 7)
        changes = [event for event in ledger.seen if isinstance(event, HeadChanged)]
        self.assertEqual(len(changes), 1)
        self.assertEqual(changes[0].entered, tuple(infos))
        self.assertEqual(ledger.head, infos[-1])
        self.assertEqual(self.get(ledger.missing(3)), [])

    def test_a_reorganisation_is_one_event(self) -> None:
        forge = Forge(genesis_of(4))
        one = forge.line(forge.root, (1, 2, 3))
        other = forge.line(forge.root, (5, 6, 7, 8))
        ledger = self.started(forge.genesis)
        for made in one:
            self.feed(ledger, made.raw)
        for made in other[:2]:
            self.assertIsInstance(self.feed(ledger, made.raw), Stored)
        ledger.seen.clear()
        for made in other[2:]:
            self.feed(ledger, made.raw)
        (change,) = [event for event in ledger.seen if isinstance(event, HeadChanged) and event.left]
        self.assertEqual([info.hash for info in change.left], [made.hash for made in one[::-1]])
        self.assertEqual(self.chain_of(ledger), [forge.root.hash] + [made.hash for made in other])

    def bad_in_the_middle(self, bulk: bool) -> None:
        """Main chain of 2; a better branch of 5 whose third block lies about its state; its first two beat nothing."""
        forge = Forge(genesis_of(4))
        main = forge.line(forge.root, (1, 2, 3))
        side = forge.line(forge.root, (5, 6))
        liar = forge.grow(side[-1], 7, state_root=b"\7" * 32, receipts_root=main[0].header.receipts_root)
        above = forge.line(liar, (8, 9))
        ledger = self.started(forge.genesis)
        self.get(ledger.submit_blocks([one.raw for one in main], main[-1].hash))
        self.get(ledger.add_headers([one.header.raw for one in (*side, liar, *above)]))
        self.assertEqual(ledger.best_header.hash, above[-1].hash)
        raws = [one.raw for one in (*side, *above, liar)]
        if bulk:
            verdicts = self.get(ledger.submit_blocks(raws, above[-1].hash))
        else:
            verdicts = [self.feed(ledger, raw) for raw in raws]
        self.assertEqual(ledger.head.hash, main[-1].hash)
        self.assertEqual(ledger.best_header.hash, main[-1].hash)
        self.assertIsInstance(verdicts[-1], Invalid)
        self.assertEqual(verdicts[-1].fault, Fault.SIGNER)
        self.assertIn("state root", verdicts[-1].reason)
        (failed,) = [event for event in ledger.seen if isinstance(event, FailedBlock)]
        self.assertEqual((failed.header.hash, failed.signer), (liar.hash, ADDRESSES[7 % 4]))
        self.assertIn("state root", failed.reason)
        if bulk:
            self.assertEqual([type(one) for one in verdicts[:4]], [Stored, Stored, Invalid, Invalid])
        again = self.feed(ledger, above[0].raw)
        self.assertIsInstance(again, Invalid)
        self.assertEqual(again.fault, Fault.SIGNER)
        higher = forge.grow(above[-1], 10)
        rejected = self.failureResultOf(ledger.add_headers([higher.header.raw]), HeadersRejected).value
        self.assertTrue(rejected.condemned)

    def test_a_failing_block_condemns_its_branch_in_bulk(self) -> None:
        self.bad_in_the_middle(bulk=True)

    def test_a_failing_block_condemns_its_branch_one_by_one(self) -> None:
        self.bad_in_the_middle(bulk=False)

    def test_what_is_good_of_a_failing_branch_may_still_be_the_best(self) -> None:
        forge = Forge(genesis_of(4))
        good = forge.line(forge.root, (1, 2, 3))
        bad = forge.grow(good[-1], 4, gas_used=21000)
        ledger = self.started(forge.genesis)
        verdicts = self.get(ledger.submit_blocks([one.raw for one in (*good, bad)], bad.hash))
        self.assertEqual([type(one) for one in verdicts], [Connected] * 3 + [Invalid])
        self.assertEqual(ledger.head.hash, good[-1].hash)

    def test_verdicts(self) -> None:
        forge = Forge(genesis_of(2))
        first, second = forge.line(forge.root, (1, 2))
        ledger = self.started(forge.genesis)
        self.assertEqual(self.feed(ledger, second.raw), ParentMissing(second.hash, first.hash))
        self.assertIsInstance(self.feed(ledger, first.raw), Connected)
        self.assertIsInstance(self.feed(ledger, first.raw), AlreadyKnown)
        self.assertIsInstance(self.feed(ledger, forge.root.raw), AlreadyKnown)
        garbage = self.feed(ledger, b"garbage")
        self.assertEqual((type(garbage), garbage.fault, garbage.hash), (Invalid, Fault.SENDER, b""))
        swapped = self.feed(ledger, assemble(second.header.raw, [transfer(5, 0)]))
        self.assertEqual((type(swapped), swapped.fault, swapped.hash), (Invalid, Fault.SENDER, second.hash))
        self.assertIsInstance(self.feed(ledger, second.raw), Connected)
        unsealed = self.feed(ledger, forge.grow(second, 3, seal=False).raw)
        self.assertEqual((type(unsealed), unsealed.fault), (Invalid, Fault.SENDER))
        early = forge.grow(second, FUTURE + 50)
        verdict = self.feed(ledger, early.raw)
        self.assertEqual(verdict, NotYet(early.hash, forge.slots.start_of(FUTURE + 50) - 0.25))
        rejected = self.failureResultOf(ledger.add_headers([early.header.raw]), HeadersRejected).value
        self.assertEqual(rejected.when, verdict.when)
        self.clock.now = verdict.when
        self.assertIsInstance(self.feed(ledger, early.raw), Connected)

    def test_a_transaction_that_may_not_be_there_is_the_signers_fault(self) -> None:
        forge = Forge(genesis_of(2))
        ledger = self.started(forge.genesis)
        roots = {"state_root": forge.root.header.state_root, "receipts_root": forge.root.header.receipts_root}
        future = forge.grow(forge.root, 1, transactions=[transfer(5, 3)], **roots)
        verdict = self.feed(ledger, future.raw)
        self.assertEqual((type(verdict), verdict.fault), (Invalid, Fault.SIGNER))
        self.assertIn("nonce too high", verdict.reason)
        junk = b"\x02\xc0"
        broken = forge.grow(forge.root, 2, transactions_root=transactions_root([junk]), **roots)
        verdict = self.feed(ledger, assemble(broken.header.raw, [junk]))
        self.assertEqual((type(verdict), verdict.fault), (Invalid, Fault.SIGNER))
        self.assertIn("transaction", verdict.reason)

    def test_many_transactions_with_a_bad_signature_among_them(self) -> None:
        forge = Forge(genesis_of(2))
        ledger = self.started(forge.genesis)
        raws = [transfer(5, nonce) for nonce in range(20)]
        item = bytearray(raws[7])
        # an r that is the x of no point: no key recovers from it
        for value in range(256):
            item[-33 - 10] = value
            try:
                Transaction.decode(bytes(item)).sender()
            except TransactionError:
                break
        raws[7] = bytes(item)
        header = forge.root.header
        roots = {"state_root": header.state_root, "receipts_root": header.receipts_root}
        made = forge.grow(forge.root, 1, transactions=raws, **roots)
        verdict = self.feed(ledger, made.raw)
        self.assertEqual((type(verdict), verdict.fault), (Invalid, Fault.SIGNER))
        self.assertIn("invalid sender", verdict.reason)

    def test_accounts_that_a_reorganisation_takes_back_are_gone(self) -> None:
        forge = Forge(genesis_of(2))
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        raw = sign_transaction(KEYS[5], chain_id=7, nonce=0, to=b"\x77" * 20, value=5, max_fee=2 * 10**9)
        self.feed(ledger, forge.grow(forge.root, 1, transactions=[raw]).raw)
        self.assertEqual(self.get(ledger.reader.account(b"\x77" * 20, ledger.head.hash)).balance, 5)
        for made in forge.line(forge.root, (2, 3)):
            self.feed(ledger, made.raw)
        again = self.started(forge.genesis, disk=disk.copy())
        for one in (ledger, again):
            self.assertEqual(one.head.height, 2)
            self.assertEqual(self.get(one.reader.account(b"\x77" * 20, one.head.hash)).balance, 0)
            self.assertEqual(self.get(one.reader.state(one.head.hash)).root, header_root(forge))

    def test_headers_are_stored_up_to_the_bad_one(self) -> None:
        forge = Forge(genesis_of(2))
        line = forge.line(forge.root, (1, 2, 3))
        bad = forge.grow(line[-1], 4, seal=False)
        raws = [one.header.raw for one in (*line, bad)]
        ledger = self.started(forge.genesis)
        rejected = self.failureResultOf(ledger.check_headers(raws), HeadersRejected).value
        self.assertEqual((rejected.index, ledger.best_header.height), (3, 0))
        self.assertEqual(len(self.get(ledger.check_headers(raws[:3]))), 3)
        self.assertEqual(ledger.best_header.height, 0)
        rejected = self.failureResultOf(ledger.add_headers(raws), HeadersRejected).value
        self.assertEqual((rejected.index, ledger.best_header.height), (3, 3))
        self.assertEqual(len(self.get(ledger.add_headers(raws[:3]))), 3)
        self.assertEqual(len(self.get(ledger.check_headers(raws[:3]))), 3)
        rejected = self.failureResultOf(ledger.add_headers([b"\xc0"]), HeadersRejected).value
        self.assertIn("fields", rejected.reason)
        orphan = forge.grow(bad, 5)
        rejected = self.failureResultOf(ledger.add_headers([orphan.header.raw]), HeadersRejected).value
        self.assertTrue(rejected.parent_missing)


class Roots(Harness):
    """State roots of blocks that are final by their headers."""

    def line(self, *lies: int, claim: str = "state_root", signers: int = 1) -> tuple[Forge, list[Made]]:
        """Eight blocks with a transfer each; those in *lies* claim another root."""
        self.clock.now += FUTURE
        forge = Forge(genesis_of(signers))
        made = [forge.root]
        for slot in range(1, 9):
            raws = [transfer(5, slot - 1)]
            good = forge.grow(made[-1], slot, transactions=raws)
            if slot in lies:
                header = good.header
                names = ("state_root", "receipts_root", "gas_used")
                roots: dict[str, Any] = {name: getattr(header, name) for name in names} | {claim: b"\7" * 32}
                lie = forge.grow(made[-1], slot, transactions=raws, **roots)
                good = evolve(lie, state=good.state)
            made.append(good)
        return forge, made[1:]

    def submit(self, verify: str, *lies: int) -> tuple[Ledger, list[Made], list[str]]:
        forge, line = self.line(*lies)
        ledger = self.started(forge.genesis, verify=verify)
        self.get(ledger.add_headers([made.header.raw for made in line]))
        verdicts = self.get(ledger.submit_blocks([made.raw for made in line], line[-1].hash))
        return ledger, line, [type(verdict).__name__ for verdict in verdicts]

    def test_once_per_batch(self) -> None:
        ledger, line, kinds = self.submit("batch", 3)
        self.assertEqual(kinds, ["Connected"] * 8)  # on the signers' word
        self.assertEqual(self.get(ledger.reader.state(line[-1].hash)).root, line[-1].state.root)

    def test_a_mismatch_names_the_first_bad_block(self) -> None:
        ledger, line, kinds = self.submit("batch", 3, 8)
        self.assertEqual(kinds, ["Connected"] * 2 + ["Invalid"] * 6)
        self.assertEqual(ledger.head.hash, line[1].hash)

    def test_a_wrong_transition_in_the_middle_is_found_and_named(self) -> None:
        for verify in ("batch", "all"):
            forge, line = self.line(4, claim="receipts_root")
            ledger = self.started(forge.genesis, verify=verify)
            self.get(ledger.add_headers([made.header.raw for made in line]))
            verdicts = self.get(ledger.submit_blocks([made.raw for made in line], line[-1].hash))
            self.assertEqual([type(verdict) for verdict in verdicts], [Connected] * 3 + [Invalid] * 5)
            self.assertEqual((verdicts[3].hash, verdicts[3].fault), (line[3].hash, Fault.SIGNER))
            self.assertIn("receipts root is 0x", verdicts[3].reason)

    def test_a_wrong_root_between_right_ones_is_found_where_no_header_finalizes(self) -> None:
        for lie, found in ((2, False), (7, True)):
            forge, line = self.line(lie, signers=4)
            ledger = self.started(forge.genesis)
            self.get(ledger.add_headers([made.header.raw for made in line]))
            kinds = [type(one) for one in self.get(ledger.submit_blocks([made.raw for made in line], line[-1].hash))]
            self.assertEqual(kinds, [Connected] * 6 + [Invalid] * 2 if found else [Connected] * 8)
            if not found:  # the lie was below what eight headers finalize
                self.assertGreaterEqual(ledger.finalized.height, lie)

    def test_only_recent_states_are_kept_in_bulk(self) -> None:
        self.clock.now += FUTURE
        forge = Forge(genesis_of(1))
        line = forge.line(forge.root, range(1, 321))
        ledger = self.started(forge.genesis)
        self.get(ledger.add_headers([made.header.raw for made in line]))
        for at in range(0, 320, 40):
            self.get(ledger.submit_blocks([made.raw for made in line[at : at + 40]], line[-1].hash))
        self.assertEqual(ledger.head.hash, line[-1].hash)
        kept = [made.header.number for made in line if ledger._core().chain.recent(made.hash) is not None]
        self.assertEqual(kept, [200, 240, 280, 320])

    def test_all_of_them(self) -> None:
        _, _, kinds = self.submit("all", 3)
        self.assertEqual(kinds, ["Connected"] * 2 + ["Invalid"] * 6)

    def test_one_by_one_each_is_looked_at(self) -> None:
        forge, line = self.line(3)
        ledger = self.started(forge.genesis)
        kinds = [type(self.feed(ledger, made.raw)).__name__ for made in line[:3]]
        self.assertEqual(kinds, ["Connected", "Connected", "Invalid"])


class Restarts(Harness):
    """The database as a kill -9 would leave it, after each step of a life with reorganisations."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.now += FUTURE

    def facts(self, ledger: Ledger) -> tuple[object, ...]:
        state = self.get(ledger.reader.state(ledger.head.hash))
        return (
            ledger.head,
            ledger.best_header,
            ledger.finalized,
            ledger.safe,
            self.chain_of(ledger),
            state.root,
            self.get(ledger.missing(99)),
        )

    def test_at_every_point(self) -> None:
        forge = Forge(genesis_of(4))
        chance = random.Random(5)
        main = [forge.root]
        for slot in range(1, 12):
            nonce = slot - 1
            main.append(forge.grow(main[-1], slot, transactions=[transfer(5, nonce, 6), transfer(7, nonce, 5)]))
        side = [main[7]]
        for slot in range(13, 20):
            side.append(forge.grow(side[-1], slot, transactions=[transfer(5, slot - 13 + 7, 8)]))
        liar = forge.grow(side[-1], 21, gas_used=1)
        above = forge.grow(liar, 22)
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        blocks = [*main[1:], *side[1:], above, liar]
        self.get(ledger.add_headers([one.header.raw for one in main[1:6]]))
        for index, made in enumerate(blocks):
            if chance.random() < 0.3:
                self.get(ledger.add_headers([one.header.raw for one in blocks[index : index + 2] if one is not above]))
            if made is above:
                self.get(ledger.add_headers([liar.header.raw, above.header.raw]))
            self.feed(ledger, made.raw)
            again = self.started(forge.genesis, disk=disk.copy())
            self.assertEqual(self.facts(again), self.facts(ledger))
        self.assertEqual(ledger.head.hash, side[-1].hash)
        self.assertEqual(self.get(ledger.reader.state(side[-1].hash)).root, side[-1].state.root)

    def test_a_write_that_fails_leaves_nothing(self) -> None:
        forge = Forge(genesis_of(4))
        line = forge.line(forge.root, range(1, 5))
        side = forge.line(line[1], range(9, 16))
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        for made in line:
            self.feed(ledger, made.raw)
        before = self.facts(ledger)
        connection = disk.open["chain.sqlite"]
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON best BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        failure = self.failureResultOf(ledger.submit_blocks([made.raw for made in side], side[-1].hash))
        self.assertIn("disk full", str(failure.value))
        connection.execute("DROP TRIGGER full")
        self.assertEqual(self.facts(ledger), before)
        self.get(ledger.submit_blocks([made.raw for made in side], side[-1].hash))
        self.assertEqual(ledger.head.hash, side[-1].hash)

    def test_a_restart_loads_no_more_than_it_needs(self) -> None:
        forge = Forge(genesis_of(1))
        line = forge.line(forge.root, range(1, 1400))
        disk = Disk()
        ledger = self.started(forge.genesis, disk=disk)
        for at in range(0, len(line), 200):
            self.get(ledger.submit_blocks([made.raw for made in line[at : at + 200]], line[-1].hash))
        self.assertEqual(ledger.finalized.height, 1399)
        again = self.started(forge.genesis, disk=disk.copy())
        for one in (ledger, again):
            tree = one._core().branches.tree
            self.assertEqual(tree.floor, (1399 - 1024) // 64 * 64)
            self.assertEqual(self.get(one.header_at(3)).hash, line[2].hash)
            self.assertEqual(self.get(one.locate(line[2].hash)).height, 3)
            self.assertIsNone(self.get(one.locate(bytes(32))))
            self.assertIsInstance(self.feed(one, line[2].raw), (AlreadyKnown, Stored))
            rows = one._core().store.execute("SELECT count(*), max(height), min(height) FROM undo").fetchone()
            self.assertEqual(rows, (1399 - 512, 1399, 513))  # down to the lower of two heights whose state is served
            self.assertIsNone(self.get(one.reader.account(ADDRESSES[0], line[100].hash)))
            self.assertIsNotNone(self.get(one.reader.account(ADDRESSES[0], line[1300].hash)))
        # a fork from far below: counted from the nearest stored tally on, stored, never connected
        again._core().store.mark_bad([line[200].hash])
        failed = forge.grow(line[200], 5000)
        rejected = self.failureResultOf(again.add_headers([failed.header.raw]), HeadersRejected).value
        self.assertTrue(rejected.condemned)
        fork = forge.grow(line[100], 5000)
        self.assertEqual(self.feed(again, fork.raw), Stored(self.get(again.locate(fork.hash))))
        self.assertEqual(self.get(again.locate(fork.hash)).rank, rank_of(fork.entry, fork.header.number))
        self.assertEqual(again.head.height, 1399)

    def test_signer_lists_may_change_above_what_is_stored_only(self) -> None:
        disk = Disk()
        genesis = planned([(0, [0]), (5, [0, 1])])
        forge = Forge(genesis)
        ledger = self.started(genesis, disk=disk)
        for made in forge.line(forge.root, range(1, 4)):
            self.feed(ledger, made.raw)
        self.started(planned([(0, [0]), (4, [0, 2])]), disk=disk.copy())
        failure = self.failureResultOf(
            self.make(planned([(0, [0]), (3, [0, 1])]), disk=disk.copy()).start(), StartupError
        )
        self.assertIn("other signer lists", str(failure.value))

    def test_databases_of_others_are_refused(self) -> None:
        disk = Disk()
        self.started(genesis_of(2), disk=disk)
        other = self.make(genesis_of(3), disk=disk.copy())
        failure = self.failureResultOf(other.start(), StartupError)
        self.assertIn("another network", str(failure.value))
        newer = disk.copy()
        newer("chain.sqlite").execute("PRAGMA user_version=99")
        failure = self.failureResultOf(self.make(genesis_of(2), disk=newer.copy()).start(), StartupError)
        self.assertIn("schema 99", str(failure.value))
        damaged = disk.copy()
        headless = disk.copy()
        lost = headless("chain.sqlite")
        lost.execute("UPDATE meta SET value=zeroblob(32) WHERE key='head'")
        lost.commit()
        failure = self.failureResultOf(self.make(genesis_of(2), 0, disk=headless.copy()).start(), StartupError)
        self.assertIn("head", str(failure.value))
        broken = damaged("chain.sqlite")
        broken.execute("DELETE FROM accounts")
        broken.commit()
        failure = self.failureResultOf(self.make(genesis_of(2), disk=damaged.copy()).start(), StartupError)
        self.assertIn("do not match", str(failure.value))


class Conflicts(Harness):
    """Two signers of two both use their keys on both sides: both sides finalize."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.now += FUTURE
        self.forge = Forge(genesis_of(2))
        self.ours = self.forge.line(self.forge.root, range(1, 8))
        self.theirs = self.forge.line(self.forge.root, range(11, 25))

    def ready(self, disk: Disk | None = None, signer: int | None = None) -> Ledger:
        ledger = self.started(self.forge.genesis, signer, disk=disk)
        for made in self.ours:
            self.feed(ledger, made.raw)
        self.assertGreater(ledger.finalized.height, 0)
        return ledger

    def check(self, ledger: Ledger) -> None:
        conflict = ledger.conflict
        assert conflict is not None
        self.assertIn(conflict.ours.hash, [made.hash for made in self.ours])
        self.assertLessEqual(conflict.ours.height, ledger.finalized.height)
        self.assertIn(conflict.theirs.hash, [made.hash for made in self.theirs])
        self.assertEqual(conflict.signers, tuple(sorted(ADDRESSES[:2])))
        self.assertEqual([event for event in ledger.seen if isinstance(event, FinalityConflict)], [conflict])
        self.assertEqual(ledger.head.hash, self.ours[-1].hash)

    def test_headers_of_the_other_side_prove_it(self) -> None:
        for method in ("add_headers", "check_headers"):
            ledger = self.ready()
            self.get(getattr(ledger, method)([made.header.raw for made in self.theirs]))
            self.check(ledger)

    def test_blocks_of_the_other_side_prove_it_and_sealing_stops(self) -> None:
        disk = Disk()
        ledger = self.ready(disk, signer=0)
        self.assertTrue(ledger.can_produce())
        for made in self.theirs:
            self.assertIsInstance(self.feed(ledger, made.raw), Stored)
        self.check(ledger)
        self.assertFalse(ledger.can_produce())
        self.assertIsNone(ledger.next_time(self.clock.now))
        self.assertIsNone(self.seal(ledger, FUTURE + 10))
        again = self.started(self.forge.genesis, 0, disk=disk.copy())
        self.assertEqual(again.conflict, ledger.conflict)
        self.assertFalse(again.can_produce())

    def test_a_branch_known_before_ours_was_final_counts_too(self) -> None:
        ledger = self.started(self.forge.genesis)
        self.feed(ledger, self.ours[0].raw)
        self.get(ledger.add_headers([made.header.raw for made in self.theirs]))
        self.assertIsNone(ledger.conflict)
        for made in self.ours[1:]:
            self.feed(ledger, made.raw)
        self.check(ledger)

    def test_the_operator_keeps_our_side(self) -> None:
        disk = Disk()
        ledger = self.ready(disk, signer=0)
        for made in self.theirs[:10]:
            self.feed(ledger, made.raw)
        ledger.seen.clear()
        self.assertEqual(self.get(ledger.set_finalized(ledger.finalized.hash)), "")
        self.assertIsNone(ledger.conflict)
        self.assertEqual(ledger.seen, [FinalizedChanged(ledger.finalized)])  # who produces is woken
        for one in (ledger, self.started(self.forge.genesis, 0, disk=disk.copy())):
            for made in self.theirs[10:]:
                self.feed(one, made.raw)
            self.assertIsNone(one.conflict)
            self.assertTrue(one.can_produce())

    def test_the_operator_takes_the_other_side(self) -> None:
        disk = Disk()
        ledger = self.ready(disk, signer=0)
        for made in self.theirs:
            self.feed(ledger, made.raw)
        self.assertEqual(self.get(ledger.set_finalized(self.theirs[4].hash)), "")
        self.assertIsNone(ledger.conflict)
        self.assertEqual(ledger.head.height, 0)
        self.assertEqual(ledger.best_header.hash, self.theirs[-1].hash)
        self.assertEqual(len(self.get(ledger.missing(99))), len(self.theirs))
        for made in self.theirs:
            self.feed(ledger, made.raw)
        self.assertEqual(ledger.head.hash, self.theirs[-1].hash)
        self.assertGreater(ledger.finalized.height, 10)
        later = self.forge.grow(self.ours[-1], 30)
        self.assertIsInstance(self.feed(ledger, later.raw), Invalid)
        self.assertIsNone(ledger.conflict)
        again = self.started(self.forge.genesis, 0, disk=disk.copy())
        self.assertEqual(again.head, ledger.head)

    def test_the_operator_takes_a_side_whose_blocks_are_here(self) -> None:
        ledger = self.started(self.forge.genesis, 0)
        for made in (self.ours[0], self.theirs[0]):
            self.feed(ledger, made.raw)
        for made in self.ours[1:]:
            self.feed(ledger, made.raw)
        self.get(ledger.add_headers([made.header.raw for made in self.theirs]))
        self.check(ledger)
        self.assertEqual(self.get(ledger.set_finalized(self.theirs[0].hash)), "")
        self.assertEqual((ledger.head.hash, ledger.finalized.hash), (self.theirs[0].hash,) * 2)
        self.assertEqual(len(self.get(ledger.missing(99))), len(self.theirs) - 1)

    def test_a_second_conflict_is_seen_after_the_first_was_settled(self) -> None:
        disk = Disk()
        ledger = self.ready(disk)
        for made in self.theirs:
            self.feed(ledger, made.raw)
        first = ledger.conflict
        self.get(ledger.set_finalized(self.theirs[4].hash))
        for made in self.theirs:
            self.feed(ledger, made.raw)
        self.assertIsNone(ledger.conflict)
        third = self.forge.line(self.theirs[6], range(101, 130))
        for one in (ledger, self.started(self.forge.genesis, disk=disk.copy())):
            self.get(one.add_headers([made.header.raw for made in third]))
            self.assertNotEqual(one.conflict, first)
            self.assertIn(one.conflict.theirs.hash, [made.hash for made in third])

    def test_a_branch_that_was_only_checked_is_not_reported_again_either(self) -> None:
        ledger = self.ready()
        headers = [made.header.raw for made in self.theirs]
        self.get(ledger.check_headers(headers))
        self.assertIsNotNone(ledger.conflict)
        self.get(ledger.set_finalized(ledger.finalized.hash))
        self.get(ledger.check_headers(headers))
        self.assertIsNone(ledger.conflict)

    def test_finality_stands_still_until_the_operator_decides(self) -> None:
        disk = Disk()
        ledger = self.ready(disk)
        final = ledger.finalized
        for made in self.theirs:
            self.feed(ledger, made.raw)
        more = self.forge.line(self.ours[-1], range(8, 14))
        for one in (ledger, self.started(self.forge.genesis, disk=disk.copy())):
            for made in more:
                self.assertIsInstance(self.feed(one, made.raw), Connected)
            self.assertEqual((one.head.hash, one.finalized), (more[-1].hash, final))
            self.assertEqual(self.get(one.set_finalized(final.hash)), "")
            self.feed(one, self.forge.grow(more[-1], 14).raw)
            self.assertGreater(one.finalized.height, final.height + 5)

    def test_nothing_but_the_chosen_block_is_followed_while_its_body_is_missing(self) -> None:
        disk = Disk()
        ledger = self.ready(disk)
        headers = [made.header.raw for made in self.theirs[:8]]
        rival = self.forge.line(self.theirs[1], range(31, 50))
        self.get(ledger.add_headers(headers))
        self.assertEqual(self.get(ledger.set_finalized(self.theirs[4].hash)), "")
        for one in (ledger, self.started(self.forge.genesis, disk=disk.copy())):
            self.assertEqual(one.finalized.height, 0)
            self.get(one.add_headers([made.header.raw for made in rival]))
            self.assertEqual(one.best_header.hash, self.theirs[7].hash)
            for made in rival:
                self.assertIsInstance(self.feed(one, made.raw), Stored)
            for made in self.theirs[:4]:
                self.assertIsInstance(self.feed(one, made.raw), Stored)
            self.assertEqual((one.head.height, one.finalized.height), (0, 0))
            missing = [info.hash for info in self.get(one.missing(99))]
            self.assertEqual(missing, [made.hash for made in self.theirs[4:8]])
            self.assertIsInstance(self.feed(one, self.theirs[4].raw), Connected)
            self.assertEqual((one.head.hash, one.finalized.hash), (self.theirs[4].hash,) * 2)
            self.assertEqual(
                one.conflict.ours.hash, self.theirs[4].hash
            )  # the rival is as high: two keys, three branches

    def test_what_was_given_up_is_not_reported_when_finality_goes_on(self) -> None:
        ledger = self.started(self.forge.genesis)
        for made in (*self.ours, *self.theirs[:2]):
            self.feed(ledger, made.raw)
        self.get(ledger.add_headers([made.header.raw for made in self.theirs]))
        self.assertEqual(self.get(ledger.set_finalized(self.theirs[0].hash)), "")
        for made in self.theirs:
            self.feed(ledger, made.raw)
        self.assertGreater(ledger.finalized.height, 10)
        self.assertIsNone(ledger.conflict)

    def test_an_honest_signer_that_was_led_to_the_other_side_is_not_blamed(self) -> None:
        """Signers 0 and 1 of four use their keys on both sides; 2 voted for ours before it was justified, and left."""
        forge = Forge(genesis_of(4))
        ours = forge.line(forge.root, range(1, 6))
        theirs = forge.line(forge.root, (4, 5))
        theirs.append(forge.grow(theirs[-1], 6, base=2))
        ledger = self.started(forge.genesis)
        for made in (*ours, *theirs):
            self.feed(ledger, made.raw)
        self.assertEqual((ledger.finalized.hash, ledger.conflict.theirs.hash), (ours[0].hash, theirs[0].hash))
        self.assertEqual(ledger.conflict.signers, tuple(sorted(ADDRESSES[:2])))
        self.assertEqual({evidence.signer for evidence in ledger.evidence}, set(ADDRESSES[:2]))

    def test_a_branch_from_too_far_below_cannot_be_taken(self) -> None:
        forge = Forge(genesis_of(1))
        line = forge.line(forge.root, range(1, 1200))
        fork = forge.grow(forge.root, 5000)
        near = forge.grow(line[300], 5000)
        ledger = self.started(forge.genesis)
        self.get(ledger.submit_blocks([made.raw for made in line], line[-1].hash))
        self.feed(ledger, fork.raw)
        self.assertIn("not known", self.get(ledger.set_finalized(fork.hash)))
        self.feed(ledger, near.raw)
        self.assertIsNotNone(ledger.conflict)
        self.assertIn("too deep", self.get(ledger.set_finalized(near.hash)))
        stray = self.ledger_root(ledger, forge, line)
        self.assertIn("too far below", self.get(ledger.set_finalized(stray)))

    def ledger_root(self, ledger: Ledger, forge: Forge, line: list[Made]) -> bytes:
        """A header inside the tree whose parent is below it."""
        floor = ledger._core().branches.tree.floor
        stray = forge.grow(line[floor - 2], 6000)
        self.get(ledger.add_headers([stray.header.raw]))
        return stray.hash

    def test_set_finalized_on_our_chain_only_goes_up(self) -> None:
        ledger = self.ready()
        self.assertIn("below", self.get(ledger.set_finalized(self.ours[0].hash)))
        self.assertIn("not known", self.get(ledger.set_finalized(bytes(32))))
        self.assertEqual(self.get(ledger.set_finalized(self.ours[-1].hash)), "")
        self.assertEqual(ledger.finalized.hash, self.ours[-1].hash)
        self.assertEqual(ledger.safe.hash, self.ours[-1].hash)
        self.assertTrue(any(isinstance(event, FinalizedChanged) for event in ledger.seen))
        higher = self.forge.grow(self.ours[-1], 8)
        self.get(ledger.add_headers([higher.header.raw]))
        self.assertIn("not connected", self.get(ledger.set_finalized(higher.hash)))
        failing = self.forge.grow(self.ours[-1], 9, gas_used=1)
        self.feed(ledger, failing.raw)
        self.assertIn("failed", self.get(ledger.set_finalized(failing.hash)))
