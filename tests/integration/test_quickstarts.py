"""Each quickstart of the documentation, taken out of the page and run against a devnet."""

import json
import os
import subprocess
import sys
import unittest
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.request import Request, urlopen

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from tests.integration.npm import wallets_folder
from tests.integration.processes import ROOT, Devnet, call, scratch
from tests.integration.quickstarts import commands_of, named_blocks

PAGE, CALLING = ROOT / "docs/howto/wallets.rst", ROOT / "docs/howto/rpc.rst"
RPC, WS = "http://127.0.0.1:8545", "ws://127.0.0.1:8545"
#: With the commands of this environment.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
#: What MetaMask asks of a network by itself, and for a payment.
METAMASK = (
    ("eth_chainId", ()),
    ("net_version", ()),
    ("eth_blockNumber", ()),
    ("eth_getBlockByNumber", ("latest", False)),
    ("eth_getBalance", ("FROM", "latest")),
    ("eth_getCode", ("TO", "latest")),
    ("eth_call", ({"to": "TO", "data": "0x70a08231"}, "latest")),
    ("eth_gasPrice", ()),
    ("eth_feeHistory", ("0x5", "latest", [10, 20, 30])),
    ("eth_estimateGas", ({"from": "FROM", "to": "TO", "value": "0x1", "data": "0x"},)),
    ("eth_getTransactionCount", ("FROM", "pending")),
)


