"""Reads a ledger's database without the ledger, and compares every row with what a fresh import makes.

Headers and accounts are read with the packages ``rlp``, ``trie`` and ``eth-hash``; nothing of the code that loads a
chain is used, except to make the truth beforehand.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import rlp
from attrs import frozen
from eth_hash.auto import keccak
from trie import HexaryTrie

from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.testing.databases import MemoryDisk
from tests.ledger.network import AtOnce

__all__ = ["Found", "Row", "fresh_import", "inspect"]

#: Undo rows are kept so far below the head at least (design: "State").
UNDO_KEPT = 128


@frozen
class Row:
    """What a fresh import has after one block; digests of rows."""

    height: int
    parent: bytes
    state_root: bytes
    accounts: bytes
    raw: bytes
    undo: bytes | None
    receipts: bytes | None
    transactions: tuple[bytes, ...]


@frozen
class Found:
    """What a database holds: hash and height of its head, the height of the finalized block, raw pool transactions."""

    head: bytes
    height: int
    finalized: int
    pool: tuple[bytes, ...]


def fresh_import(genesis: Genesis, raws: Iterable[bytes], now: float) -> dict[bytes, Row]:
    """Import blocks one by one into a ledger in memory, and note what is there after each."""
    disk = MemoryDisk()
    ledger = Ledger(genesis, executor=AtOnce(), now=lambda: now, random=Random(1), open_database=disk.open)
    ledger.start()
    rows: dict[bytes, Row] = {}
    connection = disk.open("chain.sqlite")
    try:
        _note(connection, rows, ledger.genesis_hash)
        for raw in raws:
            ledger.submit_block(raw)
            _note(connection, rows, ledger.block_hash(raw))
    finally:
        ledger.stop()
        disk.erase()
    return rows


def _note(connection: sqlite3.Connection, rows: dict[bytes, Row], hash: bytes) -> None:
    def one(sql: str, *values: Any) -> Any:
        found = connection.execute(sql, values).fetchone()
        return None if found is None else found[0]

    assert one("SELECT value FROM meta WHERE key='head'") == hash, "the fresh import did not connect a block"
    header = rlp.decode(one("SELECT raw FROM headers WHERE hash=?", hash))
    height = int.from_bytes(header[8], "big")
    body = one("SELECT raw FROM bodies WHERE hash=?", hash)
    positions = connection.execute("SELECT hash FROM transactions WHERE block=? ORDER BY position", (hash,))
    rows[hash] = Row(
        height,
        header[0],
        header[3],
        _accounts(connection),
        body,
        _digest(one("SELECT old FROM undo WHERE height=?", height)),
        _digest(one("SELECT data FROM receipts WHERE block=?", hash)),
        tuple(row[0] for row in positions),
    )


def _digest(data: bytes | None) -> bytes | None:
    return None if data is None else sha256(data).digest()


def _accounts(connection: sqlite3.Connection) -> bytes:
    digest = sha256()
    for key, value in connection.execute("SELECT key, value FROM accounts ORDER BY key"):
        digest.update(key + len(value).to_bytes(4, "big") + value)
    return digest.digest()


def inspect(path: Path, truth: Mapping[bytes, Row], root: bool = False) -> Found:
    """Compare all of ``chain.sqlite`` with the *truth*; AssertionError names what is not as it should be.

    :param root: make the state root of the accounts with the package ``trie`` too, which takes long.
    """
    connection = sqlite3.connect(path)
    try:
        return _Inspection(connection, truth).run(root)
    finally:
        connection.close()


class _Inspection:
    def __init__(self, connection: sqlite3.Connection, truth: Mapping[bytes, Row]) -> None:
        self._execute = connection.execute
        self._connection = connection
        self._truth = truth

    def run(self, root: bool) -> Found:
        self._same("integrity", self._all("PRAGMA integrity_check"), [("ok",)])
        meta = dict(self._all("SELECT key, value FROM meta"))
        head = self._truth[meta["head"]]
        #: Below here the state was downloaded: there are headers, and nothing else.
        self._base = self._truth[meta["base"]].height if "base" in meta else 0
        chain = self._best(meta["head"], head.height)
        final = self._truth[meta["finalized"]].height
        self._same("finalized block", chain[final : final + 1], [meta["finalized"]])
        self._headers()
        self._bodies(chain)
        self._same("accounts", _accounts(self._connection), head.accounts)
        if root:
            self._same("state root", self._root(), head.state_root)
        self._undo(chain, final)
        self._receipts(chain)
        return Found(meta["head"], head.height, final, self._pool())

    def _all(self, sql: str, *values: Any) -> list[Any]:
        return self._execute(sql, values).fetchall()

    def _same(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise AssertionError(f"{what}: {str(found)[:300]} is there, {str(expected)[:300]} should be")

    def _best(self, head: bytes, height: int) -> list[bytes]:
        """The best chain, by height: without a gap, each the parent of the next, up to the head and no further."""
        rows = self._all("SELECT height, hash FROM best ORDER BY height")
        self._same("heights of the best chain", [row[0] for row in rows], list(range(height + 1)))
        chain = [row[1] for row in rows]
        self._same("tip of the best chain", chain[-1], head)
        parents = [self._truth[hash].parent for hash in chain[1:]]
        self._same("parents on the best chain", parents, chain[:-1])
        return chain

    def _headers(self) -> None:
        rows = self._all("SELECT hash, parent, height, bad, raw FROM headers ORDER BY height")
        known = {row[0] for row in rows}
        for hash, parent, height, bad, raw in rows:
            fields = rlp.decode(raw)
            named = hash.hex()
            self._same(f"hash of header {named}", keccak(raw), hash)
            self._same(f"parent of {named}", (parent, fields[0]), (self._truth[hash].parent,) * 2)
            self._same(
                f"height of {named}", (height, int.from_bytes(fields[8], "big")), (self._truth[hash].height,) * 2
            )
            self._same(f"mark of {named}", bad, 0)
            if height:
                self._same(f"parent of {named} stored", parent in known, True)

    def _bodies(self, chain: Sequence[bytes]) -> None:
        bodies = dict(self._all("SELECT hash, raw FROM bodies"))
        for hash, raw in bodies.items():
            self._same(f"body {hash.hex()}", raw, self._truth[hash].raw)
        wanted = [chain[0], *chain[self._base :]]
        self._same("bodies that are missing", [hash.hex() for hash in wanted if hash not in bodies], [])

    def _root(self) -> bytes:
        trie = HexaryTrie({})
        with trie.squash_changes() as batch:
            for key, value in self._all("SELECT key, value FROM accounts"):
                batch[key] = value
        root: bytes = trie.root_hash
        return root

    def _undo(self, chain: Sequence[bytes], final: int) -> None:
        rows = self._all("SELECT height, hash, old FROM undo ORDER BY height")
        heights = [row[0] for row in rows]
        head = len(chain) - 1
        lowest = heights[0] if heights else head + 1
        self._same("heights of undo rows", heights, list(range(lowest, head + 1)))
        self._same("undo rows reach down enough", lowest <= max(self._base, min(final, head - UNDO_KEPT)) + 1, True)
        for height, hash, old in rows:
            self._same(f"undo row {height}", (hash, _digest(old)), (chain[height], self._truth[hash].undo))

    def _receipts(self, chain: Sequence[bytes]) -> None:
        found = {block: _digest(data) for block, data in self._all("SELECT block, data FROM receipts")}
        run = [hash for hash in chain[self._base + 1 :] if self._truth[hash].receipts is not None]
        expected = {hash: self._truth[hash].receipts for hash in run}
        self._same("blocks with receipts", sorted(map(bytes.hex, found)), sorted(map(bytes.hex, expected)))
        self._same("receipts", found, expected)
        index = set(self._all("SELECT hash, block, position FROM transactions"))
        wanted = {(one, hash, at) for hash in run for at, one in enumerate(self._truth[hash].transactions)}
        self._same("transactions in the index only", [row[0].hex() for row in index - wanted], [])
        rows = sum(self._all(f"SELECT count(*) FROM {name}")[0][0] for name in ("places", "new_places"))
        self._same("rows of the index, of whatever height", rows, len(wanted))
        self._same("transactions not in the index", [row[0].hex() for row in wanted - index], [])

    def _pool(self) -> tuple[bytes, ...]:
        rows = self._all("SELECT hash, raw FROM pool")
        for hash, raw in rows:
            self._same("hash of a pooled transaction", keccak(raw), hash)
        return tuple(row[1] for row in rows)
