"""The shell of Node Discovery v5.1: sockets and a timer around :class:`chainp2p.discovery.discv5.Discv5`."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from errno import ENETUNREACH
from ipaddress import ip_address
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import DatagramProtocol

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.events import Datagram
from chainp2p.discovery.outputs import Found, Live, Output, OwnSeen, TalkAsked, Talked, Voted
from chainp2p.errors import StartupError
from chainp2p.net.alarm import Alarm
from chainp2p.net.sockets import take_udp
from chainp2p.net.talking import TalkHandler, Talking
from chainp2p.peer.enr import Enr

__all__ = ["DiscoveryShell"]

#: Packets are never larger (specification); one byte more shows that a datagram was.
_PACKET = 1_281


class _Socket(DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram, (addr[0], addr[1]))


class DiscoveryShell:
    """Feeds the core datagrams and time, sends what it says, and tells the network what it learns.

    :param live: told of each node of our network that has answered.
    :param voted: told (peer id, its IP, our IP and port as it sees them).
    :param talk: who answers TALKREQ of which protocol.
    :param own_seen: told the number of a record of ours that is newer than the one we have.
    """

    def __init__(
        self,
        reactor: Any,
        core: Discv5,
        *,
        live: Callable[[Enr], None],
        voted: Callable[[bytes, str, str, int], None],
        talk: Mapping[bytes, TalkHandler] | None = None,
        own_seen: Callable[[int], None] = lambda seq: None,
    ) -> None:
        self._reactor = reactor
        self.core = core
        self._live = live
        self._voted = voted
        self._own_seen = own_seen
        self._talking = Talking(reactor, talk if talk is not None else {}, self._answer_talk)
        #: By IP version and whether what they are sent to is loopback.
        self._sockets: dict[tuple[int, bool], Any] = {}
        self._ports: list[Any] = []
        self._alarm = Alarm(reactor, self._wake)
        self.addresses: tuple[tuple[str, int], ...] = ()
        #: Datagrams since the start.
        self.received = self.sent = 0

    def listen(self, where: Sequence[tuple[str, int]], spare: Container[tuple[str, int]] = ()) -> None:
        """Take these (interface, port) pairs; StartupError names the one that cannot be had.

        :param spare: those for which another port will do if theirs is taken.
        """
        for interface, port in where:
            socket = _Socket(self._received)
            try:
                listening = take_udp(self._reactor, socket, interface, port, _PACKET, spare=(interface, port) in spare)
            except Exception as error:
                self._close()
                raise StartupError(f"network.discovery_addr: cannot listen on udp:{port}: {error}") from error
            self._ports.append(listening)
            address = ip_address(interface or "0.0.0.0")
            self._sockets.setdefault((address.version, address.is_loopback), socket)
        for version, loopback in list(self._sockets):
            if not loopback:
                self._sockets.setdefault((version, True), self._sockets[version, False])
        self.core.reach.listen({version for version, _ in self._sockets})
        hosts = [port.getHost() for port in self._ports]
        self.addresses = tuple((host.host, host.port) for host in hosts)

    def start(self, seeds: Iterable[Enr]) -> None:
        """Begin to ask around."""
        self._alarm = Alarm(self._reactor, self._wake)
        self._carry_out(self.core.start(seeds, self._reactor.seconds()))

    async def stop(self) -> None:
        """Say nothing more and close the sockets."""
        self._alarm.stop()
        self._talking.stop()
        self._carry_out(self.core.stop())
        for closing in self._close():
            await closing

    def _close(self) -> list["Deferred[Any]"]:
        ports, self._ports = self._ports, []
        self._sockets.clear()
        return [maybeDeferred(port.stopListening) for port in ports]

    # -- asking

    def lookup(self, target: bytes) -> "Deferred[tuple[Enr, ...]]":
        """Fire with the closest nodes to a node id, the closest first."""
        return self.find(target).addCallback(lambda found: found.records)

    def find(self, target: bytes) -> "Deferred[Found]":
        """The same with how it went."""
        done: Deferred[Found] = Deferred()
        self._carry_out(self.core.lookup(target, done, self._reactor.seconds()))
        return done

    def talk(self, enr: Enr, protocol: bytes, request: bytes) -> "Deferred[bytes | None]":
        """Send a TALKREQ; fires with the response, None if nobody answered."""
        done: Deferred[bytes | None] = Deferred()
        self._carry_out(self.core.talk(enr, protocol, request, done, self._reactor.seconds()))
        return done

    # -- the core's world

    def _received(self, data: bytes, address: tuple[str, int]) -> None:
        self.received += 1
        self._carry_out(self.core.received(data, address, self._reactor.seconds()))

    def _wake(self) -> None:
        self._carry_out(self.core.expire(self._reactor.seconds()))

    def _carry_out(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case Datagram(data=data, address=address):
                    self._write(data, address)
                case Live(enr=enr):
                    self._live(enr)
                case Voted(peer_id=peer_id, source=source, ip=ip, port=port):
                    self._voted(peer_id, source, ip, port)
                case OwnSeen(seq=seq):
                    self._own_seen(seq)
                case Found(handle=handle):
                    cast("Deferred[Any]", handle).callback(output)
                case Talked(handle=handle, response=response):
                    cast("Deferred[Any]", handle).callback(response)
                case TalkAsked():
                    self._talking.asked(output)
        deadline = self.core.next_deadline()
        if deadline is not None:
            self._alarm.by(deadline)

    def _answer_talk(self, asked: TalkAsked, response: bytes) -> None:
        self._carry_out(self.core.answer_talk(asked, response, self._reactor.seconds()))

    def _write(self, data: bytes, address: tuple[str, int]) -> None:
        ip = address[0]
        socket = self._sockets.get((6 if ":" in ip else 4, ip.startswith("127.") or ip == "::1"))
        if socket is None or socket.transport is None:
            return
        try:
            socket.transport.write(data, address)
            self.sent += 1
        except OSError as error:
            # no route, or the kernel's buffer is full: as if it had got lost on its way
            self.core.conversations.drop("not sent")
            if error.errno == ENETUNREACH:
                self.core.reach.no_route(ip_address(address[0]).version, self._reactor.seconds())


def discovery_endpoints(texts: Sequence[str], tcp: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return (interface, port) of each ``udp:PORT[:interface=ADDR]``; without any, those of TCP."""
    if not texts:
        return [("" if ip_address(host).is_unspecified and ":" not in host else host, port) for host, port in tcp]
    found = []
    for text in texts:
        _, port, *options = text.replace("\\:", "\0").split(":")
        named = dict(option.partition("=")[::2] for option in options)
        found.append((named.get("interface", "").replace("\0", ":"), int(port)))
    return found
