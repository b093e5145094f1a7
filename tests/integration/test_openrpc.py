"""Every method that ``rpc_discover`` names is called at a real node, and each answer is as its schema says."""

import json
import unittest
from collections.abc import Iterator
from random import Random
from typing import Any

from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_GENESIS
from chainp2p.peer.key import NodeKey
from chainp2p.wire import Ping, Pong
from chainp2p.wire.schema import Kind
from tests.integration.processes import Daemon, call, eventually
from tests.integration.rawweb import RawWebSocket
from tests.integration.stranger import Stranger
from tests.integration.test_abuse import QUIET
from tests.integration.traffic import transfer
from tests.rpc.openrpc import document_errors, schema_errors

ZERO, NOBODY = "0x" + "00" * 32, "0x" + "00" * 20
#: A peer that is not there.
PEER = f"{'ab' * 32}@127.0.0.1:1"
#: Methods whose only answer here is a refusal: with one signer each block is final at once, none failed, and no branch
#: was refused.
REFUSED = {
    "admin_acceptReorg": "",
    "admin_invalidateBlock": "it is final",
    "admin_reconsiderBlock": "neither the block nor an ancestor of it failed",
}


class OpenRpcTests(unittest.TestCase):
    def setUp(self) -> None:
        self.node = Daemon(self, *QUIET, "--admin-auth", "none")
        facts = self.node.facts()
        self.rpc, self.admin = facts["rpc"], facts["admin"]
        # a peer to be shown, and a block with a transaction, and two more that wait
        peer = Stranger(
            int(facts["listening"][0].rpartition(":")[2]), DEV_GENESIS.hash, NodeKey.generate(Random(7).randbytes)
        )
        self.addCleanup(peer.close)
        peer.greet()
        peer.send(Ping(1), Kind.REQUEST)
        peer.wait_for(Pong)
        call(self.rpc, "eth_sendRawTransaction", transfer(1, 0))
        self.block = eventually(
            lambda: (found := call(self.rpc, "eth_getBlockByNumber", "latest", True))["transactions"] and found,
            15,
            "a block with a transaction",
        )
        self.websocket = RawWebSocket(int(self.admin.rpartition(":")[2]))
        self.addCleanup(self.websocket.close)
        self.answers: dict[str, list[Any]] = {}

    def ask(self, method: str, *params: Any) -> Any:
        """By WebSocket, so that subscriptions are methods like others."""
        self.websocket.frame(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        while True:
            text = self.websocket.message()
            assert text is not None
            answer = json.loads(text)
            if "id" in answer:
                break
        self.asked.append((method, params, answer))
        return answer.get("result")

    def calls(self) -> Iterator[tuple[Any, ...]]:
        """Each method with its parameters; what an answer is needed for is asked by :meth:`ask`."""
        height, hash = self.block["number"], self.block["hash"]
        transaction = self.block["transactions"][0]["hash"]
        account = "0x" + DEV_ADDRESSES[1].hex()
        for method in ("getBlockByNumber", "getBlockByHash"):
            where = height if method.endswith("Number") else hash
            yield from ((f"eth_{method}", where, full) for full in (True, False))
        yield "eth_getBlockByNumber", "pending", True
        yield "eth_getBlockByNumber", "0x999"
        yield "eth_getBlockByHash", ZERO
        for what in ("getHeader", "getBlockTransactionCount", "getUncleCount"):
            number, by = ("ByBlockNumber", "ByBlockHash") if what == "getUncleCount" else ("ByNumber", "ByHash")
            yield from ((f"eth_{what}{number}", where) for where in (height, "latest", "0x999"))
            yield from ((f"eth_{what}{by}", where) for where in (hash, ZERO))
        for name in ("eth_getTransactionByHash", "eth_getRawTransactionByHash", "eth_getTransactionReceipt"):
            yield from ((name, which) for which in (transaction, ZERO))
        yield "eth_getTransactionByBlockNumberAndIndex", height, "0x0"
        yield "eth_getTransactionByBlockNumberAndIndex", height, "0x7"
        yield "eth_getTransactionByBlockHashAndIndex", hash, "0x0"
        yield from (("eth_getBlockReceipts", where) for where in (height, {"blockHash": hash}, "0x999"))
        yield from ((f"eth_{name}",) for name in ("blockNumber", "chainId", "gasPrice", "maxPriorityFeePerGas"))
        yield from ((f"eth_{name}",) for name in ("accounts", "syncing", "getLogs"))
        for name in ("getBalance", "getTransactionCount", "getCode"):
            yield f"eth_{name}", account
            yield f"eth_{name}", account, "pending"
        yield "eth_getStorageAt", account, "0x0", "latest"
        yield "eth_getProof", account, ["0x0", "0x" + "11" * 32], height
        yield "eth_getProof", NOBODY, [], "earliest"
        yield "eth_call", {"to": account, "data": "0x"}, "latest", {}, {}
        yield "eth_estimateGas", {"from": account, "to": NOBODY, "value": "0x1"}
        yield "eth_feeHistory", "0x4", "latest", [10, 90]
        yield "eth_feeHistory", 4, "latest"
        yield "eth_feeHistory", "0x0", "latest"
        yield from self.filters()
        yield from self.pool(account)
        yield ("chain_info",)
        yield ("chain_head",)
        for name in ("chain_getHeader", "chain_getBlock"):
            yield from ((name, where) for where in (1, "0x1", hash, 999))
        yield from (("chain_getTransaction", which) for which in (transaction, ZERO))
        yield from (("debug_" + name, "latest") for name in ("getRawHeader", "getRawBlock", "getRawReceipts"))
        yield "debug_getRawTransaction", transaction
        yield from ((name,) for name in ("net_version", "net_listening", "net_peerCount", "web3_clientVersion"))
        yield "web3_sha3", "0xAb"
        yield ("rpc_modules",)
        yield ("rpc_discover",)
        yield from self.operating()

    def filters(self) -> Iterator[tuple[Any, ...]]:
        ids = [self.ask("eth_newBlockFilter"), self.ask("eth_newPendingTransactionFilter", True)]
        logs = self.ask("eth_newFilter", {"fromBlock": "0x0", "address": NOBODY, "topics": [None, [ZERO]]})
        call(self.rpc, "eth_sendRawTransaction", transfer(2, 0))
        eventually(lambda: self.ask("eth_getFilterChanges", ids[0]), 15, "a block")
        yield "eth_getFilterChanges", ids[1]
        yield "eth_getFilterLogs", logs
        yield from (("eth_uninstallFilter", id) for id in (*ids, logs, logs))
        for namespace, params in (
            ("eth", ["newHeads"]),
            ("chain", [["heads", "transactions", "peers"]]),
            ("admin", ["peerEvents"]),
        ):
            yield f"{namespace}_unsubscribe", self.ask(f"{namespace}_subscribe", *params)

    def pool(self, account: str) -> Iterator[tuple[Any, ...]]:
        yield "eth_sendRawTransaction", transfer(1, 5)
        yield "chain_submitTransaction", transfer(3, 7)
        yield "txpool_contentFrom", account
        yield from ((f"txpool_{name}",) for name in ("status", "content", "inspect"))

    def operating(self) -> Iterator[tuple[Any, ...]]:
        yield from ((f"admin_{name}",) for name in ("nodeInfo", "peers", "datadir", "explainSync", "reorgs", "reload"))
        yield ("admin_doctor",)
        yield "admin_setLogLevel", "info", "chainp2p.net"
        for name in ("addPeer", "addTrustedPeer", "removeTrustedPeer", "removePeer", "ban"):
            yield f"admin_{name}", PEER
        yield ("admin_bans",)
        yield "admin_unban", PEER
        yield "admin_why", "peer", PEER
        yield "admin_why", "ban", "cd" * 32
        yield "admin_why", "peer", "203.0.113.9"
        id = self.ask("admin_exportChain", "walk.blocks", 1, 1)
        eventually(lambda: self.ask("admin_job", id)["state"] != "running", 15, "an export")
        id = self.ask("admin_importChain", "walk.blocks")
        eventually(lambda: self.ask("admin_job", id)["state"] != "running", 15, "an import")
        yield "admin_cancelJob", id
        head = self.ask("chain_head")["hash"]
        yield "admin_invalidateBlock", head
        yield ("admin_reorgs",)
        yield "admin_reconsiderBlock", head
        yield "admin_acceptReorg", head
        yield "admin_setFinalized", head

    def test_every_method_answers_as_its_schema_says(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        document = call(self.admin, "rpc.discover")
        self.assertEqual(document_errors(document), [])
        self.assertEqual(document_errors(call(self.rpc, "rpc_discover")), [])
        methods = {method["name"]: method for method in document["methods"]}
        for method, *params in self.calls():
            self.ask(method, *params)
        answered = set()
        for method, params, answer in self.asked:
            declared = methods[method]["params"]
            for given, param in zip(params, declared, strict=False):
                self.assertEqual(schema_errors(given, param["schema"]), [], (method, param["name"], given))
            if method in REFUSED:
                self.assertEqual(answer["error"]["code"], -32000)
                self.assertIn(REFUSED[method], answer["error"]["message"])
            else:
                self.assertIn("result", answer, (method, params))
                self.assertEqual(schema_errors(answer["result"], methods[method]["result"]["schema"]), [], method)
            answered.add(method)
        self.assertEqual(methods.keys() - answered, set())
        self.assertNotIn("Traceback", self.node.log())
