"""Both ends of connections to an RPC port in memory: bytes move when a test says so, time when it says so."""

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.namespaces import Method, Namespace, Param, RpcError, Subscription
from chainp2p.rpc.calls import Service as Answers
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.registry import Registry
from chainp2p.rpc.server import RpcFactory
from chainp2p.rpc.subscriptions.hub import Hub
from chainp2p.rpc.tally import Tally
from chainp2p.rpc.web.door import Door

CLIENT = IPv4Address("TCP", "127.0.0.1", 50_000)


class Wire(StringTransport):
    """One end's transport; what it aborts or closes is remembered."""

    def __init__(self, protocol: Any = None, peer: Any = CLIENT) -> None:
        super().__init__(lenient=True, hostAddress=IPv4Address("TCP", "127.0.0.1", 8545), peerAddress=peer)
        self.protocol = protocol
        self.aborted = False
        self.half_closed = False
        self.gone = False

    def unregisterProducer(self) -> None:
        self.producer = None  # as real transports do, whether there is one or not

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.cut()

    def cut(self) -> None:
        """The connection is lost."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def take(self) -> bytes:
        data: bytes = self.value()
        self.clear()
        return data


class Service:
    """Methods to call; *waiting* are calls that answer when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.called: list[Any] = []
        self.opened = 0
        self.closed = 0
        self.emit: Callable[[Any], None] = lambda value: None
        self.cancelled = 0

    def _wait(self) -> "Deferred[Any]":
        def cancel(_: object) -> None:
            self.cancelled += 1

        done: Deferred[Any] = Deferred(cancel)
        self.waiting.append(done)
        return done

    async def _later(self) -> str:
        return "late " + str(await self._wait())

    def _subtract(self, minuend: Any, subtrahend: Any) -> Any:
        return minuend - subtrahend

    def _note(self, *values: Any) -> None:
        self.called.append(values)

    def _fail(self) -> None:
        raise KeyError("ours")

    def _refuse(self) -> None:
        raise RpcError(-32000, "no", {"why": 1})

    def _open(self, emit: Callable[[Any], None], start: Any = None) -> Callable[[], None]:
        self.opened += 1
        self.emit = emit
        if start is not None:
            emit(start)

        def close() -> None:
            self.closed += 1

        return close

    def _broken(self, emit: Any) -> Any:
        raise RpcError(-32000, "cannot open")

    def namespaces(self) -> Sequence[Namespace]:
        two = (Param("minuend"), Param("subtrahend"))
        return (
            Namespace(
                "t",
                (
                    Method("subtract", self._subtract, two),
                    Method("wait", self._wait),
                    Method("later", self._later),
                    Method("note", self._note, (Param("a", required=False),)),
                    Method("fail", self._fail),
                    Method("refuse", self._refuse),
                    Method("nan", lambda: float("nan")),
                    Method("big", lambda size: "x" * size, (Param("size"),)),
                ),
                (
                    Subscription("events", self._open, (Param("start", required=False),)),
                    Subscription("broken", self._broken),
                ),
            ),
        )


class RpcHarness(SynchronousTestCase):
    """A factory on a clock."""

    limits = Limits()

    def setUp(self) -> None:
        self.clock = Clock()
        self.service = Service()
        self.registry = Registry(self.service.namespaces())
        self.hub = Hub(b"seed")
        self.door = Door(readyz=lambda: ["not yet"])
        self.factory = self.make_factory()

    def let_notes_outlast_the_deadline(self) -> None:
        """``t_note`` takes 20 s from now on, where a second is given."""
        clock = self.clock

        def slow(*_: Any) -> None:
            clock.rightNow += 20

        self.service._note = slow  # type: ignore[method-assign]
        self.registry = type(self.registry)(self.service.namespaces())
        self.factory = self.make_factory(limits=evolve(self.limits, deadline=1.0))

    def make_factory(self, **changes: Any) -> RpcFactory:
        arguments: dict[str, Any] = {
            "reactor": self.clock,
            "hub": self.hub,
            "door": self.door,
            "now": self.clock.seconds,
        }
        registry, limits = changes.pop("registry", self.registry), changes.pop("limits", self.limits)
        self.tally = Tally()
        service = Answers(registry, limits, cast(Any, self.clock), self.tally)
        return RpcFactory(**{**arguments, "service": service, **changes})

    def connect(self, peer: Any = CLIENT) -> Wire:
        channel: Any = self.factory.buildProtocol(peer)
        wire = Wire(channel, peer)
        channel.makeConnection(wire)
        return wire


def post(body: bytes, **headers: str) -> bytes:
    """A whole POST; header names by keyword, ``_`` for ``-``; an empty value leaves the header out."""
    fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return "\r\n".join(lines).encode() + body


def call(method: str, *params: Any, id: Any = 1) -> bytes:
    """The text of a request."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def replies(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Split responses into (status, headers, body)."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", "0"))
        found.append((int(lines[0].split()[1]), headers, data[:size]))
        data = data[size:]
    return found
