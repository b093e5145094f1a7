"""Where to listen and whom to call, as Twisted endpoints on any reactor."""

import errno
import ipaddress
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.error import (
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
    UnknownHostError,
)

from chainp2p.errors import SettingsError, StartupError
from chainp2p.net.sockets import take_tcp6
from chainp2p.peer.address import split_host_port

__all__ = [
    "Listeners",
    "client_endpoint",
    "leaves_port_open",
    "parse_external",
    "server_text",
    "specific_interface",
    "why_no_connection",
]

#: How long a TCP connection may take to stand (seconds).
CONNECT_TIMEOUT = 10.0
_TCP = ("tcp", "tcp4", "tcp6")


def server_text(text: str) -> str:
    """Return the endpoint string that a listen setting means; SettingsError if peers cannot be there."""
    kind = text.partition(":")[0]
    if kind in _TCP:
        return text
    try:
        host, port = split_host_port(text)
    except SettingsError:
        host, port = "", 0
    if kind in ("ssl", "tls", "unix") or not host:
        raise SettingsError(f"network.listen_addr: {text!r}: tcp:PORT or HOST:PORT is expected")
    family = "tcp6" if ":" in host else "tcp"
    return f"{family}:{port}:interface={quoteStringArgument(host)}"  # type: ignore[no-untyped-call]


def _port_and_interface(text: str) -> tuple[str, str]:
    """Return what a listen setting says of both."""
    kind, *words = server_text(text).replace("\\:", "\0").split(":")
    named = dict(word.partition("=")[::2] for word in words if "=" in word)
    interface = named.get("interface", "::" if kind == "tcp6" else "")
    return named.get("port", words[0] if words else ""), interface.replace("\0", ":")


def leaves_port_open(text: str) -> bool:
    """Tell whether a listen setting takes any port."""
    return _port_and_interface(text)[0] == "0"


#: What it means that a connection could not be made, and the rule that says so; a subclass stands before its base.
_NOT_MADE: tuple[tuple[type[Exception], str, str], ...] = (
    (DNSLookupError, "name_unknown", "the name is not known"),
    (UnknownHostError, "name_unknown", "the name is not known"),
    (ConnectionRefusedError, "refused", "nobody listens at this port"),
    (NoRouteError, "no_route", "there is no route to the address"),
    (TCPTimedOutError, "timed_out", "no answer"),
    (TimeoutError, "timed_out", "no answer"),
)
_ERRNO_RULES = {
    errno.ENETUNREACH: "no_route",
    errno.EHOSTUNREACH: "no_route",
    errno.EADDRNOTAVAIL: "no_route",
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timed_out",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EMFILE: "no_descriptors",
    errno.ENFILE: "no_descriptors",
}


def why_no_connection(error: BaseException) -> tuple[str, str]:
    """Return the rule that tells why a dial made no connection, and plain words."""
    for kind, rule, text in _NOT_MADE:
        if isinstance(error, kind):
            return rule, text
    number = getattr(error, "osError", None) or getattr(error, "errno", None) or getattr(error, "socketError", None)
    rule = _ERRNO_RULES.get(number, "not_connected") if isinstance(number, int) else "not_connected"
    return rule, str(error) or type(error).__name__


class Listeners:
    """The ports of a node, in the order of the settings."""

    def __init__(self) -> None:
        self._ports: list[Any] = []

    async def start(self, reactor: Any, texts: Sequence[str], factory: Any) -> tuple[tuple[str, int], ...]:
        """Listen everywhere or nowhere; returns the bound addresses with their real ports."""
        try:
            for text in texts:
                self._ports.append(await _listen(reactor, text, factory))
        except BaseException:
            await self.stop()
            raise
        return tuple((port.getHost().host, port.getHost().port) for port in self._ports)

    async def stop(self) -> None:
        """Listen no more."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)


async def _listen(reactor: Any, text: str, factory: Any) -> Any:
    """Listen as *text* says and return the port; StartupError names the endpoint that cannot be had."""
    try:
        endpoint = serverFromString(reactor, server_text(text))  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, LookupError) as error:
        raise SettingsError(f"network.listen_addr: {text!r}: {error}") from None
    port, interface = _port_and_interface(text)
    try:
        if interface == "::":
            return take_tcp6(reactor, factory, int(port))
        return await endpoint.listen(factory)
    except Exception as error:
        raise StartupError(f"network.listen_addr: cannot listen on {text}: {error}") from error


def client_endpoint(reactor: Any, host: str, port: int) -> Any:
    """Return the endpoint to dial; an IP literal needs no resolver."""
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    if version == 4:
        return TCP4ClientEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)
    return TCP6ClientEndpoint(reactor, host, port, timeout=CONNECT_TIMEOUT)  # type: ignore[no-untyped-call]


def parse_external(text: str) -> dict[int, tuple[str, int | None]]:
    """Read ``--external``: an IP address with or without a port, or one of each family with a comma between them.

    Returns IP version -> (address, port); SettingsError if it is something else.
    """
    found: dict[int, tuple[str, int | None]] = {}
    for part in text.split(","):
        address, port = _external(part.strip(), text)
        if address.version in found:
            raise SettingsError(f"node.external: {text!r}: one address of IPv4 and one of IPv6 at most")
        found[address.version] = str(address), port
    return found


def _external(part: str, text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int | None]:
    try:
        return ipaddress.ip_address(part), None
    except ValueError:
        pass
    try:
        host, port = split_host_port(part)
        return ipaddress.ip_address(host), port
    except ValueError:
        raise SettingsError(f"node.external: {text!r}: an IP address is expected, with or without a port") from None


def specific_interface(host: str) -> str | None:
    """Return *host* if a listener on it can be reached there and nowhere else; None for "all interfaces"."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return None if address.is_unspecified else str(address)
