"""Blocks, transactions and receipts: shapes that outside clients check, against eth-account and plain sums."""

import re
from typing import Any
from unittest import mock

from eth_account import Account
from twisted.internet.defer import Deferred

from chainp2p.ethapi.blocks import RECENT
from chainp2p.ethapi.blocks import Blocks as RecentBlocks
from chainp2p.ledger.state.ordered import ordered_root
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.rlp import encode
from tests.ethapi.common import ACCOUNTS, EthHarness, transfer
from tests.ledger.network import KEYS, genesis_of

QUANTITY = re.compile("0x(0|[1-9a-f][0-9a-f]*)")
HASH = re.compile("0x[0-9a-f]{64}")

HEADER_MEMBERS = {
    "baseFeePerGas",
    "difficulty",
    "extraData",
    "gasLimit",
    "gasUsed",
    "hash",
    "logsBloom",
    "miner",
    "mixHash",
    "nonce",
    "number",
    "parentHash",
    "receiptsRoot",
    "seal",
    "sha3Uncles",
    "stateRoot",
    "timestamp",
    "transactionsRoot",
}
RECEIPT_MEMBERS = {
    "blockHash",
    "blockNumber",
    "contractAddress",
    "cumulativeGasUsed",
    "effectiveGasPrice",
    "from",
    "gasUsed",
    "logs",
    "logsBloom",
    "status",
    "to",
    "transactionHash",
    "transactionIndex",
    "type",
}


