"""A reorg between two real nodes, as wallets and explorers see it by RPC on both of them."""

import json
import threading
import time
import unittest
from typing import Any

from eth_account import Account
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.integration.processes import Devnet, call, eventually

#: Seconds a slot: long enough to see, at each look, what the reorg left before the next block comes.
PERIOD = 1.5
UNKNOWN = "unknown"


class Side:
    """One node, with a wallet, two subscriptions and two filters on it."""

    def __init__(self, test: unittest.TestCase, node: dict[str, Any], key: str, to: str) -> None:
        self.node, self.url, self.to = node, node["rpc"], to
        self.signer = Account.from_key(key)
        self.heads: list[dict[str, Any]] = []
        self.pending: list[str] = []
        self.filters = [call(self.url, f"eth_new{kind}Filter") for kind in ("Block", "PendingTransaction", "")]
        self.filtered: list[list[str]] = [[], [], []]
        self._socket = test.enterContext(connect(node["ws"]))
        self._ids = [self._subscribe(name) for name in ("newHeads", "newPendingTransactions")]
        thread = threading.Thread(target=self._listen)
        thread.start()
        test.addCleanup(thread.join)
        test.addCleanup(self._socket.close)

    def _subscribe(self, name: str) -> str:
        self._socket.send(json.dumps({"jsonrpc": "2.0", "id": name, "method": "eth_subscribe", "params": [name]}))
        while True:
            answer = json.loads(self._socket.recv(timeout=10))
            if "id" in answer:
                id: str = answer["result"]
                return id
            self.heads.append(answer["params"]["result"])  # only of the first subscription there is news yet

    def _listen(self) -> None:
        try:
            for message in self._socket:
                told = json.loads(message)["params"]
                (self.heads if told["subscription"] == self._ids[0] else self.pending).append(told["result"])
        except ConnectionClosed:
            pass

    def poll(self) -> None:
        for found, id in zip(self.filtered, self.filters, strict=True):
            found += call(self.url, "eth_getFilterChanges", id)

    def pay(self) -> str:
        fields = {"chainId": 31337, "nonce": 0, "to": self.to, "value": 1, "gas": 21_000, "gasPrice": 5 * 10**9}
        raw = self.signer.sign_transaction(fields).raw_transaction.to_0x_hex()
        sent: str = call(self.url, "eth_sendRawTransaction", raw)
        return sent

    def state(self, sent: str) -> tuple[Any, Any]:
        """The block of the receipt, None if there is none; and that of the transaction, None while it is pending."""
        before, after = "", self.place(sent)
        while before != after:  # a block has come while we asked
            before = after
            receipt = call(self.url, "eth_getTransactionReceipt", sent)
            after = self.place(sent)
        return receipt and receipt["blockHash"], after

    def place(self, sent: str) -> Any:
        found = call(self.url, "eth_getTransactionByHash", sent)
        return found["blockHash"] if found else UNKNOWN

    def block(self, tag: str) -> tuple[int, str]:
        block = call(self.url, "eth_getBlockByNumber", tag, False)
        return int(block["number"], 16), block["hash"]

    def marks(self) -> tuple[int, int, int]:
        finalized, safe, latest = (self.block(tag)[0] for tag in ("finalized", "safe", "latest"))
        return finalized, safe, latest


