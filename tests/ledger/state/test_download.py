"""A state that is downloaded in pieces, broken off, and turned to other roots, against what a dictionary would hold."""

import random
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.state.accounts import Account
from chainp2p.ledger.state.chunks import ChunkError, make_chunk
from chainp2p.ledger.state.download import StateDownload, Taken
from chainp2p.ledger.state.staged import StagedRows
from chainp2p.ledger.state.trie import HashedTrie

Rows = dict[bytes, bytes]


def key(chance: random.Random) -> bytes:
    """Crowded keys: many share their first digits, some very many."""
    head = chance.choice(["", "", "", "7", "77", "777777", "abcdefabcdef"])
    return bytes.fromhex(head + chance.randbytes(32).hex()[len(head) :])


def value(chance: random.Random) -> bytes:
    return Account(chance.randrange(9), chance.randrange(1, 10**9)).encode()


class Downloads(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows = StagedRows(sqlite3.connect(":memory:"))

    def steps(self, download: StateDownload, tries: dict[bytes, HashedTrie], limit: int, stop: int = -1) -> int:
        """Take chunks of the root that is aimed at; answer how many it took, if it was not stopped before."""
        trie, todo, count = tries[download.root], [download.begin(download.root)], 0
        while todo and count != stop:
            part = todo.pop(0)
            base = tries.get(part.base)
            todo += download.take(part.prefix, make_chunk(trie, part.prefix, base, limit)).open
            count += 1
        return count

    def stored(self) -> list[tuple[str, bytes]]:
        return list(self.rows.accounts(""))

    def test_any_way_through_any_roots(self) -> None:
        for seed in range(40):
            with self.subTest(seed):
                self.setUp()
                self.play(random.Random(seed))

    def play(self, chance: random.Random) -> None:
        rows: Rows = {key(chance): value(chance) for _ in range(chance.randrange(1, 120))}
        tries: dict[bytes, HashedTrie] = {}
        download: StateDownload | None = None
        for _ in range(chance.randrange(1, 6)):
            for some in chance.sample(sorted(rows), len(rows) * chance.randrange(2) // chance.randrange(2, 9)):
                if chance.random() < 0.5:
                    del rows[some]
                else:
                    rows[some] = value(chance)
            for _ in range(chance.choice([0, 1, 60])):
                rows[key(chance)] = value(chance)
            trie = HashedTrie.build(rows.items())
            tries[trie.root] = trie
            if download is None or chance.random() < 0.3:  # a process that ended
                download = StateDownload(self.rows, trie.root)
            download.root = trie.root
            limit = chance.choice([200, 400, 1_000, 100_000])
            self.steps(download, tries if chance.random() < 0.7 else {trie.root: trie}, limit, chance.randrange(30))
            self.assertEqual(download.entries, len(self.stored()))
        assert download is not None
        self.steps(download, tries, limit)
        state = download.state()
        assert state is not None
        self.assertEqual(state.root, trie.root)
        self.assertEqual(self.stored(), sorted((one.hex(), rows[one]) for one in rows))
        self.assertEqual(download.entries, len(rows))
        again = StateDownload(self.rows, trie.root)
        self.assertLessEqual(self.steps(again, tries, limit), 400)
        self.assertEqual(again.state().root, trie.root)  # type: ignore[union-attr]

    def test_what_is_here_is_not_taken_twice_and_parts_are_not_the_whole(self) -> None:
        chance = random.Random(1)
        rows = {key(chance): value(chance) for _ in range(50)}
        trie = HashedTrie.build(rows.items())
        download = StateDownload(self.rows, trie.root)
        self.steps(download, {trie.root: trie}, 400, 4)
        self.assertIsNone(download.state())
        self.steps(download, {trie.root: trie}, 400)
        prefix = sorted(rows)[0].hex()[:3]
        self.assertEqual(download.take(prefix, b"whatever"), Taken(False))
        with self.assertRaises(ChunkError):
            StateDownload(StagedRows(sqlite3.connect(":memory:")), trie.root).take("", b"whatever")

    def test_nothing(self) -> None:
        empty = HashedTrie()
        download = StateDownload(self.rows, empty.root)
        self.assertEqual(self.steps(download, {empty.root: empty}, 400), 1)
        self.assertEqual(list(download.state().rows()), [])  # type: ignore[union-attr]
