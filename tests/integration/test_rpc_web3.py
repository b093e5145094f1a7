"""web3.py, unchanged, against the RPC server over loopback: a dev ledger that seals on demand."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from eth_account import Account
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import BlockNotFound, TransactionNotFound, Web3RPCError

from chainp2p.chain.interfaces import TransactionAdded
from chainp2p.ethapi.plugin import LedgerPlugin
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_KEYS
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.methods.net import net_namespace
from chainp2p.rpc.methods.rpc import rpc_namespace
from chainp2p.rpc.methods.web3 import web3_namespace
from chainp2p.rpc.server import RpcServer
from chainp2p.settings import Settings
from tests.ledger.network import AtOnce

ETHER = 10**18


def _reactor() -> Any:
    from twisted.internet import reactor  # noqa: TID251

    return reactor


class Web3Tests(TestCase):
    """Each test has a node's RPC of its own."""

    timeout = 120

    def setUp(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        self.reactor = reactor = _reactor()
        self.sealed = 0
        plugin = LedgerPlugin()
        ledger = plugin.make(Settings(), AtOnce(), reactor.seconds, Random(1), lambda name: sqlite3.connect(":memory:"))
        await ledger.start()
        self.addCleanup(ledger.stop)
        namespaces = [*plugin.namespaces(ledger), net_namespace(31337, lambda: 0, lambda: True)]
        namespaces += [web3_namespace("chainp2p/test"), chain_namespace(ledger)]
        namespaces.append(rpc_namespace(namespaces, "test"))
        server = RpcServer(reactor=reactor, endpoint="tcp:0:interface=127.0.0.1", namespaces=namespaces)
        ((_, port),) = await server.start()
        self.addCleanup(server.stop)
        self.ledger, self.url, self.ws = ledger, f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/ws"

    def seal_by_itself(self) -> None:
        def seal(_: object) -> None:
            self.reactor.callLater(0.06, lambda: self.ledger.produce(self.reactor.seconds()))

        self.ledger.events.subscribe(TransactionAdded, seal)

    def seal_from_thread(self) -> None:
        self.sealed += 1  # two blocks on demand are 50 ms apart
        blockingCallFromThread(self.reactor, lambda: self.ledger.produce(self.reactor.seconds() + self.sealed))

    def in_thread(self, work: Callable[[], Any]) -> "Deferred[Any]":
        return deferToThread(work)

    def _transfer(self, w3: Any, nonce: int, kind: int = 2) -> Any:
        transaction: dict[str, Any] = {
            "chainId": 31337,
            "nonce": nonce,
            "to": Web3.to_checksum_address(DEV_ADDRESSES[5]),
            "value": ETHER,
            "gas": 21_000,
        }
        if kind == 2:
            transaction |= {"maxFeePerGas": w3.eth.gas_price * 2, "maxPriorityFeePerGas": w3.eth.max_priority_fee}
        else:
            transaction["gasPrice"] = w3.eth.gas_price
        if kind == 1:
            transaction |= {"type": 1, "accessList": []}
            transaction["gas"] = 30_000
        return Account.from_key(DEV_KEYS[1]).sign_transaction(transaction)

    def test_a_wallet_over_http(self) -> "Deferred[Any]":
        return self.in_thread(self._wallet)

    def _wallet(self) -> None:
        w3 = Web3(Web3.HTTPProvider(self.url))
        eth = w3.eth
        sender, recipient = (Web3.to_checksum_address(DEV_ADDRESSES[index]) for index in (1, 5))
        self.assertTrue(w3.is_connected())
        self.assertEqual((eth.chain_id, eth.block_number, w3.client_version), (31337, 0, "chainp2p/test"))
        self.assertEqual((w3.net.version, w3.net.listening, w3.net.peer_count), ("31337", True, 0))
        self.assertEqual(eth.get_balance(sender), 10_000 * ETHER)
        self.assertFalse(eth.syncing)
        self.assertEqual(eth.accounts, [])
        for kind in (0, 1, 2):
            nonce = eth.get_transaction_count(sender, "pending")
            signed = self._transfer(w3, nonce, kind)
            hash = eth.send_raw_transaction(signed.raw_transaction)
            with self.assertRaises(Web3RPCError) as caught:
                eth.send_raw_transaction(signed.raw_transaction)
            self.assertEqual(caught.exception.rpc_response["error"], {"code": -32000, "message": "already known"})
            pending = eth.get_transaction(hash)
            self.assertIsNone(pending["blockNumber"])
            self.seal_from_thread()
            receipt = eth.wait_for_transaction_receipt(hash, timeout=30, poll_latency=0.05)
            self.assertEqual((receipt["status"], receipt["type"], receipt["blockNumber"]), (1, kind, kind + 1))
            self.assertEqual(receipt["from"], sender)
            mined = eth.get_transaction(hash)
            self.assertEqual((mined["blockHash"], mined["type"]), (receipt["blockHash"], kind))
            block = eth.get_block(receipt["blockNumber"], full_transactions=True)
            self.assertEqual(block["transactions"][0]["hash"], hash)
            self.assertEqual(block["hash"], receipt["blockHash"])
            self.assertEqual(eth.get_block(block["hash"])["transactions"], [hash])
            self.assertEqual(eth.get_block_receipts(block["number"]), [receipt])
            self.assertEqual(eth.get_transaction_by_block(block["number"], 0), mined)
            self.assertEqual(eth.get_raw_transaction(hash), signed.raw_transaction)
        self.assertEqual(eth.get_balance(recipient), 10_003 * ETHER)
        self.assertEqual(eth.get_balance(recipient, 1), 10_001 * ETHER)
        self.assertEqual(eth.get_transaction_count(sender), 3)
        self.assertEqual(eth.estimate_gas({"from": sender, "to": recipient, "value": 1}), 21_000)
        self.assertEqual(eth.call({"to": recipient, "data": "0x00"}), b"")
        self.assertEqual(eth.get_code(recipient), b"")
        self.assertEqual(eth.get_storage_at(recipient, 0), bytes(32))
        self.assertEqual(eth.get_logs({"fromBlock": 0}), [])
        history = eth.fee_history(4, "latest", [10, 90])
        self.assertEqual((len(history["baseFeePerGas"]), len(history["reward"])), (5, 4))
        for tag in ("earliest", "latest", "pending", "safe", "finalized"):
            self.assertGreater(eth.get_block(tag)["baseFeePerGas"], 0)
        with self.assertRaises(BlockNotFound):
            eth.get_block(99)
        with self.assertRaises(TransactionNotFound):
            eth.get_transaction(bytes(32))
        with self.assertRaises(TransactionNotFound):
            eth.get_transaction_receipt(bytes(32))
        self.assertEqual(w3.geth.txpool.status(), {"pending": "0x0", "queued": "0x0"})

    def test_polled_filters(self) -> "Deferred[Any]":
        self.seal_by_itself()
        return self.in_thread(self._filters)

    def _filters(self) -> None:
        w3 = Web3(Web3.HTTPProvider(self.url))
        blocks, pending = w3.eth.filter("latest"), w3.eth.filter("pending")
        logs = w3.eth.filter({"fromBlock": 0})
        hash = w3.eth.send_raw_transaction(self._transfer(w3, 0).raw_transaction)
        receipt = w3.eth.wait_for_transaction_receipt(hash, timeout=30, poll_latency=0.05)
        self.assertEqual(blocks.get_new_entries(), [receipt["blockHash"]])
        self.assertEqual(pending.get_new_entries(), [hash])
        self.assertEqual((blocks.get_new_entries(), logs.get_all_entries()), ([], []))
        self.assertTrue(w3.eth.uninstall_filter(blocks.filter_id))

    def test_subscriptions_over_websocket(self) -> "Deferred[Any]":
        self.seal_by_itself()
        return self.in_thread(lambda: asyncio.run(self._subscriptions()))

    async def _subscriptions(self) -> None:
        http = Web3(Web3.HTTPProvider(self.url))
        async with AsyncWeb3(WebSocketProvider(self.ws)) as w3:
            self.assertEqual(await w3.eth.chain_id, 31337)
            heads = await w3.eth.subscribe("newHeads")
            hashes = await w3.eth.subscribe("newPendingTransactions")
            full = await w3.eth.subscribe("newPendingTransactions", True)
            signed = await asyncio.to_thread(self._transfer, http, 0)
            hash = await w3.eth.send_raw_transaction(signed.raw_transaction)
            seen: dict[str, Any] = {}
            async for message in w3.socket.process_subscriptions():
                seen[message["subscription"]] = message["result"]
                if len(seen) == 3:
                    break
            self.assertEqual(seen[hashes], hash)
            self.assertEqual(seen[full]["hash"], hash)
            self.assertEqual((seen[heads]["number"], seen[heads]["gasUsed"]), (1, 21_000))
            self.assertTrue(await w3.eth.unsubscribe(heads))

    def test_a_foreign_page_is_refused(self) -> "Deferred[Any]":
        return self.in_thread(self._foreign)

    def _foreign(self) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
        headers = {"Content-Type": "application/json", "Origin": "https://evil.example"}
        with self.assertRaises(HTTPError) as caught, urlopen(Request(self.url, body, headers)):
            pass
        self.assertEqual(caught.exception.code, 403)
        self.assertIn("--rpc-origins", caught.exception.read().decode())
