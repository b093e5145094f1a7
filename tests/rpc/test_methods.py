"""``net``, ``web3``, ``chain`` and ``admin`` over stand-ins."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chainp2p.chain.interfaces import (
    Admission,
    AdmissionResult,
    FinalityConflict,
    HeadChanged,
    HeaderInfo,
    IReorgs,
    ITransactionPool,
    RefusedBranch,
)
from chainp2p.errors import Reason
from chainp2p.events import EventBus
from chainp2p.namespaces import Namespace, RpcError
from chainp2p.net.discovery_view import BucketView, DiscoveryView, NodeView
from chainp2p.net.port_mapping import MappingState
from chainp2p.peer.conduct import Sentence, SentenceKind
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import PeerJoined, PeerLeft
from chainp2p.rpc.core import dumps
from chainp2p.rpc.methods.admin import admin_namespace
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.methods.net import net_namespace
from chainp2p.rpc.methods.web3 import web3_namespace
from chainp2p.rpc.registry import Registry

KEY = NodeKey(bytes([7]) * 32)
HASHES = [bytes([index]) * 32 for index in range(4)]
INFOS = [HeaderInfo(HASHES[index], HASHES[max(index - 1, 0)], index, bytes(31) + b"\1") for index in range(4)]


class PlainChain:
    """A chain without a pool, and without anything of the ledger's."""

    genesis_hash = HASHES[0]

    def __init__(self) -> None:
        self.events = EventBus()
        self.head = self.best_header = INFOS[2]
        self.finalized = INFOS[1]

    def hash_at(self, height: int) -> "Deferred[bytes | None]":
        return succeed(HASHES[height] if height < 3 else None)

    def locate(self, hash: bytes) -> "Deferred[HeaderInfo | None]":
        return succeed(next((info for info in INFOS if info.hash == hash), None))

    def header(self, hash: bytes) -> "Deferred[bytes | None]":
        return succeed(b"header" if hash != HASHES[3] else None)

    def block(self, hash: bytes) -> "Deferred[bytes | None]":
        return succeed(b"block" if hash != HASHES[3] else None)

    def split(self, raw: bytes) -> Any:
        return b"header", ((HASHES[1], b"tx"),)


