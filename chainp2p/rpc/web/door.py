"""Decides about the head of an HTTP request, before anything of it is run. Pure.

Order matters: an unknown path or host learns nothing; a page of a foreign origin not even whether its token is good;
and every later refusal carries the CORS headers, so that a page can read why.
"""

import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeAlias

from attrs import field, frozen

from chainp2p.rpc.web.access import admin_origin_allowed, host_allowed, origin_allowed, token_refusal

__all__ = ["Asked", "Door", "Go", "Reply", "Route"]

#: What clients really send (geth accepts the same three).
CONTENT_TYPES = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})

#: The text format of Prometheus that everything reads.
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds for which a browser may keep the answer to a preflight.
PREFLIGHT_AGE = 600

_PATHS = frozenset({"/", "/ws", "/livez", "/readyz"})

Headers: TypeAlias = tuple[tuple[str, str], ...]


@frozen
class Asked:
    """The head of a request; header values as text, None where the header is missing."""

    method: str
    path: str
    query: str = ""
    version: str = "HTTP/1.1"
    hosts: tuple[str, ...] = ()
    origin: str | None = None
    content_type: str | None = None
    authorization: str | None = None
    upgrade: bool = False
    private_network: bool = False  #: a preflight that asks whether a public page may call a private address


@frozen
class Reply:
    """A complete answer."""

    status: int
    body: str = ""
    headers: Headers = ()
    content_type: str = "text/plain; charset=utf-8"


class Route(Enum):
    CALL = "call"  #: read the body as JSON-RPC
    WEBSOCKET = "websocket"


@frozen
class Go:
    """The request may pass; *headers* belong to the answer."""

    route: Route
    headers: Headers = ()


@frozen(kw_only=True)
class Door:
    """The rules of one port.

    :param token: the secret that opens it, None: open. *admin*: pages of its own origin only.
    :param livez: answers why the process should be restarted; *readyz*: why requests should go elsewhere.
    :param metrics: answers ``/metrics``, None: there is no such path.
    """

    hosts: Sequence[str] = ("localhost",)
    origins: Sequence[str] = ()
    token: bytes | None = field(default=None, repr=False)
    admin: bool = False
    livez: Callable[[], list[str]] = list
    readyz: Callable[[], list[str]] = list
    metrics: Callable[[], str] | None = None
    version: str = ""

    def admit(self, asked: Asked, now: float) -> Reply | Go:
        """Answer what becomes of a request; *now* in Unix seconds."""
        if asked.path not in _PATHS and (asked.path != "/metrics" or self.metrics is None):
            return Reply(404, "not found\n")
        refusal = self._host_refusal(asked)
        if refusal is not None:
            return refusal
        if asked.path not in ("/", "/ws"):
            return self._told(asked)
        host = asked.hosts[0] if asked.hosts else ""
        headers: Headers = ()
        if asked.origin is not None:
            allowed = (
                admin_origin_allowed(asked.origin, host)
                if self.admin
                else origin_allowed(asked.origin, host, self.origins)
            )
            if not allowed:
                option = "the admin port serves its own pages only" if self.admin else "allow it with --rpc-origins"
                return Reply(403, f"origin {_shown(asked.origin)} is not allowed: {option}\n")
            headers = (("Access-Control-Allow-Origin", asked.origin), ("Vary", "Origin"))
        if asked.method == "OPTIONS":
            return Reply(204, headers=headers + _preflight(asked) if headers else (("Allow", "POST, OPTIONS"),))
        if self.token is not None:
            refused = token_refusal(asked.authorization, self.token, now)
            if refused is not None:
                return Reply(401, f"{refused}\n", (*headers, ("WWW-Authenticate", "Bearer")))
        return self._route(asked, headers)

    def _host_refusal(self, asked: Asked) -> Reply | None:
        if len(asked.hosts) > 1 or (not asked.hosts and asked.version == "HTTP/1.1"):
            return Reply(400, "exactly one Host header is needed\n")
        if asked.hosts and not host_allowed(asked.hosts[0], self.hosts):
            return Reply(403, f"host {_shown(asked.hosts[0])} is not allowed: allow it with --rpc-hosts (rpc.hosts)\n")
        return None

    def _told(self, asked: Asked) -> Reply:
        """What probes and monitors read, without a token."""
        if asked.method not in ("GET", "HEAD"):
            return Reply(405, "method not allowed\n", (("Allow", "GET, HEAD"),))
        if asked.path == "/metrics" and self.metrics is not None:
            return Reply(200, self.metrics(), (("Cache-Control", "no-store"),), METRICS_TYPE)
        reasons = (self.livez if asked.path == "/livez" else self.readyz)()
        body: dict[str, object] = {"status": "unavailable" if reasons else "ok"}
        if reasons or "verbose" in asked.query.split("&"):
            body["reasons"] = reasons
        if "verbose" in asked.query.split("&"):
            body["version"] = self.version
        return Reply(
            503 if reasons else 200, json.dumps(body) + "\n", (("Cache-Control", "no-store"),), "application/json"
        )

    def _route(self, asked: Asked, headers: Headers) -> Reply | Go:
        if asked.upgrade and asked.method == "GET":
            return Go(Route.WEBSOCKET, headers)
        if asked.path == "/ws":
            return Reply(426, "this path speaks WebSocket\n", (*headers, ("Upgrade", "websocket")))
        if asked.method != "POST":
            return Reply(405, "method not allowed: JSON-RPC comes by POST\n", (*headers, ("Allow", "POST, OPTIONS")))
        kind = (asked.content_type or "").partition(";")[0].strip().lower()
        if kind not in CONTENT_TYPES:
            return Reply(415, "invalid content type, only application/json is supported\n", headers)
        return Go(Route.CALL, headers)


def _shown(text: str) -> str:
    """Return what somebody else wrote so that it cannot break out of a line."""
    return repr(text[:200])


def _preflight(asked: Asked) -> Headers:
    headers: Headers = (
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", "content-type, authorization"),
        ("Access-Control-Max-Age", str(PREFLIGHT_AGE)),
    )
    return (*headers, ("Access-Control-Allow-Private-Network", "true")) if asked.private_network else headers
