"""Gathering facts: from directories, limits and a node of the simulator that is examined once a minute."""

import json
import os
import resource
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.node import checkup
from chainp2p.node.checkup import INTERVAL, machine_facts, raise_descriptors, stopped_facts
from chainp2p.node.facts import Disk, Facts
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings, SealSettings, Settings
from chainp2p.testing import Simulation


class FolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def genesis(self, chain_id: int) -> Path:
        file = self.folder / f"{chain_id}.json"
        document = genesis_json(
            chain_id=chain_id, signers=DEV_ADDRESSES[:1], period_ms=1000, alloc={}, timestamp=1_700_000_000
        )
        file.write_text(json.dumps(document))
        return file

    def test_disk_and_keys(self) -> None:
        for name, mode in (("node.key", 0o600), ("seal", 0o644)):
            (self.folder / name).write_text("00" * 31 + "01")
            (self.folder / name).chmod(mode)
        settings = Settings(seal=SealSettings(keyfile=self.folder / "seal"))
        facts = machine_facts(self.folder, settings, True)
        assert facts.disk is not None and facts.descriptors is not None
        self.assertGreater(facts.disk.free, 0)
        self.assertEqual(
            [(Path(one.path).name, one.mode) for one in facts.secrets], [("node.key", 0o600), ("seal", 0o644)]
        )
        self.assertGreater(facts.descriptors.used, 2)
        self.assertEqual(facts.descriptors.limit, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self.assertIsNone(machine_facts(self.folder / "none", settings, False).disk)

    def test_what_a_daemon_needs(self) -> None:
        quiet = Settings(
            network=NetworkSettings(max_peers=10), rpc=RpcSettings(listen=()), admin=AdminSettings(listen=())
        )
        needed = [
            machine_facts(self.folder, settings, False).descriptors.needed  # type: ignore[union-attr]
            for settings in (quiet, evolve(quiet, admin=AdminSettings()), evolve(quiet, rpc=RpcSettings()))
        ]
        self.assertEqual([one - needed[0] for one in needed], [0, 16, 1_024])

    def test_the_soft_limit_is_raised_as_far_as_it_goes(self) -> None:
        made: list[Any] = []
        limits = (100, 200)
        self.patch(resource, "setrlimit", lambda _, both: made.append(both))
        self.patch(resource, "getrlimit", lambda _: limits)
        raise_descriptors(Settings())
        limits = (100, 1 << 20)
        raise_descriptors(Settings())
        limits = (100, resource.RLIM_INFINITY)
        raise_descriptors(Settings())
        limits = (1 << 20, 1 << 20)
        raise_descriptors(Settings())
        needed = checkup._needed(Settings())
        self.assertEqual(made, [(200, 200), (needed, 1 << 20), (needed, resource.RLIM_INFINITY)])

    def test_a_system_without_such_limits(self) -> None:
        self.patch(checkup, "_limits", lambda: None)
        raise_descriptors(Settings())
        self.assertIsNone(machine_facts(self.folder, Settings(), True).descriptors)
        self.patch(checkup, "_limits", lambda: (1, 2))
        self.patch(os, "listdir", self.raise_os_error)
        self.assertIsNone(machine_facts(self.folder, Settings(), True).descriptors.used)  # type: ignore[union-attr]

    def raise_os_error(self, *_: object) -> None:
        raise OSError("not here")

    def test_the_network_of_a_stopped_node(self) -> None:
        settings = Settings(node=NodeSettings(genesis=self.genesis(7)))
        facts = stopped_facts(self.folder, None).genesis
        assert facts is not None
        self.assertEqual((facts.settings, facts.stored), (None, None))
        with sqlite3.connect(self.folder / "chain.sqlite") as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL)")
            database.commit()
            self.assertIsNone(stopped_facts(self.folder, None).genesis.stored)  # type: ignore[union-attr]
            database.execute("INSERT INTO meta VALUES ('genesis', ?)", (b"\x09" * 32,))
        database.close()
        facts = stopped_facts(self.folder, settings).genesis
        assert facts is not None
        self.assertEqual(facts.stored, b"\x09" * 32)
        self.assertEqual(len(facts.settings or b""), 32)
        bad = Settings(node=NodeSettings(genesis=self.folder / "none.json"))
        self.assertIn("none.json", stopped_facts(self.folder, bad).genesis.error)  # type: ignore[union-attr]


class MinuteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.simulation = Simulation(5)
        self.addCleanup(self.simulation.close)
        self.texts: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if event.get("log_namespace") == "chainp2p.node.checkup.Checkup":
            self.texts.append(f"{event['log_level'].name} {event.get('code')}")

    def test_what_is_new_is_logged_once_and_again_when_it_is_over(self) -> None:
        machine = self.simulation.add_node()
        self.simulation.start()
        self.patch(checkup, "machine_facts", lambda *_: Facts(disk=Disk(folder="/d", free=self.free)))
        machine.node._run.checkup._folder = Path("/d")
        self.free = 0
        self.simulation.run_for(2 * INTERVAL + 1)
        self.assertEqual(self.texts, ["warn disk_full"])
        self.free = 1 << 40
        self.simulation.run_for(INTERVAL)
        self.assertEqual(self.texts[1:], ["info disk_full"])
        self.simulation.stop()
        self.simulation.run_for(2 * INTERVAL)
        self.assertEqual(len(self.texts), 2)

    def test_a_check_that_fails_is_our_fault_and_does_not_end_the_others(self) -> None:
        machine = self.simulation.add_node()
        self.simulation.start()
        network = machine.node.network
        network.ends, kept = None, network.ends
        self.simulation.run_for(INTERVAL + 1)
        self.assertEqual(len(self.simulation.errors), 1)
        self.assertIn("the check-up failed", self.simulation.errors.pop())
        network.ends = kept
        machine.node._run.checkup._folder = Path("/d")
        self.patch(checkup, "machine_facts", lambda *_: Facts(disk=Disk(folder="/d", free=0)))
        self.simulation.run_for(INTERVAL)
        self.assertEqual(self.texts, ["critical None", "warn disk_full"])
        self.flushLoggedErrors()
