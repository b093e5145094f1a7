"""What a signer remembers of its own seals, so that it never votes against itself (design: "Sealing safety").

A header's ``base`` is the highest slot of a block this signer ever sealed that is not an ancestor of the new one. The
record therefore holds every own seal above the finalized block, and one *floor* into which everything else is folded:

- a recorded block that the header tree does not know is no ancestor (deleting the chain loses nothing);
- entries at or below the finalized block either are its ancestors for good, and go, or never will be, and raise the
  floor;
- where there was no record, whatever was sealed before the first start is covered by the slot of that start;
- an own seal found on a known header joins the record: the key was used elsewhere, or the record is an old copy.

A slot is spent before its block is signed, so that no end of the process leads to two blocks for it. Where blocks come
on demand there are no gaps between slots, and one that was spent for nothing would be the last: there the block is kept
as a draft before it is signed, nothing else is signed for its slot, and the slot is spent once the block is stored,
which the database of the chain then does with ``synchronous=FULL`` too.

It is a database of its own, written with ``synchronous=FULL`` before a block leaves the node: with NORMAL a power cut
forgets the last commits, and a signer that forgets may contradict itself.
"""

import sqlite3
from collections.abc import Callable, Iterable

from chainp2p.chain.database import file_of, guarded, prepare, transaction
from chainp2p.errors import StartupError, StorageError

__all__ = ["SealRecord"]

_TABLES = """
CREATE TABLE IF NOT EXISTS signers(
    signer BLOB PRIMARY KEY, genesis BLOB NOT NULL, floor INTEGER NOT NULL, highest INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS seals(
    signer BLOB NOT NULL, hash BLOB NOT NULL, slot INTEGER NOT NULL, base INTEGER NOT NULL,
    PRIMARY KEY(signer, hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drafts(signer BLOB PRIMARY KEY, slot INTEGER NOT NULL, block BLOB NOT NULL);
"""

#: SQLite's integers are signed: slots are stored as they are below this, which is 10^8 years of the shortest period.
_SLOT_MAX = 2**63 - 1


