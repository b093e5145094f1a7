"""The ledger through its door: producing, importing, the pool across reorganisations and restarts, reading."""

import random

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from chainp2p.chain.interfaces import (
    Admission,
    AlreadyKnown,
    BlockProduced,
    Connected,
    FinalizedChanged,
    HeadChanged,
    HeaderAdded,
    IBlockProducer,
    IBodyCheck,
    IChain,
    IGaps,
    ITransactionPool,
    Stored,
    TransactionAdded,
    TransactionDropped,
)
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.execution import BlockResult
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.journal import GATHERED
from chainp2p.ledger.pool.pool import PoolLimits
from chainp2p.ledger.producing import making
from tests.ledger.consensus.test_poa import planned
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, ETHER, TIME, AtOnce, Disk, Harness, genesis_of, transfer


class Producing(Harness):
    def test_it_is_what_it_says(self) -> None:
        ledger = self.started(genesis_of(2), 0)
        for interface in (IBlockProducer, IBodyCheck, IChain, IGaps, ITransactionPool):
            verifyObject(interface, ledger)
        self.assertEqual(ledger.settings_hashes(), ())
        self.assertEqual(ledger.genesis_hash, ledger.head.hash)

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
        self.assertEqual((follower.head.height, follower.safe.height, follower.finalized.height), (10, 9, 8))
        self.assertIsInstance(self.feed(follower, raws[3]), AlreadyKnown)
        self.assertEqual(self.get(follower.block(one.head.hash)), raws[-1])
        self.assertEqual(self.get(follower.header(one.head.hash)), follower.split(raws[-1])[0])
        self.assertEqual(
            self.get(follower.headers_after(genesis.hash, 2)), [follower.split(raw)[0] for raw in raws[:2]]
        )
        self.assertEqual(self.get(follower.blocks_from(follower.block_hash(raws[0]), 2, 10**6)), raws[:2])
        header, transactions = follower.split(raws[0])
        self.assertEqual(follower.assemble(header, [raw for _, raw in transactions]), raws[0])

    def test_events_of_one_block_in_order(self) -> None:
        ledger = self.started(genesis_of(1), 0)
        self.get(ledger.admit(transfer(5, 0), True))
        ledger.seen.clear()
        raw = self.seal(ledger, 3)
        kinds = [type(event) for event in ledger.seen]
        self.assertEqual(kinds, [HeaderAdded, HeadChanged, BlockProduced, FinalizedChanged, TransactionDropped])
        self.assertEqual(ledger.seen[2], BlockProduced(ledger.head, raw))
        self.assertEqual(ledger.seen[3].header, ledger.head)
        self.assertEqual(ledger.seen[4].reason, "included")

    def test_a_subscriber_that_fails_harms_nobody(self) -> None:
        ledger = self.started(genesis_of(1), 0)

        def fail(event: object) -> None:
            raise KeyError("mine")

        ledger.events.subscribe(HeadChanged, fail)
        self.assertIsNotNone(self.seal(ledger, 1))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_when_it_is_our_turn(self) -> None:
        ledger = self.started(genesis_of(3), 1)
        self.assertTrue(ledger.can_produce())
        self.assertFalse(ledger.sole_producer())
        self.assertEqual(ledger.next_time(TIME), TIME + 1)
        self.assertEqual(ledger.next_time(TIME + 1.5), TIME + 1.5)
        self.assertEqual(ledger.next_time(TIME + 2), TIME + 4)
        self.assertIsNone(self.get(ledger.produce(TIME + 2)))
        self.assertIsNotNone(self.seal(ledger, 4))
        self.assertEqual(ledger.next_time(TIME + 4), TIME + 7)
        self.assertIsNone(self.get(ledger.produce(TIME + 4)))
        self.assertEqual(ledger.warm_up_seconds(), 10.0)

    def test_warm_up_is_two_rounds(self) -> None:
        ledger = self.started(genesis_of(4, 12000), 1)
        self.assertEqual(ledger.warm_up_seconds(), 96.0)
        sole = self.started(genesis_of(1), 0, sole_start=True)
        self.assertTrue(sole.sole_producer())
        self.assertEqual(sole.warm_up_seconds(), 0.0)

    def test_who_is_no_signer_never_produces(self) -> None:
        for signer in (None, 7):
            ledger = self.started(genesis_of(2), signer)
            self.assertFalse(ledger.can_produce())
            self.assertFalse(ledger.sole_producer())
            self.assertIsNone(ledger.next_time(TIME + 5))
            self.assertIsNone(self.get(ledger.produce(TIME + 5)))
        self.assertFalse(self.make(genesis_of(2), 0).can_produce())

    def test_a_list_that_changes_by_height(self) -> None:
        genesis = planned([(0, [0]), (3, [0, 1]), (5, [1])])
        one, two = self.started(genesis, 0), self.started(genesis, 1)
        heights: dict[int, bytes] = {}
        for slot in range(1, 12):
            for ledger in (one, two):
                raw = self.seal(ledger, slot)
                if raw is not None:
                    header = Header.decode(ledger.split(raw)[0])
                    heights[header.number] = header.miner
                    self.feed(one, raw)
                    self.feed(two, raw)
        first, second = ADDRESSES[:2]
        self.assertEqual([heights[height] for height in (1, 2)], [first, first])
        self.assertEqual({heights[3], heights[4]}, {first, second})
        self.assertEqual({heights[height] for height in heights if height >= 5}, {second})
        self.assertFalse(one.can_produce())
        self.assertTrue(two.sole_producer())
        self.assertEqual(len(one.settings_hashes()), 2)
        self.assertGreater(one.finalized.height, 5)
        self.assertEqual(one.finalized, two.finalized)


