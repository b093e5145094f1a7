"""What a node that began at a state says of the blocks below, and of the one where it began."""

from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.ethapi.eth import eth_namespace
from chainp2p.namespaces import PRUNED, RpcError
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.registry import Registry
from tests.ledger.test_statesync import GRID, Base


class Pruned(Base):
    def setUp(self) -> None:
        super().setUp()
        self.grow(GRID + 2)
        self.new = self.started(self.genesis)
        self.teach(self.new)
        goal = self.goal(self.new)
        self.fetch(self.new, goal)
        self.assertEqual(self.adopt(self.new, goal), "")
        for height in (GRID + 1, GRID + 2):
            self.feed(self.new, self.get(self.old.block(self.get(self.old.hash_at(height)))))
        self.registry = Registry([eth_namespace(self.new, b"seed"), chain_namespace(self.new)])

    def call(self, method: str, *params: Any) -> Any:
        result = self.registry.invoke(method, list(params))
        return self.successResultOf(Deferred.fromCoroutine(result) if hasattr(result, "send") else result)

    def refused(self, method: str, *params: Any) -> int:
        result = self.registry.invoke(method, list(params))
        error = self.failureResultOf(Deferred.fromCoroutine(result), RpcError).value
        self.assertEqual(error.message, "pruned history unavailable")
        return error.code

    def test_blocks_below_are_pruned_not_unknown(self) -> None:
        low = "0x" + self.get(self.new.hash_at(5)).hex()
        for method, *params in (
            ("eth_getBlockByNumber", "0x5", False),
            ("eth_getBlockByHash", low, True),
            ("eth_getBlockTransactionCountByNumber", "0x5"),
            ("eth_getBlockReceipts", "0x5"),
            ("chain_getBlock", low),
        ):
            with self.subTest(method):
                self.assertEqual(self.refused(method, *params), PRUNED)
        self.assertIsNone(self.call("eth_getBlockByHash", "0x" + "11" * 32, False))
        self.assertIsNone(self.call("chain_getBlock", "0x" + "11" * 32))
        self.assertEqual(self.call("eth_getHeaderByNumber", "0x5")["hash"], low)

    def test_where_it_began_there_are_blocks_but_no_receipts(self) -> None:
        block = self.call("eth_getBlockByNumber", hex(GRID), True)
        self.assertEqual(len(block["transactions"]), 1)
        self.assertEqual(block["transactions"][0]["from"], self.sender(GRID + 1))
        self.assertEqual(self.refused("eth_getBlockReceipts", hex(GRID)), PRUNED)
        self.assertEqual(len(self.call("eth_getBlockReceipts", hex(GRID + 1))), 1)
        self.assertEqual(self.call("eth_getBlockReceipts", "0x0"), [])

    def sender(self, height: int) -> str:
        return str(self.call("eth_getBlockByNumber", hex(height), True)["transactions"][0]["from"])