class QuickstartTests(unittest.TestCase):
    node: ClassVar[dict[str, Any]]
    blocks: ClassVar[dict[str, tuple[str, str]]]
    keys: ClassVar[list[str]]
    accounts: ClassVar[list[str]]

    @classmethod
    def setUpClass(cls) -> None:
        test: Any = SimpleNamespace(addCleanup=cls.addClassCleanup)
        cls.blocks = {**named_blocks(PAGE), **named_blocks(CALLING)}
        devnet = Devnet(test, "-n", "1", "--period", "0.5")
        cls.node = devnet.nodes[0]
        cls.keys = [account["privateKey"] for account in devnet.document["accounts"]]
        cls.accounts = [account["address"] for account in devnet.document["accounts"]]

    def block(self, name: str, language: str) -> str:
        """A block with the devnet's addresses in place of the usual ones."""
        written, text = self.blocks[f"quickstart-{name}"]
        self.assertEqual(written, language)
        return text.replace(RPC, self.node["rpc"]).replace(WS, self.node["rpc"].replace("http", "ws"))

    def run_it(self, command: Sequence[str] | str, folder: Path | None = None) -> str:
        silent, kept = os.pipe()  # nobody types, and the input does not end
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=90,
                cwd=folder,
                shell=isinstance(command, str),
                stdin=silent,
                env={**os.environ, "npm_config_offline": "true", "PATH": PATH},
            )
        finally:
            os.close(silent)
            os.close(kept)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def npm(self) -> Path:
        folder = wallets_folder()
        if folder is None:
            self.skipTest("the packages of npm are not to be had")
        return folder

    def javascript(self, name: str) -> str:
        folder = self.npm()
        script = folder / f"quickstart-{name}.mjs"
        script.write_text(self.block(name, "javascript"))
        return self.run_it(["node", str(script)], folder)

    def test_the_page_names_what_is_tested(self) -> None:
        names = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        self.assertEqual(
            {name.removeprefix("quickstart-") for name in self.blocks} - names, set(), "blocks that nothing runs"
        )
        self.assertEqual(self.keys[0], "0x" + DEV_KEYS[0].hex())
        self.assertEqual(PAGE.read_text().count(self.keys[0]), 3)

    def test_ethers(self) -> None:
        out = self.javascript("ethers")
        self.assertRegex(out, r"in block \d+ for 0\.0000\d+ ether of fees\nrefused: true\nhead \d+\n\Z")

    def test_viem(self) -> None:
        out = self.javascript("viem")
        self.assertRegex(out, r"in block \d+n for 0\.0000\d+ ether of fees\n")
        self.assertRegex(out, r"head \d+n\n")
        self.assertRegex(out, r"refused: insufficient funds for ")

    def test_web3py(self) -> None:
        out = self.run_it([sys.executable, "-c", self.block("web3py", "python")])
        self.assertRegex(out, r"\Ain block \d+ status 1\nrefused: nonce too low: next nonce \d+, tx nonce \d+\n\Z")

    def test_stream(self) -> None:
        out = self.run_it([sys.executable, "-c", self.block("stream", "python")])
        self.assertRegex(
            out,
            r"\Asubscription 0x[0-9a-f]{32}\nready\n(finalized\n)*block\n"
            r"subscription 0x[0-9a-f]{32}\nblock \d+ is next: True\n\Z",
        )

    def test_curl(self) -> None:
        shown = commands_of(self.block("curl", "console"))
        self.assertEqual(len(shown), 3)
        for command, printed in shown:
            self.assertEqual(self.run_it(command), printed.rstrip("\n"), command)

    def test_attach(self) -> None:
        ((command, printed),) = commands_of(self.block("attach", "console"))
        self.assertEqual(self.run_it(command), printed)

    def test_wscat(self) -> None:
        folder = self.npm()
        ((command, _),) = commands_of(self.block("wscat", "console"))
        answer, *heads = map(json.loads, self.run_it(command, folder).split("\n")[:-1])
        self.assertEqual((answer["id"], len(answer["result"])), (1, 34))
        self.assertGreaterEqual(len(heads), 2)
        self.assertTrue(all(head["params"]["subscription"] == answer["result"] for head in heads))

    def test_metamask(self) -> None:
        """There is no browser here: what the extension would be told, and what it would ask."""
        request = json.loads(self.block("metamask", "json"))
        (chain,) = request["params"]
        self.assertEqual(request["method"], "wallet_addEthereumChain")
        # EIP-3085, and MetaMask's own checks of it
        self.assertEqual(set(chain), {"chainId", "chainName", "nativeCurrency", "rpcUrls"})
        self.assertEqual(chain["nativeCurrency"]["decimals"], 18)
        self.assertTrue(2 <= len(chain["nativeCurrency"]["symbol"]) <= 6)
        (url,) = chain["rpcUrls"]
        self.assertEqual(call(url, "eth_chainId"), chain["chainId"])
        self.assertEqual(call(url, "net_version"), str(int(chain["chainId"], 16)))
        addresses = {"FROM": self.accounts[1], "TO": "0x" + "12" * 20}
        for origin in ("chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", "moz-extension://0-0-0-0-0"):
            preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
            with urlopen(
                Request(url, headers={"Origin": origin, **preflight}, method="OPTIONS"), timeout=20
            ) as response:
                self.assertEqual(response.headers["Access-Control-Allow-Origin"], origin)
                self.assertIn("content-type", response.headers["Access-Control-Allow-Headers"].lower())
            for method, params in METAMASK:
                text = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
                for name, address in addresses.items():
                    text = text.replace(f'"{name}"', f'"{address}"')
                headers = {"Content-Type": "application/json", "Origin": origin}
                with urlopen(Request(url, text.encode(), headers), timeout=20) as response:
                    self.assertEqual(response.headers["Access-Control-Allow-Origin"], origin)
                    self.assertIn("result", json.load(response), method)


class CommandTests(unittest.TestCase):
    def test_a_shell_is_read(self) -> None:
        shown = "$ one \\\n    two\nanswer\nmore\n$ three\n"
        self.assertEqual(commands_of(shown), [("one \\\n    two", "answer\nmore\n"), ("three", "")])

    def test_blocks_have_names(self) -> None:
        page = scratch(self) / "page.rst"
        page.write_text(
            "x\n\n.. code-block:: python\n   :name: a-b\n\n   one\n\n   two\n\nend\n.. code-block:: text\n\n   no\n"
        )
        self.assertEqual(named_blocks(page), {"a-b": ("python", "one\n\ntwo\n\n")})
