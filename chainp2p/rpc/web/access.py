"""Who may call: names of hosts, origins of web pages, and tokens of operators. Pure.

A web page can make a browser send requests to a local node. Two rules stop it: a DNS name that an attacker points at
127.0.0.1 is refused by ``Host``, and a page of another origin by ``Origin``.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address

from jwt import InvalidTokenError, decode

__all__ = ["admin_origin_allowed", "host_allowed", "origin_allowed", "token_refusal"]

#: Seconds that ``iat`` of a token may be off (Ethereum's engine API, "Authentication").
TOKEN_AGE = 60.0

#: Origins of browser extensions: wallets live there.
EXTENSIONS = ("chrome-extension://", "moz-extension://")

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def _hostname(host: str) -> str:
    """Return the name of a ``Host`` header without its port."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def host_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Tell whether a ``Host`` header names this server: an IP literal, which no DNS can forge, or a listed name."""
    name = _hostname(host).lower()
    return _is_literal(name) or "*" in allowed or name in (entry.lower() for entry in allowed)


@lru_cache(maxsize=256)  # a client names the same host in each of its requests
def _is_literal(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False
    return rest == host.removesuffix(_DEFAULT_PORTS[scheme])


def _matches(origin: str, pattern: str) -> bool:
    """``*`` is everything; ``http://localhost:*`` is that host with any port or none."""
    if pattern == "*" or origin == pattern:
        return True
    if not pattern.endswith(":*"):
        return False
    base = pattern[:-2]
    return origin == base or (origin.startswith(base + ":") and origin[len(base) + 1 :].isdigit())


def origin_allowed(origin: str, host: str, allowed: Sequence[str]) -> bool:
    """Tell whether a page of *origin* may call the RPC port."""
    origin = origin.lower()
    return (
        _same_origin(origin, host.lower())
        or origin.startswith(EXTENSIONS)
        or any(_matches(origin, pattern.lower()) for pattern in allowed)
    )


def admin_origin_allowed(origin: str, host: str) -> bool:
    """Tell whether a page of *origin* may call the admin port: only the port's own pages."""
    return _same_origin(origin.lower(), host.lower())


def token_refusal(authorization: str | None, secret: bytes, now: float) -> str | None:
    """Return why an ``Authorization`` header does not open the admin port, None if it does. *now*: Unix seconds."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return "missing token"
    try:
        # the library would compare with the clock of the process: times are checked here
        claims = decode(
            token.strip(),
            secret,
            algorithms=["HS256"],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (InvalidTokenError, ValueError):
        return "invalid token"
    issued, expires = claims.get("iat"), claims.get("exp")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        return "missing issued-at"
    if not abs(now - issued) <= TOKEN_AGE:
        return "stale token"
    if expires is not None and not (isinstance(expires, int | float) and expires > now):
        return "token is expired"
    return None
