"""HTTP over a Unix socket, for a node that listens on one: ``unix:/path/to/socket``."""

import http.client
import socket
import urllib.request
from typing import Any

__all__ = ["OverUnix", "unix_path"]


def unix_path(url: str) -> str | None:
    """The path of a URL ``unix:/path``; None: it is another URL."""
    scheme, _, path = url.partition(":")
    return path if scheme == "unix" else None


class OverUnix(urllib.request.HTTPHandler):
    """Opens ``http:`` URLs, whatever host they name, on one socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def http_open(self, req: urllib.request.Request) -> Any:
        path = self._path

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(self.timeout)
                self.sock.connect(path)

        return self.do_open(Connection, req)
