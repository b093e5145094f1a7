"""The chain to a file and back: the ledger, stored rules and the toy chain; reorganisations, resumption, bad files."""

import random
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.archive import ArchiveReader, ArchiveWriter
from chainp2p.chain.stored import StoredChain
from chainp2p.node import transfer
from chainp2p.node.transfer import Export, Import, TransferError
from tests.chain.counter import CounterRules
from tests.ledger.network import AtOnce, Clock, Disk, Harness, genesis_of
from tests.ledger.network import transfer as signed


def records(path):
    with path.open("rb") as file:
        reader = ArchiveReader(file)
        found = []
        while (record := reader.next()) is not None:
            found.append(record)
        return reader, found


def write(path, genesis, blocks, first=1, size=2):
    with path.open("w+b") as file:
        writer = ArchiveWriter(file, genesis, first)
        for at in range(0, len(blocks), size):
            writer.add(blocks[at : at + size])
        writer.finish()


class _Small(SynchronousTestCase):
    """Records of two blocks, so that there are several."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(transfer, "RECORD_BLOCKS", 2)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "chain.blocks"

    def run_it(self, job):
        return self.successResultOf(Deferred.fromCoroutine(job.run()))

    def fails(self, job):
        return str(self.failureResultOf(Deferred.fromCoroutine(job.run()), TransferError).value)


class LedgerTransferTests(_Small, Harness):
    def setUp(self) -> None:
        self.clock = Clock()
        super().setUp()
        self.genesis = genesis_of(1)
        self.source = self.make(self.genesis, signer=0)
        self.get(self.source.start())
        for nonce in range(9):
            self.clock.now += 1
            self.get(self.source.admit(signed(1, nonce), True))
            assert self.get(self.source.produce(self.clock.now)) is not None
        assert self.source.head.height == 9

    def fresh(self, **more):
        ledger = self.make(self.genesis, **more)
        self.get(ledger.start())
        return ledger

    def export(self, chain=None, first=1, last=0):
        job = Export(chain or self.source, AtOnce(), self.path, first, last)
        self.run_it(job)
        return job

    def test_there_and_back(self) -> None:
        job = self.export()
        self.assertEqual((job.first, job.last, job.done, job.total), (1, 9, 9, 9))
        reader, found = records(self.path)
        self.assertEqual((reader.genesis, reader.first, reader.last), (self.genesis.hash, 1, 9))
        self.assertEqual([len(record.blocks) for record in found], [2, 2, 2, 2, 1])
        self.assertEqual(sorted(file.name for file in self.folder.iterdir()), ["chain.blocks"])
        target = self.fresh()
        job = Import(target, AtOnce(), self.path)
        self.run_it(job)
        self.assertEqual(target.head, self.source.head)
        self.assertEqual(target.finalized, self.source.finalized)
        self.assertEqual(self.chain_of(target), self.chain_of(self.source))
        self.assertEqual((job.done, job.total, job.skipped, job.connected), (9, 9, 0, True))

    def test_some_heights(self) -> None:
        self.export(first=3, last=6)
        reader, found = records(self.path)
        self.assertEqual((reader.first, reader.last), (3, 6))
        hashes = [self.source.block_hash(raw) for record in found for raw in record.blocks]
        self.assertEqual(hashes, self.chain_of(self.source)[3:7])
        text = self.fails(Import(self.fresh(), AtOnce(), self.path))
        self.assertIn("it begins at block 3, the chain here ends at block 0", text)

    def test_heights_that_are_not_there_are_refused(self) -> None:
        for first, last in ((0, 5), (1, 10), (11, 0), (6, 3)):
            text = self.fails(Export(self.source, AtOnce(), self.path, first, last))
            self.assertIn("the chain has 1 to 9", text)
        self.assertFalse(self.path.exists())

    def test_an_empty_chain(self) -> None:
        target = self.fresh()
        self.export(target)
        self.run_it(Import(target, AtOnce(), self.path))
        self.assertEqual(target.head.height, 0)

    def test_what_is_known_is_passed_over(self) -> None:
        self.export(last=5)
        target = self.fresh()
        self.run_it(Import(target, AtOnce(), self.path))
        self.export()
        with mock.patch.object(target, "submit_blocks", wraps=target.submit_blocks) as submit:
            job = Import(target, AtOnce(), self.path)
            self.run_it(job)
        self.assertEqual(job.skipped, 4)  # the record of blocks 5 and 6 holds a new one
        self.assertEqual(sum(len(call.args[0]) for call in submit.call_args_list), 5)
        self.assertEqual(target.head, self.source.head)
        again = Import(target, AtOnce(), self.path)
        self.run_it(again)
        self.assertEqual((again.skipped, again.done), (9, 9))

    def test_headers_come_before_blocks_so_that_roots_below_are_taken_on_trust(self) -> None:
        self.export()
        target = self.fresh()
        order = []
        with (
            mock.patch.object(
                target, "add_headers", side_effect=lambda raws: order.append(("h", len(raws))) or add(raws)
            ),
            mock.patch.object(
                target, "submit_blocks", side_effect=lambda raws, tip: order.append(("b", len(raws))) or give(raws, tip)
            ),
        ):
            add, give = type(target).add_headers.__get__(target), type(target).submit_blocks.__get__(target)
            self.run_it(Import(target, AtOnce(), self.path))
        self.assertEqual(order[:4], [("h", 2), ("h", 2), ("b", 2), ("h", 2)])

    def test_a_bad_block_is_named_with_its_height(self) -> None:
        raws = [self.get(self.source.block(hash)) for hash in self.chain_of(self.source)[1:]]
        header, pairs = self.source.split(raws[6])
        raws[6] = self.source.assemble(header, [])
        write(self.path, self.genesis.hash, raws)
        target = self.fresh()
        self.assertIn("block 7 is invalid", self.fails(Import(target, AtOnce(), self.path)))
        self.assertEqual(target.head.height, 6)

    def test_a_bad_header_is_named_with_its_height(self) -> None:
        raws = [self.get(self.source.block(hash)) for hash in self.chain_of(self.source)[1:]]
        del raws[3]
        write(self.path, self.genesis.hash, raws)
        target = self.fresh()
        self.assertIn("block 4 is refused: ", self.fails(Import(target, AtOnce(), self.path)))

    def test_what_is_no_block_is_named_with_its_height(self) -> None:
        raws = [self.get(self.source.block(hash)) for hash in self.chain_of(self.source)[1:]]
        for index, at in ((4, 5), (5, 6)):
            broken = [*raws]
            broken[index] = b"junk"
            write(self.path, self.genesis.hash, broken)
            self.assertIn(f"block {at} is malformed", self.fails(Import(self.fresh(), AtOnce(), self.path)))

    def test_the_file_of_another_network_is_refused(self) -> None:
        self.export()
        other = self.make(genesis_of(1, timestamp=1_600_000_000))
        self.get(other.start())
        text = self.fails(Import(other, AtOnce(), self.path))
        self.assertIn("the blocks are of another network: genesis 0x" + self.genesis.hash.hex(), text)

    def test_files_that_cannot_be_read(self) -> None:
        self.assertIn("No such file", self.fails(Import(self.source, AtOnce(), self.path)))
        self.export()
        self.path.write_bytes(self.path.read_bytes()[:-50])
        target = self.fresh()
        self.assertIn("ends early, at byte", self.fails(Import(target, AtOnce(), self.path)))
        self.assertEqual(target.head.height, 6)  # what came before the end counts: the next record was read ahead
        link = self.folder / "link"
        link.symlink_to(self.path)
        self.assertIn("symbolic links", self.fails(Import(target, AtOnce(), link)))

    def test_a_folder_that_is_not_there(self) -> None:
        job = Export(self.source, AtOnce(), self.folder / "no" / "file")
        self.assertIn("No such file", self.fails(job))

    def test_a_full_disk_leaves_the_old_file(self) -> None:
        self.path.write_bytes(b"old")
        with mock.patch.object(transfer.os, "fsync", side_effect=OSError(28, "No space left on device")):
            self.assertIn("No space left", self.fails(Export(self.source, AtOnce(), self.path)))
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual([file.name for file in self.folder.iterdir()], ["chain.blocks"])

    def test_a_block_without_a_body_is_named(self) -> None:
        with mock.patch.object(self.source, "blocks_from", return_value=AtOnce().run(lambda: None)):
            self.assertIn("block 1 is not stored here", self.fails(Export(self.source, AtOnce(), self.path)))

    def test_it_can_be_stopped(self) -> None:
        job = Export(self.source, AtOnce(), self.path)
        job.stop()
        self.assertIn("stopped at block 1", self.fails(job))
        self.export()
        target = self.fresh()
        job = Import(target, AtOnce(), self.path)
        submit = target.submit_blocks

        def once(raws, tip):
            job.stop()
            return submit(raws, tip)

        with mock.patch.object(target, "submit_blocks", side_effect=once):
            self.assertIn("stopped at block ", self.fails(job))
        self.assertLess(target.head.height, 9)
        self.run_it(Import(target, AtOnce(), self.path))
        self.assertEqual(target.head, self.source.head)


class ReorgTests(_Small, Harness):
    """Two signers, so that nothing is final at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        super().setUp()
        self.genesis = genesis_of(3)

    def grown(self, key, count, base=()):
        """A chain of blocks by signer *key* alone."""
        ledger = self.make(self.genesis, signer=key)
        self.get(ledger.start())
        for raw in base:
            self.feed(ledger, raw)
        made = []
        for _ in range(count):
            self.clock.now = ledger.next_time(self.clock.now)
            made.append(self.get(ledger.produce(self.clock.now)))
        return ledger, made

    def test_blocks_that_were_left_while_they_were_written_are_not_in_the_file(self) -> None:
        _, common = self.grown(0, 3)
        other, longer = self.grown(1, 6, common)
        ledger, ours = self.grown(2, 4, common)
        self.assertEqual(ledger.head.height, 7)
        job = Export(ledger, AtOnce(), self.path)
        blocks_from = ledger.blocks_from

        def leave(hash, count, size):
            answer = blocks_from(hash, count, size)
            if job.height == 5:
                for raw in longer:
                    self.feed(ledger, raw)
            return answer

        with (
            mock.patch.object(ledger, "blocks_from", side_effect=leave),
            mock.patch.object(job, "_back", wraps=job._back) as back,
        ):
            self.run_it(job)
        back.assert_called_once()
        self.assertEqual(ledger.head, other.head)
        reader, found = records(self.path)
        hashes = [ledger.block_hash(raw) for record in found for raw in record.blocks]
        self.assertEqual(hashes, self.chain_of(other)[1:8])
        self.assertEqual(reader.last, 7)

    def test_a_branch_that_does_not_win_is_stored_and_said(self) -> None:
        short, _ = self.grown(0, 3)
        target, _ = self.grown(1, 5)
        self.run_it(Export(short, AtOnce(), self.path))
        job = Import(target, AtOnce(), self.path)
        self.run_it(job)
        self.assertFalse(job.connected)
        self.assertEqual(target.head.height, 5)


class OtherChainsTests(_Small):
    def test_stored_rules(self) -> None:
        clock, chains = Clock(), []
        for seed in (1, 2):
            chain = StoredChain(CounterRules(random.Random(seed)), executor=AtOnce(), now=clock, open_database=Disk())
            self.successResultOf(chain.start())
            chains.append(chain)
        source, target = chains
        for _ in range(1000):
            if source.head.height == 5:
                break
            self.successResultOf(source.admit(b"apples 1 %d" % source.head.height, True))
            clock.now += 0.3
            self.successResultOf(source.produce(clock.now))
        self.run_it(Export(source, AtOnce(), self.path))
        self.run_it(Import(target, AtOnce(), self.path))
        self.assertEqual(target.head, source.head)