@implementer(IReorgs, ITransactionPool)
class PoolChain(PlainChain):
    outcome = AdmissionResult(Admission.ADMITTED, HASHES[1])
    safe = INFOS[1]
    conflict = FinalityConflict(INFOS[1], INFOS[2], (b"\1" * 20,))
    refusal = ""

    def admit(self, raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        assert local
        return succeed(self.outcome)

    def transaction(self, hash: bytes) -> bytes | None:
        return b"raw" if hash == HASHES[1] else None

    def transaction_hashes(self) -> list[bytes]:
        return []

    def transaction_hash(self, raw: bytes) -> bytes:
        return HASHES[1]

    refused = (RefusedBranch(INFOS[3], INFOS[2], INFOS[1], 1), RefusedBranch(INFOS[3], INFOS[2], None, None))

    def _decide(self, hash: bytes) -> "Deferred[str]":
        return succeed(self.refusal)

    accept_reorg = set_finalized = invalidate_block = reconsider_block = _decide


@frozen
class View:
    """The members of the network's ``PeerView``."""

    peer_id: bytes = HASHES[1]
    libp2p_id: str = "16U"
    enr: str = "enr:x"
    agent: str = "other/1"
    outbound: bool = True
    local_address: tuple[str, int] = ("127.0.0.1", 1)
    remote_address: tuple[str, int] = ("::1", 2)
    version: int = 1
    height: int = 5
    head: bytes = HASHES[2]
    rank: bytes = bytes(32)
    connected_at: float = 9.5
    static: bool = True
    trusted: bool = False
    useless: float = 0.5
    role: str = "bank"
    clock_offset: float | None = -0.25
    warning: str = ""
    purpose: str = "held"
    dialled: tuple[str, int] | None = ("node.example", 2)
    block_only: bool = False


class Discovery:
    """Shows two nodes."""

    def __init__(self) -> None:
        self.shown: Any = DiscoveryView(
            buckets=(BucketView(256, 4, 2, 5),),
            live=(
                NodeView(HASHES[1], 256, ("10.0.0.1", 5), 1.23, True),
                NodeView(HASHES[2], 256, ("fd00::1", 6), 2.0, False),
            ),
            sessions=3,
            lookups=1,
            votes={4: [("192.0.2.1", 3)], 6: []},
            dropped={"proof": 2},
        )

    def view(self) -> Any:
        return self.shown


class Network:
    def __init__(self) -> None:
        self.addresses: tuple[tuple[str, int], ...] = (("127.0.0.1", 30303),)
        self.counters = {"unknown_tags": 3}
        self.discovery = Discovery()
        self.metrics = lambda: [("chainp2p_links", {"direction": "inbound"}, 2)]
        self.enr = make_enr(KEY, 1, node_pairs(HASHES[0], 1, "127.0.0.1", 30303))
        self.calls: list[Any] = []

    def peers(self) -> list[View]:
        return [View(enr=self.enr.text), View(enr="")]

    def ends(self) -> list[LinkEnd]:
        end = LinkEnd(1.0, None, ("10.0.0.1", 5), Reason.WRONG_GENESIS, "other", True, True, False)
        return [end, LinkEnd(0.5, HASHES[1], ("::1", 6), Reason.SHUTDOWN, "", False, False, True)]

    def add_peer(self, address: Any, trusted: bool = False) -> bool:
        self.calls.append((address.peer_id, trusted))
        return True

    def distrust_peer(self, peer_id: bytes) -> bool:
        return peer_id == KEY.peer_id

    def remove_peer(self, peer_id: bytes) -> bool:
        self.calls.append(peer_id)
        return False

    def bans(self) -> list[Sentence]:
        return [Sentence(HASHES[1], SentenceKind.BAN, "ban_for_fault", "oversize", "9 MB", 1.0, 86_401.0)]

    def removed(self) -> list[bytes]:
        return [HASHES[2]]

    def ban_peer(self, peer_id: bytes, seconds: float) -> bool:
        self.calls.append((peer_id, seconds))
        return True

    def unban_peer(self, peer_id: bytes) -> bool:
        return peer_id == HASHES[1]


class Methods(SynchronousTestCase):
    def call(self, namespace: Namespace, method: str, *params: Any) -> Any:
        result = Registry([namespace]).invoke(f"{namespace.name}_{method}", list(params))
        if hasattr(result, "send"):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            result = self.successResultOf(result)
        dumps(result)
        return result

    def refused(self, namespace: Namespace, method: str, *params: Any) -> tuple[int, str]:
        try:
            result = Registry([namespace]).invoke(f"{namespace.name}_{method}", list(params))
            error = self.failureResultOf(Deferred.fromCoroutine(result), RpcError).value
        except RpcError as raised:
            error = raised
        return error.code, error.message

    def test_net_and_web3(self) -> None:
        net = net_namespace(31337, lambda: 17, lambda: True)
        self.assertEqual(
            [self.call(net, name) for name in ("version", "peerCount", "listening")], ["31337", "0x11", True]
        )
        web3 = web3_namespace("me/1")
        self.assertEqual(self.call(web3, "clientVersion"), "me/1")
        self.assertEqual(
            self.call(web3, "sha3", "0x68656c6c6f20776f726c64"),
            "0x47173285a8d7341e5e972fc677286384f802f8ef42a5ec5f03bbfa254cb01fad",
        )


class ChainMethods(Methods):
    def test_where_it_is(self) -> None:
        plain = self.call(chain_namespace(PlainChain()), "info")
        self.assertEqual((plain["head"], plain["safe"]), ({"hash": "0x" + "02" * 32, "height": 2}, None))
        self.assertEqual(self.call(chain_namespace(PoolChain()), "info")["safe"]["height"], 1)
        self.assertEqual(self.call(chain_namespace(PlainChain()), "head")["parent"], "0x" + "01" * 32)

    def test_headers_and_blocks_by_hash_or_height(self) -> None:
        namespace = chain_namespace(PlainChain())
        for where in (1, "0x1", "0x" + "01" * 32):
            header = self.call(namespace, "getHeader", where)
            self.assertEqual((header["height"], header["header"]), (1, "0x686561646572"))
            block = self.call(namespace, "getBlock", where)
            self.assertEqual(block["transactions"], ["0x" + "01" * 32])
        for where in (9, "0x" + "09" * 32, "0x" + "03" * 32):
            self.assertIsNone(self.call(namespace, "getHeader", where) if where == 9 else None)
            self.assertIsNone(self.call(namespace, "getBlock", where) if where != 9 else None)
        self.assertIsNone(self.call(namespace, "getHeader", "0x" + "03" * 32))
        for bad in (-1, True, 1.5, "x", 2**63, "0x1" + "0" * 16, {}):
            self.assertEqual(self.refused(namespace, "getHeader", bad)[0], -32602, bad)

    def test_transactions(self) -> None:
        chain = PoolChain()
        namespace = chain_namespace(chain)
        self.assertEqual(self.call(namespace, "getTransaction", "0x" + "01" * 32)["raw"], "0x726177")
        self.assertIsNone(self.call(namespace, "getTransaction", "0x" + "02" * 32))
        self.assertEqual(self.call(namespace, "submitTransaction", "0x00"), "0x" + "01" * 32)
        chain.outcome = AdmissionResult(Admission.KNOWN, HASHES[1])
        self.assertEqual(self.call(namespace, "submitTransaction", "0x00"), "0x" + "01" * 32)
        chain.outcome = AdmissionResult(Admission.REJECTED, HASHES[1], "rlp: no")
        self.assertEqual(self.refused(namespace, "submitTransaction", "0x00"), (-32602, "rlp: no"))
        chain.outcome = AdmissionResult(Admission.IGNORED, HASHES[1], "nonce too low")
        self.assertEqual(self.refused(namespace, "submitTransaction", "0x00"), (-32000, "nonce too low"))
        self.assertEqual(self.refused(chain_namespace(PlainChain()), "submitTransaction", "0x00")[0], -32601)


class AdminMethods(Methods):
    def setUp(self) -> None:
        self.network, self.chain = Network(), PoolChain()
        self.admin = admin_namespace(
            self.network, self.chain, agent="me/1", data_dir=Path("/data"), network_id=7, explain=lambda: View()
        )

    def test_node_info(self) -> None:
        info = self.call(self.admin, "nodeInfo")
        self.assertEqual(info["id"], KEY.peer_id.hex())
        self.assertEqual(info["libp2pId"], KEY.libp2p_id)
        self.assertEqual((info["name"], info["ip"], info["listenAddr"]), ("me/1", "127.0.0.1", "127.0.0.1:30303"))
        self.assertEqual(info["ports"], {"discovery": 0, "listener": 30303})
        found = info["discovery"]
        self.assertEqual((found["enabled"], found["nodes"], found["sessions"], found["lookups"]), (True, 2, 3, 1))
        self.assertEqual(found["buckets"], [{"distance": 256, "entries": 4, "live": 2, "replacements": 5}])
        self.assertEqual([one["address"] for one in found["live"]], ["10.0.0.1:5", "[fd00::1]:6"])
        self.assertEqual([one["ourNetwork"] for one in found["live"]], [True, False])
        self.assertEqual((found["live"][0]["id"], found["live"][0]["ago"]), (HASHES[1].hex(), 1.2))
        self.assertEqual(found["votes"], {"ip4": [{"address": "192.0.2.1", "voices": 3}], "ip6": []})
        self.assertEqual(found["dropped"], {"proof": 2})
        self.network.discovery.shown = None
        self.assertEqual(self.call(self.admin, "nodeInfo")["discovery"], {"enabled": False, "nodes": 0})
        self.assertEqual(info["enode"], f"enode://{KEY.public.hex()}@127.0.0.1:30303")
        self.assertEqual(info["metrics"], [{"name": "chainp2p_links", "labels": {"direction": "inbound"}, "value": 2}])
        self.assertEqual(info["counters"], {"unknown_tags": 3, "ends": {"wrong_genesis": 1, "shutdown": 1}})
        first, second = info["ends"]
        self.assertEqual((first["id"], first["reason"], first["detail"]), (None, "wrong_genesis", "other"))
        self.assertEqual((second["address"], second["inbound"], second["byUs"]), ("[::1]:6", True, False))
        protocol = info["protocols"]["chainp2p"]
        self.assertEqual((protocol["network"], protocol["safe"]["height"]), (7, 1))
        self.assertEqual(protocol["finalityConflict"]["signers"], ["0x" + "01" * 20])
        self.assertEqual(protocol["contradictions"], [])

    def test_node_info_shows_signers_that_contradict_themselves(self) -> None:
        evidence = SimpleNamespace(signer=b"\1" * 20, first=b"\2" * 32, first_slot=7, second=b"\3" * 32, second_slot=9)
        self.chain.evidence = [evidence] * 20
        shown = self.call(self.admin, "nodeInfo")["protocols"]["chainp2p"]["contradictions"]
        self.assertEqual(len(shown), 16)
        seals = [{"slot": 7, "hash": "0x" + "02" * 32}, {"slot": 9, "hash": "0x" + "03" * 32}]
        self.assertEqual(shown[0], {"signer": "0x" + "01" * 20, "seals": seals})

    def test_node_info_shows_how_it_stands_with_the_gateway(self) -> None:
        self.assertIsNone(self.call(self.admin, "nodeInfo")["portMapping"])
        state = MappingState(rule="mapped", by="PCP", ip="93.184.216.34", tcp=30303)
        admin = admin_namespace(self.network, self.chain, agent="me/1", mapping=lambda: state)
        self.assertEqual(
            self.call(admin, "nodeInfo")["portMapping"],
            {"rule": "mapped", "text": "", "by": "PCP", "ip": "93.184.216.34", "tcp": 30303, "udp": None},
        )

    def test_node_info_of_a_bare_node(self) -> None:
        self.network.addresses = ()
        info = self.call(admin_namespace(self.network, PlainChain(), agent="x"), "nodeInfo")
        self.assertEqual(info["ports"]["listener"], 0)
        self.assertNotIn("network", info["protocols"]["chainp2p"])

    def test_peers(self) -> None:
        peer, bare = self.call(self.admin, "peers")
        self.assertEqual((peer["enode"], bare["enode"]), (f"enode://{KEY.public.hex()}@[::1]:2", ""))
        self.assertEqual((peer["name"], peer["caps"]), ("other/1", ["chainp2p/1"]))
        self.assertEqual(
            peer["network"],
            {
                "localAddress": "127.0.0.1:1",
                "remoteAddress": "[::1]:2",
                "inbound": False,
                "trusted": False,
                "static": True,
            },
        )
        self.assertEqual(peer["status"]["height"], 5)
        self.assertEqual((peer["purpose"], peer["dialled"], peer["blockOnly"]), ("held", "node.example:2", False))

    def test_adding_and_removing(self) -> None:
        name = f"{KEY.peer_id.hex()}@127.0.0.1:1"
        for method in ("addPeer", "addTrustedPeer", "removePeer"):
            self.assertTrue(self.call(self.admin, method, name))
        self.assertEqual(self.network.calls, [(KEY.peer_id, False), (KEY.peer_id, True), KEY.peer_id])
        self.assertTrue(self.call(self.admin, "addPeer", self.network.enr.text))
        for bad in ("enr:x", "enode://x", 7, "\ud800"):
            self.assertEqual(self.refused(self.admin, "addPeer", bad)[0], -32602)

    def test_bans(self) -> None:
        ban, removal = self.call(self.admin, "bans")
        self.assertEqual((ban["id"], ban["kind"], ban["rule"]), ("01" * 32, "ban", "ban_for_fault"))
        self.assertEqual((ban["since"], ban["until"], ban["count"]), (1.0, 86_401.0, 1))
        self.assertEqual((removal["id"], removal["kind"], removal["until"]), ("02" * 32, "removed", None))
        for name in ("01" * 32, "0x" + "01" * 32, f"{'01' * 32}@127.0.0.1:1"):
            self.assertTrue(self.call(self.admin, "unban", name))
        self.assertTrue(self.call(self.admin, "ban", "02" * 32))
        self.assertTrue(self.call(self.admin, "ban", self.network.enr.text, 60))
        self.assertEqual(self.network.calls, [(HASHES[2], 86_400.0), (KEY.peer_id, 60.0)])
        for bad in ("0x01", "xy" * 32, "enode://x", 7):
            self.assertEqual(self.refused(self.admin, "unban", bad)[0], -32602)
        for bad in (0, True, "1", 1e12):
            self.assertEqual(self.refused(self.admin, "ban", "02" * 32, bad)[0], -32602)

    def test_taking_trust_back(self) -> None:
        self.assertTrue(self.call(self.admin, "removeTrustedPeer", f"{KEY.peer_id.hex()}@127.0.0.1:1"))
        self.assertFalse(self.call(self.admin, "removeTrustedPeer", f"{'01' * 32}@127.0.0.1:1"))

    def test_an_operator_decides(self) -> None:
        hash = "0x" + "01" * 32
        bare = admin_namespace(self.network, PlainChain(), agent="x")
        for name in ("acceptReorg", "setFinalized", "invalidateBlock", "reconsiderBlock"):
            self.chain.refusal = ""
            self.assertTrue(self.call(self.admin, name, hash))
            self.chain.refusal = "it is below the finalized block"
            self.assertEqual(self.refused(self.admin, name, hash), (-32000, self.chain.refusal))
            code, text = self.refused(bare, name, hash)
            self.assertEqual((code, "an empty data directory" in text), (-32601, name == "setFinalized"))

    def test_the_rest(self) -> None:
        self.assertEqual(self.call(self.admin, "datadir"), "/data")
        self.assertEqual(self.call(self.admin, "explainSync")["peer_id"], "0x" + "01" * 32)
        bare = admin_namespace(self.network, PlainChain(), agent="x")
        self.assertIsNone(self.call(bare, "datadir"))
        self.assertEqual(self.refused(bare, "explainSync")[0], -32601)

    def test_log_levels(self) -> None:
        asked: list[tuple[str, str]] = []
        admin = admin_namespace(
            self.network, self.chain, agent="x", set_log_level=lambda level, module: asked.append((level, module))
        )
        self.assertTrue(self.call(admin, "setLogLevel", "warn"))
        self.assertTrue(self.call(admin, "setLogLevel", "debug", "chainp2p.sync"))
        self.assertEqual(asked, [("warn", ""), ("debug", "chainp2p.sync")])
        text = "invalid argument 0: 'loud': one of debug, info, warn, error, critical is expected"
        self.assertEqual(self.refused(admin, "setLogLevel", "loud"), (-32602, text))
        self.assertEqual(self.refused(admin, "setLogLevel", 3)[0], -32602)
        self.assertEqual(self.refused(self.admin, "setLogLevel", "info")[0], -32601)

    def test_peer_events(self) -> None:
        bus, told = EventBus(), list[Any]()
        (subscription,) = admin_namespace(self.network, self.chain, agent="x", events=bus).subscriptions
        close = subscription.open(told.append)
        peer = b"\x01" * 32
        bus.publish(PeerJoined(peer, ("127.0.0.1", 30303), True))
        bus.publish(PeerLeft(peer, ("::1", 30303), Reason.SHUTDOWN, "", False))
        bus.publish(PeerLeft(peer, ("::1", 30303), Reason.SHUTDOWN, "it says so", False))
        drop = {"type": "drop", "peer": "01" * 32, "remote": "[::1]:30303", "error": "shutdown"}
        added = {"type": "add", "peer": "01" * 32, "remote": "127.0.0.1:30303"}
        self.assertEqual(told, [added, drop, {**drop, "error": "shutdown: it says so"}])
        close()
        bus.publish(PeerJoined(peer, ("127.0.0.1", 30303), True))
        self.assertEqual(len(told), 3)

    def test_reorganisations(self) -> None:
        self.chain.events.publish(HeadChanged(INFOS[1], (), (INFOS[1],)))
        self.chain.events.publish(HeadChanged(INFOS[2], (INFOS[1],), (INFOS[3], INFOS[2])))
        refused, unknown, reorg = self.call(self.admin, "reorgs")
        self.assertEqual((refused["refused"], unknown["refused"], reorg["refused"]), (True, True, False))
        self.assertEqual((refused["depth"], refused["ancestor"]["height"], refused["tip"]["height"]), (1, 1, 3))
        self.assertEqual(refused["tip"]["rank"], "0x" + INFOS[3].rank.hex())
        self.assertEqual((unknown["depth"], unknown["ancestor"], reorg["depth"]), (None, None, 1))
        bare = admin_namespace(self.network, PlainChain(), agent="x")
        self.assertEqual(self.call(bare, "reorgs"), [])
        self.assertEqual((len(reorg["left"]), len(reorg["entered"]), reorg["head"]["height"]), (1, 2, 2))
