"""Every method against values that nobody should send: an answer or an error of the caller's, never one of ours."""

from itertools import product
from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.namespaces import RpcError
from chainp2p.rpc.core import Number, dumps
from tests.ethapi.common import ACCOUNTS, EthHarness, transfer

HASH = "0x" + "ab" * 32
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    Number("1e400"),
    Number("9" * 5_000),
    "",
    "0x",
    "0x0",
    "0x1",
    "0x00",
    "0x" + "f" * 64,
    "0x" + "f" * 65,
    "0x7fffffffffffffff",
    "0x8000000000000000",
    "latest",
    "pending",
    "\ud800",
    "0x\ud800",
    "0x" + "0" * 5_000,
    HASH,
    ACCOUNTS[1],
    [],
    [[]],
    [HASH, None],
    [50, 10],
    {},
    {"blockHash": HASH},
    {"blockHash": [], "requireCanonical": 5},
    {"blockNumber": {}},
    {"to": ACCOUNTS[1], "value": "0x" + "f" * 64, "gas": "0x" + "f" * 64, "gasPrice": "0x" + "f" * 64},
    {"to": ACCOUNTS[1], "accessList": [5]},
    {"to": ACCOUNTS[1], "accessList": {"a": 1}},
    {"to": ACCOUNTS[1], "accessList": [{"address": ACCOUNTS[1], "storageKeys": 7}]},
    {"fromBlock": "0x7fffffffffffffff", "address": {}, "topics": [[{}]]},
    {"topics": [[HASH] * 3], "fromBlock": "pending", "toBlock": "earliest"},
)


class Hostile(EthHarness):
    def probe(self, method: str, params: tuple[Any, ...]) -> None:
        try:
            result = self.registry.invoke(method, list(params))
            if hasattr(result, "send"):
                result = self.successResultOf(Deferred.fromCoroutine(result).addErrback(self.only_refusals))
            dumps(result)
        except RpcError:
            pass

    def only_refusals(self, failure: Any) -> None:
        failure.trap(RpcError)

    def test_no_method_fails_by_itself(self) -> None:
        self.mine(transfer(3, 0))
        self.get(self.ledger.admit(transfer(3, 1), True))
        for namespace in self.registry.namespaces:
            for method in namespace.methods:
                name = f"{namespace.name}_{method.name}"
                for value in VALUES:
                    self.probe(name, (value,))
                    self.probe(name, (ACCOUNTS[1], value))
                    self.probe(name, (HASH, value))
                    self.probe(name, ("0x1", value))
                    self.probe(name, ("0x1", "latest", value))
                    self.probe(name, (ACCOUNTS[1], "0x0", value))

    def test_nor_a_pair_of_them(self) -> None:
        for name in ("eth_feeHistory", "eth_call", "eth_estimateGas", "eth_getBlockByNumber", "eth_getLogs"):
            for params in product(VALUES, VALUES):
                self.probe(name, params)

    def test_nor_a_subscription(self) -> None:
        for name in ("newHeads", "newPendingTransactions", "logs", "syncing"):
            for value in VALUES:
                try:
                    self.registry.invoke("eth_subscribe", [name, value], True)
                except RpcError:
                    pass
