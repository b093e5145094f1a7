"""The index of transactions against a dictionary, through blocks that come and go and runs that are merged."""

import sqlite3
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger import places
from chainp2p.ledger.places import Places
from chainp2p.primitives.keccak import keccak256


class Index(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(places, "RUN", 20)
        self.patch(places, "RUNS", 4)
        connection = sqlite3.connect(":memory:")
        self.addCleanup(connection.close)
        connection.execute("CREATE TABLE best(height INTEGER PRIMARY KEY, hash BLOB NOT NULL)")
        connection.executescript(places.TABLES)
        self.connection = connection
        self.index = Places(connection)

    def count(self, table: str) -> int:
        found: int = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found

    def check(self, chain: list[list[bytes]]) -> None:
        """The index holds the transactions of this chain of blocks and no others."""
        expected = {hash: (height, at) for height, block in enumerate(chain) for at, hash in enumerate(block)}
        for hash, place in expected.items():
            self.assertEqual(self.index.find(hash), place)
        self.assertEqual(self.count("places") + self.count("new_places"), len(expected))
        shown = self.connection.execute("SELECT hash, block, position FROM transactions")
        self.assertEqual(
            {hash: (block, at) for hash, block, at in shown},
            {hash: (b"%d" % height, at) for hash, (height, at) in expected.items()},
        )

    def test_as_a_dictionary(self) -> None:
        for seed in range(5):
            chance, number = Random(seed), 0
            self.connection.executescript("DELETE FROM best; DELETE FROM places; DELETE FROM new_places")
            chain: list[list[bytes]] = []
            gone: list[bytes] = []
            merged = 0
            for _ in range(120):
                if chain and chance.random() < 0.1:
                    for _ in range(chance.randrange(1, min(4, len(chain)) + 1)):
                        self.index.drop(chain[-1])
                        gone += chain.pop()
                        self.connection.execute("DELETE FROM best WHERE height=?", (len(chain),))
                    continue
                back, gone = gone[:10], gone[10:]  # what was left comes again, elsewhere
                block = back + [keccak256(b"%d" % (number + at)) for at in range(chance.randrange(1, 20))]
                number += len(block)
                self.connection.execute("INSERT INTO best VALUES(?,?)", (len(chain), b"%d" % len(chain)))
                self.index.add(len(chain), block)
                chain.append(block)
                merged = max(merged, self.count("places"))
                self.assertLessEqual(self.count("new_places"), 4 * (20 + 30))
            with self.subTest(seed=seed):
                self.check(chain)
                self.assertGreater(merged, 0)
                self.assertIsNone(self.index.find(bytes(32)))

    def test_the_largest_place(self) -> None:
        self.connection.execute("INSERT INTO best VALUES(?,?)", (2**40, b"block"))
        self.index.add(2**40, [keccak256(b"%d" % at) for at in range(40_000)])
        self.assertEqual(self.index.find(keccak256(b"39999")), (2**40, 39_999))