class Blocks(EthHarness):
    def check_header(self, header: dict[str, Any]) -> None:
        """Fields of the right form; with its seal anybody can check the hash."""
        for name in ("baseFeePerGas", "difficulty", "gasLimit", "gasUsed", "number", "timestamp"):
            self.assertTrue(QUANTITY.fullmatch(header[name]), name)
        for name in ("hash", "mixHash", "parentHash", "receiptsRoot", "sha3Uncles", "stateRoot", "transactionsRoot"):
            self.assertTrue(HASH.fullmatch(header[name]), name)
        self.assertGreater(int(header["baseFeePerGas"], 16), 0)
        self.assertEqual((len(header["nonce"]), len(header["logsBloom"])), (18, 514))
        self.assertLessEqual(len(header["extraData"]), 66)
        names = ["parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"]
        names += ["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"]
        names += ["baseFeePerGas", "seal"]
        fields = []
        for name in names:
            digits = header[name][2:]
            value = bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
            quantity = name in ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas")
            fields.append(value.lstrip(b"\0") if quantity else value)
        self.assertEqual("0x" + keccak256(encode(fields)).hex(), header["hash"])

    def test_headers_and_blocks(self) -> None:
        self.mine(transfer(3, 0))
        self.mine()
        for number in ("0x0", "0x1", "0x2", "latest", "earliest", "safe", "finalized"):
            header = self.call("eth_getHeaderByNumber", number)
            self.assertEqual(set(header), HEADER_MEMBERS)
            self.check_header(header)
            block = self.call("eth_getBlockByNumber", number, False)
            self.assertEqual(set(block) - set(header), {"size", "transactions", "uncles"})
            self.assertEqual({**block, **header}, block)
            self.assertEqual(self.call("eth_getBlockByHash", header["hash"], False), block)
            self.assertEqual(self.call("eth_getHeaderByHash", header["hash"]), header)
        self.assertEqual(self.call("eth_blockNumber"), "0x2")
        self.assertEqual(self.call("eth_getBlockByNumber", "0x2"), self.call("eth_getBlockByNumber", "latest", False))

    def test_full_transactions(self) -> None:
        self.mine(transfer(3, 0), transfer(4, 0))
        block = self.call("eth_getBlockByNumber", "0x1", True)
        hashes = self.call("eth_getBlockByNumber", "0x1", False)["transactions"]
        self.assertEqual([one["hash"] for one in block["transactions"]], hashes)
        for index, one in enumerate(block["transactions"]):
            self.assertEqual(self.call("eth_getTransactionByHash", one["hash"]), one)
            self.assertEqual(self.call("eth_getTransactionByBlockNumberAndIndex", "0x1", hex(index)), one)
            self.assertEqual(self.call("eth_getTransactionByBlockHashAndIndex", block["hash"], hex(index)), one)
            self.assertEqual(one["blockTimestamp"], block["timestamp"])
        self.assertEqual(self.call("eth_getBlockTransactionCountByNumber", "latest"), "0x2")
        self.assertEqual(self.call("eth_getBlockTransactionCountByHash", block["hash"]), "0x2")

    def test_what_is_unknown_is_null(self) -> None:
        unknown = "0x" + "ee" * 32
        for method, params in (
            ("getBlockByNumber", ["0x63", False]),
            ("getBlockByHash", [unknown, True]),
            ("getHeaderByNumber", ["0x63"]),
            ("getHeaderByHash", [unknown]),
            ("getTransactionByHash", [unknown]),
            ("getTransactionReceipt", [unknown]),
            ("getTransactionByBlockNumberAndIndex", ["0x0", "0x0"]),
            ("getTransactionByBlockNumberAndIndex", ["0x63", "0x0"]),
            ("getTransactionByBlockHashAndIndex", [unknown, "0x0"]),
            ("getBlockTransactionCountByNumber", ["0x63"]),
            ("getBlockTransactionCountByHash", [unknown]),
            ("getUncleCountByBlockNumber", ["0x63"]),
            ("getUncleCountByBlockHash", [unknown]),
            ("getBlockReceipts", ["0x63"]),
            ("getBlockReceipts", [unknown]),
        ):
            self.assertIsNone(self.call(f"eth_{method}", *params), method)
        self.assertEqual(self.call("eth_getRawTransactionByHash", unknown), "0x")
        self.assertEqual(self.call("eth_getUncleCountByBlockNumber", "latest"), "0x0")
        self.assertEqual(self.call("eth_getUncleCountByBlockHash", "0x" + self.ledger.genesis_hash.hex()), "0x0")

    def test_the_pending_block(self) -> None:
        self.mine()
        raw = transfer(3, 0)
        self.get(self.ledger.admit(raw, True))
        self.get(self.ledger.admit(transfer(3, 5), True))  # a gap before it
        block = self.call("eth_getBlockByNumber", "pending", True)
        self.assertEqual((block["number"], block["hash"], block["nonce"], block["miner"]), ("0x2", None, None, None))
        self.assertEqual(block["parentHash"], "0x" + self.ledger.head.hash.hex())
        self.assertEqual([one["nonce"] for one in block["transactions"]], ["0x0"])
        self.assertEqual(block["gasUsed"], "0x5208")
        self.assertEqual(len(self.call("eth_getBlockByNumber", "pending", False)["transactions"][0]), 66)
        self.assertEqual(self.call("eth_getBlockTransactionCountByNumber", "pending"), "0x1")
        self.assertEqual(self.call("eth_getBlockByNumber", "pending")["size"], block["size"])
        header = self.call("eth_getHeaderByNumber", "pending")
        self.assertEqual(header, {name: block[name] for name in header})
        self.assertEqual(block.keys() - header.keys(), {"size", "transactions", "uncles"})
        found = [self.call("eth_getTransactionByBlockNumberAndIndex", "pending", index) for index in ("0x0", "0x1")]
        self.assertEqual(found, [block["transactions"][0], None])
        self.assertEqual(self.call("eth_getUncleCountByBlockNumber", "pending"), "0x0")
        refusal = (-32000, "pending receipts is not available")
        self.assertEqual(self.refused("eth_getBlockReceipts", "pending"), refusal)
        self.assertEqual(self.refused("eth_getBlockReceipts", {"blockNumber": "pending"}), refusal)
        costs = [self.registry.cost("eth_getHeaderByNumber", [number]) for number in ("0x1", "pending")]
        self.assertEqual(costs, [2, 12])

    def test_a_pending_block_is_not_overfull(self) -> None:
        for key in range(3, 6):
            self.get(self.ledger.admit(transfer(key, 0, gas=15_000_000), True))
        self.assertEqual(self.call("eth_getBlockTransactionCountByNumber", "pending"), "0x2")


