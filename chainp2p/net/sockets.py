"""Ports taken so that both address families can have the same one."""

import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorSocket

__all__ = ["take_tcp6", "take_udp"]

#: Connections that wait to be taken, as Twisted has it.
_BACKLOG = 50


def take_udp(reactor: Any, protocol: Any, interface: str, port: int, size: int, *, spare: bool = False) -> Any:
    """Listen for datagrams; CannotListenError if that cannot be.

    :param size: bytes of the longest datagram that is looked at.
    :param spare: whether another port will do if this one is taken.
    """
    try:
        return _take(reactor, protocol, interface, port, size)
    except CannotListenError:
        if not spare:
            raise
    return _take(reactor, protocol, interface, 0, size)


def take_tcp6(reactor: Any, factory: Any, port: int) -> Any:
    """Listen on all IPv6 addresses and on none of IPv4; CannotListenError if that cannot be."""
    if not IReactorSocket.providedBy(reactor):
        return reactor.listenTCP(port, factory, interface="::")
    with _ipv6_alone(socket.SOCK_STREAM, port) as made:
        return reactor.adoptStreamPort(made.fileno(), socket.AF_INET6, factory)


def _take(reactor: Any, protocol: Any, interface: str, port: int, size: int) -> Any:
    if interface != "::" or not IReactorSocket.providedBy(reactor):
        return reactor.listenUDP(port, protocol, interface=interface, maxPacketSize=size)
    with _ipv6_alone(socket.SOCK_DGRAM, port) as made:
        return reactor.adoptDatagramPort(made.fileno(), socket.AF_INET6, protocol, size)


def _ipv6_alone(kind: socket.SocketKind, port: int) -> socket.socket:
    """Return a bound socket on all IPv6 addresses that leaves the same port of IPv4 alone.

    Linux gives ``::`` the IPv4 port as well unless told otherwise, and Twisted does not tell it.
    """
    made = socket.socket(socket.AF_INET6, kind)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("::", port))
        if kind is socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise CannotListenError("::", port, error) from error  # type: ignore[no-untyped-call]
    return made
