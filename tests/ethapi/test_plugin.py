"""The ledger found and built from settings."""

import json
import random
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chainp2p.chain.interfaces import IChain, IChainPlugin
from chainp2p.errors import SettingsError
from chainp2p.ethapi.plugin import LedgerPlugin
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_GENESIS, DEV_KEYS, genesis_json
from chainp2p.rpc.reference import render_rpc
from chainp2p.settings import NetworkSettings, NodeSettings, SealSettings, Settings, SyncSettings
from tests.ledger.network import AtOnce, Clock, Disk


class Plugins(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def genesis(self, period: int = 1000) -> Path:
        value = genesis_json(
            chain_id=9,
            signers=DEV_ADDRESSES[:2] if period else DEV_ADDRESSES[:1],
            period_ms=period,
            alloc={},
            timestamp=5,
        )
        return self.write("genesis.json", json.dumps(value))

    def make(self, **tables: Any) -> Any:
        return LedgerPlugin().make(Settings(**tables), AtOnce(), Clock(), random.Random(1), Disk())

    def refused(self, **tables: Any) -> str:
        return str(self.assertRaises(SettingsError, self.make, **tables))

    def test_it_is_a_plugin(self) -> None:
        verifyObject(IChainPlugin, LedgerPlugin())

    def test_the_dev_network_seals(self) -> None:
        chain = self.make()
        self.assertTrue(IChain.providedBy(chain))
        self.assertEqual((chain.genesis_hash, chain.producer_address), (DEV_GENESIS.hash, DEV_ADDRESSES[0]))
        for network in (NetworkSettings(bootstrap_nodes=("x",)), NetworkSettings(static_nodes=("x",))):
            self.assertIsNone(self.make(network=network).producer_address)

    def test_a_network_of_ones_own(self) -> None:
        node = NodeSettings(genesis=self.genesis())
        chain = self.make(node=node)
        self.assertEqual((chain.chain_id, chain.producer_address), (9, None))
        key = self.write("key", DEV_KEYS[1].hex())
        self.assertEqual(self.make(node=node, seal=SealSettings(keyfile=key)).producer_address, DEV_ADDRESSES[1])
        changes = {"changes": [{"height": 5, "signers": ["0x" + one.hex() for one in DEV_ADDRESSES[:3]]}]}
        planned = evolve(node, schedule=self.write("schedule.json", json.dumps(changes)))
        chain = self.make(node=planned, seal=SealSettings(keyfile=self.write("third", DEV_KEYS[2].hex())))
        self.assertEqual(len(chain.settings_hashes()), 1)

    def test_what_is_refused(self) -> None:
        node = NodeSettings(genesis=self.genesis())
        missing = self.folder / "missing"
        self.assertIn("node.genesis", self.refused(node=NodeSettings(genesis=missing)))
        self.assertIn("No such file", self.refused(node=NodeSettings(genesis=missing)))
        self.assertIn("node.genesis", self.refused(node=NodeSettings(genesis=self.write("bad.json", "{"))))
        binary = self.folder / "binary"
        binary.write_bytes(b"\xff\xfe")
        self.assertIn("UTF-8", self.refused(node=NodeSettings(genesis=binary)))
        self.assertIn("node.schedule", self.refused(node=evolve(node, schedule=missing)))
        self.assertIn("node.schedule", self.refused(node=NodeSettings(schedule=missing)))
        bad = self.write("s.json", '{"changes": [{"height": 0, "signers": []}]}')
        self.assertIn("s.json", self.refused(node=evolve(node, schedule=bad)))
        stranger = self.write("key", DEV_KEYS[7].hex())
        self.assertIn("not a signer", self.refused(node=node, seal=SealSettings(keyfile=stranger)))
        self.assertIn("seal.mine", self.refused(node=node, seal=SealSettings(mine="0x00")))
        self.assertIn("sync.assume_valid", self.refused(sync=SyncSettings(assume_valid="0x00")))

    def test_the_methods_it_adds(self) -> None:
        eth, txpool, debug = LedgerPlugin().namespaces(self.make())
        self.assertEqual((eth.name, txpool.name, debug.name), ("eth", "txpool", "debug"))
        names = {method.name for method in eth.methods}
        wanted = (
            "chainId blockNumber getBalance getTransactionCount sendRawTransaction getTransactionReceipt accounts call "
            "getTransactionByHash getBlockByNumber getBlockByHash gasPrice maxPriorityFeePerGas feeHistory estimateGas "
            "getCode getStorageAt getLogs syncing newFilter getFilterChanges getFilterLogs uninstallFilter"
        )
        self.assertEqual(set(wanted.split()) - names, set())
        text = render_rpc([eth, txpool])
        for method in (*eth.methods, *txpool.methods):
            self.assertTrue(method.doc, method.name)
            self.assertIn(method.doc, text)
