"""The seal record alone, then in the lives of signers: crashes, deleted chains, old copies, two nodes with one key."""

import pathlib
import random
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import StartupError
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.block import split
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.producing.sealing import SealRecord
from tests.ledger.forge import Forge
from tests.ledger.network import TIME, Disk, Folder, Harness, genesis_of, transfer

GENESIS = b"\7" * 32
ME = b"\1" * 20


def h(number: int) -> bytes:
    return number.to_bytes(32, "big")


class RecordTests(SynchronousTestCase):
    def open(self, data: bytes | None = None, first_slot: int = 0, signer: bytes = ME) -> SealRecord:
        self.connection = sqlite3.connect(":memory:")
        if data is not None:
            self.connection.deserialize(data)
        record = SealRecord(self.connection, signer, GENESIS, first_slot)
        self.addCleanup(record.close)
        return record

    def again(self, first_slot: int = 0) -> SealRecord:
        return self.open(self.connection.serialize(), first_slot)

    def test_it_is_written_in_full(self) -> None:
        self.open()
        self.assertEqual(self.connection.execute("PRAGMA synchronous").fetchone(), (2,))

    def test_a_file_from_before_files_had_numbers_is_taken_over(self) -> None:
        old = sqlite3.connect(":memory:")
        self.addCleanup(old.close)
        old.executescript(
            "CREATE TABLE signers(signer BLOB PRIMARY KEY, genesis BLOB NOT NULL, floor INTEGER NOT NULL,"
            " highest INTEGER NOT NULL); CREATE TABLE seals(signer BLOB NOT NULL, hash BLOB NOT NULL,"
            " slot INTEGER NOT NULL, base INTEGER NOT NULL, PRIMARY KEY(signer, hash)) WITHOUT ROWID;"
        )
        old.execute("INSERT INTO signers VALUES(?,?,3,9)", (ME, GENESIS))
        old.execute("INSERT INTO seals VALUES(?,?,9,3)", (ME, h(9)))
        old.commit()
        record = self.open(old.serialize(), first_slot=2)
        self.assertEqual((record.floor, record.highest, h(9) in record, record.draft(10)), (3, 9, True, None))
        self.assertEqual(self.connection.execute("PRAGMA user_version").fetchone(), (1,))
        record.keep_draft(10, b"block")
        again = self.again()
        self.assertEqual((again.draft(10), again.draft(11), again.highest), (b"block", None, 9))
        self.connection.execute("PRAGMA user_version=2")
        self.assertRaises(StartupError, self.again)

    def test_base_is_the_highest_slot_that_is_no_ancestor(self) -> None:
        record = self.open()
        for slot in (3, 5, 9):
            record.store(slot, h(slot), 0)
        self.assertEqual(record.base(lambda hash: True), 0)
        record = self.again()
        self.assertEqual(record.base(lambda hash: True), 0)
        self.assertEqual(record.base(lambda hash: hash != h(5)), 5)
        self.assertEqual(record.base(lambda hash: False), 9)
        self.assertIn(h(5), record)
        self.assertEqual(self.again().base(lambda hash: hash != h(5)), 5)

    def test_base_is_the_same_as_by_looking_at_all(self) -> None:
        for seed in range(60):
            chance = random.Random(seed)
            record = self.open()
            parents: dict[bytes, bytes] = {}
            tips, sealed, floor = [h(0)], [], 0

            def below(tip: bytes, parents: dict[bytes, bytes] = parents) -> list[bytes]:
                chain = [tip]
                while chain[-1] in parents:
                    chain.append(parents[chain[-1]])
                return chain

            for slot in range(1, 30):
                parent = tips[-1] if chance.random() < 0.7 else chance.choice(tips)
                hash = h(slot)
                if chance.random() < 0.5:
                    parents[hash] = parent
                    tips.append(hash)
                    continue
                chain = below(parent)
                expected = max([floor, *(int.from_bytes(one, "big") for one in sealed if one not in chain)])
                self.assertEqual(record.base(chain.__contains__), expected, f"seed {seed}")
                parents[hash] = parent
                tips.append(hash)
                sealed.append(hash)
                if chance.random() < 0.2:
                    record.join([(slot, hash, 0)])
                else:
                    record.store(slot, hash, expected)
                if chance.random() < 0.1:
                    record.fold_all()
                    floor = slot

    def test_never_twice_in_a_slot_nor_below_the_head_nor_at_its_base(self) -> None:
        record = self.open()
        record.store(5, h(5), 0)
        self.assertFalse(record.may_seal(5, 0, 0))
        self.assertFalse(record.may_seal(4, 0, 0))
        self.assertFalse(record.may_seal(6, 6, 0))
        self.assertFalse(record.may_seal(6, 0, 6))
        self.assertTrue(record.may_seal(6, 5, 5))

    def test_a_missing_file_covers_all_slots_before_the_first_start(self) -> None:
        record = self.open(first_slot=40)
        self.assertEqual(record.base(lambda hash: True), 40)
        self.assertFalse(record.may_seal(40, 0, 39))
        self.assertEqual(self.again(first_slot=99).base(lambda hash: True), 40)
        self.assertEqual(self.open(first_slot=-5).floor, 0)

    def test_folding(self) -> None:
        record = self.open()
        for slot in (3, 5, 9):
            record.store(slot, h(slot), 0)
        record.fold(5, lambda hash: hash == h(3))
        self.assertEqual(record.floor, 5)
        self.assertNotIn(h(3), record)
        self.assertIn(h(9), record)
        before = self.again()
        self.assertIn(h(3), before)  # not yet on disk: folding again gives the same
        before.fold(5, lambda hash: hash == h(3))
        self.assertEqual(before.floor, 5)
        before.store(11, h(11), 5)
        after = self.again()
        self.assertNotIn(h(3), after)
        self.assertEqual((after.floor, after.highest), (5, 11))

    def test_moving_finality_by_hand_folds_everything(self) -> None:
        record = self.open()
        record.store(3, h(3), 0)
        record.fold_all()
        self.assertEqual(self.again().base(lambda hash: True), 3)

    def test_own_seals_found_join(self) -> None:
        record = self.open(first_slot=10)
        record.store(12, h(12), 10)
        self.assertFalse(record.join([(12, h(12), 10), (4, h(4), 0), (2**64 - 1, h(1), 0)]))
        self.assertTrue(record.join([(20, h(20), 0)]))
        self.assertFalse(record.may_seal(20, 0, 0))
        self.assertEqual(self.again().base(lambda hash: hash == h(12)), 20)

    def test_one_file_serves_several_signers_of_one_network(self) -> None:
        record = self.open()
        record.store(5, h(5), 0)
        other = self.open(self.connection.serialize(), signer=b"\2" * 20)
        self.assertEqual(other.base(lambda hash: False), 0)
        self.assertRaises(StartupError, SealRecord, self.connection, ME, b"\x08" * 32, 0)

    def test_a_failed_write_is_no_seal(self) -> None:
        record = self.open()
        self.connection.execute("CREATE TRIGGER t BEFORE INSERT ON seals BEGIN SELECT RAISE(ABORT, 'disk full'); END")
        self.assertRaises(sqlite3.Error, record.store, 5, h(5), 0)
        self.assertEqual(record.highest, 0)
        self.assertFalse(self.connection.in_transaction)


