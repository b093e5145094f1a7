"""A node of Node Discovery v5.1 among honest nodes, insiders and strangers, and whether it stands what they send."""

import random as random_module
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address

from attrs import define, field, frozen

from chainp2p.discovery.calls import Stage
from chainp2p.discovery.conversations import Conversations
from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.events import Answered, Asked, Datagram, Established, Event
from chainp2p.discovery.limits import Limits
from chainp2p.discovery.messages import FindNode, Nodes, Ping, Pong, Request, Response, TalkResponse
from chainp2p.discovery.outputs import Output, TalkAsked, Talked
from chainp2p.discovery.packets import PacketError, open_packet
from chainp2p.discovery.repeats import Repeats
from chainp2p.discovery.sessions import Sessions
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.netgroup import source_address
from chainp2p.testing.footprint import BOUNDS, sizes
from chainp2p.testing.hostility import Accountant, Grammar, odd_records

__all__ = ["DiscoveryFuzz", "FuzzError", "Fuzzed"]

GENESIS = bytes(range(32))
#: Seconds from one datagram to the next, on average: below what 300 addresses may send.
_STEP = 0.004
#: Datagrams that may be sent again.
_HISTORY = 2_000
#: After so many cases the honest nodes ask whether they are still understood.
_ASK_EVERY = 500


def honest_answers(request: Request, enr: Enr, asker: tuple[str, int]) -> list[Response]:
    """Return what a node that keeps to the rules answers."""
    match request:
        case Ping():
            return [Pong(request.id, enr.seq, *asker)]
        case FindNode():
            return [Nodes(request.id, 1, (enr.raw,) if 0 in request.distances else ())]
        case _:
            return [TalkResponse(request.id, b"")]


class FuzzError(AssertionError):
    """The node did what no datagram may make it do."""


@frozen
class Fuzzed:
    """What came of it.

    :param kinds: cases by kind.
    :param dropped: what the node counted as dropped.
    :param asked: questions of honest nodes during the attack, each answered.
    :param largest: the most that each container held.
    :param strangers: addresses that never proved that they are there, and bytes in their name and to them.
    """

    cases: int
    kinds: Mapping[str, int]
    dropped: Mapping[str, int]
    asked: int
    largest: Mapping[str, int]
    strangers: tuple[int, int, int]


@define(eq=False)
class _Person:
    """Somebody with a session of the node. *honest*: keeps to the rules, and stands for all that must go on.

    :param asked: what the node has asked of late.
    """

    key: NodeKey
    address: tuple[str, int]
    enr: Enr
    core: Conversations
    honest: bool
    answered: set[int] = field(factory=set)
    asked: "deque[Request]" = field(factory=lambda: deque(maxlen=16))


