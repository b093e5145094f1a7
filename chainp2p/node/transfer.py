"""Blocks of a chain to a file and back, through the door that every chain has (``chain/archive.py`` is the format).

Rules:

1. The best chain is written. If it leaves blocks that were written, those are taken back and the new ones written.
2. A file appears under its name when it is whole, never before.
3. Headers go to the chain one record ahead of their blocks, so that it knows what is final; records that are on the
   best chain are passed over, so that an import that was broken off goes on where it was.
4. Memory holds five records at most (:data:`READ_AHEAD`); files are read and written on a lane.
"""

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field

from chainp2p.chain.archive import RECORD_BLOCKS, RECORD_BYTES, ArchiveError, ArchiveReader, ArchiveWriter, Record
from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import HeadersRejected, Invalid, NotYet, ParentMissing, Verdict

__all__ = ["Export", "Import", "Transfer", "TransferError"]

#: Records whose blocks the chain has while the headers of the next are checked: it recovers the senders of some while
#: it connects another. With two both wait for each other a quarter of the time.
READ_AHEAD = 4


class TransferError(Exception):
    """An export or import ended early; the text says at which block and why."""


@define(eq=False)
class Transfer:
    """One export or import.

    :ivar first: height of the first block of the file; with *last* known once it has begun.
    :ivar height: of the next block.
    :ivar skipped: blocks that the chain had already.
    """

    kind = "transfer"

    chain: Any
    lane: Executor
    path: Path
    first: int = 1
    last: int = 0
    height: int = 1
    skipped: int = field(default=0, init=False)
    stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End it after the record at hand: it raises :exc:`TransferError`."""
        self.stopped = True

    @property
    def total(self) -> int:
        """Blocks in all, as far as is known."""
        return max(0, self.last - self.first + 1)

    @property
    def done(self) -> int:
        """Blocks that need no more work."""
        return max(0, self.height - self.first)

    def _go_on(self) -> None:
        if self.stopped:
            raise TransferError(f"stopped at block {self.height}")

    async def run(self) -> None:
        """Do it; TransferError."""
        raise NotImplementedError


class Export(Transfer):
    """Writes the best chain from *first* to *last* (0: the head as it is now) into a new file."""

    kind = "export"

    async def run(self) -> None:
        head = self.chain.head.height
        self.last = self.last or head
        self.height = self.first
        if self.first < 1 or self.last > head or self.first > self.last + 1:
            raise TransferError(f"blocks {self.first} to {self.last} were asked for, the chain has 1 to {head}")
        output = await self._file(_Output, self.path, self.chain.genesis_hash, self.first)
        try:
            await self._write(output)
            await self._file(output.commit)
        except BaseException:
            await self.lane.run(output.drop)
            raise

    async def _file(self, f: Any, *args: Any) -> Any:
        try:
            return await self.lane.run(f, *args)
        except OSError as error:
            raise TransferError(f"{self.path}: {error.strerror}") from None

    async def _write(self, output: "_Output") -> None:
        chain, writer = self.chain, output.writer
        before = await self._hash_at(self.first - 1)
        while writer.height <= self.last:
            self._go_on()
            following = await chain.headers_after(before, 1)
            if following is None:
                before = await self._back(output)
                continue
            if not following:
                self.last = writer.height - 1  # the branch that won is shorter
                return
            count = min(RECORD_BLOCKS, self.last - writer.height + 1)
            raws = await chain.blocks_from(chain.block_hash(following[0]), count, RECORD_BYTES)
            if raws is None:
                raise TransferError(f"block {writer.height} is not stored here, only its header is")
            await self._file(output.add, before, raws)
            before = chain.block_hash(raws[-1])
            self.height = writer.height

    async def _hash_at(self, height: int) -> bytes:
        hash: bytes | None = await self.chain.hash_at(height)
        if hash is None:
            raise TransferError(f"block {height} is not on the best chain any more")
        return hash

    async def _back(self, output: "_Output") -> bytes:
        """Take back the records whose blocks were left; answers the hash of the block before the next one."""
        while True:
            before = await self._file(output.back)
            if before is None:
                raise TransferError(f"the chain left block {output.writer.height - 1} while it was written: try again")
            self.height = output.writer.height
            if await self.chain.hash_at(self.height - 1) == before:
                hash: bytes = before
                return hash


class _Output:
    """The file of an export, under another name until it is whole. Used on the lane."""

    def __init__(self, path: Path, genesis: bytes, first: int) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: BinaryIO = os.fdopen(os.open(self._temporary, flags, 0o644), "w+b", buffering=1 << 18)
        self._before: deque[bytes] = deque(maxlen=4096)
        self.writer = ArchiveWriter(self._file, genesis, first)

    def add(self, before: bytes, raws: Sequence[bytes]) -> None:
        self._before.append(before)
        self.writer.add(raws)

    def back(self) -> bytes | None:
        if not self.writer.back():
            return None
        return self._before.pop()

    def commit(self) -> None:
        self.writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


class Import(Transfer):
    """Gives the blocks of a file to the chain.

    :ivar connected: whether the last block of the file is on the best chain at the end.
    """

    kind = "import"
    connected = True

    async def run(self) -> None:
        source = await self._read(_Source, self.path)
        try:
            await self._run(source)
        finally:
            await self.lane.run(source.close)

    async def _read(self, f: Any, *args: Any) -> Any:
        try:
            return await self.lane.run(f, *args)
        except OSError as error:
            raise TransferError(f"{self.path}: {error.strerror}") from None
        except ArchiveError as error:
            raise TransferError(f"{self.path}: {error}") from None

    async def _run(self, source: "_Source") -> None:
        reader, chain = source.reader, self.chain
        if reader.genesis != chain.genesis_hash:
            raise TransferError(
                f"{self.path}: the blocks are of another network: genesis 0x{reader.genesis.hex()}, "
                f"ours is 0x{chain.genesis_hash.hex()}"
            )
        self.first, self.last, self.height = reader.first, reader.last, reader.first
        if self.first > chain.head.height + 1:
            raise TransferError(
                f"{self.path}: it begins at block {self.first}, the chain here ends at block {chain.head.height}"
            )
        away: deque[tuple[Record, Any]] = deque()
        ready: Record | None = None
        tip = b""
        try:
            while (record := await self._read(reader.next)) is not None:
                self._go_on()
                tip = self._hash(record)
                if await chain.hash_at(record.height + len(record.blocks) - 1) == tip:
                    self.skipped += len(record.blocks)
                    self.height = record.height + len(record.blocks)
                    continue
                await self._headers(record)
                if ready is not None:
                    await self._submit(ready, away, READ_AHEAD - 1)
                ready = record
            if ready is not None:
                await self._submit(ready, away, 0)
        finally:
            # what the chain still has is its own affair, but an error of it must not be lost without a reader
            for _, verdicts in away:
                verdicts.addErrback(lambda _: None)
        self.connected = not tip or await chain.hash_at(self.last) == tip

    def _hash(self, record: Record) -> bytes:
        last = record.height + len(record.blocks) - 1
        try:
            hash: bytes = self.chain.block_hash(record.blocks[-1])
        except ValueError as error:
            raise TransferError(f"block {last} is malformed: {error}") from None
        return hash

    async def _headers(self, record: Record) -> None:
        headers = []
        for height, raw in enumerate(record.blocks, record.height):
            try:
                headers.append(self.chain.split(raw)[0])
            except ValueError as error:
                raise TransferError(f"block {height} is malformed: {error}") from None
        try:
            await self.chain.add_headers(headers)
        except HeadersRejected as error:
            raise TransferError(f"block {record.height + error.index} is refused: {error.reason}") from None

    async def _submit(self, record: Record, away: "deque[tuple[Record, Any]]", leave: int) -> None:
        """Give a record to the chain, and wait until it has no more than *leave* of them."""
        away.append((record, self.chain.submit_blocks(list(record.blocks), self.chain.best_header.hash)))
        while len(away) > leave:
            first, verdicts = away.popleft()
            for height, verdict in enumerate(await verdicts, first.height):
                _judge(height, verdict)
            self.height = first.height + len(first.blocks)
            self._go_on()


class _Source:
    """The file of an import. Used on the lane."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: BinaryIO = os.fdopen(os.open(path, flags), "rb", buffering=1 << 18)
        try:
            self.reader = ArchiveReader(self._file)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()


def _judge(height: int, verdict: Verdict) -> None:
    match verdict:
        case Invalid(reason=reason):
            raise TransferError(f"block {height} is invalid: {reason}")
        case ParentMissing():
            raise TransferError(f"block {height} does not follow the block before it")
        case NotYet():
            raise TransferError(f"block {height} is from the future: is the clock right?")
