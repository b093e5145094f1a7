"""Settings from TOML and options."""

import tempfile
from pathlib import Path

from attrs import evolve, fields
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.node.config import build_settings, prepared, read_toml, render_toml
from chainp2p.node.endpoints import is_loopback_endpoint, peer_endpoint, rpc_endpoint
from chainp2p.node.limits import limits_of, read_limits
from chainp2p.node.options import OPTIONS
from chainp2p.rpc.limits import Limits
from chainp2p.settings import PROFILES, AdminSettings, NetworkSettings, NodeSettings, Settings, SyncSettings

PEER = "ab" * 32 + "@10.0.0.1:30303"
GENESIS = {("node", "genesis"): Path("/genesis.json")}


class TomlTests(SynchronousTestCase):
    def read(self, text: str):
        path = Path(tempfile.mkdtemp(dir=".")) / "node.toml"
        path.write_text(text, "utf-8")
        self.addCleanup(path.parent.rmdir)
        self.addCleanup(path.unlink)
        return read_toml(path)

    def refused(self, text: str) -> str:
        return str(self.assertRaises(SettingsError, self.read, text))

    def test_every_type(self) -> None:
        values = self.read(
            '[node]\nprofile = "private"\ndata_dir = "data"\n[network]\nlisten_addr = ["tcp:1", "tcp:2"]\n'
            'max_peers = 9\ngossip_interval = 2\nenable_pex = false\nloopback_exempt = false\n[rpc]\napi = "eth"\n'
        )
        self.assertEqual(values["node", "profile"], "private")
        self.assertTrue(values["node", "data_dir"].is_absolute())
        self.assertEqual(values["node", "data_dir"].name, "data")
        self.assertEqual(values["network", "listen_addr"], ("tcp:1", "tcp:2"))
        self.assertEqual(values["network", "max_peers"], 9)
        self.assertEqual(values["network", "gossip_interval"], 2.0)
        self.assertIs(values["network", "enable_pex"], False)
        self.assertIs(values["network", "loopback_exempt"], False)
        self.assertEqual(values["rpc", "api"], ("eth",))

    def test_unknown_key_is_named_with_its_table_and_the_nearest(self) -> None:
        text = self.refused("[network]\nmax_peer = 3\n")
        self.assertIn("[network]", text)
        self.assertIn("'max_peer'; did you mean max_peers?", text)

    def test_unknown_key_far_from_all_lists_them(self) -> None:
        self.assertIn("known: keyfile, mine", self.refused("[seal]\nzzz = 3\n"))

    def test_unknown_table(self) -> None:
        self.assertIn("unknown table 'netwrok'; did you mean network?", self.refused("[netwrok]\n"))
        self.assertIn("must be a table", self.refused("node = 3\n"))

    def test_wrong_types(self) -> None:
        for text, expected in (
            ("[network]\nmax_peers = true\n", "network.max_peers: an integer is expected, not True"),
            ("[network]\nmax_peers = 1.5\n", "network.max_peers"),
            ('[network]\ngossip_interval = "1"\n', "a number of seconds is expected"),
            ("[network]\nenable_pex = 1\n", "true or false is expected"),
            ('[network]\nport_mapping = "yes"\n', "true or false"),
            ("[network]\nbootstrap_nodes = [1]\n", "a list of strings is expected"),
            ("[node]\nprofile = 1\n", "a string is expected"),
            ('[node]\ngenesis = ""\n', "a path"),
        ):
            self.assertIn(expected, self.refused(text))

    def test_not_toml_and_not_there(self) -> None:
        self.assertIn("node.toml", self.refused("[node\n"))
        self.assertIn("No such file", str(self.assertRaises(SettingsError, read_toml, Path("/none/such.toml"))))

    def test_limits_of_the_rpc_port(self) -> None:
        values = self.read("[rpc.limits]\nbody = 1000\nping = 2.5\n")
        limits = limits_of(build_settings(values).rpc.limits)
        self.assertEqual((limits.body, limits.ping, limits.batch), (1000, 2.5, Limits().batch))
        for text, expected in (
            ("[rpc.limits]\nbodi = 1\n", "did you mean body?"),
            ("[rpc.limits]\nzzz = 1\n", "known: body"),
            ("[rpc.limits]\nbody = 1.5\n", "an integer above 0"),
            ("[rpc.limits]\nping = 0\n", "a number above 0"),
            ("[rpc]\nlimits = 3\n", "a table is expected"),
        ):
            self.assertIn(expected, self.refused(text))

    def test_rendered_settings_read_back_as_the_same(self) -> None:
        settings = build_settings(
            {
                **GENESIS,
                ("node", "data_dir"): Path('/tmp/a "quoted" place'),
                ("network", "bootstrap_nodes"): (PEER,),
                ("network", "gossip_interval"): 0.25,
                ("rpc", "listen"): (),
                ("chain", "max_reorg_depth"): 7,
                ("rpc", "limits"): read_limits({**{f.name: f.default for f in fields(Limits)}, "body": 9}),
            }
        )
        self.assertEqual(build_settings(self.read(render_toml(settings))), settings)


