"""Options of ``twistd chainp2p``, read in this process; processes are in ``tests/integration``."""

import contextlib
import io
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.node import Bound
from chainp2p.tap import Options, start_lines

PEER = "ab" * 32 + "@127.0.0.1:30303"


class OptionTests(SynchronousTestCase):
    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def refused(self, *words: str) -> str:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(self.assertRaises(SystemExit, self.parse, *words).code, 2)
        self.assertEqual(err.getvalue().count("\n"), 1)
        return err.getvalue()

    def test_every_kind_of_option(self) -> None:
        settings = self.parse(
            *("--listen", "tcp:0:interface=127.0.0.1", "--listen", "tcp:1:interface=127.0.0.1"),
            *("--bootstrap", PEER, "--max-peers", "9", "--gossip-interval", "0.5", "--no-pex", "--no-discovery"),
            *("--rpc-api", "eth, net", "--no-admin", "--data-dir", "data", "--external", "10.0.0.1"),
        ).settings
        self.assertEqual(settings.network.listen_addr, ("tcp:0:interface=127.0.0.1", "tcp:1:interface=127.0.0.1"))
        self.assertEqual(settings.network.bootstrap_nodes, (PEER,))
        self.assertEqual((settings.network.max_peers, settings.network.gossip_interval), (9, 0.5))
        self.assertEqual((settings.network.enable_pex, settings.network.enable_discovery), (False, False))
        self.assertEqual((settings.rpc.api, settings.admin.listen), (("eth", "net"), ()))
        self.assertEqual((settings.node.data_dir, settings.node.external), (Path("data").absolute(), "10.0.0.1"))

    def test_a_choice_has_two_options(self) -> None:
        for words, on in (((), None), (("--nat",), True), (("--no-nat",), False), (("--nat", "--no-nat"), False)):
            self.assertIs(self.parse(*words).given.get(("network", "port_mapping")), on)

    def test_the_command_line_wins_over_the_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "node.toml"
            file.write_text('[network]\nmax_peers = 3\nbootstrap_nodes = ["x"]\n[rpc]\nhosts = ["a"]\n')
            settings = self.parse("--config", str(file), "--max-peers", "4", "--bootstrap", PEER).settings
        self.assertEqual((settings.network.max_peers, settings.network.bootstrap_nodes), (4, (PEER,)))
        self.assertEqual(settings.rpc.hosts, ("a",))

    def test_experiments_and_supervision(self) -> None:
        options = self.parse("--latency", "50", "--loss", "2.5", "--lifeline", "7")
        self.assertEqual((options.latency, options.loss, options.lifeline), (0.05, 0.025, 7))

    def test_mistakes_are_one_line_and_exit_code_2(self) -> None:
        for words, text in (
            (["--nonsense"], "nonsense"),
            (["--max-peers", "many"], "--max-peers: an integer is expected, not 'many'"),
            (["--gossip-interval", "x"], "--gossip-interval"),
            (["--latency", "-1"], "--latency"),
            (["--loss", "x"], "--loss"),
            (["--chain", "nonsense"], "node.chain: 'nonsense' is not installed; there are: ledger"),
            (["--genesis", "/none/such.json"], "/none/such.json"),
            (["--config", "/none/such.toml"], "/none/such.toml"),
            (["--listen", "tcp:30303"], "stays on loopback"),
            (["stray"], "stray"),
        ):
            self.assertIn(text, self.refused(*words))

    def test_start_lines(self) -> None:
        bound = Bound(
            peer_id=b"\xaa" * 32,
            enr="enr:x",
            listening=(("127.0.0.1", 30303),),
            rpc=("http://127.0.0.1:8545",),
            admin=(),
            head_height=7,
            head_hash=b"\xbb" * 32,
            data_dir=Path("data"),
        )
        self.assertEqual(
            start_lines(bound),
            [
                f"peer id: {'aa' * 32}",
                "enr: enr:x",
                "listening: 127.0.0.1:30303",
                "rpc: http://127.0.0.1:8545",
                f"head: 7 0x{'bb' * 32}",
            ],
        )
