"""Port mapping by UPnP, through the library miniupnpc where it is installed: blocking, for a thread of its own."""

import importlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from twisted.logger import Logger

__all__ = ["UpnpError", "UpnpGateway", "find_library"]

#: How long devices may take to answer the search (milliseconds, for each of the four kinds that are searched).
SEARCH_MS = 1_500
#: Ports outside that are tried when somebody else has the wanted one.
PORTS = 4
#: What routers show their owners.
DESCRIPTION = "chainp2p"


class UpnpError(Exception):
    """Why there is no mapping."""


def find_library() -> Callable[[], Any] | None:
    """Return what makes the library's ``UPnP`` object; None if it is not installed (``pip install chainp2p[nat]``)."""
    try:
        return importlib.import_module("miniupnpc").UPnP  # type: ignore[no-any-return]
    except ImportError:
        return None


class UpnpGateway:
    """One Internet Gateway Device and what it maps for us; all methods block for seconds.

    1. Only the default gateway is believed: anybody on the network can answer a search.
    2. A port that is mapped to another machine is left alone and the next one tried: some devices would overwrite it.
    3. A device that knows only permanent mappings gets those; they are removed at the end like the others.

    :param make: makes the library's object.
    :param url: of the device's description; None: search for it.
    """

    log = Logger()

    def __init__(self, make: Callable[[], Any], url: str | None = None) -> None:
        self._make = make
        self._url = url
        self._device: Any = None
        self._held: dict[str, int] = {}

    def open(self, gateway: str, tcp: int, udp: int | None, lifetime: int) -> tuple[str, int, int | None]:
        """Map these ports; returns our address outside and both ports there. UpnpError says why not."""
        try:
            self._device = device = self._find(gateway)
            ip: str = device.externalipaddress()
            outside = self._map(device, "TCP", tcp, lifetime)
        except UpnpError:
            raise
        except Exception as error:
            # the library raises nothing more particular
            raise UpnpError(str(error)) from None
        if udp is None:
            return ip, outside, None
        try:
            return ip, outside, self._map(device, "UDP", udp, lifetime)
        except Exception as error:
            self.log.info("UPnP: no UDP port is mapped: {error}", error=str(error))
            return ip, outside, None

    def close(self) -> None:
        """Remove what was mapped."""
        held, self._held = self._held, {}
        for protocol, port in held.items():
            try:
                self._device.deleteportmapping(port, protocol)
            except Exception as error:
                self.log.info(
                    "UPnP: {protocol} port {port} stays mapped: {error}", protocol=protocol, port=port, error=error
                )

    def _find(self, gateway: str) -> Any:
        device = self._make()
        device.discoverdelay = SEARCH_MS
        if self._url is not None:
            control = device.selectigd(self._url)
        else:
            device.discover()
            control = device.selectigd()
        if urlsplit(control).hostname != gateway:
            raise UpnpError(f"{control} is not at the default gateway")
        return device

    def _map(self, device: Any, protocol: str, port: int, lifetime: int) -> int:
        first = self._held.get(protocol, port)
        error = "every port is taken"
        for outside in (number for number in range(first, first + PORTS) if number < 65_536):
            holder = device.getspecificportmapping(outside, protocol)
            if holder is not None and (holder[0], holder[1]) != (device.lanaddr, port):
                continue
            for seconds in (lifetime, 0):
                try:
                    device.addportmapping(outside, protocol, device.lanaddr, port, DESCRIPTION, "", seconds)
                except Exception as refused:
                    error = str(refused)
                    if "PermanentLease" in error:
                        continue
                    if "Conflict" in error:
                        break
                    raise
                self._held[protocol] = outside
                return outside
        raise UpnpError(error)
