"""Accounts, calls, fees, sending."""

from typing import Any
from unittest.mock import patch

import rlp
from attrs import evolve
from trie import HexaryTrie
from twisted.internet.defer import Deferred, succeed

from chainp2p.chain.store import ChainStore
from chainp2p.ethapi import feehistory
from chainp2p.ethapi.blocks import Blocks
from chainp2p.ethapi.fees import DEFAULT_TIP, MAX_TIP, FeePoint, rewards_of, suggested_tip
from chainp2p.ledger.formats.genesis import DEV_GENESIS
from chainp2p.ledger.rows import LedgerRows
from chainp2p.primitives.keccak import keccak256
from tests.ethapi.common import ACCOUNTS, GWEI, EthHarness, transfer
from tests.ledger.network import ETHER

NOBODY = "0x" + "77" * 20


class Accounts(EthHarness):
    def test_balances_at_every_kind_of_block(self) -> None:
        for nonce in range(3):
            self.mine(transfer(3, nonce, value=ETHER))
        hash = "0x" + self.get(self.ledger.hash_at(2)).hex()
        whole = 1_000 * ETHER
        for block, gained in (
            ("latest", 3),
            ("pending", 3),
            ("earliest", 0),
            ("finalized", 3),
            ("safe", 3),
            ("0x1", 1),
            (1, 1),
            (hash, 2),
            ({"blockHash": hash}, 2),
            ({"blockHash": hash, "requireCanonical": True}, 2),
            ({"blockNumber": "0x1"}, 1),
            (None, 3),
        ):
            self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9], block), hex(whole + gained * ETHER), block)
        self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9]), hex(whole + 3 * ETHER))
        self.assertEqual(self.call("eth_getBalance", NOBODY), "0x0")

    def test_blocks_that_do_not_exist(self) -> None:
        self.assertEqual(self.refused("eth_getBalance", NOBODY, "0x63"), (-32000, "header not found"))
        unknown = "0x" + "ee" * 32
        self.assertEqual(self.refused("eth_getBalance", NOBODY, unknown), (-32000, "header for hash not found"))
        self.assertEqual(self.refused("eth_getBalance", NOBODY, {"blockHash": unknown})[0], -32000)
        self.assertEqual(self.refused("eth_getBalance", "0x12")[0], -32602)
        self.assertEqual(self.refused("eth_getBalance"), (-32602, "missing value for required argument 0"))

    def test_a_state_that_is_not_kept(self) -> None:
        self.mine()
        self.mine()
        self.ledger.reader.state = lambda hash: succeed(None)  # type: ignore[method-assign]
        code, text = self.refused("eth_getBalance", ACCOUNTS[1], "0x1")
        self.assertEqual(code, -32000)
        self.assertTrue(text.startswith("missing trie node"))
        self.assertEqual(self.call("eth_getBalance", ACCOUNTS[1], "0x2"), hex(1_000 * ETHER))

    def test_the_latest_state_is_there_while_the_head_runs_away(self) -> None:
        self.mine(transfer(3, 0, value=ETHER))
        self.ledger.reader.state = lambda hash: succeed(None)  # type: ignore[method-assign]
        header = self.ledger.reader.header

        def slow(hash: bytes) -> Any:
            self.ledger.reader.header = header  # type: ignore[method-assign]
            self.mine(transfer(3, 1, value=ETHER))
            return header(hash)

        self.ledger.reader.header = slow  # type: ignore[method-assign]
        address = bytes.fromhex(ACCOUNTS[9][2:])
        for number in (1, 2):
            found, state = self.get(Deferred.fromCoroutine(Blocks(self.ledger).state("latest")))
            self.assertEqual((found.number, state.account(address).balance), (number, (1_000 + number) * ETHER))

    def test_accounts_at_the_head_need_no_reading(self) -> None:
        self.mine(transfer(3, 0, value=ETHER))
        head = self.ledger.head
        refs = ("latest", "pending", hex(head.height), "0x" + head.hash.hex())
        with patch.object(self.ledger, "reader", None):
            for ref in (*refs, {"blockHash": "0x" + head.hash.hex(), "requireCanonical": True}):
                self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9], ref), hex(1_001 * ETHER))
        self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9], "0x0"), hex(1_000 * ETHER))

    def test_recent_states_are_kept(self) -> None:
        self.mine(transfer(3, 0, value=ETHER))
        for _ in range(127):
            self.mine()
        self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9], "0x0"), hex(1_000 * ETHER))
        self.assertEqual(self.call("eth_getBalance", ACCOUNTS[9], "0x1"), hex(1_001 * ETHER))

    def test_nonces(self) -> None:
        self.mine(transfer(3, 0))
        self.get(self.ledger.admit(transfer(3, 1), True))
        self.assertEqual(self.call("eth_getTransactionCount", ACCOUNTS[3], "latest"), "0x1")
        self.assertEqual(self.call("eth_getTransactionCount", ACCOUNTS[3], "pending"), "0x2")
        self.assertEqual(self.call("eth_getTransactionCount", ACCOUNTS[3], "earliest"), "0x0")
        self.assertEqual(self.call("eth_getTransactionCount", NOBODY, "pending"), "0x0")

    def test_code_and_storage(self) -> None:
        self.assertEqual(self.call("eth_getCode", ACCOUNTS[3], "latest"), "0x")
        self.assertEqual(self.call("eth_getStorageAt", ACCOUNTS[3], "0x0", "latest"), "0x" + "00" * 32)
        self.assertEqual(self.call("eth_chainId"), "0x7")
        self.assertEqual(self.call("eth_accounts"), [])

    def check_proof(self, account: str, block: str) -> dict[str, Any]:
        """A proof, read by the ``trie`` package under the state root of its block."""
        answer: dict[str, Any] = self.call("eth_getProof", account, ["0x0", "0x" + "0A".rjust(64, "0")], block)
        root = bytes.fromhex(self.call("eth_getBlockByNumber", block, False)["stateRoot"][2:])
        nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in answer["accountProof"]]
        raw = HexaryTrie.get_from_proof(root, keccak256(bytes.fromhex(account[2:])), nodes)
        if raw:
            nonce, balance, storage, code = rlp.decode(raw)
            self.assertEqual(int(answer["nonce"], 16), int.from_bytes(nonce))
            self.assertEqual(int(answer["balance"], 16), int.from_bytes(balance))
            self.assertEqual((answer["storageHash"], answer["codeHash"]), ("0x" + storage.hex(), "0x" + code.hex()))
        else:
            self.assertEqual((answer["nonce"], answer["balance"]), ("0x0", "0x0"))
        slots = [(one["key"], one["value"], one["proof"]) for one in answer["storageProof"]]
        self.assertEqual(slots, [("0x0", "0x0", []), ("0x" + "0a".rjust(64, "0"), "0x0", [])])
        return answer

    def test_proofs(self) -> None:
        for nonce in range(4):
            self.mine(transfer(3, nonce, value=ETHER))
        balances = {self.check_proof(ACCOUNTS[9], hex(height))["balance"] for height in range(5)}
        self.assertEqual(len(balances), 5)
        self.check_proof(NOBODY, "latest")
        self.assertEqual(self.call("eth_getProof", NOBODY, [])["storageProof"], [])
        text = "too many storage keys requested (max 1024, got 1025)"
        self.assertEqual(self.refused("eth_getProof", NOBODY, ["0x0"] * 1_025), (-32602, text))
        self.assertIn("non-array", self.refused("eth_getProof", NOBODY, "0x0")[1])


