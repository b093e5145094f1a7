"""Nodes of ``@chainsafe/discv5`` in one Node.js process, led from a test."""

import json
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol

from tests.integration.npm import npm_folder

__all__ = ["JavascriptNodes", "discv5_folder"]

_HERE = Path(__file__).parent / "discv5"


def discv5_folder() -> Path | None:
    """The directory that holds the package and our scripts, None if it cannot be had."""
    folder = npm_folder("discv5", (_HERE / "package.json").read_text())
    if folder is not None:
        for script in _HERE.glob("*.mjs"):
            shutil.copy(script, folder / script.name)
    return folder


class JavascriptNodes(ProcessProtocol):
    """Asks the process; what it does not answer fails when it ends, with what it had to say."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self._rest = b""
        self._errors = b""
        self._asked: dict[int, Deferred[Any]] = {}
        self._ended: Deferred[None] = Deferred()
        node = shutil.which("node")
        assert node is not None
        self._process = reactor.spawnProcess(self, node, [node, "nodes.mjs"], env=None, path=str(folder))

    def ask(self, verb: str, **fields: Any) -> "Deferred[Any]":
        """Fire with the answer."""
        n = len(self._asked) + 1
        self._asked[n] = answer = Deferred()
        self._process.write(json.dumps({"n": n, "verb": verb, **fields}).encode() + b"\n")
        return answer

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            asked = self._asked[answer["n"]]
            if "error" in answer:
                asked.errback(AssertionError(answer["error"]))
            else:
                asked.callback(answer["result"])

    def errReceived(self, data: bytes) -> None:
        self._errors += data

    def processEnded(self, reason: Any) -> None:
        for asked in self._asked.values():
            if not asked.called:
                asked.errback(AssertionError(f"Node.js has ended: {self._errors.decode()}"))
        if reason.check(ProcessDone):
            self._ended.callback(None)
        else:
            self._ended.errback(AssertionError(f"{reason.getErrorMessage()} {self._errors.decode()}"))

    def stop(self) -> "Deferred[None]":
        """End the process; fails if it did not end well."""
        self._process.closeStdin()
        return self._ended