class Remembered(EthHarness):
    def test_a_block_is_put_out_while_somebody_looks_at_it(self) -> None:
        for _ in range(RECENT + 2):
            self.mine()
        blocks, reader = RecentBlocks(self.ledger), self.ledger.reader
        first, *others = [self.get(reader.hash_at(height)) for height in range(1, RECENT + 2)]
        self.successResultOf(Deferred.fromCoroutine(blocks.read(first)))
        held: Deferred[bytes] = Deferred()
        with mock.patch.object(reader, "hash_at", lambda height: held):
            reading = Deferred.fromCoroutine(blocks.read(first))
        for other in others:
            self.successResultOf(Deferred.fromCoroutine(blocks.read(other)))
        self.assertNoResult(reading)
        held.callback(first)
        self.assertEqual(self.successResultOf(reading).block.hash, first)


class Raw(EthHarness):
    """``debug``: the bytes from which hashes and roots are made."""

    def test_raw_bytes(self) -> None:
        raw = transfer(3, 0)
        self.mine(raw, transfer(4, 0))
        block = self.call("eth_getBlockByNumber", "latest", False)
        header = bytes.fromhex(self.call("debug_getRawHeader", "latest")[2:])
        self.assertEqual("0x" + keccak256(header).hex(), block["hash"])
        body = bytes.fromhex(self.call("debug_getRawBlock", block["hash"])[2:])
        self.assertEqual((hex(len(body)), self.ledger.split(body)[0]), (block["size"], header))
        self.assertEqual(self.call("debug_getRawTransaction", "0x" + keccak256(raw).hex()), "0x" + raw.hex())
        receipts = [bytes.fromhex(receipt[2:]) for receipt in self.call("debug_getRawReceipts", "0x1")]
        self.assertEqual("0x" + ordered_root(receipts).hex(), block["receiptsRoot"])
        for method, text in (("Header", "header"), ("Block", "block"), ("Receipts", "block")):
            self.assertEqual(self.refused(f"debug_getRaw{method}", "0x63"), (-32000, f"{text} not found"))


class Forks(EthHarness):
    """Two signers, apart for a while: what one made alone leaves the best chain."""

    signers = 2

    def test_a_block_that_left_the_best_chain(self) -> None:
        heads, _ = self.subscribe("newHeads")
        filter = self.call("eth_newBlockFilter")
        raw = transfer(3, 0)
        self.mine(raw)
        ours = self.call("eth_getBlockByNumber", "latest", True)
        (receipt,) = self.call("eth_getBlockReceipts", ours["hash"])
        other = self.started(genesis_of(2), 1)
        for slot in (3, 5):
            block = self.seal(other, slot)
            assert block is not None
            self.feed(self.ledger, block)
        self.assertEqual(self.call("eth_blockNumber"), "0x2")
        # the block is still served by its hash, its transaction is pending again, its receipt is gone
        not_canonical = (-32000, "hash is not currently canonical")
        self.assertEqual(self.call("eth_getBlockByHash", ours["hash"], True), ours)
        self.assertEqual(self.refused("eth_getBlockReceipts", ours["hash"]), not_canonical)
        self.assertIsNone(self.call("eth_getTransactionReceipt", receipt["transactionHash"]))
        self.assertIsNone(self.call("eth_getTransactionByHash", receipt["transactionHash"])["blockHash"])
        canonical = {"blockHash": ours["hash"], "requireCanonical": True}
        self.assertEqual(self.refused("eth_getBalance", ACCOUNTS[1], canonical), not_canonical)
        self.assertEqual(self.refused("eth_getBalance", ACCOUNTS[1], ours["hash"])[0], -32000)
        self.assertEqual([head["number"] for head in heads], ["0x1", "0x1", "0x2"])
        self.assertEqual(heads[2]["parentHash"], heads[1]["hash"])
        self.assertEqual(self.call("eth_getFilterChanges", filter), [head["hash"] for head in heads])


