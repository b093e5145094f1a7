"""The shell that has our ports mapped at the gateway: a socket, a timer, and UPnP where it speaks nothing else."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.discovery.gateway import Dialect
from chainp2p.discovery.mapping import LIFETIME, REMOVAL_LIMIT, Ask, Failed, Mapped, Mapper, Output, useless_address
from chainp2p.net.alarm import Alarm
from chainp2p.net.endpoints import specific_interface
from chainp2p.peer.votes import is_loopback, is_private

__all__ = ["MappingState", "PortMapping", "Router", "Upnp"]

#: Seconds until the gateway is asked again after it did not map; they double. A gateway that cannot will not by and by;
#: one that was being switched on, or another network, is found within minutes.
RETRY_MIN, RETRY_MAX = 60.0, 3_600.0
#: How long UPnP may take in all (seconds): finding devices takes two a kind, and each request has a few of its own.
UPNP_LIMIT = 30.0
#: How long a thread that is busy with UPnP is waited for at the end (seconds).
END_LIMIT = 0.25
#: What a packet of either protocol has at most (RFC 6887, 7).
_PACKET = 1_100
_NAMES = {Dialect.PCP: "PCP", Dialect.NAT_PMP: "NAT-PMP"}


class Upnp(Protocol):
    """UPnP by a library, on a thread; a Deferred that fails tells why in its error's text."""

    def open(self, tcp: int, udp: int | None, lifetime: int) -> "Deferred[tuple[str, int, int | None]]":
        """Map these ports; fires with our address outside and both ports there."""
        ...

    def close(self) -> "Deferred[None]":
        """Remove what was mapped."""
        ...


class Router(Protocol):
    """What the machine knows of the box that leads out.

    :param port: where it listens to PCP and NAT-PMP.
    :param upnp: None where the library is not installed.
    """

    port: int
    upnp: Upnp | None

    def gateway(self) -> "Deferred[str | None]":
        """Fire with the IPv4 address of the default gateway; None if there is none."""
        ...

    def end(self) -> "Deferred[None]":
        """Nothing more will be asked; fires when what was asked is done."""
        ...


@frozen(kw_only=True)
class MappingState:
    """How it stands, for people.

    :param rule: ``off``, ``looking``, ``mapped``, ``public`` (nothing is to be mapped), ``no_gateway``, ``silent``,
        ``refused`` or ``useless``.
    :param by: PCP, NAT-PMP or UPnP.
    """

    rule: str = "off"
    text: str = ""
    by: str = ""
    ip: str | None = None
    tcp: int | None = None
    udp: int | None = None


class _Socket(DatagramProtocol):
    def __init__(
        self, received: Callable[[bytes], None], refused: Callable[[], None], closed: Callable[[], None]
    ) -> None:
        self._received = received
        self._refused = refused
        self._closed = closed

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._received(datagram)

    def connectionRefused(self) -> None:
        self._refused()

    def stopProtocol(self) -> None:
        self._closed()


def _mappable(addresses: Sequence[tuple[str, int]]) -> tuple[str, int] | None:
    """The first listener that a NAT may stand before: IPv4, and not of this machine alone."""
    for host, port in addresses:
        if ":" not in host and not is_loopback(host):
            return host, port
    return None


