"""Smaller parts: plug-ins, allow-list files, the slow network, readiness, reference pages."""

import random
import tempfile
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chainp2p.chain.interfaces import IChain
from chainp2p.errors import SettingsError
from chainp2p.node import assembly
from chainp2p.node.allowlist import read_allow_list
from chainp2p.node.config import prepared
from chainp2p.node.document import render_rpc, render_settings
from chainp2p.node.options import OPTIONS
from chainp2p.node.readiness import Lag, readiness_checks
from chainp2p.node.slow import RETRANSMISSION, SlowSecurity, slow
from chainp2p.settings import Settings


class PluginTests(SynchronousTestCase):
    def test_the_ledger_is_found_like_any_other(self) -> None:
        self.assertEqual(assembly.find_plugin("ledger").name, "ledger")
        self.assertTrue(IChain.providedBy(assembly.check_chain(prepared(Settings()))))

    def test_a_plugin_that_makes_no_chain_is_named(self) -> None:
        plugin = SimpleNamespace(name="odd", make=lambda *args: object())
        self.patch(assembly, "getPlugins", lambda kind: [plugin])
        error = self.assertRaises(SettingsError, assembly.find_plugin, "ledger")
        self.assertIn("there are: odd", str(error))
        self.patch(assembly, "find_plugin", lambda name: plugin)
        self.assertIn("made no IChain", str(self.assertRaises(SettingsError, assembly.check_chain, Settings())))

    def test_a_chain_that_opens_files_before_it_is_started_is_named(self) -> None:
        plugin = SimpleNamespace(make=lambda s, e, c, r, open_database: open_database("chain.sqlite"))
        self.patch(assembly, "find_plugin", lambda name: plugin)
        self.assertIn("chain.sqlite", str(self.assertRaises(SettingsError, assembly.check_chain, Settings())))

    def test_which_namespaces_the_rpc_port_may_serve(self) -> None:
        assembly.check_api(("net", "eth"), ("net",))
        for name in ("admin", "nett"):
            self.assertIn(name, str(self.assertRaises(SettingsError, assembly.check_api, ("net", name), ("net",))))


class AllowListTests(SynchronousTestCase):
    def read(self, text: str):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "allowed"
            file.write_text(text)
            return read_allow_list(file)

    def test_keys_with_labels_and_comments(self) -> None:
        text = f"# all\n{'ab' * 32} signer of A  # since May\n\n  {'cd' * 32}\n"
        self.assertEqual(self.read(text), {b"\xab" * 32: "signer of A", b"\xcd" * 32: ""})

    def test_a_bad_line_is_named(self) -> None:
        for bad in ("xyz", "abcd"):
            self.assertIn("line 2", str(self.assertRaises(SettingsError, self.read, f"#\n{bad}\n")))
        self.assertIn("names no key", str(self.assertRaises(SettingsError, self.read, "# nobody yet\n")))
        self.assertIn("No such file", str(self.assertRaises(SettingsError, read_allow_list, Path("/none/such"))))


class Security:
    def client(self, factory):
        return factory

    server = client

    def proven(self, transport) -> bytes:
        return b"id"


