"""The box that leads out of the local network: where it is, and what the node asks of it."""

import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainp2p.discovery.gateway import PORT
from chainp2p.net.port_mapping import PortMapping, Router, Upnp
from chainp2p.node.threads import ThreadExecutor
from chainp2p.node.upnp import UpnpError, UpnpGateway, find_library
from chainp2p.primitives.keccak import keccak256

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from chainp2p.net.network import Network
    from chainp2p.peer.key import NodeKey
    from chainp2p.settings import Settings

__all__ = ["MachineRouter", "default_gateway", "make_mapping", "parse_bsd_route", "parse_routes"]

#: Linux's routes, in hexadecimal of the machine's byte order (proc_pid_net(5)).
_ROUTES = Path("/proc/net/route")
#: Flags of a route that is up and leads through a gateway (``RTF_UP | RTF_GATEWAY``).
_THROUGH_GATEWAY = 0x3
#: How long ``route`` may take (seconds).
_ROUTE_LIMIT = 2.0


def parse_routes(text: str) -> str | None:
    """Return the default gateway of the lowest metric in what ``/proc/net/route`` says."""
    found: list[tuple[int, str]] = []
    for line in text.splitlines()[1:]:
        columns = line.split()
        try:
            target, gateway, flags = (int(columns[index], 16) for index in (1, 2, 3))
            metric, mask = int(columns[6]), int(columns[7], 16)
        except (ValueError, IndexError):
            continue
        if target == mask == 0 and flags & _THROUGH_GATEWAY == _THROUGH_GATEWAY:
            found.append((metric, str(IPv4Address(gateway.to_bytes(4, sys.byteorder)))))
    return min(found)[1] if found else None


def parse_bsd_route(text: str) -> str | None:
    """Return the gateway in what ``route -n get default`` of macOS and the BSDs prints."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "gateway":
            try:
                return str(IPv4Address(value.strip()))
            except ValueError:
                # an interface that is its own way out, or an IPv6 router
                return None
    return None


def default_gateway() -> str | None:
    """Return the IPv4 address of the default gateway; None if there is none. Blocks for as long as a process takes."""
    try:
        return parse_routes(_ROUTES.read_text("ascii"))
    except OSError:
        pass
    try:
        printed = subprocess.run(
            ["/sbin/route", "-n", "get", "default"], capture_output=True, text=True, timeout=_ROUTE_LIMIT, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_bsd_route(printed.stdout)


class _ThreadedUpnp:
    """A :class:`UpnpGateway` on a thread."""

    def __init__(self, gateway: UpnpGateway, find: Callable[[], str | None], threads: ThreadExecutor) -> None:
        self._gateway = gateway
        self._find = find
        self._threads = threads

    def open(self, tcp: int, udp: int | None, lifetime: int) -> "Deferred[tuple[str, int, int | None]]":
        return self._threads.run(self._open, tcp, udp, lifetime)

    def _open(self, tcp: int, udp: int | None, lifetime: int) -> tuple[str, int, int | None]:
        address = self._find()
        if address is None:
            raise UpnpError("this machine has no default gateway")
        return self._gateway.open(address, tcp, udp, lifetime)

    def close(self) -> "Deferred[None]":
        return self._threads.run(self._gateway.close)


class MachineRouter:
    """What production uses as :class:`~chainp2p.net.port_mapping.Router`.

    It has one thread of its own: UPnP blocks for seconds, and must not keep the node's threads from their work.
    """

    def __init__(self, reactor: Any, find: Callable[[], str | None] = default_gateway, port: int = PORT) -> None:
        self.port = port
        self._find = find
        self._threads = ThreadExecutor(reactor, 1)
        library = find_library()
        self.upnp: Upnp | None = None
        if library is not None:
            self.upnp = _ThreadedUpnp(UpnpGateway(library), find, self._threads)

    def gateway(self) -> "Deferred[str | None]":
        return self._threads.run(self._find)

    def end(self) -> "Deferred[None]":
        return self._threads.stop()


def make_mapping(
    reactor: Any, router: Callable[[], Router] | None, settings: "Settings", key: "NodeKey", network: "Network"
) -> PortMapping | None:
    """Return what maps the ports of *network*; None where the settings or the platform want none."""
    if router is None or not settings.network.port_mapping or settings.node.external is not None:
        return None
    return PortMapping(
        reactor,
        router(),
        nonce=keccak256(b"chainp2p port mapping" + key.private)[:12],
        private=settings.profile.private_addresses,
        mapped=network.record.mapped,
        withdrawn=network.record.unmapped,
    )
