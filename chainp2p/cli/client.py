"""How commands find the running node (``node.json`` in its data directory) and talk to its admin port."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from chainp2p.cli.paths import PATH
from chainp2p.cli.unix import OverUnix, unix_path

__all__ = ["LOOPBACK", "NodeClient", "RpcFailure", "find_node", "node_options"]

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds for one answer; the node itself gives up on a call after 30.
TIMEOUT = 30.0
ROOT = Path("~/.chainp2p")
#: The host that a node on a Unix socket is asked for: an address passes whatever names are allowed.
LOOPBACK = "127.0.0.1"


class RpcFailure(click.ClickException):
    """The node cannot be reached, or answered with an error."""


class NodeClient:
    """JSON-RPC over HTTP.

    :param url: ``http:``, ``https:`` or ``unix:/path``.
    :param secret: signs a fresh token for each call; None for a port without authentication.
    """

    def __init__(self, url: str, secret: bytes | None = None, timeout: float = TIMEOUT) -> None:
        self.url = url
        self._secret = secret
        self._timeout = timeout

    def call(self, method: str, *params: Any) -> Any:
        """Return the result of a call; RpcFailure says what went wrong."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        path = unix_path(self.url)
        url = self.url if path is None else f"http://{LOOPBACK}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json", **self.authorization()})
        # a proxy of the environment has no business between us and our own node
        handlers = [urllib.request.ProxyHandler({}), *([] if path is None else [OverUnix(path)])]
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=self._timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode("utf-8", "replace").strip()
            hint = " (give --data-dir: its jwt.hex opens the port)" if error.code == 401 and not self._secret else ""
            raise RpcFailure(f"{self.url}: HTTP {error.code}: {detail or error.reason}{hint}") from None
        except (OSError, ValueError) as error:
            raise RpcFailure(f"{self.url}: {getattr(error, 'reason', error)}") from None
        if "error" in answer:
            raise RpcFailure(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def authorization(self) -> dict[str, str]:
        """The header that opens the port, fresh."""
        if self._secret is None:
            return {}
        import jwt

        now = int(time.time())  # noqa: TID251
        return {"Authorization": f"Bearer {jwt.encode({'iat': now}, self._secret, algorithm='HS256')}"}


def _read_secret(folder: Path) -> bytes | None:
    try:
        return bytes.fromhex((folder / "jwt.hex").read_text("ascii").strip())
    except (OSError, ValueError):
        return None


def find_node(data_dir: Path | None, admin_url: str | None) -> NodeClient:
    """Return a client of the node that is meant: by URL, by directory, or the only one that runs."""
    if data_dir is None and admin_url is None:
        running = sorted(ROOT.expanduser().glob("*/node.json"))
        if len(running) != 1:
            found = ", ".join(str(file.parent) for file in running) or f"none below {ROOT}"
            raise RpcFailure(f"which node? give --data-dir or --admin-url; running: {found}")
        data_dir = running[0].parent
    secret = _read_secret(data_dir) if data_dir is not None else None
    if admin_url is not None:
        return NodeClient(admin_url, secret)
    assert data_dir is not None
    try:
        facts = json.loads((data_dir / "node.json").read_text("utf-8"))
    except (OSError, ValueError):
        raise RpcFailure(f"no node runs in {data_dir} (there is no node.json)") from None
    if not facts.get("admin"):
        raise RpcFailure(f"the node in {data_dir} has no admin port")
    return NodeClient(facts["admin"], secret if facts.get("adminAuth") == "jwt" else None)


def node_options(function: F) -> F:
    """Add the options by which a command finds its node."""
    function = click.option("--admin-url", metavar="URL", help="Admin port of the node.")(function)
    return click.option("--data-dir", type=PATH, metavar="DIR", help="Data directory of the node.")(function)