class PortMapping:
    """Finds the gateway, has it map TCP and UDP, and tells where we can be reached.

    1. Nothing is asked when all listeners are on loopback, or when our own address is public.
    2. :class:`~chainp2p.discovery.mapping.Mapper` first; UPnP only when the gateway speaks neither PCP nor NAT-PMP, for
       its library reads XML of whoever answers.
    3. What fails is tried again after :data:`RETRY_MIN` seconds, which double, from finding the gateway on.
    4. Each outcome is logged once, not at each attempt.
    5. At the end mappings are removed, for :data:`~chainp2p.discovery.mapping.REMOVAL_LIMIT` seconds at most.

    :param nonce: 12 bytes that nobody can guess, and the same after a crash, for who has others may not renew
        (RFC 6887, 11.3).
    :param private: a private address outside will do.
    :param mapped: told (IP, TCP port, UDP port or None) of each mapping, also when it is renewed.
    :param withdrawn: told that there is none any more.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        router: Router,
        *,
        nonce: bytes,
        private: bool,
        mapped: Callable[[str, int, int | None], None],
        withdrawn: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._router = router
        self._nonce = nonce
        self._private = private
        self._tell_mapped = mapped
        self._tell_withdrawn = withdrawn
        self._gateway = ""
        self._interface = ""
        self._tcp = 0
        self._udp: int | None = None
        self._on = False
        self._pause = RETRY_MIN
        self._timer: IDelayedCall | None = None
        self._working: Deferred[None] | None = None
        self._mapper: Mapper | None = None
        self._port: Any = None
        self._alarm = Alarm(reactor, self._wake)
        self._removed: Deferred[None] | None = None
        self._by_upnp = False
        #: How it stands.
        self.state = MappingState()

    def start(self, tcp: Sequence[tuple[str, int]], udp: Sequence[tuple[str, int]]) -> None:
        """We listen there: map what can be mapped."""
        wanted = _mappable(tcp)
        if wanted is None:
            return
        self._interface = specific_interface(wanted[0]) or ""
        self._tcp = wanted[1]
        found = _mappable(udp)
        self._udp = None if found is None else found[1]
        self._on = True
        self._pause = RETRY_MIN
        self.state = MappingState(rule="looking")
        self._begin(self._look)

    def stop(self) -> "Deferred[None]":
        """Remove the mappings and ask no more."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if not self._on:
            return
        self._on = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working is not None:
            self._working.cancel()
        if self._by_upnp and self._router.upnp is not None:
            self._by_upnp = False
            closing = self._router.upnp.close().addTimeout(REMOVAL_LIMIT, self._reactor)
            closing.addErrback(lambda failure: self.log.info("UPnP: {why}", why=_why(failure)))
            await closing
        if self._mapper is not None:
            self._removed = Deferred()
            self._carry_out(self._mapper.stop(self._reactor.seconds()))
            if not self._mapper.over:
                await self._removed
        await self._close()
        with contextlib.suppress(TimeoutError):
            await self._router.end().addTimeout(END_LIMIT, self._reactor)
        self.state = MappingState()

    # -- attempts

    def _begin(self, sequence: "Callable[[], Any]") -> None:
        self._timer = None
        self._working = Deferred.fromCoroutine(sequence())
        self._working.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.log.failure("mapping ports failed", failure)
            self._fail("refused", "an error of ours, see the log")

    async def _look(self) -> None:
        gateway = await self._router.gateway()
        if gateway is None:
            self._fail("no_gateway", "this machine has no default gateway")
            return
        await self._close()
        self._gateway = gateway
        try:
            client = self._open()
        except (OSError, CannotListenError) as error:
            self._fail("no_gateway", f"{gateway}: {error}")
            return
        if not is_private(client):
            self._become(MappingState(rule="public", text=f"{client} is public, nothing is to be mapped", ip=client))
            self._again()
            return
        self._mapper = Mapper(client, self._tcp, self._udp, self._nonce, self._private)
        self._carry_out(self._mapper.start(self._reactor.seconds()))

    def _open(self) -> str:
        """Make the socket towards the gateway; returns our address on it."""
        socket = _Socket(self._received, self._refused, self._closed)
        self._port = self._reactor.listenUDP(0, socket, interface=self._interface, maxPacketSize=_PACKET)
        # a connected socket takes datagrams of the gateway only, and hears that nobody listens there
        self._port.connect(self._gateway, self._router.port)
        client: str = self._port.getHost().host
        return client

    async def _close(self) -> None:
        self._alarm.stop()
        self._alarm = Alarm(self._reactor, self._wake)
        self._mapper = None
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def _again(self) -> None:
        if self._on:
            self._timer = self._reactor.callLater(self._pause, self._begin, self._look)
            self._pause = min(self._pause * 2, RETRY_MAX)

    def _fail(self, rule: str, text: str) -> None:
        if self.state.rule == "mapped":
            self._tell_withdrawn()
        self._become(MappingState(rule=rule, text=text))
        self._again()

    def _succeed(self, state: MappingState) -> None:
        self._pause = RETRY_MIN
        self._become(state)
        assert state.ip is not None and state.tcp is not None
        self._tell_mapped(state.ip, state.tcp, state.udp)

    def _become(self, state: MappingState) -> None:
        if not self._on or state == self.state:
            return
        self.state = state
        match state.rule:
            case "mapped":
                self.log.info(
                    "the gateway maps {ip}, TCP port {tcp}, UDP port {udp} to this machine ({by})",
                    ip=state.ip,
                    tcp=state.tcp,
                    udp=state.udp or "none",
                    by=state.by,
                )
            case "public":
                self.log.info("no ports are mapped: {text}", text=state.text)
            case "no_gateway" | "silent":
                self.log.info("no gateway that maps ports: {text}", text=state.text)
            case _:
                self.log.warn(
                    "the gateway maps no ports: {text}; forward TCP port {port} on it, or set --external",
                    text=state.text,
                    port=self._tcp,
                )

    # -- PCP and NAT-PMP

    def _received(self, data: bytes) -> None:
        if self._mapper is not None:
            self._carry_out(self._mapper.received(data, self._reactor.seconds()))

    def _refused(self) -> None:
        if self._mapper is not None:
            self._carry_out(self._mapper.refused(self._reactor.seconds()))

    def _closed(self) -> None:
        """By the reactor unless by us: it closes a connected socket when nobody listens at the other end."""
        if self._port is not None:
            self._port = None
            self._refused()

    def _wake(self) -> None:
        if self._mapper is not None:
            self._carry_out(self._mapper.expire(self._reactor.seconds()))

    def _carry_out(self, outputs: Iterable[Output]) -> None:
        mapper = self._mapper
        for output in outputs:
            match output:
                case Ask(data=data):
                    self._write(data)
                case Mapped(dialect=dialect, ip=ip, tcp=tcp, udp=udp):
                    self._succeed(MappingState(rule="mapped", by=_NAMES[dialect], ip=ip, tcp=tcp, udp=udp))
                case Failed(rule=rule, text=text):
                    self._mapper_failed(rule, text)
                case _:
                    if self._removed is not None:
                        removed, self._removed = self._removed, None
                        removed.callback(None)
        deadline = None if mapper is None else mapper.next_deadline()
        if deadline is not None and mapper is self._mapper:
            self._alarm.by(deadline)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, CannotListenError):
            # the way to the gateway may be gone for now: as if it had got lost
            if self._port is None:
                self._open()
            self._port.write(data)

    def _mapper_failed(self, rule: str, text: str) -> None:
        if rule != "silent" or self._router.upnp is None or not self._on:
            self._fail(rule, text)
            return
        if self.state.rule == "mapped":
            self._tell_withdrawn()
            self.state = MappingState(rule="looking")
        self._begin(self._upnp)

    # -- UPnP

    async def _upnp(self) -> None:
        upnp = self._router.upnp
        assert upnp is not None
        await self._close()
        self._by_upnp = True
        opening = upnp.open(self._tcp, self._udp, LIFETIME).addTimeout(UPNP_LIMIT, self._reactor)
        try:
            ip, tcp, udp = await opening
            text = useless_address(ip, self._private)
        except CancelledError:
            raise
        except Exception as error:
            self._fail("silent", f"neither PCP nor NAT-PMP; UPnP: {error or type(error).__name__}")
            return
        if text:
            self._fail("useless", text)
            return
        self._succeed(MappingState(rule="mapped", by="UPnP", ip=ip, tcp=tcp, udp=udp))
        self._timer = self._reactor.callLater(LIFETIME / 2, self._begin, self._upnp)


def _why(failure: Failure) -> str:
    return str(failure.value) or type(failure.value).__name__
