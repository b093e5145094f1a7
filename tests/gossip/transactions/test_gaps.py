"""Transactions with a gap before them, in a real pool."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chainp2p.chain.interfaces import Admission, IGaps
from chainp2p.gossip.transactions import gaps
from chainp2p.gossip.transactions.gaps import Gaps
from chainp2p.ledger.formats.transaction import transaction_hash
from chainp2p.ledger.pool.pool import Pool
from chainp2p.ledger.state.accounts import Account
from tests.ledger.common import raw_transfer
from tests.ledger.pool.test_pool import RICH, offer, pool_of, state_of

PART = 4


@implementer(IGaps)
class Waiting:
    """The pool of a ledger, as far as this is about it."""

    def __init__(self) -> None:
        self.pool: Pool = pool_of()
        self.given_up: list[bytes] = []

    def waits(self, hash: bytes) -> bool:
        return self.pool.waits(hash)

    def give_up(self, hash: bytes) -> None:
        self.given_up += [dropped.hash for dropped in self.pool.give_up(hash).dropped]


class GapsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(gaps, "TRANSACTIONS", 3 * PART)
        self.waiting = Waiting()
        self.gaps = Gaps(self.waiting)
        for link in ("flood", "honest"):
            self.gaps.joined(link)  # type: ignore[arg-type]

    def bring(self, link: Any, nonce: int, sender: int = 0, into: Gaps | None = None) -> bytes:
        raw = raw_transfer(sender, nonce=nonce)
        result, change = offer(self.waiting.pool, raw)
        self.assertEqual(result.outcome, Admission.ADMITTED)
        for dropped in change.dropped:
            self.gaps.dropped(dropped.hash)
        (into or self.gaps).admitted(link, result.hash, len(raw))
        return result.hash

    def test_a_flood_loses_its_own_and_no_other_peer_loses_any(self) -> None:
        honest = [self.bring("honest", 5 + n, 1) for n in range(PART)]
        flood = [self.bring("flood", 5 + n) for n in range(20)]
        self.assertEqual(self.waiting.given_up, flood[: 20 - 2 * PART])
        self.assertTrue(all(map(self.waiting.waits, honest)))
        self.assertEqual(len(self.gaps), 3 * PART)

    def test_what_has_no_gap_does_not_count(self) -> None:
        for nonce in range(3 * PART + 5):
            self.bring("flood", nonce)
        self.assertEqual((len(self.gaps), self.waiting.given_up), (0, []))

    def test_nobody_gets_a_new_part_by_coming_again(self) -> None:
        honest = [self.bring("honest", 5 + n, 1) for n in range(PART)]
        for sender in (2, 3, 4):
            self.gaps.joined("flood")  # type: ignore[arg-type]
            for n in range(2 * PART):
                self.bring("flood", 5 + n, sender)
            self.gaps.left("flood")  # type: ignore[arg-type]
        self.assertTrue(all(map(self.waiting.waits, honest)))
        self.assertEqual(len(self.gaps), 3 * PART)

    def test_closed_gaps_are_not_given_up(self) -> None:
        late = [self.bring("flood", 1 + n) for n in range(3 * PART)]
        self.bring("flood", 0)  # now none of them waits
        for n in range(3 * PART):
            self.bring("flood", 5 + n, 1)
        self.assertEqual(self.waiting.given_up, [])
        self.assertTrue(all(hash in self.waiting.pool for hash in late))

    def test_a_head_closes_gaps(self) -> None:
        hashes = [self.bring("honest", 1 + n) for n in range(3)]
        pool = self.waiting.pool
        pool.on_head(state_of(Account(1, RICH)), pool.base_fee, pool.gas_limit, (), (), 2.0)
        self.gaps.on_head()
        self.assertEqual((len(self.gaps), [hash in pool for hash in hashes]), (0, [True] * 3))

    def test_what_leaves_the_pool_is_forgotten(self) -> None:
        hash = self.bring("honest", 5)
        self.gaps.dropped(hash)
        self.gaps.dropped(hash)
        self.gaps.dropped(b"never heard of")
        self.assertEqual(len(self.gaps), 0)

    def test_a_pool_that_knows_no_gaps(self) -> None:
        none = Gaps(object())
        none.joined("honest")  # type: ignore[arg-type]
        none.admitted("honest", b"id", 100)  # type: ignore[arg-type]
        none.left("honest")  # type: ignore[arg-type]
        self.assertEqual(len(none), 0)


class PoolTests(SynchronousTestCase):
    def test_only_what_waits_can_be_given_up(self) -> None:
        pool = pool_of()
        first, gapped = raw_transfer(nonce=0), raw_transfer(nonce=2)
        for raw in (first, gapped):
            offer(pool, raw)
        hashes = [transaction_hash(raw) for raw in (first, gapped)]
        self.assertEqual([pool.waits(hash) for hash in [*hashes, b"unknown"]], [False, True, False])
        self.assertEqual(pool.give_up(hashes[0]).dropped, ())
        self.assertEqual([dropped.hash for dropped in pool.give_up(hashes[1]).dropped], hashes[1:])
        self.assertEqual(pool.hashes(), hashes[:1])
        self.assertEqual(pool.size, len(first))
