"""What callers write for blocks, calls and filters."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ethapi.calling import slot, slots
from chainp2p.ethapi.eth import _count
from chainp2p.ethapi.fees import percentiles
from chainp2p.ethapi.filters import text_id
from chainp2p.ethapi.logs import FOLLOWING_PARAM, LogFilter, log_filter
from chainp2p.ethapi.params import BlockHash, block_number, block_ref, call_object
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
        self.assertEqual(self.refused(block_ref, {}), "must specify either BlockHash or BlockNumber")
        for value, text in ((-1, "hex string without 0x prefix"), ("", "empty hex string"), ("0x", 'hex string "0x"')):
            self.assertEqual(self.refused(block_number, value), text)
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
        self.assertEqual(call_object({"to": None, "data": None, "gas": None, "accessList": None}), Message())
        self.assertEqual((message.chain_id, call_object({"data": ""}).data), (7, b""))
        self.assertEqual(call_object({"accessList": [{"storageKeys": None}]}).access_list, ((bytes(20), ()),))

    def test_calls_that_are_none(self) -> None:
        for value in (
            None,
            [],
            "x",
            {"to": "0x12"},
            {"value": 5},
            {"data": "0x1"},
            {"data": "0x01", "input": "0x02"},
            {"gas": "0x1" + "0" * 16},
            {"chainId": 7},
        ):
            self.refused(call_object, value)
        for value, kind in (
            (5, "types.AccessList"),
            ({}, "types.AccessList"),
            ("0x", "types.AccessList"),
            ([5], "types.AccessTuple"),
            ([[]], "types.AccessTuple"),
            ([{"address": 5}], "common.Address"),
            ([{"storageKeys": 5}], "[]common.Hash"),
            ([{"storageKeys": HASH}], "[]common.Hash"),
            ([{"storageKeys": [5]}], "common.Hash"),
        ):
            text = self.refused(call_object, {"accessList": value})
            self.assertTrue(text.startswith("json: cannot unmarshal non-"), (value, text))
            self.assertTrue(text.endswith(f" into Go value of type {kind}"), (value, text))
        for fees in (
            {"gasPrice": "0x1", "maxFeePerGas": "0x1"},
            {"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"},
        ):
            self.assertEqual(self.assertRaises(RpcError, call_object, fees).code, -32000)

    def test_log_filters(self) -> None:
        self.assertEqual(log_filter({}), LogFilter())
        found = log_filter(
            {"fromBlock": "0x1", "toBlock": "latest", "address": [ADDRESS], "topics": [HASH, None, [HASH, HASH]]}
        )
        self.assertEqual((found.start, found.end, len(found.addresses)), (1, "latest", 1))
        self.assertEqual([len(topic) for topic in found.topics], [1, 0, 2])
        self.assertEqual(log_filter({"address": ADDRESS, "blockHash": HASH}).block, b"\xab" * 32)
        self.assertEqual(log_filter({"topics": [[HASH, None], []]}).topics, ((), ()))
        short = "hex string has length 2, want"
        for value, text in (
            ([], "cannot unmarshal non-object"),
            ({"blockHash": HASH, "fromBlock": "0x1"}, "cannot specify both BlockHash and FromBlock/ToBlock"),
            ({"address": "0x12"}, f"invalid address: json: cannot unmarshal {short} 40"),
            ({"address": [ADDRESS, "0x12"]}, f"invalid address at index 1: json: cannot unmarshal {short} 40"),
            ({"address": [5]}, "invalid address at index 0: json: cannot unmarshal non-string"),
            ({"address": 5}, "invalid addresses in query"),
            ({"topics": [None] * 5}, "exceed max topics"),
            ({"topics": [[HASH] * 1_001]}, "exceed max topics"),
            ({"topics": "x"}, "cannot unmarshal non-array"),
            ({"topics": ["0x12"]}, f"invalid topic: json: cannot unmarshal {short} 64"),
            ({"topics": [5]}, "invalid topic(s)"),
            ({"topics": [[[HASH]]]}, "invalid topic(s)"),
            ({"fromBlock": "x"}, "hex string without 0x prefix"),
        ):
            self.assertIn(text, self.refused(log_filter, value))

    def test_filters_of_logs_to_come(self) -> None:
        for value in (
            {},
            {"fromBlock": "latest", "toBlock": "latest"},
            {"fromBlock": "0x5"},
            {"fromBlock": "earliest", "toBlock": "latest"},
            {"fromBlock": "0x5", "toBlock": "0x5"},
            {"blockHash": HASH},
        ):
            self.assertEqual(FOLLOWING_PARAM.parse(value), log_filter(value))
        for value in (
            {"fromBlock": "0x5", "toBlock": "0x1"},
            {"toBlock": "0x5"},
            {"fromBlock": "latest", "toBlock": "0x5"},
            {"fromBlock": "safe"},
            {"fromBlock": "0x1", "toBlock": "finalized"},
        ):
            error = self.assertRaises(RpcError, FOLLOWING_PARAM.parse, value)
            self.assertEqual((error.code, error.message), (-32602, "invalid block range params"), value)
        for name in ("fromBlock", "toBlock"):
            error = self.assertRaises(RpcError, FOLLOWING_PARAM.parse, {name: "pending"})
            self.assertEqual((error.code, error.message), (-32602, "pending logs are not supported"))

    def test_small_ones(self) -> None:
        self.assertEqual(
            [slot(value) for value in ("0x", "", "0x0", "1f", "0x01", "0X1", HASH, HASH[2:])],
            [0, 0, 0, 31, 1, 1, int(HASH, 16), int(HASH, 16)],
        )
        self.refused(slot, 1)
        for value in ("0xzz", "0x-1", "0x+1", "0x1_0", "0x 1", "x", "0x\ud800", "0x\u0661"):
            error = self.assertRaises(RpcError, slot, value)
            self.assertEqual((error.code, error.message), (-32602, f"invalid hex in storage key: {json.dumps(value)}"))
        too_long = self.assertRaises(RpcError, slot, "0x" + "0" * 65).message
        self.assertEqual(too_long, f'storage key too long (want at most 32 bytes): "0x{"0" * 65}"')
        keys = [("0x0", 0), ("0x1", 1), ("0x" + "0" * 63 + "1", 1), ("0x" + "0" * 63 + "1", 1)]
        self.assertEqual(slots(["0x", "0x01", "0x" + "0" * 63 + "1", "0x" + "0" * 62 + "1"]), keys)
        self.assertEqual((_count(4), _count("0x4"), _count("4"), _count(""), text_id("x")), (4, 4, 4, 0, "x"))
        self.assertEqual(_count(2**64 - 1), 2**64 - 1)
        for value in (-1, True, 1.5, None, "x", "-1", "\u0661", 2**64, "9" * 5_000, "0x1" + "0" * 16):
            self.refused(_count, value)
        self.refused(text_id, 5)
        self.assertEqual(percentiles([0, 1.5, 100]), (0, 1.5, 100))
        for value in ("x", [True], ["5"]):
            self.refused(percentiles, value)
        for value in ([-1], [101], [5, 4], [0] * 101, [float("inf")]):
            self.assertRaises(RpcError, percentiles, value)
