"""What callers write for blocks, calls and filters."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ethapi.calling import slot
from chainp2p.ethapi.eth import _count
from chainp2p.ethapi.fees import percentiles
from chainp2p.ethapi.filters import text_id
from chainp2p.ethapi.params import BlockHash, LogFilter, block_number, block_ref, call_object, log_filter
from chainp2p.ledger.execution import Message
from chainp2p.namespaces import RpcError

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "cd" * 20


class Params(SynchronousTestCase):
    def refused(self, read: Any, value: Any) -> str:
        return str(self.assertRaises(ValueError, read, value))

    def test_blocks(self) -> None:
        for tag in ("earliest", "latest", "pending", "safe", "finalized"):
            self.assertEqual((block_number(tag), block_ref(tag)), (tag, tag))
        self.assertEqual([block_ref("0x0"), block_ref("0x1f"), block_ref(5)], [0, 31, 5])
        self.assertEqual(block_ref(HASH), BlockHash(bytes([0xAB]) * 32))
        self.assertEqual(block_ref({"blockHash": HASH, "requireCanonical": True}), BlockHash(b"\xab" * 32, True))
        self.assertEqual(block_ref({"blockHash": HASH}), BlockHash(b"\xab" * 32, False))
        self.assertEqual(block_ref({"blockNumber": "0x2"}), 2)
        self.assertEqual(block_ref({"blockNumber": "safe"}), "safe")

    def test_blocks_that_are_none(self) -> None:
        for value in ("newest", "", "12", "0x", "0x01", -1, True, 1.5, [], "0x" + "f" * 16, HASH + "00", 2**63):
            self.refused(block_ref, value)
        self.assertIn("both", self.refused(block_ref, {"blockHash": HASH, "blockNumber": "0x1"}))
        self.assertIn("neither", self.refused(block_ref, {}))
        self.refused(block_ref, {"blockHash": HASH, "requireCanonical": "yes"})
        self.assertEqual(self.refused(block_number, "0x8000000000000000"), "block number larger than int64")

    def test_calls(self) -> None:
        self.assertEqual(call_object({}), Message())
        full = {
            "from": ADDRESS,
            "to": ADDRESS,
            "value": "0x5",
            "input": "0x01",
            "data": "0x01",
            "gas": "0x5208",
            "maxFeePerGas": "0x9",
            "maxPriorityFeePerGas": "0x1",
            "nonce": "0x0",
            "chainId": "0x7",
            "type": "0x2",
            "accessList": [{"address": ADDRESS, "storageKeys": [HASH]}, {"address": ADDRESS}],
            "unheard": {"of": 1},
        }
        message = call_object(full)
        self.assertEqual((message.value, message.data, message.gas, message.gas_price), (5, b"\1", 21_000, 9))
        self.assertEqual([len(keys) for _, keys in message.access_list], [1, 0])
        self.assertEqual(call_object({"data": "0x02", "gasPrice": "0x3"}).gas_price, 3)
        self.assertEqual(call_object({"to": None, "data": None, "gas": None}), Message())

    def test_calls_that_are_none(self) -> None:
        for value in (
            None,
            [],
            "x",
            {"to": "0x12"},
            {"value": 5},
            {"data": "0x1"},
            {"data": "0x01", "input": "0x02"},
            {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
            {"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"},
        ):
            self.refused(call_object, value)
        self.assertRaises((KeyError, TypeError), call_object, {"accessList": [{}]})

    def test_log_filters(self) -> None:
        self.assertEqual(log_filter({}), LogFilter())
        found = log_filter(
            {"fromBlock": "0x1", "toBlock": "latest", "address": [ADDRESS], "topics": [HASH, None, [HASH, HASH]]}
        )
        self.assertEqual((found.start, found.end, len(found.addresses)), (1, "latest", 1))
        self.assertEqual([len(topic) for topic in found.topics], [1, 0, 2])
        self.assertEqual(log_filter({"address": ADDRESS, "blockHash": HASH}).block, b"\xab" * 32)
        for value in (
            [],
            {"blockHash": HASH, "fromBlock": "0x1"},
            {"address": "0x"},
            {"topics": [None] * 5},
            {"topics": "x"},
            {"address": [ADDRESS] * 1_001},
        ):
            self.refused(log_filter, value)

    def test_small_ones(self) -> None:
        self.assertEqual([slot(value) for value in ("0x", "0x0", "0x01", HASH)], [0, 0, 1, int(HASH, 16)])
        for value in (1, "1", "0xzz", "0x" + "0" * 65):
            self.refused(slot, value)
        self.assertEqual((_count(4), _count("0x4"), text_id("x")), (4, 4, "x"))
        self.refused(text_id, 5)
        self.assertEqual(percentiles([0, 1.5, 100]), (0, 1.5, 100))
        for value in ("x", [True], ["5"]):
            self.refused(percentiles, value)
        for value in ([-1], [101], [5, 4], [0] * 101, [float("inf")]):
            self.assertRaises(RpcError, percentiles, value)