class Lives(Harness):
    def base_of(self, raw: bytes | None, ledger: Ledger) -> int:
        assert raw is not None
        header = Header.decode(ledger.split(raw)[0])
        return int.from_bytes(header.mix_hash, "big")

    def pair(self, **more: object) -> tuple[Ledger, Ledger, Disk]:
        disk = Disk()
        genesis = genesis_of(2)
        return self.started(genesis, 0, disk=disk), self.started(genesis, 1), disk

    def test_the_record_comes_before_the_block(self) -> None:
        one, _, disk = self.pair()
        disk.open["chain.sqlite"].execute(
            "CREATE TRIGGER t BEFORE INSERT ON headers BEGIN SELECT RAISE(ABORT, 'power cut'); END"
        )
        self.clock.now = one.engine.start_of(2)
        self.failureResultOf(one.produce(self.clock.now))
        disk.open["chain.sqlite"].execute("DROP TRIGGER t")
        again = self.started(one.genesis, 0, disk=disk.copy())
        self.assertIsNone(self.get(again.produce(self.clock.now)))
        self.assertEqual(self.base_of(self.seal(again, 4), again), 2)

    def test_a_deleted_chain_loses_nothing(self) -> None:
        one, two, disk = self.pair()
        raws = []
        for slot in (2, 3, 4, 5, 6):
            raw = self.seal(one, slot) or self.seal(two, slot)
            raws.append(raw)
            self.feed(one, raw)
            self.feed(two, raw)
        files = disk.copy().files
        del files["chain.sqlite"]
        again = self.started(one.genesis, 0, disk=Disk(files))
        self.assertEqual(self.base_of(self.seal(again, 8), again), 6)
        back = self.started(one.genesis, 0, disk=Disk(files))
        for raw in raws:
            self.feed(back, raw)
        self.assertEqual(self.base_of(self.seal(back, 8), back), 0)

    def test_a_first_start_in_the_middle_of_things(self) -> None:
        genesis = genesis_of(2)
        self.clock.now = TIME + 100
        late = self.started(genesis, 0)
        self.assertIsNone(self.seal(late, 100))
        self.assertEqual(self.base_of(self.seal(late, 102), late), 100)

    def test_an_old_copy_of_the_record_and_a_key_used_twice(self) -> None:
        genesis = genesis_of(2)
        one, twin = self.started(genesis, 0), self.started(genesis, 0)
        raw = self.seal(twin, 4)
        self.feed(one, raw)
        self.assertIsNone(self.get(one.produce(one.engine.start_of(4))))
        # the twin seals a branch that ours does not follow
        forge = Forge(genesis)
        main = forge.line(forge.root, (1, 3, 5, 7, 9))
        disk = Disk()
        self.clock.now = TIME
        again = self.started(genesis, 0, disk=disk)
        self.clock.now = TIME + 9
        side = forge.grow(forge.root, 8)
        for made in main:
            self.feed(again, made.raw)
        self.feed(again, side.raw)
        self.assertEqual(self.base_of(self.seal(again, 10), again), 8)
        # found at a start as well, when the record is older than the chain
        files = disk.copy().files
        del files["seal.sqlite"]
        self.clock.now = TIME
        restored = self.started(genesis, 0, disk=Disk(files))
        self.assertEqual(restored._core().record.highest, 10)

    def test_switching_branches_raises_the_base(self) -> None:
        one, two, _ = self.pair()
        mine = [self.seal(one, slot) for slot in (2, 4)]
        theirs = [self.seal(two, slot) for slot in (3, 5, 7)]
        for raw in theirs:
            self.feed(one, raw)
        self.assertEqual(one.head, two.head)
        raw = self.seal(one, 8)
        self.assertEqual(self.base_of(raw, one), 4)
        for other in (*mine, raw):
            self.feed(two, other)
        self.assertEqual(two.head, one.head)
        self.assertEqual(two.evidence, [])

    def test_another_networks_record_is_refused(self) -> None:
        disk = Disk()
        self.started(genesis_of(2), 0, disk=disk)
        files = disk.copy().files
        del files["chain.sqlite"]
        failure = self.failureResultOf(self.make(genesis_of(3), 0, disk=Disk(files)).start(), StartupError)
        self.assertIn("seal.sqlite", str(failure.value))

    def test_on_disk_with_readers_of_their_own(self) -> None:
        folder = pathlib.Path(self.mktemp())
        folder.mkdir()
        genesis = genesis_of(1)
        ledger = self.make(genesis, 0, disk=Folder(folder))
        self.get(ledger.start())
        for slot in (1, 2, 3):
            self.assertIsNotNone(self.seal(ledger, slot))
        head = ledger.head
        self.assertEqual(self.get(ledger.reader.header(head.hash)).number, 3)
        self.get(ledger.stop())
        self.get(ledger.stop())
        self.failureResultOf(ledger.submit_block(b""), RuntimeError)
        again = self.started(genesis, 0, disk=Folder(folder))
        self.assertEqual(again.head, head)
        self.assertEqual(again.finalized, head)


