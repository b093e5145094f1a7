"""Endpoint texts of people: Twisted's server endpoint strings, or ``HOST:PORT``."""

import ipaddress

from twisted.internet.endpoints import quoteStringArgument, serverFromString

from chainp2p.errors import SettingsError
from chainp2p.peer.address import split_host_port

__all__ = ["is_loopback", "is_loopback_endpoint", "on_loopback", "peer_endpoint", "rpc_endpoint"]

_TCP = ("tcp", "tcp4", "tcp6")


def _endpoint(name: str, text: str, kinds: tuple[str, ...]) -> str:
    kind, _, rest = text.partition(":")
    if kind not in kinds and kind not in ("ssl", "tls", "unix", "systemd", "fd"):
        try:
            # port 0, any free one, is nothing to dial but fine to listen on
            any_port = text.endswith(":0")
            host, port = split_host_port(text.removesuffix("0") + "1" if any_port else text)
        except SettingsError:
            raise SettingsError(f"{name}: {text!r} is neither a server endpoint (tcp:PORT) nor HOST:PORT") from None
        family = "tcp6" if ":" in host else "tcp"
        return f"{family}:{0 if any_port else port}:interface={quoteStringArgument(host)}"  # type: ignore[no-untyped-call]
    if kind not in kinds:
        raise SettingsError(f"{name}: {kind}: endpoints are not possible here, only {', '.join(kinds)}")
    try:
        serverFromString(None, text)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, LookupError) as error:
        raise SettingsError(f"{name}: {text!r}: {error}") from None
    if kind in _TCP and not 0 <= int(rest.partition(":")[0].removeprefix("port=") or -1) < 65_536:
        raise SettingsError(f"{name}: {text!r}: a port is 0 to 65535")
    return text


def peer_endpoint(name: str, text: str) -> str:
    """Return the endpoint for peers that *text*, the value of setting *name*, means; SettingsError if none."""
    return _endpoint(name, text, _TCP)


def rpc_endpoint(name: str, text: str) -> str:
    """The same for RPC, where a Unix socket will do as well."""
    return _endpoint(name, text, (*_TCP, "unix"))


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def is_loopback_endpoint(text: str) -> bool:
    """Tell whether a checked endpoint is bound to loopback, or to no network at all."""
    if text.startswith("unix:"):
        return True
    fields = text.split(":interface=", 1)
    return len(fields) == 2 and is_loopback(fields[1].replace("\\:", ":"))


def on_loopback(text: str) -> str:
    """Return ``tcp:PORT`` bound to loopback."""
    return f"{text}:interface=127.0.0.1"