class Calls(EthHarness):
    def test_calls(self) -> None:
        self.assertEqual(self.call("eth_call", {"to": NOBODY, "data": "0x12345678"}, "latest"), "0x")
        self.assertEqual(self.call("eth_call", {"to": NOBODY}), "0x")
        self.assertEqual(self.call("eth_call", {"to": NOBODY, "extra": 1}, "latest", {}, {}), "0x")
        code, text = self.refused("eth_call", {"data": "0x00"}, "latest")
        self.assertEqual(code, -32000)
        self.assertIn("contract creation", text)

    def test_calls_that_nobody_could_pay(self) -> None:
        plain = {"from": ACCOUNTS[1], "to": NOBODY}
        poor = {"from": NOBODY, "to": ACCOUNTS[1]}
        base_fee = self.ledger.pool.base_fee
        for call, text in (
            ({**plain, "gas": "0x1"}, "err: intrinsic gas too low: have 1, want 21000 (supplied gas 1)"),
            (
                {**poor, "value": "0x1"},
                f"err: insufficient funds for gas * price + value: address {NOBODY} have 0 want 1 "
                "(supplied gas 30000000)",
            ),
            (
                {**poor, "gas": "0x5208", "gasPrice": hex(base_fee)},
                f"err: insufficient funds for gas * price + value: address {NOBODY} have 0 want {21_000 * base_fee} "
                "(supplied gas 21000)",
            ),
            (
                {**plain, "maxFeePerGas": "0x1"},
                f"err: max fee per gas less than block base fee: address {ACCOUNTS[1]}, maxFeePerGas: 1, "
                f"baseFee: {base_fee} (supplied gas 30000000)",
            ),
            ({**plain, "chainId": "0x1"}, "chainId does not match node's (have=1, want=7)"),
        ):
            self.assertEqual(self.refused("eth_call", call), (-32000, text))
        # more gas than a block has is cut down
        self.assertEqual(self.call("eth_call", {**plain, "gas": hex(2**64 - 1), "chainId": "0x7"}), "0x")
        self.assertEqual(self.refused("eth_estimateGas", {**plain, "chainId": "0x1"})[0], -32000)

    def test_estimates(self) -> None:
        plain = {"from": ACCOUNTS[1], "to": NOBODY, "value": "0x1"}
        self.assertEqual(self.call("eth_estimateGas", plain), hex(21_000))
        self.assertEqual(self.call("eth_estimateGas", {**plain, "data": "0x0011"}, "latest"), hex(21_020))
        poor = {"from": NOBODY, "to": ACCOUNTS[1], "value": "0x1"}
        self.assertEqual(self.refused("eth_estimateGas", poor), (-32000, "insufficient funds for transfer"))
        self.assertEqual(self.call("eth_estimateGas", {**plain, "gas": "0x0"}), hex(21_000))
        data = {**plain, "data": "0x00", "gas": "0x5208"}
        self.assertEqual(self.refused("eth_estimateGas", data), (-32000, "gas required exceeds allowance (21000)"))
        whole = {**plain, "value": hex(1_000 * ETHER), "maxFeePerGas": hex(GWEI)}
        self.assertEqual(self.refused("eth_estimateGas", whole), (-32000, "insufficient funds for transfer"))