class Schedules(Harness):
    """Real ledgers under random delays, partitions and crashes: nobody contradicts itself, nothing final conflicts."""

    def test_no_conflict_ever(self) -> None:
        for seed in range(12):
            chance = random.Random(seed)
            n = chance.choice((2, 3, 4))
            genesis = genesis_of(n)
            self.clock.now = TIME
            disks = [Disk() for _ in range(n)]
            ledgers = [self.started(genesis, index, disk=disks[index]) for index in range(n)]
            raws: list[bytes] = []
            seen: list[set[bytes]] = [set() for _ in range(n)]
            sides = [0] * n
            for slot in range(1, 60):
                if chance.random() < 0.12:
                    sides = [chance.randrange(2) for _ in range(n)]
                if slot > 48:
                    sides = [0] * n
                if chance.random() < 0.08:
                    gone = chance.randrange(n)
                    disks[gone] = disks[gone].copy()
                    if chance.random() < 0.3:
                        disks[gone].files.pop("chain.sqlite")
                        seen[gone] = set()
                    ledgers[gone] = self.started(genesis, gone, disk=disks[gone])
                index = slot % n
                raw = self.seal(ledgers[index], slot) if chance.random() < 0.9 else None
                if raw is not None:
                    raws.append(raw)
                    seen[index].add(raw)
                for other in range(n):
                    if sides[other] != sides[index] or chance.random() < 0.2:
                        continue
                    for old in raws:
                        if old in seen[index] and old not in seen[other]:
                            self.feed(ledgers[other], old)
                            seen[other].add(old)
            self.clock.now += 100
            for ledger in ledgers:
                for raw in raws:
                    self.feed(ledger, raw)
            for ledger in ledgers:
                self.assertIsNone(ledger.conflict, f"seed {seed}")
                self.assertEqual(ledger.evidence, [], f"seed {seed}")
                self.assertEqual(ledger.head, ledgers[0].head, f"seed {seed}")
                final = self.get(ledgers[0].hash_at(ledger.finalized.height))
                self.assertEqual(ledger.finalized.hash, final, f"seed {seed}")
            self.assertGreater(ledgers[0].finalized.height, 0, f"seed {seed}")


