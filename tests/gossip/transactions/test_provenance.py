"""What is remembered of transactions, and for how long."""

from twisted.trial.unittest import SynchronousTestCase

import chainp2p.gossip.transactions.provenance
from chainp2p.gossip.transactions.provenance import FIRST, LAST, Provenance, Stage, reason_code

PEER, OTHER = b"p" * 32, b"o" * 32


class ProvenanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.memory = Provenance(self.tick)

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def stages(self, hash: bytes) -> list[Stage]:
        return [one.stage for one in self.memory.about(hash)]

    def test_a_life(self) -> None:
        for stage, peer, reason in (
            (Stage.HEARD, PEER, ""),
            (Stage.FETCHED, PEER, ""),
            (Stage.ADMITTED, None, ""),
            (Stage.INCLUDED, None, ""),
            (Stage.ADMITTED, None, ""),
            (Stage.DROPPED, None, "replaced"),
        ):
            self.memory.note(b"a", stage, peer, reason)
        expected = [Stage.HEARD, Stage.FETCHED, Stage.ADMITTED, Stage.INCLUDED, Stage.RETURNED, Stage.DROPPED]
        self.assertEqual(self.stages(b"a"), expected)
        last = self.memory.about(b"a")[-1]
        self.assertEqual((last.code, last.text, last.when, last.since), ("replaced", "replaced", 6.0, 6.0))
        self.assertEqual(self.memory.about(b"?"), ())

    def test_what_happens_again_is_counted_and_stands_last(self) -> None:
        for reason in ("nonce too low: next nonce 5", "full", "nonce too low: next nonce 6"):
            self.memory.note(b"a", Stage.REFUSED, PEER, reason)
        full, low = self.memory.about(b"a")
        self.assertEqual((full.code, low.code, low.times), ("full", "nonce_too_low", 2))
        self.assertEqual((low.since, low.when, low.text), (1.0, 3.0, "nonce too low: next nonce 6"))

    def test_the_first_and_the_last_of_many_are_kept(self) -> None:
        for n in range(50):
            self.memory.note(b"a", Stage.REFUSED, bytes([n]) * 32, "full")
        peers = [one.peer_id[0] for one in self.memory.about(b"a") if one.peer_id]
        self.assertEqual(peers, [*range(FIRST), *range(50 - LAST, 50)])

    def test_a_flood_of_others_forgets_neither_own_nor_pooled(self) -> None:
        for name, room in (("OWN", 2), ("POOLED", 3), ("OTHERS", 2)):
            self.patch(chainp2p.gossip.transactions.provenance, name, room)
        self.memory.note(b"mine", Stage.SUBMITTED)
        self.memory.note(b"mine", Stage.REFUSED, None, "full")
        self.memory.note(b"pooled", Stage.PUSHED, PEER)
        self.memory.note(b"pooled", Stage.ADMITTED)
        for n in range(20):
            self.memory.note(bytes([n]), Stage.HEARD, OTHER)
        self.assertEqual(self.stages(b"mine"), [Stage.SUBMITTED, Stage.REFUSED])
        self.assertEqual(self.stages(b"pooled"), [Stage.PUSHED, Stage.ADMITTED])
        self.assertEqual([n for n in range(20) if self.memory.about(bytes([n]))], [18, 19])
        # handed in here later: it is ours from then on
        self.memory.note(b"pooled", Stage.SUBMITTED)
        for n in range(20):
            self.memory.note(bytes([n]) * 2, Stage.ADMITTED)
        self.assertEqual(self.stages(b"pooled")[-1], Stage.SUBMITTED)
        self.assertEqual(sum(bool(self.memory.about(bytes([n]) * 2)) for n in range(20)), 3)

    def test_codes(self) -> None:
        self.assertEqual(reason_code("exceeds block gas limit"), "exceeds_block_gas_limit")
        self.assertEqual(reason_code("the pool is full: 5,000"), "the_pool_is_full")
        self.assertEqual(reason_code(""), "")