class ReorgTests(unittest.TestCase):
    def both_ways(self, method: str) -> None:
        one, two = self.devnet.nodes
        for node, other in ((one, two), (two, one)):
            call(node["admin"], method, f"{other['peerId']}@{other['p2p']}")

    def test_receipts_heads_filters_and_finality(self) -> None:
        self.devnet = devnet = Devnet(self, "-n", "2", "--period", str(PERIOD))
        keys = [account["privateKey"] for account in devnet.document["accounts"][5:7]]
        sides = [Side(self, node, key, Account.create().address) for node, key in zip(devnet.nodes, keys, strict=True)]
        eventually(lambda: min(side.marks()[0] for side in sides) > 0, 60, "something is final")
        self.both_ways("admin_removePeer")
        eventually(lambda: not devnet.peers(1) and not devnet.peers(2), 20, "parted")
        sent = [side.pay() for side in sides]
        first = [
            eventually(lambda s=side, t=hash: s.state(t)[0], 30, "mined")
            for side, hash in zip(sides, sent, strict=True)
        ]
        self.assertEqual(
            [call(s.url, "eth_getTransactionByHash", t) for s, t in zip(sides, sent[::-1], strict=True)], [None] * 2
        )
        self.assertNotEqual(*first)
        mined = [call(s.url, "eth_getTransactionReceipt", t) for s, t in zip(sides, sent, strict=True)]
        low = min(int(receipt["blockNumber"], 16) for receipt in mined)
        marks = [side.marks() for side in sides]
        tall = max(side.block("latest")[0] for side in sides)
        eventually(lambda: min(side.block("latest")[0] for side in sides) > tall, 30, "one more block on both sides")
        heads = [side.block("latest") for side in sides]
        # what was before it is looked at before it: it may be over when the call that lets it begin is answered
        seen: list[list[tuple[Any, Any]]] = [[side.state(hash)] for side, hash in zip(sides, sent, strict=True)]
        self.both_ways("admin_addPeer")
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            for index, (side, hash) in enumerate(zip(sides, sent, strict=True)):
                state = side.state(hash)
                if state not in seen[index][-1:]:
                    seen[index].append(state)
                now = side.marks()
                self.assertGreaterEqual(now[0], marks[index][0], "what is final stays")
                self.assertTrue(now[0] <= now[1] <= now[2], now)
                marks[index] = now
            if not any(len(states) > 2 for states in seen):
                continue  # nobody's has been mined again; until then each look is to be a quick one
            mine = {side.state(hash) for side in sides for hash in sent}
            if len(mine) == 2 and all(block == also and block for block, also in mine) and marks[0][0] >= tall + 2:
                break
        loser = next(i for i, (height, hash) in enumerate(heads) if devnet.hash_at(1, height) != hash)
        winner = 1 - loser
        left, kept = first[loser], first[winner]
        print(f"reorg at {low}, node{loser + 1} left {heads[loser][0]}: {seen[loser]}")
        # the winner's stays where it was; the loser's is pending again, and then in another block
        self.assertEqual(seen[winner], [(kept, kept)])
        self.assertEqual(seen[loser][:2], [(left, left), (None, None)])
        again = seen[loser][2][0]
        self.assertEqual(seen[loser][2:], [(again, again)])
        self.assertNotIn(again, (None, left))
        for side in sides:
            side.poll()
        self.check_heads(sides, left, low)
        self.check_left_block(sides[loser], left, sent[loser])
        # told when it was sent, and again when its block was left
        self.assertEqual(sides[loser].pending.count(sent[loser]), 2)
        self.assertEqual(sides[loser].filtered[1].count(sent[loser]), 2)
        self.assertIn(sent[loser], sides[winner].pending)
        for side in sides:
            self.assertEqual(side.filtered[2], [])
            for tag in ("finalized", "safe"):
                number, hash = side.block(tag)
                self.assertEqual(devnet.hash_at(2 - sides.index(side), number), hash, tag)
            self.assertEqual(call(side.url, "eth_getBalance", sides[loser].to), "0x1")
            self.assertEqual(call(side.url, "eth_getBalance", sides[winner].to), "0x1")

    def check_heads(self, sides: list[Side], left: str, low: int) -> None:
        """Heads come in order, each on the one before, but for one step back on the side that lost."""
        for side in sides:
            heads, filtered = list(side.heads), side.filtered[0]
            steps = [at for at in range(1, len(heads)) if heads[at]["parentHash"] != heads[at - 1]["hash"]]
            lost = left in [head["hash"] for head in heads]
            self.assertEqual(len(steps), 1 if lost else 0, heads)
            if lost:
                fork = [head["hash"] for head in heads].index(heads[steps[0]]["parentHash"])
                self.assertLess(fork, steps[0])
                self.assertLessEqual(int(heads[steps[0]]["number"], 16), low)
                heads = heads[: fork + 1] + heads[steps[0] :]
            numbers = [int(head["number"], 16) for head in heads]
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))
            for head in heads:
                self.assertEqual(self.devnet.hash_at(1, int(head["number"], 16)), head["hash"])
            told = [head["hash"] for head in side.heads]
            shared = filtered[filtered.index(told[0]) :]
            self.assertEqual(shared[: len(told)], told[: len(shared)])

    def check_left_block(self, side: Side, left: str, sent: str) -> None:
        """It is found by its hash, but nothing is said to hold there."""
        block = call(side.url, "eth_getBlockByHash", left, False)
        self.assertEqual(block["transactions"], [sent])
        self.assertNotEqual(self.devnet.hash_at(1, int(block["number"], 16)), left)
        self.assertEqual(call(side.url, "eth_getLogs", {"blockHash": left}), [])
        for method, params in (
            ("eth_getBlockReceipts", [left]),
            ("eth_getBalance", [side.to, {"blockHash": left, "requireCanonical": True}]),
        ):
            with self.assertRaisesRegex(AssertionError, "hash is not currently canonical", msg=method):
                call(side.url, method, *params)
