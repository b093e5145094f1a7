"""Requests and answers with other nodes by datagram: sessions, challenges, retries and time-outs, without a socket."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from chainp2p.discovery.challenges import HANDSHAKE_TIMEOUT, Challenges
from chainp2p.discovery.keys import (
    derive_keys,
    encrypt,
    identity_proof,
    shared_secret,
)
from chainp2p.discovery.messages import (
    FindNode,
    Message,
    MessageError,
    Nodes,
    Ping,
    Pong,
    Request,
    Response,
    TalkRequest,
    TalkResponse,
    decode_message,
    encode_message,
)
from chainp2p.discovery.packets import (
    IV_SIZE,
    NONCE_SIZE,
    PACKET_MAX,
    Challenge,
    Handshake,
    Ordinary,
    Packet,
    PacketError,
    additional_data,
    encode_packet,
    open_packet,
)
from chainp2p.discovery.sessions import Peer, Session, Sessions
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Answered", "Asked", "Conversations", "Datagram", "Established", "Event", "Unanswered"]

#: Seconds that each try has for an answer (wire design).
REQUEST_TIMEOUT = 0.7
#: How often a request is sent in all: the same bytes again, which the other end can tell from a new one.
TRIES = 2
#: NODES that are taken for one FINDNODE (wire design).
NODES_MAX = 5
#: Requests to one node that wait for its handshake.
QUEUED_MAX = 16
#: What hides that a first packet has no message: as long as a ping.
_RANDOM_SIZE = 24

_ANSWERS: dict[type[Any], type[Any]] = {Ping: Pong, FindNode: Nodes, TalkRequest: TalkResponse}


@frozen
class Datagram:
    """Bytes to send."""

    data: bytes
    address: tuple[str, int]


@frozen
class Asked:
    """A node sends a request."""

    peer: Peer
    enr: Enr
    request: Request


@frozen
class Answered:
    """A request of ours is answered; *nodes*: the raw records of all NODES together."""

    handle: Any
    response: Response
    nodes: tuple[bytes, ...] = ()


@frozen
class Unanswered:
    """A request of ours got no answer in time."""

    handle: Any


@frozen
class Established:
    """A node has proven its id at this endpoint."""

    peer: Peer
    enr: Enr


Event = Datagram | Asked | Answered | Unanswered | Established


@define(eq=False)
class _Call:
    """A request of ours until it is answered."""

    peer: Peer
    enr: Enr
    message: Request
    handle: Any
    deadline: float = 0.0
    data: bytes = b""
    nonce: bytes = b""
    tries: int = 0
    shaken: bool = False  #: it has gone out in a handshake
    nodes: list[bytes] = field(factory=list)
    parts: int = 0


class Conversations:
    """All that a node says and hears by datagram.

    1. A request to a node without session begins with a packet that it cannot read; its challenge is answered with a
       handshake that carries the request. Other requests to it wait meanwhile.
    2. Whatever cannot be read is answered with a challenge, and ends nothing: one forged packet must not cost a
       session. While a challenge is open it is repeated byte for byte, so that two packets make one handshake.
    3. A challenge is believed only if its nonce is that of an open request, sent to that address, and once a request.
    4. An answer counts if node, endpoint and request id are those of an open request, and its type fits.
    5. A request is repeated once, byte for byte, when its time is over.

    Events come out in the order in which they happen, datagrams among them. Times are seconds on one clock.

    :param enr: answers our current record.
    :param known: answers the record that we have of a node.
    :param may_challenge: whether one more challenge may leave now (rate).
    :param welcome: whether a node may have a session with us (allow-list).
    """

    def __init__(
        self,
        key: NodeKey,
        enr: Callable[[], Enr],
        known: Callable[[bytes], Enr | None],
        random: "random_module.Random",
        may_challenge: Callable[[float], bool] = lambda now: True,
        welcome: Callable[[bytes], bool] = lambda node_id: True,
    ) -> None:
        self._key = key
        self._enr = enr
        self._random = random
        self.sessions = Sessions()
        self.challenges = Challenges(key, known, random, may_challenge, welcome)
        self._calls: dict[tuple[Peer, bytes], _Call] = {}
        self._by_nonce: dict[bytes, _Call] = {}
        self._shaking: dict[Peer, deque[_Call]] = {}
        self._next_request = 1
        #: What was dropped since the start, by cause.
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def drop(self, cause: str) -> None:
        """Count something that came to nothing."""
        self.dropped[cause] = self.dropped.get(cause, 0) + 1

    # -- sending

    def new_id(self) -> bytes:
        """Return the id of a new request."""
        self._next_request += 1
        return self._next_request.to_bytes(8, "big").lstrip(b"\0")

    def request(self, enr: Enr, address: tuple[str, int], message: Request, handle: Any, now: float) -> list[Event]:
        """Send *message*; its :class:`Answered` or :class:`Unanswered` carries *handle*."""
        peer = (enr.peer_id, *address)
        call = _Call(peer, enr, message, handle)
        self._calls[peer, message.id] = call
        session = self.sessions.get(peer)
        if session is not None:
            return [self._send(call, session, now)]
        queue = self._shaking.get(peer)
        if queue is None:
            self._shaking[peer] = deque()
            return [self._knock(call, now)]
        if len(queue) >= QUEUED_MAX:
            del self._calls[peer, message.id]
            return [Unanswered(handle)]
        call.deadline = now + TRIES * (HANDSHAKE_TIMEOUT + REQUEST_TIMEOUT)
        queue.append(call)
        return []

    def _ordinary_head(self) -> tuple[bytes, bytes]:
        """Return the nonce of a new packet, and its masking IV and header."""
        nonce = self._random.randbytes(NONCE_SIZE)
        return nonce, additional_data(Ordinary(nonce, self._key.peer_id), self._random.randbytes(IV_SIZE))

    def _seal(self, peer: Peer, session: Session, message: Message) -> tuple[bytes, bytes]:
        """Return the datagram that carries *message* and its nonce."""
        nonce, additional = self._ordinary_head()
        ciphertext = encrypt(session.write, nonce, encode_message(message), additional)
        return encode_packet(peer[0], additional, ciphertext), nonce

    def _leaves(self, call: _Call, data: bytes, nonce: bytes, deadline: float) -> Datagram:
        self._by_nonce.pop(call.nonce, None)
        call.data, call.nonce, call.deadline = data, nonce, deadline
        call.tries = 1
        self._by_nonce[nonce] = call
        return Datagram(data, call.peer[1:])

    def _send(self, call: _Call, session: Session, now: float) -> Datagram:
        data, nonce = self._seal(call.peer, session, call.message)
        return self._leaves(call, data, nonce, now + REQUEST_TIMEOUT)

    def _knock(self, call: _Call, now: float) -> Datagram:
        """Send what the other end cannot read, so that it asks who we are."""
        nonce, additional = self._ordinary_head()
        data = encode_packet(call.peer[0], additional, self._random.randbytes(_RANDOM_SIZE))
        return self._leaves(call, data, nonce, now + HANDSHAKE_TIMEOUT)

    def reply(self, peer: Peer, response: Response) -> list[Event]:
        """Answer a request; nothing is sent if the session is gone or the answer does not fit into a packet."""
        session = self.sessions.get(peer)
        if session is None:
            return []
        data, _ = self._seal(peer, session, response)
        if len(data) > PACKET_MAX:
            self.drop("too large to send")
            return []
        return [Datagram(data, peer[1:])]

    # -- receiving

    def received(self, data: bytes, address: tuple[str, int], now: float) -> list[Event]:
        """Take a datagram; whatever it holds, nothing is raised."""
        try:
            packet = open_packet(self._key.peer_id, data)
        except PacketError as error:
            self.drop(str(error))
            return []
        match packet.head:
            case Ordinary(source=source):
                return self._ordinary((source, *address), packet, now)
            case Challenge() as challenge:
                return self._challenged(challenge, packet.additional, address, now)
            case Handshake(source=source) as handshake:
                return self._handshake((source, *address), handshake, packet, now)

    def _ordinary(self, peer: Peer, packet: Packet, now: float) -> list[Event]:
        session = self.sessions.get(peer)
        plain = session.open(packet) if session is not None else None
        if session is None or plain is None:
            return self._challenge(peer, packet.head.nonce, now)
        return list(self._message(peer, session, plain, now))

    def _challenge(self, peer: Peer, nonce: bytes, now: float) -> list[Event]:
        data = self.challenges.ask(peer, nonce, now)
        if data is None:
            self.drop("challenges")
            return []
        return [Datagram(data, peer[1:])]

    def _challenged(self, head: Challenge, challenge: bytes, address: tuple[str, int], now: float) -> list[Event]:
        call = self._by_nonce.get(head.nonce)
        if call is None or call.peer[1:] != address:
            self.drop("challenge for nothing")
            return []
        if call.shaken:
            return self._failed(call)
        call.shaken = True
        peer, own, enr = call.peer, self._key, self._enr()
        ephemeral = NodeKey.generate(self._random.randbytes)
        try:
            secret = shared_secret(ephemeral.private, b"\x04" + call.enr.public)
        except ValueError:
            return self._failed(call)
        keys = derive_keys(secret, own.peer_id, peer[0], challenge)
        proof = identity_proof(own.private, challenge, ephemeral.compressed, peer[0])
        record = enr.raw if head.enr_seq < enr.seq else b""
        nonce = self._random.randbytes(NONCE_SIZE)
        answer = Handshake(nonce, own.peer_id, proof, ephemeral.compressed, record)
        additional = additional_data(answer, self._random.randbytes(IV_SIZE))
        ciphertext = encrypt(keys.initiator, nonce, encode_message(call.message), additional)
        session = self.sessions.agreed(peer, keys, True, call.enr)
        events: list[Event] = [
            self._leaves(call, encode_packet(peer[0], additional, ciphertext), nonce, now + REQUEST_TIMEOUT)
        ]
        # those that were sent with older keys cannot be read any more either
        waiting = [one for one in self._calls.values() if one.peer == peer and one is not call and not one.shaken]
        self._shaking.pop(peer, None)
        events += [self._send(one, session, now) for one in waiting]
        return events

    def _handshake(self, peer: Peer, head: Handshake, packet: Packet, now: float) -> list[Event]:
        try:
            proven = self.challenges.answered(peer, head, packet, now)
        except PacketError as error:
            self.drop(str(error))
            return []
        session = self.sessions.agreed(peer, proven.keys, False, proven.enr)
        return [Established(peer, session.enr), *self._message(peer, session, proven.plain, now)]

    def _message(self, peer: Peer, session: Session, plain: bytes, now: float) -> Iterator[Event]:
        try:
            message = decode_message(plain)
        except MessageError:
            self.drop("message")
            return
        match message:
            case None:
                self.drop("topic")
            case Ping() | FindNode() | TalkRequest():
                yield Asked(peer, session.enr, message)
            case _:
                yield from self._response(peer, message, now)

    def _response(self, peer: Peer, response: Response, now: float) -> Iterator[Event]:
        call = self._calls.get((peer, response.id))
        if call is None or type(response) is not _ANSWERS[type(call.message)]:
            self.drop("answer to nothing")
            return
        if call.shaken and call.parts == 0:
            yield Established(peer, call.enr)
        if isinstance(response, Nodes):
            call.parts += 1
            call.nodes += response.records
            call.deadline = now + REQUEST_TIMEOUT
            call.tries = TRIES
            if call.parts < min(response.total, NODES_MAX):
                return
        self._forget(call)
        yield Answered(call.handle, response, tuple(call.nodes))

    # -- time

    def _forget(self, call: _Call) -> None:
        del self._calls[call.peer, call.message.id]
        if self._by_nonce.get(call.nonce) is call:
            del self._by_nonce[call.nonce]

    def _failed(self, call: _Call) -> list[Event]:
        """Give a request up; what waited for its handshake goes with it."""
        self._forget(call)
        if call.parts:
            # some of several answers are better than none
            return [Answered(call.handle, Nodes(call.message.id, call.parts, ()), tuple(call.nodes))]
        events: list[Event] = [Unanswered(call.handle)]
        if not self.sessions.get(call.peer):
            for waiting in self._shaking.pop(call.peer, ()):
                if (waiting.peer, waiting.message.id) in self._calls:
                    self._forget(waiting)
                    events.append(Unanswered(waiting.handle))
        return events

    def clear(self) -> list[Any]:
        """Forget all that is open, and return the handles of our requests."""
        handles = [call.handle for call in self._calls.values()]
        for holder in (self._calls, self._by_nonce, self._shaking, self.challenges):
            holder.clear()
        return handles

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has something to do."""
        times = [call.deadline for call in self._calls.values()]
        challenge = self.challenges.next_deadline()
        if challenge is not None:
            times.append(challenge)
        return min(times, default=None)

    def expire(self, now: float) -> list[Event]:
        """Repeat or give up what has waited long enough."""
        self.challenges.expire(now)
        events: list[Event] = []
        for call in [call for call in self._calls.values() if call.deadline <= now]:
            if (call.peer, call.message.id) not in self._calls:
                continue  # it went with another one
            if call.data and call.tries < TRIES:
                call.tries += 1
                call.deadline = now + (REQUEST_TIMEOUT if self.sessions.get(call.peer) else HANDSHAKE_TIMEOUT)
                events.append(Datagram(call.data, call.peer[1:]))
            else:
                events += self._failed(call)
        return events
