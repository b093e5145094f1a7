"""A chain in a file: raw blocks of consecutive heights, whatever they mean.

Layout (numbers big-endian): 16 bytes ``chainp2p blocks\\n``, version u32, genesis hash, first and last height u64,
check; then records: bytes u32, blocks u32, height of the first u64, check, and each block as u32 length and its bytes.
The last record has no blocks and the height after the last one: a file without it was cut. A check is BLAKE2b
(16 bytes) over what is before it in header or record and over the record's blocks, so that damage is found where it
is, and a reader holds one record at a time.
"""

import struct
from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import BinaryIO

from attrs import frozen

__all__ = ["RECORD_BLOCKS", "RECORD_BYTES", "ArchiveError", "ArchiveReader", "ArchiveWriter", "Record"]

MAGIC = b"chainp2p blocks\n"
VERSION = 1

#: A record is closed by this many blocks or bytes of them: what an import hands to the chain at once.
RECORD_BLOCKS, RECORD_BYTES = 512, 512 * 1024
#: Larger records are not read: a block alone may be larger than RECORD_BYTES, but not without bound.
RECORD_BYTES_MAX = 64 * 1024 * 1024
#: Places to which a writer can go back, one a record: further back than any chain leaves its blocks.
MARKS_MAX = 4096

_HEADER = struct.Struct(">16sI32sQQ")
_RECORD = struct.Struct(">IIQ")
_LENGTH = struct.Struct(">I")
_CHECK_BYTES = 16


class ArchiveError(ValueError):
    """The file is not a whole file of this format; the text says what is wrong at which byte."""


def _check(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=_CHECK_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


@frozen
class Record:
    """Consecutive blocks, the first at *height*; *end* is where in the file they end."""

    height: int
    blocks: tuple[bytes, ...]
    end: int


class ArchiveWriter:
    """Writes blocks into a seekable file; what it has written counts once :meth:`finish` was called.

    :param first: height of the first block, from 1 on: the genesis block is in nobody's file, its hash is.
    """

    def __init__(self, file: BinaryIO, genesis: bytes, first: int) -> None:
        self._file = file
        self._genesis = genesis
        self._first = first
        #: Height of the next block.
        self.height = first
        self._marks: deque[tuple[int, int]] = deque(maxlen=MARKS_MAX)
        self._write_header(first - 1)

    def _write_header(self, last: int) -> None:
        body = _HEADER.pack(MAGIC, VERSION, self._genesis, self._first, last)
        self._file.write(body + _check(body))

    def add(self, blocks: Sequence[bytes]) -> None:
        """Write one record."""
        self._marks.append((self.height, self._file.tell()))
        self._write(b"".join(part for raw in blocks for part in (_LENGTH.pack(len(raw)), raw)), len(blocks))
        self.height += len(blocks)

    def _write(self, payload: bytes, count: int) -> None:
        head = _RECORD.pack(len(payload), count, self.height)
        self._file.write(head + _check(head, payload))
        self._file.write(payload)

    def back(self) -> bool:
        """Take the last record back; False: there is none, or it is too long ago."""
        if not self._marks:
            return False
        self.height, position = self._marks.pop()
        self._file.seek(position)
        self._file.truncate()
        return True

    def finish(self) -> None:
        """Write the end, and the last height into the header."""
        self._write(b"", 0)
        self._file.seek(0)
        self._write_header(self.height - 1)


class ArchiveReader:
    """Reads what :class:`ArchiveWriter` wrote, record by record; raises :exc:`ArchiveError`.

    :ivar last: height of the last block; below *first* if there is none.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        body = self._read(_HEADER.size, "the header")
        magic, version, self.genesis, self.first, self.last = _HEADER.unpack(body)
        if magic != MAGIC:
            raise ArchiveError("this is not a file of blocks: it begins with something else")
        if version != VERSION:
            raise ArchiveError(f"format {version}, this version reads {VERSION}: it was written by a newer one")
        if self._read(_CHECK_BYTES, "the header") != _check(body):
            raise ArchiveError("the header is damaged")
        self._next: int = self.first

    def _read(self, size: int, what: str) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise ArchiveError(f"the file ends early, at byte {self._at + len(data)}, in {what}: it was cut")
        self._at += size
        return data

    def next(self) -> Record | None:
        """The next record; None: that was the last."""
        start = self._at
        where = f"the record of block {self._next}"
        head = self._read(_RECORD.size, where)
        check = self._read(_CHECK_BYTES, where)
        size, count, height = _RECORD.unpack(head)
        # a damaged length must not make us wait for, or hold, what is not there
        if size > RECORD_BYTES_MAX or count * _LENGTH.size > size or height != self._next:
            raise ArchiveError(f"{where} is damaged, at byte {start}")
        payload = self._read(size, where)
        if check != _check(head, payload):
            raise ArchiveError(f"{where} is damaged, at byte {start}")
        if not count:
            if self._file.read(1):
                raise ArchiveError(f"something follows the end, at byte {self._at}")
            return None
        self._next += count
        return Record(height, _split(payload, count, where), self._at)


def _split(payload: bytes, count: int, where: str) -> tuple[bytes, ...]:
    blocks = []
    at = 0
    for _ in range(count):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(payload, at)[0] if start <= len(payload) else len(payload) + 1
        if at > len(payload):
            break
        blocks.append(payload[start:at])
    if at != len(payload):
        raise ArchiveError(f"{where} does not hold what it says")
    return tuple(blocks)
