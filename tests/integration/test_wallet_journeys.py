"""What wallets do, with the four libraries that they are built on, against one node that is restarted under them.

A journey is a script in ``wallets/`` that uses a library as its documentation says. All run at the same time, each with
an account of its own; those of npm where node and npm are. ``package.json`` there and ``WEB3_PY`` here pin versions.
"""

import contextlib
import json
import re
import subprocess
import sys
import threading
import unittest
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from tests.integration.npm import WALLETS, wallets_folder
from tests.integration.processes import Daemon, free_port, scratch

WEB3_PY = "8.0.0"

STEPS = [
    "connect",
    "fees",
    "types",
    "gap, replacement, wait",
    "history",
    "filters",
    "batch",
    "errors",
    "heads, pending, unsubscribe, reconnect",
]
#: Refusal -> what its text has to be; those of go-ethereum, on which libraries match.
TEXTS = {
    "nonce too low": r"nonce too low: next nonce \d+, tx nonce 0",
    "insufficient funds": r"insufficient funds for gas \* price \+ value: balance \d+, tx cost \d+, overshot \d+",
    "replacement underpriced": r"replacement transaction underpriced",
    "already known": r"already known",
    "intrinsic gas too low": r"intrinsic gas too low: gas 20999, minimum needed 21000",
    "fee cap below base fee": r"max fee per gas less than block base fee: maxFeePerGas: 1, baseFee: \d+, .*",
    "gas limit exceeded": r"exceeds block gas limit",
    "estimate: insufficient funds": r"insufficient funds for transfer",
    "estimate: fee cap below base fee": r"max fee per gas less than block base fee: address 0x.*, maxFeePerGas: 1, .*",
    "call: gas": r"err: intrinsic gas too low: have 20999, want 21000 \(supplied gas 20999\)",
    "call: insufficient funds": r"err: insufficient funds for gas \* price \+ value: address 0x[0-9a-f]{40} "
    r"have \d+ want \d+ \(supplied gas \d+\)",
    "call: fee cap below base fee": r"max fee per gas less than block base fee: address 0x.*, maxFeePerGas: 1, .*",
    "unknown method": r"the method eth_sendUserOperation does not exist/is not available",
}
EVERYWHERE = (*list(TEXTS)[:7], "unknown method")
#: What a library calls each refusal. Where it has no name of its own for go-ethereum's text, its general one.
ETHERS = {
    **dict.fromkeys(TEXTS, "UNKNOWN_ERROR"),
    "nonce too low": "NONCE_EXPIRED",
    "insufficient funds": "INSUFFICIENT_FUNDS",
    "replacement underpriced": "REPLACEMENT_UNDERPRICED",
    "estimate: insufficient funds": "INSUFFICIENT_FUNDS",
    "unknown method": "UNSUPPORTED_OPERATION",
}
VIEM = {
    **dict.fromkeys(TEXTS, "InvalidInputRpcError"),
    "nonce too low": "NonceTooLowError",
    "already known": "NonceTooLowError",
    "insufficient funds": "InsufficientFundsError",
    "intrinsic gas too low": "IntrinsicGasTooLowError",
    "fee cap below base fee": "FeeCapTooLowError",
    "estimate: insufficient funds": "InsufficientFundsError",
    "estimate: fee cap below base fee": "FeeCapTooLowError",
    "call: gas": "IntrinsicGasTooLowError",
    "call: insufficient funds": "InsufficientFundsError",
    "unknown method": "MethodNotFoundRpcError",
}
WEB3_JS = {
    **dict.fromkeys(TEXTS, "InvalidResponseError"),
    "call: insufficient funds": "TransactionRevertInstructionError",
    "call: fee cap below base fee": "TransactionRevertInstructionError",
    "unknown method": "-32601",
}
WEB3 = {**dict.fromkeys(TEXTS, "Web3RPCError"), "unknown method": "MethodUnavailable"}
#: Seconds for a whole journey on a machine that does much else.
LIMIT = 240.0