class OnDemand(Harness):
    def test_a_transaction_makes_a_block_and_nothing_else_does(self) -> None:
        ledger = self.started(genesis_of(1, 0), 0)
        self.assertIsNone(ledger.next_time(TIME))
        self.assertIsNone(self.get(ledger.produce(TIME)))
        self.get(ledger.admit(transfer(5, 1), True))  # a gap: nothing can be included
        self.assertIsNone(ledger.next_time(TIME))
        self.get(ledger.admit(transfer(5, 0), True))
        self.clock.now = TIME + 7.3
        self.assertEqual(ledger.next_time(self.clock.now), TIME + 7.3)
        self.assertIsNotNone(self.get(ledger.produce(self.clock.now)))
        header = self.get(ledger.reader.header(ledger.head.hash))
        self.assertEqual((header.number, header.nonce, header.timestamp), (1, 1, TIME + 7))
        self.assertEqual(self.get(ledger.reader.account(ADDRESSES[5], ledger.head.hash)).nonce, 2)
        self.assertEqual(ledger.finalized, ledger.head)

    def test_at_most_one_in_fifty_milliseconds(self) -> None:
        ledger = self.started(genesis_of(1, 0), 0)
        self.get(ledger.admit(transfer(5, 0), True))
        self.assertIsNotNone(self.get(ledger.produce(TIME)))
        self.get(ledger.admit(transfer(5, 1), True))
        self.assertEqual(ledger.next_time(TIME + 0.01), TIME + 0.05)
        self.assertIsNone(self.get(ledger.produce(TIME + 0.01)))
        self.assertIsNotNone(self.get(ledger.produce(TIME + 0.05)))

    def test_time_never_runs_back(self) -> None:
        ledger = self.started(genesis_of(1, 0), 0)
        self.get(ledger.admit(transfer(5, 0), True))
        self.get(ledger.produce(TIME + 9))
        self.get(ledger.admit(transfer(5, 1), True))
        self.clock.now = TIME + 2
        self.get(ledger.produce(TIME + 9.06))
        self.assertEqual(self.get(ledger.reader.header(ledger.head.hash)).timestamp, TIME + 9)

    def test_what_cannot_be_included_waits_for_something_new(self) -> None:
        ledger = self.started(genesis_of(1, 0), 0)
        self.get(ledger.admit(transfer(5, 0), True))
        fill, making.fill_block = making.fill_block, lambda *args: ((), making_nothing())
        try:
            self.assertIsNone(self.get(ledger.produce(TIME)))
        finally:
            making.fill_block = fill
        self.assertIsNone(ledger.next_time(TIME))
        self.get(ledger.admit(transfer(6, 0), True))
        self.assertEqual(ledger.next_time(TIME), TIME)

    def test_the_maker_looks_again_itself(self) -> None:
        """Between the question and the job the head may have moved, or a conflict have come up."""
        ledger = self.started(genesis_of(2), 0)
        opened = ledger._opened
        self.assertIn("not our turn", opened.maker.make(TIME + 1, []))
        self.seal(ledger, 2)
        self.assertIn("not above", opened.maker.make(TIME + 2, []))
        opened.core.branches._conflicts.standing = object()
        self.assertIn("conflict", opened.maker.make(TIME + 4, []))

    def test_a_lost_chain_is_not_sealed_over(self) -> None:
        disk = Disk()
        ledger = self.started(genesis_of(1, 0), 0, disk=disk)
        self.get(ledger.admit(transfer(5, 0), True))
        raw = self.get(ledger.produce(TIME))
        files = disk.copy().files
        del files["chain.sqlite"]
        again = self.started(genesis_of(1, 0), 0, disk=Disk(files))
        self.get(again.admit(transfer(6, 0), True))
        self.assertIsNone(self.get(again.produce(TIME + 1)))
        self.assertIsNone(again.next_time(TIME + 2))
        self.feed(again, raw)
        self.assertEqual(again.next_time(TIME + 2), TIME + 2)
        self.assertIsNotNone(self.get(again.produce(TIME + 2)))


