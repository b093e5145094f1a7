"""Both ends of a conversation without a transport: hosts on one virtual clock, joined by links in memory."""

import inspect
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred

from chainp2p import wire
from chainp2p.errors import PeerFault, PeerGone, Penalty, Reason, RequestRefused, RequestTimedOut
from chainp2p.peer.link import Credit
from chainp2p.testing.clock import HeapClock
from chainp2p.wire.messages import NO_TRANSACTIONS, Message, NotFound, Refused, Status


class MemoryLink:
    """One end; what it sends arrives at *other* after ``host.net.latency`` seconds, unless that end is stalled."""

    def __init__(self, host: "Host", other: "Host", status: Status, outbound: bool) -> None:
        self.host, self.peer_id, self.status, self.outbound = host, other.peer_id, status, outbound
        self.address = ("10.0.0.1", 30303)
        self.useless = False
        self.block_only = bool(status.flags & NO_TRANSACTIONS)
        self.other: MemoryLink
        self.open = True
        self.stalled = False
        self.sent: list[Message] = []
        self.credits: list[Credit] = []
        self.faults: list[tuple[Reason, str, Penalty]] = []
        self._waiting: dict[Deferred[Any], Any] = {}

    def send(self, message: Message, instead: Message | None = None) -> None:
        self.sent.append(message)
        self._deliver(lambda: self.other.received(message))

    def send_raw(self, data: bytes, instead: Message | None = None) -> None:
        self.send(wire.decode(data))

    def _deliver(self, arrive: Callable[[], None]) -> None:
        def check() -> None:
            if self.open and self.other.open and not self.stalled:
                arrive()

        self.host.net.clock.callLater(self.host.net.latency, check)

    def request(self, message: Message, timeout: float = 10.0) -> "Deferred[Any]":
        deferred: Deferred[Any] = Deferred(lambda d: self._close(d))
        if not self.open:
            deferred.errback(PeerGone(Reason.CONNECTION_LOST))
            return deferred
        self._waiting[deferred] = self.host.net.clock.callLater(timeout, self._fail, deferred, RequestTimedOut())
        self.sent.append(message)
        self._deliver(lambda: self.other.asked(message, lambda reply: self._replied(deferred, message, reply)))
        return deferred

    def _close(self, deferred: "Deferred[Any]") -> None:
        timer = self._waiting.pop(deferred, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _fail(self, deferred: "Deferred[Any]", error: Exception) -> None:
        self._close(deferred)
        if not deferred.called:
            deferred.errback(error)

    def _replied(self, deferred: "Deferred[Any]", request: Message, reply: Message) -> None:
        if deferred not in self._waiting:
            return
        assert type(reply).__name__ in request.spec.replies, (request, reply)
        if isinstance(reply, Refused):
            self._fail(deferred, RequestRefused(reply.reason, reply.retry_ms))
            return
        self._close(deferred)
        deferred.callback(wire.decode(wire.encode(reply)))

    def received(self, message: Message) -> None:
        try:
            self.host.handlers[type(message)](self, wire.decode(wire.encode(message)))
        except PeerFault as fault:
            self.fault(fault.reason, fault.detail, fault.penalty)

    def asked(self, message: Message, reply: Callable[[Message], None]) -> None:
        async def answer() -> None:
            try:
                found = self.host.handlers[type(message)](self, wire.decode(wire.encode(message)))
                if inspect.isawaitable(found):
                    found = await found
            except PeerFault as fault:
                self.fault(fault.reason, fault.detail, fault.penalty)
                return
            self.sent.append(found)
            self._deliver(lambda: reply(found))

        self.host.net.tasks.append(maybeDeferred(answer))

    def fault(self, reason: Reason, detail: str, penalty: Penalty = Penalty.MALICIOUS) -> None:
        self.faults.append((reason, detail, penalty))
        self.host.faults.append((self.peer_id, reason, detail, penalty))
        if penalty is not Penalty.USELESS:
            self.close(reason, detail)

    def close(self, reason: Reason = Reason.SHUTDOWN, detail: str = "", rule: str = "") -> None:
        if not self.open:
            return
        for end in (self, self.other):
            end.open = False
            if end in end.host.links:
                end.host.links.remove(end)
            for user in end.host.users:
                user.left(end, reason)
            for deferred in tuple(end._waiting):
                end._fail(deferred, PeerGone(reason))

    def credit(self, what: Credit) -> None:
        self.credits.append(what)


@define(eq=False)
class Net:
    """The clock that hosts share."""

    clock: HeapClock = field(factory=HeapClock)
    latency: float = 0.01
    tasks: list[Any] = field(factory=list)


class Host:
    """Something with link users; *status* answers what it says of itself when a link joins."""

    def __init__(self, net: Net, name: str, users: Sequence[Any], status: Callable[[], Status] | None = None) -> None:
        self.net, self.name, self.users = net, name, list(users)
        self.peer_id = sha256(name.encode()).digest()
        self.handlers: dict[type[Any], Any] = {}
        for user in self.users:
            self.handlers.update(user.handlers())
        self.links: list[MemoryLink] = []
        self.faults: list[tuple[bytes, Reason, str, Penalty]] = []
        self.status = status or make_status


def make_status(
    head: bytes = bytes(32), height: int = 0, rank: bytes = bytes(32), flags: int = 0, features: int = 0
) -> Status:
    """A Status of which only the claim matters."""
    return Status("test", features, flags, 0, head, height, rank, b"", (), (b"", 0), ())


def connect(one: Host, other: Host) -> tuple[MemoryLink, MemoryLink]:
    """Join two hosts; *one* is the dialler. Returns both ends."""
    near = MemoryLink(one, other, other.status(), outbound=True)
    far = MemoryLink(other, one, one.status(), outbound=False)
    near.other, far.other = far, near
    for link in (near, far):
        link.host.links.append(link)
        for user in link.host.users:
            user.joined(link)
    return near, far


class Puppet(Host):
    """A peer that a test speaks for: replies come from *answers* (message class -> function), silence otherwise."""

    def __init__(self, net: Net, name: str, status: Status, answers: dict[type[Any], Callable[[Any], Any]]) -> None:
        super().__init__(net, name, [], lambda: status)
        self.got: list[Message] = []
        self.handlers = _Recorder(self, answers)  # type: ignore[assignment]


class _Recorder(dict[type[Any], Any]):
    def __init__(self, puppet: Puppet, answers: dict[type[Any], Callable[[Any], Any]]) -> None:
        super().__init__()
        self._puppet, self._answers = puppet, answers

    def __getitem__(self, kind: type[Any]) -> Any:
        def handle(link: MemoryLink, message: Message) -> Any:
            self._puppet.got.append(message)
            answer = self._answers.get(kind)
            return Deferred() if answer is None else answer(message)

        return handle


def not_found(message: Any) -> NotFound:
    """Answer that it is not here."""
    return NotFound(())