class OnDemand(Harness):
    """There are no gaps between the slots: whatever is lost, the next block has to have the next one."""

    def crash_while_sealing(self, disk: Folder, fail_in: str, commit: int) -> None:
        """Let a process end, as by a kill, at that commit of *fail_in* for its second block."""
        commits = 0
        ledger = self.make(self.genesis, 0, disk=disk)
        self.get(ledger.start())
        self.get(ledger.admit(transfer(5, 0), True))
        self.clock.now += 1
        self.assertIsNotNone(self.get(ledger.produce(self.clock.now)))
        self.get(ledger.admit(transfer(5, 1), True))
        self.clock.now += 1
        core = ledger._core()
        connection = core.store.connection if fail_in == "chain" else core.record._connection

        def die(sql: str) -> None:
            nonlocal commits
            commits += sql.startswith("COMMIT")
            if commits == commit:
                raise SystemExit

        def dying(sql: str, *values: object) -> sqlite3.Cursor:
            die(sql)
            return connection.execute(sql, *values)

        if fail_in == "chain":
            core.store.connection = Dying(connection, dying)
        else:
            core.record._connection = Dying(connection, dying)
        self.assertRaises(SystemExit, lambda: self.failureResultOf(ledger.produce(self.clock.now)).raiseException())
        connection.rollback()
        core.store.connection.close()
        core.record.close()

    def setUp(self) -> None:
        super().setUp()
        self.genesis = genesis_of(1, 0)

    def test_a_crash_at_any_point_does_not_end_the_chain(self) -> None:
        # before it was kept what will be signed, before it was stored with the chain, and after
        for fail_in, commit, height, payments in (("seal", 1, 1, 2), ("chain", 1, 1, 1), ("seal", 2, 2, 1)):
            disk = self.folder()
            self.crash_while_sealing(disk, fail_in, commit)
            ledger = self.started(self.genesis, 0, disk=disk)
            self.assertEqual(ledger.head.height, height)
            self.get(ledger.admit(transfer(5, 2), True))
            self.clock.now += 1
            raw = self.get(ledger.produce(self.clock.now))
            self.assertEqual(len(split(raw)[1]), payments, f"{fail_in} {commit}")
            self.assertEqual(ledger.head.height, height + 1)

    def test_what_was_signed_on_another_block_is_not_signed_again(self) -> None:
        disk = self.folder()
        self.crash_while_sealing(disk, "chain", 1)
        (disk.path / "chain.sqlite").unlink()
        for file in disk.path.glob("chain.sqlite-*"):
            file.unlink()
        ledger = self.started(self.genesis, 0, disk=disk)
        self.get(ledger.admit(transfer(5, 0, value=9), True))
        self.clock.now += 1
        self.assertIsNone(self.get(ledger.produce(self.clock.now)))

    def test_what_was_sealed_is_written_through(self) -> None:
        ledger = self.started(self.genesis, 0, disk=self.folder())
        self.assertEqual(ledger._core().store.execute("PRAGMA synchronous").fetchone(), (2,))
        other = self.started(genesis_of(1), 0, disk=self.folder())
        self.assertEqual(other._core().store.execute("PRAGMA synchronous").fetchone(), (1,))

    def folder(self) -> Folder:
        path = pathlib.Path(self.mktemp()).absolute()
        path.mkdir()
        return Folder(path)


class Dying:
    """A connection whose statements go through *execute*."""

    def __init__(self, connection: sqlite3.Connection, execute: object) -> None:
        self._connection = connection
        self.execute = execute

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)