def making_nothing() -> BlockResult:
    return BlockResult((), (), 0)


class PoolAndChain(Harness):
    def test_admission(self) -> None:
        ledger = self.started(genesis_of(2), 0)
        raw = transfer(5, 0)
        result = self.get(ledger.admit(raw, False))
        self.assertEqual(result.outcome, Admission.ADMITTED)
        self.assertEqual(ledger.seen, [TransactionAdded(result.hash, len(raw), False)])
        self.assertEqual(ledger.transaction(result.hash), raw)
        self.assertEqual(ledger.transaction_hashes(), [result.hash])
        self.assertEqual(ledger.transaction_hash(raw), result.hash)
        self.assertIsNone(ledger.transaction(bytes(32)))
        self.assertEqual(self.get(ledger.admit(raw, False)).outcome, Admission.KNOWN)
        self.assertEqual(self.get(ledger.admit(b"\x02junk", False)).outcome, Admission.REJECTED)
        self.assertEqual(self.get(ledger.admit(transfer(5, 0, value=10**30), False)).outcome, Admission.IGNORED)

    def test_what_a_reorganisation_leaves_comes_back_and_is_included_again(self) -> None:
        genesis = genesis_of(2)
        one, two = self.started(genesis, 0), self.started(genesis, 1)
        shared, mine = transfer(5, 0), transfer(6, 0)
        for raw in (shared, mine):
            self.get(one.admit(raw, True))
        self.get(two.admit(shared, True))
        left = self.seal(one, 2)
        self.assertEqual(len(one.pool), 0)
        side = [self.seal(two, slot) for slot in (3, 5)]
        one.seen.clear()
        for raw in side:
            self.feed(one, raw)
        self.assertEqual(one.head, two.head)
        self.assertEqual(one.transaction_hashes(), [one.transaction_hash(mine)])
        added = [event for event in one.seen if isinstance(event, TransactionAdded)]
        self.assertEqual([event.hash for event in added], [one.transaction_hash(mine)])
        self.assertIsNone(self.get(one.reader.transaction(one.transaction_hash(mine))))
        self.assertIsInstance(self.feed(two, left), Stored)
        self.assertIsNotNone(self.seal(one, 6))
        found = self.get(one.reader.transaction(one.transaction_hash(mine)))
        self.assertEqual((found.height, found.index, found.sender), (3, 0, ADDRESSES[6]))
        self.assertEqual(found.block_hash, one.head.hash)
        self.assertEqual(found.transaction.raw, mine)

    def test_the_pool_survives_a_restart(self) -> None:
        disk = Disk()
        ledger = self.started(genesis_of(2), 0, disk=disk)
        raws = [transfer(5, 0), transfer(5, 1), transfer(6, 0), transfer(6, 4)]
        for raw in reversed(raws):  # our own one is stored at once, and with it what has gathered
            self.get(ledger.admit(raw, raw is raws[0]))
        again = self.started(genesis_of(2), 0, disk=disk.copy())
        self.assertEqual(sorted(again.transaction_hashes()), sorted(ledger.transaction_hashes()))
        self.assertTrue(again.pool.entry(again.transaction_hash(raws[0])).local)
        self.seal(ledger, 2)
        self.assertEqual(ledger.transaction_hashes(), [ledger.transaction_hash(raws[3])])
        third = self.started(genesis_of(2), 0, disk=disk.copy())
        self.assertEqual(third.transaction_hashes(), ledger.transaction_hashes())
        # one that no longer fits is forgotten for good
        tight = self.started(genesis_of(2), disk=disk.copy(), pool_limits=PoolLimits(transactions=1, min_tip=10**10))
        self.assertEqual(tight.transaction_hashes(), [])

    def test_what_peers_sent_is_stored_with_others_or_the_next_head(self) -> None:
        disk = Disk()
        ledger = self.started(genesis_of(2), 0, disk=disk)

        def stored() -> int:
            return len(self.started(genesis_of(2), disk=disk.copy()).transaction_hashes())

        self.get(ledger.admit(transfer(6, 4), False))
        self.assertEqual(stored(), 0)
        self.seal(ledger, 2)
        self.assertEqual(stored(), 1)
        for sender in range(8):
            for nonce in range(5, 13):
                self.get(ledger.admit(transfer(sender, nonce), False))
        self.assertEqual(stored(), 1 + GATHERED)

    def test_old_transactions_expire(self) -> None:
        ledger = self.started(genesis_of(2), 0)
        self.get(ledger.admit(transfer(5, 4), True))
        self.clock.now += 3 * 3600
        self.get(ledger.admit(transfer(6, 4), True))
        self.assertEqual(len(ledger.pool), 2)
        self.clock.now += 30
        self.get(ledger.admit(transfer(7, 4), True))
        self.assertEqual(len(ledger.pool), 3)
        self.clock.now += 31
        self.get(ledger.admit(transfer(8, 4), True))
        self.assertEqual(len(ledger.pool), 3)
        self.assertEqual(ledger.seen[-1].reason, "expired")

    def test_changes_gather_while_the_disk_is_busy(self) -> None:
        class Slow(AtOnce):
            jobs: list[tuple[Deferred[object], object, tuple[object, ...]]] = []
            slow = False

            def run(self, f, /, *args):  # type: ignore[no-untyped-def]
                if not self.slow or getattr(f, "__name__", "") != "_write":
                    return super().run(f, *args)
                done: Deferred[object] = Deferred()
                self.jobs.append((done, f, args))
                return done

        slow = Slow()
        ledger = Ledger(genesis_of(2), executor=slow, now=self.clock, random=random.Random(1), open_database=Disk())
        self.get(ledger.start())
        slow.slow = True
        for nonce in range(5):
            self.get(ledger.admit(transfer(5, nonce), True))
        self.assertEqual(len(slow.jobs), 1)
        for count in (1, 4):
            done, f, args = slow.jobs.pop()
            self.assertEqual(len(args[0]), count)
            f(*args)
            done.callback(None)
        self.assertEqual(slow.jobs, [])
        slow.slow = False
        self.get(ledger.stop())


