"""The ledger through its door: producing, importing, reorganising, reading."""

from chainp2p.chain.interfaces import (
    AlreadyKnown,
)
from tests.ledger.network import Harness, genesis_of


class FirstBlocks(Harness):
    def test_two_signers_take_turns_and_a_follower_imports(self) -> None:
        genesis = genesis_of(2)
        one, two = self.started(genesis, 0), self.started(genesis, 1)
        follower = self.started(genesis)
        raws = []
        for slot in range(1, 11):
            made = [raw for raw in (self.seal(one, slot), self.seal(two, slot)) if raw is not None]
            self.assertEqual(len(made), 1)
            raws += made
            for ledger in (one, two, follower):
                self.feed(ledger, made[0])
        self.assertEqual(follower.head, one.head)
        self.assertEqual(follower.head, two.head)
        self.assertEqual(follower.head.height, 10)
        self.assertEqual(follower.finalized.height, 8)
        self.assertIsInstance(self.feed(follower, raws[3]), AlreadyKnown)