class SealRecord:
    """The record of one signer in ``seal.sqlite``; used by one lane.

    :param first_slot: the slot that runs now (0 on demand): the floor where the file knows nothing of this signer.
    :ivar floor: highest slot of own seals that are no ancestors of anything to come.
    :ivar highest: highest slot of any own seal.
    :ivar failure: why the last write failed; empty since one succeeded.
    """

    def __init__(self, connection: sqlite3.Connection, signer: bytes, genesis_hash: bytes, first_slot: int) -> None:
        self._connection = connection
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        self.signer = signer
        self._file = file_of(connection)
        with guarded(self._file), transaction(connection):
            self.floor, self.highest = self._open(genesis_hash, max(0, first_slot))
            rows = connection.execute("SELECT hash, slot FROM seals WHERE signer=?", (signer,))
            self._entries: dict[bytes, int] = dict(rows)
        self._gone: set[bytes] = set()
        self._last: tuple[int, bytes, int] | None = None
        self.failure = ""

    def _open(self, genesis_hash: bytes, first_slot: int) -> tuple[int, int]:
        """The floor and the highest slot that are stored for this signer, now at the latest."""
        execute = self._connection.execute
        prepare(self._connection, _TABLES, known_by="signers")
        row = execute("SELECT genesis, floor, highest FROM signers WHERE signer=?", (self.signer,)).fetchone()
        if row is None:
            execute("INSERT INTO signers VALUES(?,?,?,?)", (self.signer, genesis_hash, first_slot, first_slot))
            return first_slot, first_slot
        if row[0] != genesis_hash:
            raise StartupError(
                f"{self._file or 'seal.sqlite'} holds seals of signer 0x{self.signer.hex()} for another "
                f"network (genesis 0x{row[0].hex()}): use another key, or another data directory"
            )
        return row[1], row[2]

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._entries

    def base(self, is_ancestor: Callable[[bytes], bool]) -> int:
        """The base of a new block; *is_ancestor* answers for the block it will stand on and everything below.

        Where the last seal of this run is an ancestor, all that its own base passes over are ancestors too.
        """
        if self._last is not None:
            slot, hash, base = self._last
            return max(base, self.floor) if is_ancestor(hash) else slot
        others = (slot for hash, slot in self._entries.items() if slot > self.floor and not is_ancestor(hash))
        return max(others, default=self.floor)

    def may_seal(self, slot: int, head_slot: int, base: int) -> bool:
        """Whether a block for *slot* on a head at *head_slot* contradicts nothing sealed before."""
        return head_slot < slot and self.highest < slot and base < slot

    def reserve(self, slot: int) -> None:
        """Spend all slots up to *slot* before anything is signed for it: nothing is sealed for them any more, whatever
        becomes of this block. It is on the disk when this returns.
        """
        if slot > self.highest:
            self._write([], slot)

    def keep_draft(self, slot: int, block: bytes) -> None:
        """Keep a block before it is signed for *slot*; all below is spent. It is on the disk when this returns."""
        self._write([], slot - 1, (slot, block))

    def draft(self, slot: int) -> bytes | None:
        """The block that was kept for *slot*, if one was: another one must not be signed for it."""
        row = self._connection.execute(
            "SELECT block FROM drafts WHERE signer=? AND slot=?", (self.signer, slot)
        ).fetchone()
        return None if row is None else row[0]

    def store(self, slot: int, hash: bytes, base: int) -> None:
        """Note a seal; it is on the disk when this returns."""
        self._write([(slot, hash, base)])
        self._last = (slot, hash, base)

    def join(self, found: Iterable[tuple[int, bytes, int]]) -> bool:
        """Note own seals, (slot, hash, base), that were found on known headers; tell whether any was new."""
        fresh = [entry for entry in found if self.floor < entry[0] <= _SLOT_MAX and entry[1] not in self._entries]
        if fresh:
            self._last = None  # its base knows nothing of these
            self._write(fresh)
        return bool(fresh)

    def fold(self, final_slot: int, is_ancestor: Callable[[bytes], bool]) -> None:
        """Drop entries at or below the finalized block; *is_ancestor* answers for that block and everything below.

        The file follows with the next seal: folding again after a crash gives the same.
        """
        for hash, slot in list(self._entries.items()):
            if slot <= final_slot:
                if not is_ancestor(hash):
                    self.floor = max(self.floor, slot)
                del self._entries[hash]
                self._gone.add(hash)

    def fold_all(self) -> None:
        """Let nothing sealed so far count as an ancestor: the finalized block was moved by hand."""
        self.floor = self.highest
        self._gone.update(self._entries)
        self._entries.clear()
        self._write([])

    def try_disk(self) -> None:
        """Write what is known once more; StorageError."""
        self._write([])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _write(
        self, seals: list[tuple[int, bytes, int]], highest: int = 0, draft: tuple[int, bytes] | None = None
    ) -> None:
        highest = max([highest, self.highest, *(slot for slot, _, _ in seals)])
        try:
            self._write_rows(seals, highest, draft)
        except StorageError as error:
            self.failure = str(error)
            raise
        self.failure = ""
        self._gone.clear()
        self.highest = highest
        for slot, hash, _ in seals:
            self._entries[hash] = slot

    def _write_rows(self, seals: list[tuple[int, bytes, int]], highest: int, draft: tuple[int, bytes] | None) -> None:
        execute = self._connection.execute
        with guarded(self._file), transaction(self._connection):
            for slot, hash, base in seals:
                execute("INSERT OR REPLACE INTO seals VALUES(?,?,?,?)", (self.signer, hash, slot, base))
            for hash in self._gone:
                execute("DELETE FROM seals WHERE signer=? AND hash=?", (self.signer, hash))
            if draft is not None:
                execute("INSERT OR REPLACE INTO drafts VALUES(?,?,?)", (self.signer, *draft))
            execute("UPDATE signers SET floor=?, highest=? WHERE signer=?", (self.floor, highest, self.signer))
