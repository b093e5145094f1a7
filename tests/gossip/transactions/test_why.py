"""Why a transaction is where it is: each case by its code, and what stands beside it."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import TransactionStanding
from chainp2p.gossip.transactions.provenance import Provenance, Stage
from chainp2p.gossip.transactions.why import (
    NAMED,
    TransactionAnswer,
    TransactionFacts,
    TransactionState,
    why_transaction,
)

HASH = b"\xab" * 32
PEER, OTHER = b"\x01" * 32, b"\x02" * 32


class WhyTransaction(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.memory = Provenance(lambda: self.now)

    def ask(self, pooled: bool = False, **more: Any) -> TransactionAnswer:
        facts = TransactionFacts(now=self.now + 5, hash=HASH, pooled=pooled, happened=self.memory.about(HASH), **more)
        return why_transaction(facts)

    def check(self, answer: TransactionAnswer, state: TransactionState, code: str, *words: str) -> None:
        self.assertEqual((answer.state, answer.code), (state, code))
        self.assertTrue(answer.line.startswith("transaction abababab: "), answer.line)
        for word in words:
            self.assertIn(word, answer.line)

    def test_unknown(self) -> None:
        self.check(self.ask(), TransactionState.UNKNOWN, "unknown", "unknown: it is neither")

    def test_included(self) -> None:
        self.memory.note(HASH, Stage.PUSHED, PEER)
        standing = TransactionStanding(True, "included", "in block 7 cdcdcdcd", {"height": 7})
        answer = self.ask(standing=standing, holders=[PEER, OTHER])
        self.check(answer, TransactionState.INCLUDED, "included", "in block 7", "pushed by peer 01010101 5 s ago")
        self.assertEqual((answer.evidence["height"], answer.evidence["source_peer"]), (7, PEER.hex()))
        self.assertEqual((answer.evidence["has_it"], answer.evidence["has_it_peers"]), (2, "01010101, 02020202"))

    def test_in_the_pool(self) -> None:
        self.memory.note(HASH, Stage.SUBMITTED)
        standing = TransactionStanding(False, "gapped_nonce", "its nonce is 9", {"missing_nonce": 5})
        answer = self.ask(pooled=True, standing=standing, told=[PEER])
        self.check(answer, TransactionState.PENDING, "gapped_nonce", "its nonce is 9; handed in here 5 s ago")
        self.assertEqual((answer.evidence["told"], answer.evidence["missing_nonce"]), (1, 5))
        self.assertNotIn("source_peer", answer.evidence)
        # a chain that cannot explain
        self.check(self.ask(pooled=True), TransactionState.PENDING, "waiting")

    def test_refused_and_dropped(self) -> None:
        self.memory.note(HASH, Stage.FETCHED, PEER)
        self.memory.note(HASH, Stage.REFUSED, PEER, "nonce too low: next nonce 5, tx nonce 4")
        self.check(self.ask(), TransactionState.REFUSED, "nonce_too_low", "next nonce 5", "fetched from peer 01010101")
        self.memory.note(HASH, Stage.ADMITTED)
        self.memory.note(HASH, Stage.DROPPED, None, "expired")
        answer = self.ask()
        self.check(answer, TransactionState.DROPPED, "expired", "left the pool 5 s ago: expired")
        self.assertEqual(
            [one.stage for one in answer.history],
            [*reversed([Stage.FETCHED, Stage.REFUSED, Stage.ADMITTED, Stage.DROPPED])],
        )

    def test_left_by_a_reorg(self) -> None:
        self.memory.note(HASH, Stage.SUBMITTED)
        self.memory.note(HASH, Stage.ADMITTED)
        self.memory.note(HASH, Stage.INCLUDED)
        self.check(self.ask(), TransactionState.DROPPED, "left_by_reorg", "not on the best chain any more")
        self.memory.note(HASH, Stage.ADMITTED)
        self.memory.note(HASH, Stage.DROPPED, None, "insufficient funds: overshot 3")
        self.check(self.ask(), TransactionState.DROPPED, "insufficient_funds", "overshot 3")

    def test_on_its_way(self) -> None:
        self.memory.note(HASH, Stage.HEARD, PEER)
        answer = self.ask(announcers=[PEER, OTHER], asked=OTHER)
        self.check(answer, TransactionState.COMING, "asked_for", "announced by 2, asked of peer 02020202")
        self.assertEqual(answer.evidence["asked"], OTHER.hex())
        self.check(self.ask(announcers=[PEER]), TransactionState.COMING, "announced")
        self.check(self.ask(), TransactionState.COMING, "not_delivered", "5 s ago")

    def test_many_peers_are_counted_and_some_named(self) -> None:
        answer = self.ask(pooled=True, holders=[bytes([n]) * 32 for n in range(NAMED + 4)])
        self.assertEqual(answer.evidence["has_it"], NAMED + 4)
        self.assertTrue(str(answer.evidence["has_it_peers"]).endswith("and 4 more"))
