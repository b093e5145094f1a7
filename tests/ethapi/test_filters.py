"""Filters that are polled, subscriptions that are pushed, and the pool's namespace."""

import random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeaderAdded
from chainp2p.ethapi.filters import LIFETIME, MAX_FILTERS, MAX_ITEMS, MAX_SIZE, FilterKind, Filters
from chainp2p.ethapi.render import checksummed
from chainp2p.namespaces import RpcError
from chainp2p.primitives.keccak import keccak256
from tests.ethapi.common import ACCOUNTS, EthHarness, transfer


class Bounds(SynchronousTestCase):
    def test_memory_is_bounded(self) -> None:
        filters = Filters(b"x")
        first = filters.add(0.0, FilterKind.BLOCKS)
        second = filters.add(0.0, FilterKind.BLOCKS)
        filters.changes(0.0, first)
        for _ in range(MAX_FILTERS - 1):
            filters.add(0.0, FilterKind.TRANSACTIONS)
        self.assertEqual(len(filters), MAX_FILTERS)
        self.assertRaises(RpcError, filters.changes, 0.0, second)
        for index in range(MAX_ITEMS + 5):
            filters.happened(0.0, FilterKind.BLOCKS, str(index))
        self.assertEqual(filters.changes(0.0, first)[0], "5")
        ids = [Filters(seed).add(0.0, FilterKind.BLOCKS) for seed in (b"x", b"y")]
        self.assertEqual(len(set(ids)), 2)

    def test_each_gets_what_came_since_it_asked(self) -> None:
        for seed in range(20):
            chance, filters = random.Random(seed), Filters(b"x")
            waiting: dict[str, list[int]] = {}
            for number in range(300):
                match chance.randrange(8):
                    case 0:
                        waiting[filters.add(0.0, FilterKind.BLOCKS)] = []
                    case 1 if waiting:
                        id = chance.choice(list(waiting))
                        self.assertEqual(filters.changes(0.0, id), waiting[id], seed)
                        waiting[id] = []
                    case 2 if waiting:
                        id = chance.choice(list(waiting))
                        self.assertTrue(filters.remove(0.0, id))
                        del waiting[id]
                    case _:
                        filters.happened(0.0, FilterKind.BLOCKS, number, 1)
                        filters.happened(0.0, FilterKind.LOGS, number, 1)
                        for items in waiting.values():
                            items.append(number)
            for id in waiting:
                filters.remove(0.0, id)
            self.assertEqual([(one.size, len(one.items)) for one in filters._seen.values()], [(0, 0)] * 4)

    def test_large_items_are_bounded_by_their_bytes(self) -> None:
        filters = Filters(b"x")
        id = filters.add(0.0, FilterKind.WHOLE_TRANSACTIONS)
        for _ in range(2):
            for index in range(20):
                filters.happened(0.0, FilterKind.WHOLE_TRANSACTIONS, index, MAX_SIZE // 8)
            self.assertEqual(filters.changes(0.0, id), list(range(12, 20)))

    def test_who_does_not_ask_is_forgotten(self) -> None:
        filters = Filters(b"x")
        asked, left, logs = (filters.add(0.0, kind) for kind in (FilterKind.BLOCKS, FilterKind.BLOCKS, FilterKind.LOGS))
        filters.happened(LIFETIME - 1, FilterKind.BLOCKS, "a")
        self.assertEqual(filters.changes(LIFETIME - 1, asked), ["a"])
        self.assertEqual(len(filters), 3)
        filters.happened(LIFETIME + 1, FilterKind.BLOCKS, "b")
        self.assertEqual(len(filters), 1)
        self.assertEqual(filters.changes(LIFETIME + 1, asked), ["b"])
        error = self.assertRaises(RpcError, filters.changes, LIFETIME + 1, left)
        self.assertEqual((error.code, error.message), (-32000, "filter not found"))
        self.assertFalse(filters.remove(LIFETIME + 1, logs))
        # a clock that is put back forgets nobody
        self.assertEqual(filters.changes(5.0, asked), [])
        self.assertFalse(filters.remove(3 * LIFETIME, asked))

    def test_ids_are_quantities(self) -> None:
        filters = Filters(b"x")
        ids = [filters.add(0.0, FilterKind.BLOCKS) for _ in range(64)]
        self.assertEqual([hex(int(id, 16)) for id in ids], ids)
        self.assertEqual({len(id) for id in ids}, {34})
        self.assertEqual(len(set(ids)), 64)


class Polling(EthHarness):
    def test_each_filter_gets_its_own(self) -> None:
        blocks, transactions = self.call("eth_newBlockFilter"), self.call("eth_newPendingTransactionFilter")
        logs = self.call("eth_newFilter", {"fromBlock": "0x0"})
        raw = transfer(3, 0)
        self.mine(raw)
        self.assertEqual(self.call("eth_getFilterChanges", blocks), ["0x" + self.ledger.head.hash.hex()])
        self.assertEqual(self.call("eth_getFilterChanges", blocks), [])
        self.assertEqual(self.call("eth_getFilterChanges", transactions), ["0x" + keccak256(raw).hex()])
        self.assertEqual(self.call("eth_getFilterChanges", logs), [])
        self.assertEqual(self.call("eth_getFilterLogs", logs), [])
        self.assertEqual(self.refused("eth_getFilterLogs", blocks), (-32000, "filter not found"))
        self.assertTrue(self.call("eth_uninstallFilter", blocks))
        self.assertFalse(self.call("eth_uninstallFilter", blocks))
        self.assertEqual(self.refused("eth_getFilterChanges", blocks), (-32000, "filter not found"))

    def test_whole_transactions(self) -> None:
        whole, hashes = (self.call("eth_newPendingTransactionFilter", full) for full in (True, False))
        raws = [transfer(3, nonce) for nonce in range(2)]
        self.get(self.ledger.admit(raws[0], True))
        pending = self.call("eth_getTransactionByHash", "0x" + keccak256(raws[0]).hex())
        self.mine(raws[1])
        # they are told as they were when they came, though they are in a block by now
        first, second = self.call("eth_getFilterChanges", whole)
        self.assertEqual((first, first["blockHash"], second["nonce"]), (pending, None, "0x1"))
        self.assertEqual(self.call("eth_getFilterChanges", hashes), [first["hash"], second["hash"]])
        self.assertEqual(self.call("eth_getFilterChanges", whole), [])

    def test_they_do_not_live_for_ever(self) -> None:
        ids = [self.call("eth_newBlockFilter"), self.call("eth_newFilter", {})]
        self.clock.now += LIFETIME - 1
        self.assertEqual([self.call("eth_getFilterChanges", id) for id in ids], [[], []])
        self.clock.now += LIFETIME + 1
        for id in ids:
            for method in ("eth_getFilterChanges", "eth_getFilterLogs"):
                self.assertEqual(self.refused(method, id), (-32000, "filter not found"))
            self.assertFalse(self.call("eth_uninstallFilter", id))


class Pushing(EthHarness):
    def test_new_heads(self) -> None:
        events, close = self.subscribe("newHeads")
        self.mine(transfer(3, 0))
        self.mine()
        self.assertEqual(events, [self.call("eth_getHeaderByNumber", number) for number in ("0x1", "0x2")])
        close()
        self.mine()
        self.assertEqual(len(events), 2)

    def test_heads_stay_in_order_when_reading_takes_long(self) -> None:
        events, close = self.subscribe("newHeads")
        reader, waiting = self.ledger.reader.header, []

        def slow(hash: bytes) -> "Deferred[Any]":
            done: Deferred[Any] = Deferred()
            waiting.append((done, hash))
            return done

        self.ledger.reader.header = slow  # type: ignore[method-assign]
        for _ in range(3):
            self.mine()
        self.assertEqual((events, len(waiting)), ([], 1))
        while waiting:
            done, hash = waiting.pop()
            done.callback(self.get(reader(hash)))
            if len(events) == 2:
                close()
        self.assertEqual([one["number"] for one in events], ["0x1", "0x2"])

    def test_a_failure_to_read_is_logged_and_does_not_stop_it(self) -> None:
        events, close = self.subscribe("newHeads")
        reader = self.ledger.reader.header

        def fail(hash: bytes) -> Any:
            raise KeyError("ours")

        self.ledger.reader.header = fail  # type: ignore[method-assign]
        self.mine()
        self.ledger.reader.header = reader  # type: ignore[method-assign]
        self.mine()
        self.assertEqual([one["number"] for one in events], ["0x2"])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        close()

    def test_pending_transactions(self) -> None:
        hashes, close_hashes = self.subscribe("newPendingTransactions")
        also, _ = self.subscribe("newPendingTransactions", False)
        full, _ = self.subscribe("newPendingTransactions", True)
        raw = transfer(3, 0)
        self.get(self.ledger.admit(raw, True))
        expected = "0x" + keccak256(raw).hex()
        self.assertEqual((hashes, also, [one["hash"] for one in full]), ([expected], [expected], [expected]))
        self.assertEqual(full[0]["from"], ACCOUNTS[3])
        close_hashes()
        self.get(self.ledger.admit(transfer(3, 1), True))
        self.assertEqual((len(hashes), len(also)), (1, 2))

    def test_logs_say_nothing(self) -> None:
        for params in (["logs"], ["logs", {"topics": []}]):
            events, close = self.subscribe(*params)
            self.mine()
            close()
            self.assertEqual(events, [])

    def test_syncing(self) -> None:
        events, close = self.subscribe("syncing")
        self.assertFalse(self.call("eth_syncing"))
        ahead = evolve(self.ledger.head, height=20)
        self.ledger.best_header = ahead
        for _ in range(2):
            self.ledger.events.publish(HeaderAdded(ahead))
        self.assertEqual(self.call("eth_syncing")["highestBlock"], "0x14")
        self.mine()
        self.assertEqual([event if event is False else event["syncing"] for event in events], [True, False])
        close()


class PoolTests(EthHarness):
    def test_what_waits(self) -> None:
        for nonce in (0, 1, 5):
            self.get(self.ledger.admit(transfer(3, nonce), True))
        self.get(self.ledger.admit(transfer(4, 7), True))
        self.assertEqual(self.call("txpool_status"), {"pending": "0x2", "queued": "0x2"})
        three, four = (checksummed(bytes.fromhex(ACCOUNTS[index][2:])) for index in (3, 4))
        content = self.call("txpool_content")
        self.assertEqual({key: list(value) for key, value in content["pending"].items()}, {three: ["0", "1"]})
        self.assertEqual({key: list(value) for key, value in content["queued"].items()}, {three: ["5"], four: ["7"]})
        self.assertEqual(content["pending"][three]["0"]["from"], ACCOUNTS[3])
        self.assertEqual(self.call("txpool_contentFrom", ACCOUNTS[3])["queued"], content["queued"][three])
        self.assertEqual(self.call("txpool_contentFrom", ACCOUNTS[5]), {"pending": {}, "queued": {}})
        line = self.call("txpool_inspect")["queued"][four]["7"]
        nine = checksummed(bytes.fromhex(ACCOUNTS[9][2:]))
        self.assertEqual(line, f"{nine}: 1 wei + 21000 gas × 2000000000 wei")
        self.assertEqual(nine, "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720")