class BuildTests(SynchronousTestCase):
    def refused(self, values) -> str:
        return str(self.assertRaises(SettingsError, build_settings, values))

    def test_the_later_layer_wins(self) -> None:
        key = ("network", "max_peers")
        self.assertEqual(build_settings({key: 3, **GENESIS}, {key: 5}).network.max_peers, 5)

    def test_the_profile_gives_the_gossip_interval(self) -> None:
        self.assertEqual(build_settings(GENESIS).network.gossip_interval, 1.0)
        self.assertEqual(build_settings({**GENESIS, ("node", "profile"): "private"}).network.gossip_interval, 0.1)

    def test_ports_are_mapped_in_the_public_profile_or_when_it_is_said(self) -> None:
        profile, mapping = ("node", "profile"), ("network", "port_mapping")
        for said, on in (
            ({}, True),
            ({mapping: False}, False),
            ({profile: "private"}, False),
            ({profile: "private", mapping: True}, True),
        ):
            self.assertIs(build_settings({**GENESIS, **said}).network.port_mapping, on, said)
        self.assertIs(build_settings({}).network.port_mapping, False)
        self.assertEqual([name for name, one in PROFILES.items() if one.port_mapping], ["public"])

    def test_the_dev_network_stays_on_this_machine(self) -> None:
        settings = build_settings({})
        self.assertEqual(settings.network.listen_addr, ("tcp:30303:interface=127.0.0.1",))
        self.assertEqual(settings.node.profile, "private")
        self.assertEqual(settings.network.gossip_interval, 0.1)
        self.assertEqual(settings.rpc.min_peers, 0)
        self.assertIn("http://localhost:*", settings.rpc.origins)

    def test_the_dev_network_refuses_other_addresses(self) -> None:
        for text in ("tcp:30303", "tcp:30303:interface=0.0.0.0", "10.0.0.1:30303"):
            self.assertIn("stays on loopback", self.refused({("network", "listen_addr"): (text,)}))
        direct = Settings(network=NetworkSettings(listen_addr=("tcp:7:interface=10.0.0.1",)))
        self.assertIn("stays on loopback", str(self.assertRaises(SettingsError, prepared, direct)))

    def test_the_dev_network_takes_any_loopback_address(self) -> None:
        settings = build_settings({("network", "listen_addr"): ("127.0.0.2:0", "[::1]:5")} | {})
        self.assertEqual(settings.network.listen_addr, ("tcp:0:interface=127.0.0.2", "tcp6:5:interface=\\:\\:1"))

    def test_a_chain_of_the_host_is_not_the_dev_network(self) -> None:
        self.assertEqual(prepared(Settings(), own_chain=True).network.listen_addr, ("tcp:30303",))

    def test_wrong_values_are_named(self) -> None:
        for key, value, expected in (
            (("network", "max_peers"), 0, "max_peers"),
            (("network", "gossip_interval"), 0.0, "gossip_interval"),
            (("network", "gossip_interval"), 61.0, "gossip_interval"),
            (("network", "bootstrap_nodes"), ("x",), "network.bootstrap_nodes: 'x'"),
            (
                ("network", "bootstrap_nodes"),
                ("enrtree://n.org",),
                "network.bootstrap_nodes: enrtree://n.org...: enrtree:",
            ),
            (("network", "static_nodes"), ("enrtree://A@n.org",), "network.static_nodes: 'enrtree://A@n.org': enr:..."),
            (("network", "static_nodes"), ("enr:x",), "network.static_nodes"),
            (("network", "discovery_addr"), ("tcp:3",), "network.discovery_addr"),
            (("network", "discovery_addr"), ("udp:70000",), "network.discovery_addr"),
            (("node", "profile"), "pubic", "node.profile: 'pubic'"),
            (("node", "profile"), "consortium", "allow-list"),
            (("admin", "auth"), "no", "admin.auth"),
            (("sync", "mode"), "half", "sync.mode"),
            (("sync", "verify"), "some", "sync.verify"),
            (("sync", "minimum_rank"), "much", "sync.minimum_rank"),
            (("sync", "minimum_rank"), "0x1" + 64 * "0", "sync.minimum_rank"),
            (("sync", "minimum_rank"), "-1", "sync.minimum_rank"),
            (("seal", "keyfile"), Path("/none/such.key"), "such.key"),
            (("rpc", "listen"), ("ssl:1",), "rpc.listen: ssl:"),
        ):
            self.assertIn(expected, self.refused({**GENESIS, key: value}))

    def test_preparing_twice_changes_nothing(self) -> None:
        for settings in (Settings(), evolve(Settings(), node=NodeSettings(genesis=Path("/g")))):
            once = prepared(settings)
            self.assertEqual(prepared(once), once)

    def test_other_settings_classes_pass_through(self) -> None:
        settings = prepared(
            Settings(
                node=NodeSettings(genesis=Path("/g")), admin=AdminSettings(auth="none"), sync=SyncSettings(verify="all")
            )
        )
        self.assertEqual((settings.admin.auth, settings.sync.verify), ("none", "all"))

    def test_every_option_has_a_place_in_the_settings(self) -> None:
        for option in OPTIONS:
            self.assertTrue(hasattr(getattr(Settings(), option.table), option.key), option.name)


