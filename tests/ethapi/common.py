"""A real ledger in memory and its namespaces, called as a server calls them."""

from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.ethapi.debug import debug_namespace
from chainp2p.ethapi.eth import eth_namespace
from chainp2p.ethapi.txpool import txpool_namespace
from chainp2p.ledger.chain import Ledger
from chainp2p.namespaces import RpcError
from chainp2p.rpc.core import dumps
from chainp2p.rpc.registry import Registry, Subscribe
from tests.ledger.network import ADDRESSES, Harness, genesis_of, transfer

__all__ = ["ACCOUNTS", "EthHarness", "transfer"]

#: The ten dev accounts as texts; the first seals, each has 1,000 ether.
ACCOUNTS = ["0x" + address.hex() for address in ADDRESSES]

#: As the fees of ``genesis_of``.
GWEI = 10**9


class EthHarness(Harness):
    """One signer that seals a block a second when told; :meth:`call` answers what a client gets."""

    signers = 1

    def setUp(self) -> None:
        super().setUp()
        self.ledger: Ledger = self.started(genesis_of(self.signers), 0)
        self.registry = Registry(
            [eth_namespace(self.ledger, b"seed"), txpool_namespace(self.ledger), debug_namespace(self.ledger)]
        )
        self.slot = 0

    def mine(self, *raws: bytes) -> None:
        """A block with these transactions."""
        for raw in raws:
            self.get(self.ledger.admit(raw, True))
        self.slot += self.signers
        self.assertIsNotNone(self.seal(self.ledger, self.slot))

    def call(self, method: str, *params: Any) -> Any:
        result = self.registry.invoke(method, list(params))
        if hasattr(result, "send"):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            result = self.successResultOf(result)
        dumps(result)
        return result

    def refused(self, method: str, *params: Any) -> tuple[int, str]:
        try:
            result = self.registry.invoke(method, list(params))
            error = self.failureResultOf(Deferred.fromCoroutine(result), RpcError).value
        except RpcError as raised:
            error = raised
        return error.code, error.message

    def subscribe(self, *params: Any) -> tuple[list[Any], Any]:
        """Return (events, function that ends it)."""
        wanted = self.registry.invoke("eth_subscribe", list(params), True)
        assert isinstance(wanted, Subscribe)
        events: list[Any] = []
        return events, wanted.subscription.open(events.append, *wanted.arguments)