class DiscoveryFuzz:
    """Feeds one node with bad datagrams and looks at everything it does.

    - An address that has proven nothing gets no more bytes than were sent in its name.
    - Nothing is raised, and no container passes its bound.
    - The sessions of honest nodes last: what they ask is answered without another handshake.

    Kinds of cases: noise; copies of earlier datagrams, from where they came and from elsewhere, cut and changed,
    outside and under the mask; its own datagrams back to it; packets nobody can read; challenges for nonces that were
    seen and for others; handshakes without a proof; messages of insiders with odd fields; answers of insiders to what
    they were really asked.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = random_module.Random(seed)
        self.now = 1_000.0
        self.address = ("45.1.1.1", 30303)
        self.key = key = NodeKey((1).to_bytes(32, "big"))
        #: Its record, which changes now and then.
        self.enr = self._record(key, self.address)
        self.limits = Limits(loopback_exempt=False)
        self.core = Discv5(
            key, lambda: self.enr, random_module.Random(seed + 1), genesis=GENESIS, private=False, limits=self.limits
        )
        self.honest = [self._person(100 + n, (f"80.{n}.1.1", 9_000), True) for n in range(4)]
        self.insiders = [self._person(200 + n, (f"90.{n % 12}.1.{n}", 9_000), False) for n in range(24)]
        self.people = {one.address: one for one in (*self.honest, *self.insiders)}
        records = odd_records(random, GENESIS, [self.address, *self.people])
        self.grammar = Grammar(random, key.peer_id, [self.enr.raw, *(enr.raw for enr in records)])
        self.books = Accountant()
        self.history: deque[tuple[bytes, tuple[str, int]]] = deque(maxlen=_HISTORY)
        self.outgoing: deque[tuple[bytes, tuple[str, int]]] = deque(maxlen=64)
        self.elsewhere = [self._anywhere() for _ in range(300)]
        self.kinds: Counter[str] = Counter()
        self.largest: Counter[str] = Counter()
        self.asked = 0
        self.handshakes = 0
        self.cases: dict[str, Callable[[], tuple[bytes, tuple[str, int]]]] = {
            "noise": lambda: (self.grammar.noise(), self._source()),
            "copy": lambda: self._copy(),
            "copy from elsewhere": lambda: (self._copy()[0], self._source()),
            "changed": lambda: self._changed(self.grammar.mutated),
            "changed inside": lambda: self._changed(self.grammar.changed_inside),
            "its own": lambda: (self._out()[0], self._source()),
            "unreadable": lambda: (self.grammar.ordinary(self._id()), self._source()),
            "challenge": self._challenge,
            "handshake": self._handshake,
            "handshake changed": self._handshake_changed,
            "message": self._message,
            "answer": self._answer,
        }
        self.weights = (4, 6, 6, 8, 6, 3, 8, 6, 6, 1, 30, 16)

    @staticmethod
    def _record(key: NodeKey, address: tuple[str, int]) -> Enr:
        return make_enr(key, 1, node_pairs(GENESIS, 1, address[0], None, address[1]))

    def _person(self, number: int, address: tuple[str, int], honest: bool) -> _Person:
        key = NodeKey(number.to_bytes(32, "big"))
        enr = self._record(key, address)
        core = Conversations(key, lambda: enr, lambda node_id: None, random_module.Random(self.random.random()))
        return _Person(key, address, enr, core, honest)

    # -- who and where

    def _anywhere(self) -> tuple[str, int]:
        random = self.random
        ip = f"{random.randrange(1, 224)}.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
        odd = (
            self.address[0],
            "127.0.0.1",
            f"2a00:{random.randrange(999)}::1",
            f"::ffff:{ip}",
            "fe80::1%eth0",
            "0.0.0.0",
        )
        return random.choice((ip, ip, ip, random.choice(odd))), random.choice((0, 1, 9_000, 65_535))

    def _source(self) -> tuple[str, int]:
        """An address to send in the name of, seldom that of an honest node: its rate is limited as anybody's."""
        draw = self.random.random()
        if draw < 0.02:
            return self.random.choice(self.honest).address
        return self.random.choice(self.insiders).address if draw < 0.3 else self.random.choice(self.elsewhere)

    def _id(self) -> bytes:
        draw = self.random.random()
        if draw < 0.3:
            return self.random.randbytes(32)
        return self.random.choice((self.enr.peer_id, *(one.key.peer_id for one in self.people.values())))

    # -- cases

    def _copy(self) -> tuple[bytes, tuple[str, int]]:
        return self.random.choice(self.history)

    def _out(self) -> tuple[bytes, tuple[str, int]]:
        return self.random.choice(self.outgoing)

    def _changed(self, change: Callable[[bytes], bytes]) -> tuple[bytes, tuple[str, int]]:
        data, source = self._copy()
        return change(data), source if self.random.random() < 0.5 else self._source()

    def _challenge(self) -> tuple[bytes, tuple[str, int]]:
        data, address = self._out()
        nonce = self.random.randbytes(12)
        one = self.people.get(address)
        if one is not None and self.random.random() < 0.7:
            try:
                nonce = open_packet(one.key.peer_id, data).head.nonce
            except PacketError:
                pass
        return self.grammar.challenge(nonce), address if self.random.random() < 0.8 else self._source()

    def _handshake(self) -> tuple[bytes, tuple[str, int]]:
        """Half of them where a challenge waits for one."""
        waiting = list(self.core.conversations.challenges._open)
        if not waiting or self.random.random() < 0.5:
            return self.grammar.handshake(self._id()), self._source()
        source, ip, port = self.random.choice(waiting)
        return self.grammar.handshake(source), (ip, port)

    def _handshake_changed(self) -> tuple[bytes, tuple[str, int]]:
        """A real one, by an insider that has forgotten its session, changed on its way."""
        one = self.random.choice(self.insiders)
        one.core.sessions = Sessions()
        knock = one.core.request(self.enr, self.address, Ping(one.core.new_id(), 1), 0, self.now)
        for event in knock:
            if isinstance(event, Datagram):
                for data, address in self._sent(self.core.received(event.data, one.address, self.now)):
                    for answer in one.core.received(data, self.address, self.now) if address == one.address else ():
                        if isinstance(answer, Datagram):
                            self.history.append((answer.data, one.address))
                            changed = self.random.choice((self.grammar.mutated, self.grammar.changed_inside))
                            return changed(answer.data), one.address
        return self.grammar.noise(), one.address

    def _insider(self) -> _Person | None:
        insider = self.random.choice(self.insiders)
        return insider if insider.core.sessions.get((self.enr.peer_id, *self.address)) is not None else None

    def _message(self) -> tuple[bytes, tuple[str, int]]:
        return self._sealed(lambda insider: self.grammar.message())

    def _answer(self) -> tuple[bytes, tuple[str, int]]:
        def made(insider: _Person) -> bytes:
            return self.grammar.answer(insider.asked[-1]) if insider.asked else self.grammar.message()

        return self._sealed(made)

    def _sealed(self, made: Callable[[_Person], bytes]) -> tuple[bytes, tuple[str, int]]:
        insider = self._insider()
        if insider is None:
            return self.grammar.noise(), self._source()
        session = insider.core.sessions.get((self.enr.peer_id, *self.address))
        assert session is not None
        return self.grammar.sealed(session, insider.key.peer_id, made(insider)), insider.address

    # -- the world

    def _deliver(self, data: bytes, source: tuple[str, int]) -> None:
        """Give the node a datagram, and others what it says, until all is said."""
        queue = deque([(data, source)])
        while queue:
            data, source = queue.popleft()
            self.history.append((data, source))
            self._note_calls()
            sent = self._sent(self.core.received(data, source, self.now))
            if self._has_session(source):
                self.books.proven.add(source)
            self.books.exchange(source, data, sent)
            queue += self._spread(sent)

    def _has_session(self, address: tuple[str, int]) -> bool:
        here = self.core.conversations.sessions._of.get(source_address(address[0]), ())
        return any(peer[1:] == address for peer in here)

    def _note_calls(self) -> None:
        """Where the node has asked somebody by its own will, what comes back is no stranger's."""
        for call in self.core.conversations.calls:
            address = call.peer[1:]
            if address in self.books.proven or call.stage is Stage.WAITING:
                continue
            ip = ip_address(address[0])
            if not ip.is_global or ip.is_multicast or address == self.address:
                raise FuzzError(f"asks {address}")
            self.books.proven.add(address)

    def _sent(self, outputs: Iterable[Output]) -> list[tuple[bytes, tuple[str, int]]]:
        """Carry out what the node says, and return its datagrams."""
        sent: list[tuple[bytes, tuple[str, int]]] = []
        for output in outputs:
            if isinstance(output, Datagram):
                if not 63 <= len(output.data) <= 1_280:
                    raise FuzzError(f"a datagram of {len(output.data)} bytes")
                sent.append((output.data, output.address))
                self.outgoing.append((output.data, output.address))
            elif isinstance(output, TalkAsked):
                sent += self._sent(self.core.answer_talk(output, output.request[::-1], self.now))
            elif isinstance(output, Talked):
                raise FuzzError("an answer to a question that nobody asked")
        return sent

    def _spread(self, sent: Iterable[tuple[bytes, tuple[str, int]]]) -> list[tuple[bytes, tuple[str, int]]]:
        """Let others hear the node; return what they say to it."""
        back: list[tuple[bytes, tuple[str, int]]] = []
        for data, address in sent:
            one = self.people.get(address)
            if one is not None:
                back += self._heard(one, one.core.received(data, self.address, self.now))
        return back

    def _heard(self, one: _Person, events: Iterable[Event]) -> list[tuple[bytes, tuple[str, int]]]:
        back: list[tuple[bytes, tuple[str, int]]] = []
        for event in events:
            match event:
                case Datagram(data=data):
                    back.append((data, one.address))
                case Established() if one.honest:
                    self.handshakes += 1
                case Answered(handle=handle) if one.honest:
                    one.answered.add(handle)
                case Asked(peer=peer, request=request) if one.honest:
                    for message in honest_answers(request, one.enr, self.address):
                        back += self._heard(one, one.core.reply(peer, message))
                case Asked(request=request) if not one.honest:
                    one.asked.append(request)
                case _:
                    pass
        return back

    def _wake(self) -> None:
        """Let time pass for everybody."""
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self.now:
            for data, source in self._spread(self._sent(self.core.expire(self.now))):
                self._deliver(data, source)
        for one in self.people.values():
            deadline = one.core.next_deadline()
            if deadline is not None and deadline <= self.now:
                for data, source in self._heard(one, one.core.expire(self.now)):
                    self._deliver(data, source)

    # -- the play

    def start(self) -> None:
        """Let everybody get to know the node."""
        self._spread(self._sent(self.core.start([], self.now)))
        for one in self.people.values():
            self._ask(one, Ping(one.core.new_id(), 1), 0)
        self.handshakes = 0

    def _ask(self, one: _Person, request: Request, handle: int) -> None:
        for data, source in self._heard(one, one.core.request(self.enr, self.address, request, handle, self.now)):
            self._deliver(data, source)

    def run(self, cases: int, every: Callable[[int], None] = lambda case: None) -> Fuzzed:
        """Play so many cases; *every* is called after each."""
        kinds = list(self.cases)
        for case in range(cases):
            self.now += self.random.random() * 2 * _STEP
            kind = self.random.choices(kinds, self.weights)[0]
            data, source = self.cases[kind]()
            self.kinds[kind] += 1
            self._deliver(data, source)
            if not case % 8:
                self._wake()
            if not case % _ASK_EVERY:
                self.check()
            every(case)
        self.check()
        strangers = [address for address in self.books.sent if address not in self.books.proven]
        bytes_in = sum(self.books.sent[address] for address in strangers)
        bytes_out = sum(self.books.got[address] for address in strangers)
        return Fuzzed(
            cases,
            self.kinds,
            self.core.conversations.dropped,
            self.asked,
            self.largest,
            (len(strangers), bytes_in, bytes_out),
        )

    def check(self) -> None:
        """The honest are still understood, insiders come back, and nothing has grown."""
        for one in self.honest:
            self.asked += 1
            for message in (Ping(one.core.new_id(), 1), FindNode(one.core.new_id(), (256, 255, 0))):
                one.answered.clear()
                self._ask(one, message, self.asked)
                if self.asked not in one.answered:
                    raise FuzzError(f"{type(message).__name__} of an honest node is not answered")
        if self.handshakes:
            raise FuzzError("a session of an honest node has ended")
        if self.random.random() < 0.1:
            self.enr = make_enr(self.key, self.enr.seq + 1, node_pairs(GENESIS, 1, *self.address, self.address[1]))
        sought = self._sent(self.core.lookup(self.random.randbytes(32), None, self.now))
        for data, source in self._spread(sought):
            self._deliver(data, source)
        for one in self.people.values():
            one.core.repeats = Repeats()  # theirs would be most of what this process holds
        for insider in self.insiders:
            if not self.core.conversations.sessions._sessions.get((insider.key.peer_id, *insider.address)):
                self._ask(insider, Ping(insider.core.new_id(), 1), 0)
        for name, size in sizes(self.core, self.limits).items():
            self.largest[name] = max(self.largest[name], size)
            if size > BOUNDS[name]:
                raise FuzzError(f"{name}: {size}, and {BOUNDS[name]} are allowed")