class Reading(Harness):
    def test_blocks_receipts_transactions_accounts(self) -> None:
        ledger = self.started(genesis_of(1), 0)
        raws = [transfer(5, 0, 8, ETHER), transfer(6, 0, 8, 2 * ETHER), transfer(7, 0, 8, 3)]
        for raw in raws:
            self.get(ledger.admit(raw, True))
        self.seal(ledger, 1)
        for slot in range(2, 300):
            self.seal(ledger, slot)
        reader, first = ledger.reader, self.get(ledger.hash_at(1))
        block = self.get(reader.block(first))
        self.assertEqual(sorted(one.raw for one in block.transactions), sorted(raws))
        self.assertEqual(block.size, len(block.raw))
        receipts = self.get(reader.receipts(first))
        self.assertEqual([one.cumulative_gas for one in receipts], [21000, 42000, 63000])
        self.assertEqual([one.transaction_hash for one in receipts], [one.hash for one in block.transactions])
        self.assertEqual({one.sender for one in receipts}, set(ADDRESSES[5:8]))
        self.assertEqual(self.get(reader.receipts(ledger.head.hash)), ())
        self.assertIsNone(self.get(reader.receipts(bytes(32))))
        self.assertIsNone(self.get(reader.block(bytes(32))))
        self.assertIsNone(self.get(reader.header(bytes(32))))
        self.assertIsNone(self.get(reader.transaction(bytes(32))))
        self.assertEqual(self.get(reader.hash_at(1)), first)
        self.assertIsNone(self.get(reader.hash_at(1000)))
        included = self.get(reader.transaction(block.transactions[1].hash))
        self.assertEqual((included.height, included.index, included.timestamp), (1, 1, TIME + 1))
        self.assertEqual(included.base_fee, block.header.base_fee)
        balance = self.get(reader.account(ADDRESSES[8], ledger.head.hash)).balance
        self.assertEqual(balance, 1003 * ETHER + 3)
        self.assertIsNone(self.get(reader.account(ADDRESSES[8], first)))
        self.assertIsNone(self.get(reader.account(ADDRESSES[8], bytes(32))))

    def test_accounts_at_recent_heights_after_a_restart_too(self) -> None:
        disk = Disk()
        ledger = self.started(genesis_of(1), 0, disk=disk)
        for nonce in range(40):
            self.get(ledger.admit(transfer(5, nonce, 8, 1), True))
            self.seal(ledger, nonce + 1)
        hashes = self.chain_of(ledger)
        for one in (ledger, self.started(genesis_of(1), 0, disk=disk.copy())):
            for height, hash in enumerate(hashes):
                account = self.get(one.reader.account(ADDRESSES[5], hash))
                self.assertEqual(account.nonce, height)
                state = self.get(one.reader.state(hash))
                self.assertEqual(state.root, self.get(one.reader.header(hash)).state_root)
                self.assertIs(self.get(one.reader.state(hash)), state)  # made or not, it is kept
        # from a head that is not the head any more
        now = self.get(ledger.reader.state(hashes[-1]))
        for head, state in ((evolve(ledger.head, hash=bytes(32)), now), (ledger.head, None)):
            self.failureResultOf(ledger.reader.state_from(hashes[5], head, state), LookupError)
        self.assertIs(self.get(ledger.reader.state_from(hashes[-1], ledger.head, now)), now)
        self.assertIsNone(self.get(ledger.reader.state_from(bytes(32), ledger.head, now)))

    def test_large_blocks_have_their_senders_recovered_in_chunks(self) -> None:
        genesis = genesis_of(1)
        forge = Forge(genesis)
        big = forge.grow(forge.root, 1, transactions=[transfer(5, nonce) for nonce in range(70)])
        alien = forge.grow(forge.root, 2, transactions=[transfer(5, nonce) for nonce in range(20)], seal=False)
        jobs: list[object] = []

        class Counting(AtOnce):
            def run(self, f, /, *args):  # type: ignore[no-untyped-def]
                jobs.append(f.__name__)
                return super().run(f, *args)

            def lane(self, name: str) -> AtOnce:
                return AtOnce()

        self.clock.now += 10
        ledger = Ledger(genesis, executor=Counting(), now=self.clock, random=random.Random(1), open_database=Disk())
        self.get(ledger.start())
        self.addCleanup(ledger.stop)
        self.feed(ledger, alien.raw)
        self.assertEqual(jobs, ["_split_all"])
        self.assertIsInstance(self.feed(ledger, big.raw), Connected)
        self.assertEqual(jobs[1:], ["_split_all"] + 3 * ["_recover_raws"])
        self.assertEqual(self.get(ledger.reader.state(big.hash)).root, big.state.root)
