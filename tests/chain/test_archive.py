"""Files of blocks: what was written is read, and whatever is wrong with a file is named with its place."""

import io
import random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain import archive
from chainp2p.chain.archive import ArchiveError, ArchiveReader, ArchiveWriter

GENESIS = bytes(range(32))
HEADER = 16 + 4 + 32 + 8 + 8 + 16


def written(*records, first=1, genesis=GENESIS):
    file = io.BytesIO()
    writer = ArchiveWriter(file, genesis, first)
    for record in records:
        writer.add(record)
    writer.finish()
    return file.getvalue()


def read(data):
    reader = ArchiveReader(io.BytesIO(data))
    found = []
    while (record := reader.next()) is not None:
        found.append(record)
    return reader, found


class ArchiveTests(SynchronousTestCase):
    def test_what_was_written_is_read(self) -> None:
        chance = random.Random(5)
        records = [[chance.randbytes(chance.randrange(300)) for _ in range(chance.randrange(1, 9))] for _ in range(20)]
        data = written(*records, first=7)
        reader, found = read(data)
        self.assertEqual((reader.genesis, reader.first), (GENESIS, 7))
        self.assertEqual(reader.last, 6 + sum(map(len, records)))
        self.assertEqual([list(record.blocks) for record in found], records)
        heights = [7 + sum(map(len, records[:index])) for index in range(20)]
        self.assertEqual([record.height for record in found], heights)
        self.assertEqual(found[-1].end, len(data) - 32)  # the end record follows

    def test_the_layout_is_what_the_docstring_says(self) -> None:
        data = written([b"ab", b""])
        self.assertEqual(
            data[: HEADER - 16], b"chainp2p blocks\n\0\0\0\1" + GENESIS + bytes(7) + b"\1" + bytes(7) + b"\2"
        )
        record = data[HEADER:]
        self.assertEqual(record[:16], b"\0\0\0\x0a" + b"\0\0\0\2" + bytes(7) + b"\1")
        self.assertEqual(record[32:42], b"\0\0\0\2ab" + bytes(4))
        self.assertEqual(record[42:58], bytes(8) + bytes(7) + b"\3")

    def test_an_empty_chain_is_a_file_too(self) -> None:
        reader, found = read(written())
        self.assertEqual((reader.first, reader.last, found), (1, 0, []))

    def test_records_are_taken_back(self) -> None:
        file = io.BytesIO()
        writer = ArchiveWriter(file, GENESIS, 1)
        writer.add([b"a", b"b"])
        writer.add([b"left", b"left as well", b"and this"])
        self.assertTrue(writer.back())
        self.assertEqual(writer.height, 3)
        writer.add([b"c"])
        writer.finish()
        reader, found = read(file.getvalue())
        self.assertEqual([record.blocks for record in found], [(b"a", b"b"), (b"c",)])
        self.assertEqual(reader.last, 3)
        self.assertTrue(writer.back() and writer.back())
        self.assertFalse(writer.back())

    def test_a_file_that_was_cut_anywhere_is_refused_with_its_place(self) -> None:
        data = written([b"one", b"two"], [b"three"])
        for end in range(len(data)):
            with self.assertRaises(ArchiveError) as caught:
                read(data[:end])
            self.assertIn(f"at byte {end}", str(caught.exception))

    def test_a_file_that_was_not_finished_is_refused(self) -> None:
        file = io.BytesIO()
        ArchiveWriter(file, GENESIS, 1).add([b"one"])
        self.assertRaisesRegex(ArchiveError, "in the record of block 2: it was cut", read, file.getvalue())

    def test_a_wrong_bit_anywhere_is_found(self) -> None:
        data = written([b"one", b"two"], [b"three"])
        for at in range(len(data)):
            broken = bytearray(data)
            broken[at] ^= 1 << at % 8
            self.assertRaises(ArchiveError, read, bytes(broken))

    def test_the_damaged_record_is_named(self) -> None:
        data = bytearray(written([b"one", b"two"], [b"three"]))
        data[-40] ^= 1
        start = HEADER + 32 + 14
        self.assertRaisesRegex(ArchiveError, f"record of block 3 is damaged, at byte {start}", read, bytes(data))

    def test_other_files_and_newer_formats_are_refused(self) -> None:
        self.assertRaisesRegex(ArchiveError, "not a file of blocks", read, bytes(200))
        newer = bytearray(written())
        newer[19] = 2
        self.assertRaisesRegex(ArchiveError, "format 2, this version reads 1", read, bytes(newer))
        self.assertRaisesRegex(ArchiveError, "something follows the end", read, written() + b"x")

    def test_a_record_is_not_larger_than_memory(self) -> None:
        data = bytearray(written([b"one"]))
        data[HEADER : HEADER + 4] = b"\xff" * 4
        file = io.BytesIO(bytes(data))
        reader = ArchiveReader(file)
        self.assertRaisesRegex(ArchiveError, "record of block 1 is damaged", reader.next)
        self.assertLess(file.tell(), HEADER + 33)

    def test_a_record_with_a_good_check_and_bad_lengths_is_refused(self) -> None:
        for payload in (b"\0\0\0\x09abc", b"\0\0\0\1abc", b"\0\0"):
            head = archive._RECORD.pack(len(payload), 1, 1)
            data = written()[:HEADER] + head + archive._check(head, payload) + payload
            self.assertRaisesRegex(ArchiveError, "record of block 1", read, data)
