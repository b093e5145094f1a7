"""Verbs of a devnet: read at its prompt, or sent from another shell over a loopback connection.

A loopback port and a secret in a private file, not a Unix socket: the path of a socket must be shorter than 108 bytes.
"""

import hmac
import json
import socket
import socketserver
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from chainp2p.cli.client import RpcFailure
from chainp2p.cli.devnet_network import Devnet, Interrupted
from chainp2p.cli.devnet_plan import HOST
from chainp2p.errors import SettingsError, StartupError
from chainp2p.peer.key import write_private

__all__ = ["CONTROL_FILE", "VERBS", "Control", "run_verb", "send_verb"]

CONTROL_FILE = "devnet.control"
VERBS = "kill N, start N, partition 1,2 / 3,4, heal, add, status"
#: Bytes of a request or an answer; and seconds for the slowest verb, a node's start.
_LINE_LIMIT, _TIMEOUT = 1 << 20, 120.0


def run_verb(devnet: Devnet, verb: str, arguments: Sequence[str]) -> Any:
    """Carry out a verb; the answer is a line of text, or the rows of ``status``."""
    text = " ".join(arguments)
    match verb, len(arguments):
        case "kill", 1:
            return devnet.kill(text)
        case "start", 1:
            return devnet.start_node(text)
        case "partition", count if count > 0:
            return devnet.partition(text)
        case "heal", 0:
            return devnet.heal()
        case "add", 0:
            return devnet.add()
        case "status", 0:
            return devnet.status()
    said = " ".join([verb, text]).strip()
    raise SettingsError(f"{said!r} is not understood; verbs: {VERBS}")


class Control:
    """Answers verbs of other shells while it is open."""

    def __init__(self, folder: Path, devnet: Devnet, token: str) -> None:
        self._file = folder / CONTROL_FILE

        class Request(socketserver.StreamRequestHandler):
            timeout = _TIMEOUT

            def handle(self) -> None:
                self.wfile.write(json.dumps(_answer(devnet, token, self.rfile.readline(_LINE_LIMIT))).encode() + b"\n")

        self._server = socketserver.ThreadingTCPServer((HOST, 0), Request)
        self._server.daemon_threads = True
        # a verb that hangs must not hold up the end
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        port = self._server.server_address[1]
        write_private(self._file, json.dumps({"port": port, "token": token}).encode())

    def close(self) -> None:
        self._file.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()


def _answer(devnet: Devnet, token: str, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not hmac.compare_digest(str(request["token"]), token):
            return {"error": "wrong token"}
        verb, arguments = str(request["verb"]), [str(argument) for argument in request["arguments"]]
    except (ValueError, KeyError, TypeError):
        return {"error": "malformed request"}
    try:
        return {"result": run_verb(devnet, verb, arguments)}
    except click.ClickException as error:
        return {"error": error.format_message()}
    except (SettingsError, StartupError) as error:
        return {"error": str(error)}
    except Interrupted:
        return {"error": "the devnet is stopping"}


def send_verb(folder: Path, verb: str, arguments: Sequence[str]) -> Any:
    """Let the devnet that runs in *folder* carry out a verb; RpcFailure if none runs or it refuses."""
    try:
        control = json.loads((folder / CONTROL_FILE).read_text("utf-8"))
        with socket.create_connection((HOST, control["port"]), timeout=_TIMEOUT) as connection:
            request = {"token": control["token"], "verb": verb, "arguments": list(arguments)}
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline(_LINE_LIMIT))
    except (OSError, ValueError, KeyError):
        raise RpcFailure(f"no devnet runs in {folder}") from None
    if "error" in answer:
        raise RpcFailure(answer["error"])
    return answer["result"]