class Journey:
    """A script that runs beside the test until it asks for something."""

    def __init__(self, test: Any, command: list[str], folder: Path) -> None:
        self.steps: list[str] = []
        self.refused: dict[str, tuple[str, str]] = {}
        self._errors = (scratch(test) / "errors").open("w+")
        test.addCleanup(self._errors.close)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=folder
        )
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)
        watch = threading.Timer(LIMIT, self.process.kill)
        watch.start()
        test.addCleanup(watch.cancel)

    def go_on(self) -> str | None:
        """Read until it asks for something, or ends: then None."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if "ask" in told:
                asked: str = told["ask"]
                return asked
            if "step" in told:
                self.steps.append(told["step"])
            else:
                self.refused[told["refused"]] = told["name"], told["text"]
        return None

    def end(self) -> None:
        """Say that what it asked for is done, and wait until it ends."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has failed already
            self.process.stdin.write("done\n")
            self.process.stdin.close()
        self.go_on()
        self.process.wait(LIMIT)

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()


class JourneyTests(unittest.TestCase):
    journeys: ClassVar[dict[str, Journey]] = {}
    log = ""

    @classmethod
    def setUpClass(cls) -> None:
        test: Any = SimpleNamespace(addCleanup=cls.addClassCleanup)
        rpc = free_port()
        words = ["--listen", "tcp:0:interface=127.0.0.1", "--no-discovery", "--rpc", f"tcp:{rpc}:interface=127.0.0.1"]
        words += ["--admin", "tcp:0:interface=127.0.0.1"]
        node = Daemon(test, *words)
        urls = [node.facts()["rpc"], node.facts()["rpc"].replace("http", "ws")]
        scripts = [[sys.executable, str(WALLETS / "web3py.py")]]
        npm = wallets_folder()
        if npm is not None:
            scripts += [["node", f"{name}.mjs"] for name in ("ethers", "viem", "web3js")]
        for number, script in enumerate(scripts, 1):
            command = [*script, *urls, "0x" + DEV_KEYS[number].hex()]
            cls.journeys[Path(script[1]).stem] = Journey(test, command, npm or WALLETS)
        asked = [journey.go_on() for journey in cls.journeys.values()]
        if "restart" in asked:
            node.stop()
            cls.log = node.log()
            node = Daemon(test, *words, data=node.data)
            node.facts()
        for journey in cls.journeys.values():
            journey.end()
        cls.log += node.log()

    def check(self, name: str, classes: dict[str, str], *more: str) -> None:
        if name not in self.journeys:
            self.skipTest("the packages of npm are not to be had")
        journey = self.journeys[name]
        self.assertEqual((journey.process.returncode, journey.steps), (0, STEPS), journey.errors())
        self.assertEqual(set(journey.refused), {*EVERYWHERE, *more})
        for kind, (called, text) in journey.refused.items():
            self.assertRegex(text, re.compile(TEXTS[kind] + r"\Z"), kind)
            self.assertEqual(called, classes[kind], f"{kind}: {text}")

    def test_ethers(self) -> None:
        self.check("ethers", ETHERS, "estimate: insufficient funds")

    def test_viem(self) -> None:
        estimates = ("estimate: insufficient funds", "estimate: fee cap below base fee")
        self.check("viem", VIEM, *estimates, "call: insufficient funds", "call: gas")

    def test_web3_js(self) -> None:
        self.check("web3js", WEB3_JS, "call: insufficient funds", "call: fee cap below base fee")

    def test_web3_py(self) -> None:
        self.assertEqual(version("web3"), WEB3_PY)
        self.check("web3py", WEB3, "estimate: insufficient funds", "estimate: fee cap below base fee")

    def test_the_node_is_none_the_worse(self) -> None:
        trouble = self.log.partition("Traceback")
        self.assertEqual(trouble[1], "", trouble[0][-500:] + trouble[2][:4000])