class Sending(EthHarness):
    def send(self, raw: bytes) -> tuple[int, str]:
        return self.refused("eth_sendRawTransaction", "0x" + raw.hex())

    def test_geths_texts(self) -> None:
        raw = transfer(3, 0)
        self.assertEqual(len(self.call("eth_sendRawTransaction", "0x" + raw.hex())), 66)
        self.assertEqual(self.send(raw), (-32000, "already known"))
        self.assertEqual(self.send(transfer(3, 0, value=2)), (-32000, "replacement transaction underpriced"))
        self.mine()
        self.assertEqual(self.send(transfer(3, 0, value=2)), (-32000, "nonce too low: next nonce 1, tx nonce 0"))
        code, text = self.send(transfer(3, 1, value=10**6 * ETHER))
        self.assertEqual(code, -32000)
        self.assertTrue(text.startswith("insufficient funds for gas * price + value"))
        self.assertTrue(self.send(transfer(3, 1, gas=20_000))[1].startswith("intrinsic gas too low"))
        self.assertEqual(self.send(b""), (-32000, "typed transaction too short"))
        self.assertEqual(self.send(b"\x7f")[1], "transaction type not supported")
        self.assertEqual(self.refused("eth_sendRawTransaction", "0xabc")[0], -32602)


class Fees(EthHarness):
    def test_prices(self) -> None:
        self.assertEqual(self.call("eth_maxPriorityFeePerGas"), hex(DEFAULT_TIP))
        self.assertEqual(self.call("eth_gasPrice"), hex(self.ledger.pool.base_fee + DEFAULT_TIP))
        self.mine(transfer(3, 0, max_priority_fee=5 * 10**8))
        self.assertEqual(self.call("eth_maxPriorityFeePerGas"), hex(5 * 10**8))

    def test_a_suggestion_is_bounded(self) -> None:
        header = DEV_GENESIS.header
        self.assertEqual(suggested_tip([FeePoint.of(header, [(0, 1)])]), 1)
        self.assertEqual(suggested_tip([FeePoint.of(header, [(10**15, 1)])]), MAX_TIP)
        self.assertEqual(suggested_tip([FeePoint.of(header, [(1 << 64, 1)])]), MAX_TIP)
        tips = FeePoint.of(header, [(tip, 1) for tip in range(101, 0, -1)])
        self.assertEqual(suggested_tip([tips]), 61)

    def test_history(self) -> None:
        for nonce in range(3):
            self.mine(transfer(3, nonce, max_priority_fee=(nonce + 1) * 10**8))
        history = self.call("eth_feeHistory", "0x2", "latest", [0, 50, 100])
        self.assertEqual(history["oldestBlock"], "0x2")
        self.assertEqual(history["gasUsedRatio"], [21_000 / 30_000_000] * 2)
        self.assertEqual(history["reward"], [[hex(2 * 10**8)] * 3, [hex(3 * 10**8)] * 3])
        base_fees = [int(fee, 16) for fee in history["baseFeePerGas"]]
        headers = [self.call("eth_getHeaderByNumber", hex(number)) for number in (2, 3)]
        self.assertEqual(base_fees[:2], [int(header["baseFeePerGas"], 16) for header in headers])
        self.assertEqual(base_fees[2], self.ledger.pool.base_fee)
        self.assertNotIn("reward", self.call("eth_feeHistory", 2, "0x1"))

    def test_a_history_that_ends_earlier(self) -> None:
        for _ in range(4):
            self.mine()
        history = self.call("eth_feeHistory", "0x400", "0x2", [10])
        self.assertEqual((history["oldestBlock"], len(history["baseFeePerGas"])), ("0x0", 4))
        self.assertEqual(history["reward"], [["0x0"]] * 3)
        following = self.call("eth_getHeaderByNumber", "0x3")["baseFeePerGas"]
        self.assertEqual(history["baseFeePerGas"][-1], following)
        costs = [self.registry.cost("eth_feeHistory", [count, "latest", []]) for count in ("0x4", "0xffffff")]
        costs += [self.registry.cost("eth_feeHistory", [count, "latest", [50]]) for count in ("0x4", "0xffffff")]
        self.assertEqual(costs, [11, 266, 50, 2_570])
        self.assertEqual(self.call("eth_feeHistory", "0x0", "latest"), {"oldestBlock": "0x0", "gasUsedRatio": []})
        self.assertIn("beyond head", self.refused("eth_feeHistory", "0x1", "0x63")[1])

    def test_rewards_by_share_of_gas(self) -> None:
        self.mine(*(transfer(key, 0, max_priority_fee=key * 10**8) for key in range(1, 5)))
        rewards = self.call("eth_feeHistory", 1, "latest", [0, 24, 26, 60, 100])["reward"][0]
        self.assertEqual([int(reward, 16) // 10**8 for reward in rewards], [1, 1, 2, 3, 4])
        self.assertEqual(rewards_of(FeePoint.of(DEV_GENESIS.header), [1.0]), ["0x0"])
        self.assertEqual(GWEI, DEFAULT_TIP)

    def test_shares_of_gas_are_cut_to_whole_units(self) -> None:
        header = evolve(DEV_GENESIS.header, gas_used=42_001)
        point = FeePoint.of(header, [(2, 21_000), (1, 21_000), (3, 1)])
        # half of it is 21,000.5
        self.assertEqual(rewards_of(point, [0, 50, 50.01, 99.999, 100]), ["0x1", "0x1", "0x2", "0x2", "0x3"])

    def test_percentiles_rise(self) -> None:
        for wanted, text in (
            ([50, 50], "#0:50.000000 >= #1:50.000000"),
            ([10, 50, 40.5], "#1:50.000000 >= #2:40.500000"),
            ([100.5], "100.500000"),
            ([-1], "-1.000000"),
            ([*range(101)], "over the query limit 100"),
        ):
            error = (-32000, f"invalid reward percentile: {text}")
            self.assertEqual(self.refused("eth_feeHistory", 1, "latest", wanted), error)


class Histories(EthHarness):
    def setUp(self) -> None:
        super().setUp()
        self.headers: list[bytes] = []
        raw_header = ChainStore.raw_header

        def counted(store: ChainStore, hash: bytes) -> bytes | None:
            self.headers.append(hash)
            return raw_header(store, hash)

        self.patch(ChainStore, "raw_header", counted)

    def history(self, count: int, newest: str | int = "latest", *wanted: float) -> tuple[dict[str, Any], int]:
        """The answer, and how many blocks were read for it."""
        self.headers.clear()
        with patch.object(ChainStore, "body", None):
            answer = self.call("eth_feeHistory", count, newest, list(wanted))
        return answer, len(self.headers)

    def test_a_block_is_read_once(self) -> None:
        for nonce in range(6):
            self.mine(transfer(3, nonce, max_priority_fee=(nonce + 1) * 10**8))
        first, read = self.history(4, "latest", 50)
        self.assertEqual(([int(one[0], 16) // 10**8 for one in first["reward"]], read), ([3, 4, 5, 6], 4))
        self.assertEqual(self.history(4, "latest", 50), (first, 0))
        self.assertEqual(self.history(3, 5, 1)[1], 0)
        self.mine(transfer(3, 6))
        self.assertEqual(self.history(4, "latest", 50)[1], 1)
        # one above and one below what is known
        self.mine()
        self.assertEqual(self.history(7, "latest")[1], 2)
        # of an empty block all is known from its header
        self.assertEqual(self.history(8, "latest", 50)[1], 2)
        self.assertEqual(self.call("eth_maxPriorityFeePerGas"), hex(4 * 10**8))

    def test_without_tips_first(self) -> None:
        for nonce in range(3):
            self.mine(transfer(3, nonce))
        self.assertEqual(self.history(2)[1], 2)
        self.assertEqual(self.history(2, "latest", 10)[1], 2)
        self.assertEqual(self.history(2)[1], 0)

    def test_what_is_kept_is_bounded(self) -> None:
        for _ in range(6):
            self.mine()
        with patch.object(feehistory, "KEPT", 4):
            whole, read = self.history(1_024)
            self.assertEqual((len(whole["gasUsedRatio"]), read), (7, 7))
            # the lowest were read last
            self.assertEqual(self.history(2, 1)[1], 0)
            self.assertEqual(self.history(1_024), (whole, 7))

    def test_of_a_block_that_has_left_the_chain_no_tips_are_kept(self) -> None:
        self.mine(transfer(3, 0, max_priority_fee=5 * 10**8))
        with patch.object(LedgerRows, "receipts", lambda rows, hash: ()):
            self.assertEqual(self.history(1, "latest", 50)[0]["reward"], [["0x0"]])
        self.assertEqual(self.history(1, "latest", 50)[0]["reward"], [[hex(5 * 10**8)]])


class Logs(EthHarness):
    def test_there_are_none(self) -> None:
        self.mine()
        head = "0x" + self.ledger.head.hash.hex()
        for query in (
            {},
            {"fromBlock": "0x0", "toBlock": "latest"},
            {"blockHash": head},
            {"fromBlock": "earliest"},
            {"fromBlock": "finalized", "toBlock": "safe"},
            {"fromBlock": "0x1", "toBlock": "0x1"},
        ):
            self.assertEqual(self.call("eth_getLogs", query), [])
            if query.get("fromBlock") != "finalized":
                self.assertEqual(self.call("eth_getFilterLogs", self.call("eth_newFilter", query)), [])
        self.assertEqual(self.call("eth_getLogs"), [])
        for query, error in (
            ({"blockHash": "0x" + "ee" * 32}, (-32000, "unknown block")),
            ({"fromBlock": "0x1", "toBlock": "0x0"}, (-32602, "invalid block range params")),
            ({"fromBlock": "0x2"}, (-32602, "invalid block range params")),
            ({"fromBlock": "0x0", "toBlock": "0x2"}, (-32602, "block range extends beyond current head block")),
            ({"fromBlock": "pending"}, (-32602, "pending logs are not supported")),
            ({"address": [NOBODY] * 1_001}, (-32000, "exceed max addresses or topics per search position")),
        ):
            self.assertEqual(self.refused("eth_getLogs", query), error)
        self.assertEqual(self.refused("eth_newFilter", {"toBlock": "pending"})[0], -32602)