class SlowTests(SynchronousTestCase):
    def connect(self, latency: float, loss: float):
        clock, made = Clock(), Protocol()
        security = SlowSecurity(Security(), clock, random.Random(1), latency, loss)
        self.assertEqual(security.proven(None), b"id")
        factory = security.server(Factory.forProtocol(lambda: made))
        protocol, transport = factory.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        return clock, made.transport, transport, protocol

    def test_writes_come_late_and_in_order(self) -> None:
        clock, outer, inner, _ = self.connect(0.05, 0.0)
        outer.write(b"a")
        clock.advance(0.03)
        outer.writeSequence([b"b", b"c"])
        self.assertEqual(inner.value(), b"")
        clock.advance(0.03)
        self.assertEqual(inner.value(), b"a")
        clock.advance(0.03)
        self.assertEqual(inner.value(), b"abc")

    def test_a_lost_write_holds_up_those_behind_it(self) -> None:
        clock, outer, inner, _ = self.connect(0.0, 1.0)
        outer.write(b"a")
        clock.advance(RETRANSMISSION - 0.01)
        self.assertEqual(inner.value(), b"")
        clock.advance(0.02)
        self.assertEqual(inner.value(), b"a")

    def test_closing_waits_for_what_is_written(self) -> None:
        clock, outer, inner, _ = self.connect(0.05, 0.0)
        outer.write(b"bye")
        outer.loseConnection()
        self.assertFalse(inner.disconnecting)
        clock.advance(0.06)
        self.assertEqual((inner.value(), inner.disconnecting), (b"bye", True))
        clock, outer, inner, _ = self.connect(0.05, 0.0)
        outer.loseConnection()
        self.assertTrue(inner.disconnecting)

    def test_a_lost_connection_leaves_no_timer(self) -> None:
        clock, outer, _, protocol = self.connect(0.05, 0.0)
        outer.write(b"a")
        protocol.connectionLost(None)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_without_a_delay_nothing_is_put_between(self) -> None:
        self.assertIs(slow(Security, Clock(), random.Random(1), 0.0, 0.0), Security)
        made = slow(lambda key: Security(), Clock(), random.Random(1), 0.1, 0.0)(None)
        self.assertIsInstance(made.client(Factory()), Factory)


@implementer(IChain)
class Chain:
    def __init__(self) -> None:
        self.best_header = self.head = SimpleNamespace(height=5, hash=b"\1" * 32)
        self.conflict = None


class CheckTests(SynchronousTestCase):
    def reasons(self, chain, links: int, syncing: bool = False, min_peers=None) -> dict[str, str]:
        parts = SimpleNamespace(
            chain=chain,
            now=lambda: 100.0,
            network=SimpleNamespace(links=lambda: [None] * links),
            sync=SimpleNamespace(syncing=syncing, explain=lambda: SimpleNamespace(text="headers of abcd")),
            settings=SimpleNamespace(rpc=SimpleNamespace(min_peers=min_peers)),
        )
        return dict(found for check in readiness_checks(parts) if (found := check()) is not None)

    def test_all_is_well(self) -> None:
        self.assertEqual(self.reasons(Chain(), 1), {})
        self.assertEqual(self.reasons(Chain(), 0, min_peers=0), {})

    def test_what_is_wrong_is_named(self) -> None:
        chain = Chain()
        chain.best_header = SimpleNamespace(height=14, hash=b"")
        chain.conflict = SimpleNamespace(ours=chain.head, theirs=chain.head, signers=(b"\2" * 20,))
        reasons = self.reasons(chain, 0, syncing=True)
        self.assertEqual(set(reasons), {"peers", "phase", "behind", "finality_conflict"})
        self.assertIn("headers of abcd", reasons["phase"])
        self.assertIn("9 blocks", reasons["behind"])
        self.assertIn("0x" + "02" * 20, reasons["finality_conflict"])

    def test_quick_blocks_are_measured_in_seconds(self) -> None:
        lag = Lag()
        self.assertTrue(lag.exceeded(9, 100.0))
        self.assertFalse(lag.exceeded(8, 101.0))
        self.assertFalse(lag.exceeded(200, 131.0))
        self.assertTrue(lag.exceeded(9, 131.1))
        self.assertFalse(lag.exceeded(0, 140.0))


class DocumentTests(SynchronousTestCase):
    def test_every_setting_and_option_is_there(self) -> None:
        page = render_settings()
        for option in OPTIONS:
            self.assertIn(f"``{option.key}``", page)
            if option.flag:
                self.assertIn(f"``--{option.flag}", page)

    def test_the_methods_that_are_served_are_described(self) -> None:
        page = render_rpc()
        for name in ("eth_sendRawTransaction(", "net_version(", "admin_addPeer(peer)", "chain_head(", "rpc_discover("):
            self.assertIn(name, page)
        self.assertIn('``eth_subscribe("newHeads")``', page)