class Transactions(EthHarness):
    def fields(self, raw: bytes) -> dict[str, Any]:
        self.mine(raw)
        hash = "0x" + keccak256(raw).hex()
        self.assertEqual(self.call("eth_getRawTransactionByHash", hash), "0x" + raw.hex())
        found: dict[str, Any] = self.call("eth_getTransactionByHash", hash)
        return found

    def sign(self, **fields: Any) -> bytes:
        base = {"chainId": 7, "nonce": 0, "to": Account.from_key(KEYS[9]).address, "value": 5, "gas": 40_000}
        return bytes(Account.sign_transaction({**base, **fields}, KEYS[3]).raw_transaction)

    def test_a_legacy_transaction(self) -> None:
        found = self.fields(self.sign(gasPrice=3 * 10**9, data="0x0102"))
        self.assertEqual((found["type"], found["chainId"], found["gasPrice"]), ("0x0", "0x7", hex(3 * 10**9)))
        self.assertIn(found["v"], (hex(49), hex(50)))
        for name in ("yParity", "accessList", "maxFeePerGas"):
            self.assertNotIn(name, found)
        self.assertEqual((found["input"], found["from"], found["to"]), ("0x0102", ACCOUNTS[3], ACCOUNTS[9]))

    def test_an_access_list_transaction(self) -> None:
        entry = {"address": ACCOUNTS[1], "storageKeys": ["0x" + "01" * 32]}
        found = self.fields(self.sign(gasPrice=3 * 10**9, accessList=[entry], type=1))
        self.assertEqual((found["type"], found["accessList"]), ("0x1", [entry]))
        self.assertEqual(found["v"], found["yParity"])
        self.assertNotIn("maxFeePerGas", found)

    def test_a_dynamic_fee_transaction_pending_and_mined(self) -> None:
        raw = self.sign(maxFeePerGas=3 * 10**9, maxPriorityFeePerGas=10**8)
        hash = self.call("eth_sendRawTransaction", "0x" + raw.hex())
        pending = self.call("eth_getTransactionByHash", hash)
        self.assertEqual(self.call("eth_getRawTransactionByHash", hash), "0x" + raw.hex())
        for name in ("blockHash", "blockNumber", "transactionIndex", "blockTimestamp"):
            self.assertIsNone(pending[name], name)
        self.assertEqual(pending["gasPrice"], pending["maxFeePerGas"])
        self.assertIsNone(self.call("eth_getTransactionReceipt", hash))
        self.mine()
        mined = self.call("eth_getTransactionByHash", hash)
        base_fee = int(self.call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        self.assertEqual(mined["gasPrice"], hex(base_fee + 10**8))
        same = {"hash", "from", "to", "nonce", "value", "input", "r", "s", "v", "yParity", "gas", "maxFeePerGas"}
        self.assertEqual({name: mined[name] for name in same}, {name: pending[name] for name in same})

    def test_nothing_is_included_above_the_head(self) -> None:
        """The database holds a block before the node has told of it; so long nobody may count on it."""
        before = self.ledger.head
        raw = transfer(3, 0)
        hash = "0x" + keccak256(raw).hex()
        self.mine(raw)
        after, self.ledger.head = self.ledger.head, before
        for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
            self.assertIsNone(self.call(method, hash), method)
        self.ledger.head = after
        for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
            self.assertEqual(self.call(method, hash)["blockNumber"], "0x1", method)

    def test_receipts(self) -> None:
        self.mine(transfer(3, 0), transfer(4, 0))
        first, second = self.call("eth_getBlockReceipts", "latest")
        self.assertEqual((set(first), set(second)), (RECEIPT_MEMBERS, RECEIPT_MEMBERS))
        self.assertEqual(self.call("eth_getTransactionReceipt", first["transactionHash"]), first)
        self.assertIsNone(first["contractAddress"])
        self.assertEqual((first["logs"], first["status"], first["type"]), ([], "0x1", "0x2"))
        self.assertEqual([one["cumulativeGasUsed"] for one in (first, second)], [hex(21_000), hex(42_000)])
        self.assertEqual([one["transactionIndex"] for one in (first, second)], ["0x0", "0x1"])
        self.assertEqual({first["from"], second["from"]}, {ACCOUNTS[3], ACCOUNTS[4]})
        self.assertEqual(self.call("eth_getBlockReceipts", "earliest"), [])