class EndpointTests(SynchronousTestCase):
    def test_peers_take_tcp_only(self) -> None:
        for text in ("ssl:30303", "tls:1", "unix:/tmp/x", "systemd:domain=INET"):
            self.assertIn("not possible here", str(self.assertRaises(SettingsError, peer_endpoint, "listen", text)))
        self.assertEqual(rpc_endpoint("rpc", "unix:/tmp/x"), "unix:/tmp/x")

    def test_malformed(self) -> None:
        for text in (
            "",
            "tcp",
            "tcp:",
            "tcp:x",
            "tcp:70000",
            "tcp:1:nonsense=2",
            "host",
            "host:",
            "host:99999",
            "::1:5",
        ):
            self.assertRaises(SettingsError, peer_endpoint, "listen", text)

    @hypothesis_settings(deadline=None, derandomize=True)
    @given(st.text(max_size=40))
    def test_any_text_is_taken_or_refused_by_name(self, text: str) -> None:
        try:
            peer_endpoint("network.listen_addr", text)
        except SettingsError as error:
            self.assertTrue(str(error).startswith("network.listen_addr: "))

    def test_loopback(self) -> None:
        self.assertTrue(is_loopback_endpoint("tcp:1:interface=127.0.0.1"))
        self.assertTrue(is_loopback_endpoint("tcp6:1:interface=\\:\\:1"))
        self.assertTrue(is_loopback_endpoint("tcp:1:interface=localhost"))
        self.assertTrue(is_loopback_endpoint("unix:/tmp/x"))
        self.assertFalse(is_loopback_endpoint("tcp:1"))
        self.assertFalse(is_loopback_endpoint("tcp:1:interface=0.0.0.0"))
        self.assertFalse(is_loopback_endpoint("tcp:1:interface=example.org"))
