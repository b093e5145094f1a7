"""Conversations by datagram: sessions, handshakes, requests and their time-outs, without a socket."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from chainp2p.discovery.calls import Call, Calls, Stage
from chainp2p.discovery.challenges import HANDSHAKE_TIMEOUT, Challenges
from chainp2p.discovery.events import Answered, Asked, Datagram, Established, Event, Unanswered
from chainp2p.discovery.keys import decrypt, encrypt
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
from chainp2p.discovery.offers import make_offer
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
from chainp2p.discovery.repeats import Repeats
from chainp2p.discovery.sessions import Keys, Peer, Session, Sessions
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Conversations"]

#: Seconds that each try has for an answer (wire design).
REQUEST_TIMEOUT = 0.7
#: How often a packet is sent in all: the same bytes again, which the other end can tell from a new one.
TRIES = 2
#: How often a request leaves as a new packet: each time needs a challenge or a session that its node has agreed to.
SENDS_MAX = 6
#: Challenges that one request answers. The first may be forged by somebody who sees our packets, or be too late.
OFFERS_MAX = 3
#: NODES that are taken for one FINDNODE (wire design).
NODES_MAX = 5
#: Requests to one node that wait for its handshake, and requests in all.
QUEUED_MAX, CALLS_MAX = 16, 1_024
#: What hides that a first packet has no message: as long as a ping.
_RANDOM_SIZE = 24
#: Bytes of a message that fit into an ordinary packet: what header, node id and tag leave.
MESSAGE_MAX = PACKET_MAX - 16 - 23 - 32 - 16

_ANSWERS: dict[type[Any], type[Any]] = {Ping: Pong, FindNode: Nodes, TalkRequest: TalkResponse}


class Conversations:
    """All that a node says and hears by datagram.

    1. A request to a node without session begins with a packet that it cannot read; its challenge is answered with a
       handshake that carries the request. Other requests to it wait meanwhile.
    2. Whatever cannot be read is answered with a challenge, and ends nothing: one forged packet must not cost a
       session. While a challenge is open it is repeated byte for byte, so that two packets make one handshake.
    3. A challenge is believed only if its nonce is that of an open request, sent to that address. Its answer is an
       offer: the keys of before stay in use until the other end has used the new ones. So a forged challenge ends no
       session, and since a request answers three, it ends no request either. One request at a time shakes hands.
    4. An answer counts if node, endpoint and request id are those of an open request, and its type fits.
    5. A request is repeated once, byte for byte, when its time is over; with a new session, what is open goes out anew.
    6. A request that comes again is answered once more, since the answer may have got lost, and then no more, since
       it may be a copy from elsewhere. An answer that comes again is dropped.

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
        self.calls = Calls()
        self.repeats = Repeats()
        #: What was dropped since the start, by cause.
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.calls)

    def drop(self, cause: str) -> None:
        """Count something that came to nothing."""
        self.dropped[cause] = self.dropped.get(cause, 0) + 1

    # -- sending

    def new_id(self) -> bytes:
        """Return the id of a new request: by chance, so that nobody learns how much we ask others."""
        return self._random.randbytes(8)

    def request(self, enr: Enr, address: tuple[str, int], message: Request, handle: Any, now: float) -> list[Event]:
        """Send *message*; its :class:`Answered` or :class:`Unanswered` carries *handle*."""
        peer = (enr.peer_id, *address)
        before = self.calls.of(peer)
        waiting = sum(one.stage is Stage.WAITING for one in before)
        if len(encode_message(message)) > MESSAGE_MAX:
            self.drop("too large to send")
            return [Unanswered(handle)]
        if len(self.calls) >= CALLS_MAX or waiting >= QUEUED_MAX:
            self.drop("too many requests")
            return [Unanswered(handle)]
        call = Call(peer, enr, message, handle, now + TRIES * (HANDSHAKE_TIMEOUT + REQUEST_TIMEOUT))
        self.calls.add(call)
        session = self.sessions.writable(peer)
        if session is not None:
            return [self._send(call, session, now)]
        return [] if any(one.opening for one in before) else [self._knock(call, now)]

    def _leaves(self, call: Call, stage: Stage, data: bytes, nonce: bytes, deadline: float) -> Datagram:
        self.calls.named(call, nonce)
        call.stage, call.data, call.deadline, call.tries = stage, (data,), deadline, 1
        call.sends += 1
        return Datagram(data, call.peer[1:])

    def _ordinary_data(self, nonce: bytes) -> bytes:
        """Return masking IV and header of an ordinary packet."""
        return additional_data(Ordinary(nonce, self._key.peer_id), self._random.randbytes(IV_SIZE))

    def _seal(self, peer: Peer, session: Session, message: Message) -> tuple[bytes, bytes]:
        """Return the datagram that carries *message* and its nonce."""
        nonce = session.speaking.nonce(self._random.randbytes(8))
        additional = self._ordinary_data(nonce)
        ciphertext = encrypt(session.speaking.writer, nonce, encode_message(message), additional)
        return encode_packet(peer[0], additional, ciphertext), nonce

    def _send(self, call: Call, session: Session, now: float) -> Datagram:
        data, nonce = self._seal(call.peer, session, call.message)
        return self._leaves(call, Stage.SENT, data, nonce, now + REQUEST_TIMEOUT)

    def _knock(self, call: Call, now: float) -> Datagram:
        """Send what the other end cannot read, so that it asks who we are."""
        nonce = self._random.randbytes(NONCE_SIZE)
        data = encode_packet(call.peer[0], self._ordinary_data(nonce), self._random.randbytes(_RANDOM_SIZE))
        return self._leaves(call, Stage.KNOCKING, data, nonce, now + HANDSHAKE_TIMEOUT)

    def reply(self, peer: Peer, response: Response) -> list[Event]:
        """Answer a request; nothing is sent if the session is gone or the answer does not fit into a packet."""
        session = self.sessions.writable(peer)
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
        if not address[1]:
            self.drop("port 0")
            return []
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
        opened = session.open(packet) if session is not None else None
        if session is not None and opened is not None:
            return list(self._message(peer, session, packet, *opened, now))
        if session is not None and packet.head.nonce in session.knocks:
            self.drop("late")
            return []
        return self._taken_up(peer, packet, now) or self._challenge(peer, packet.head.nonce, now)

    def _challenge(self, peer: Peer, nonce: bytes, now: float) -> list[Event]:
        data = self.challenges.ask(peer, nonce, now)
        if data is None:
            self.drop("challenges")
            return []
        return [Datagram(data, peer[1:])]

    def _challenged(self, head: Challenge, challenge: bytes, address: tuple[str, int], now: float) -> list[Event]:
        call = self.calls.challenged(head.nonce)
        if call is None or call.peer[1:] != address or challenge in call.offers or len(call.offers) >= OFFERS_MAX:
            self.drop("challenge for nothing")
            return []
        if any(one.offers and one is not call for one in self.calls.of(call.peer)):
            self.drop("challenge for another")
            return []
        own = self._enr()
        try:
            offer = make_offer(self._key, own, call.enr, head, challenge, encode_message(call.message), self._random)
        except ValueError:
            self.drop("key")
            return self._failed(call)
        if len(offer.data) > PACKET_MAX:
            self.drop("too large to send")
            return self._failed(call)
        # what was challenged goes out again with it, for who challenged may not have been the one that was asked
        call.data = (*call.data, offer.data)
        if not call.offers:
            call.stage, call.deadline, call.tries = Stage.SHAKING, now + REQUEST_TIMEOUT, 1
        call.offers[challenge] = offer
        call.sends += 1
        return [Datagram(offer.data, call.peer[1:])]

    def _taken_up(self, peer: Peer, packet: Packet, now: float) -> list[Event]:
        """Read a packet with the keys that we have offered, which makes them those of a session."""
        for call in self.calls.of(peer):
            for offer in call.offers.values():
                plain = decrypt(offer.keys.recipient, packet.head.nonce, packet.ciphertext, packet.additional)
                if plain is None:
                    continue
                session = self.sessions.agreed(peer, offer.keys, True, call.enr)
                call.data, call.stage = (offer.data,), Stage.SENT
                call.offers.clear()
                self.calls.named(call, b"")
                events: list[Event] = [Established(peer, call.enr)]
                events += self._message(peer, session, packet, plain, session.speaking, now)
                return events + self._resumed(peer, call, now)
        return []

    def _resumed(self, peer: Peer, opener: Call | None, now: float) -> list[Event]:
        """With a new session, send what has waited for it, and what went out with older keys."""
        events: list[Event] = []
        for call in self.calls.of(peer):
            session = self.sessions.writable(peer)
            if session is None or call is opener or call.offers or call.parts or call.sends >= SENDS_MAX:
                continue
            events.append(self._send(call, session, now))
        return events

    def _handshake(self, peer: Peer, head: Handshake, packet: Packet, now: float) -> list[Event]:
        session = self.sessions.get(peer)
        if session is not None:
            # the same handshake again, because our answer got lost
            opened = session.open(packet)
            if opened is not None:
                return list(self._message(peer, session, packet, *opened, now))
        try:
            proven = self.challenges.answered(peer, head, packet, now)
        except PacketError as error:
            self.drop(str(error))
            return []
        session = self.sessions.agreed(peer, proven.keys, False, proven.enr, proven.knock)
        events: list[Event] = [Established(peer, session.enr)]
        events += self._message(peer, session, packet, proven.plain, session.speaking, now)
        return events + self._resumed(peer, None, now)

    def _message(
        self, peer: Peer, session: Session, packet: Packet, plain: bytes, keys: Keys, now: float
    ) -> Iterator[Event]:
        times = self.repeats.count(keys.read, packet.head.nonce)
        if times == 1:
            session.speaking = keys
        try:
            message = decode_message(plain)
        except MessageError:
            self.drop("message")
            return
        match message:
            case None:
                self.drop("topic")
            case Ping() | FindNode() | TalkRequest() if times <= TRIES:
                yield Asked(peer, session.enr, message)
            case Pong() | Nodes() | TalkResponse() if times == 1:
                yield from self._response(peer, message, now)
            case _:
                self.drop("repeated")

    def _response(self, peer: Peer, response: Response, now: float) -> Iterator[Event]:
        call = self.calls.get(peer, response.id)
        if call is None or type(response) is not _ANSWERS[type(call.message)]:
            self.drop("answer to nothing")
            return
        if isinstance(response, Nodes):
            if response.records in call.parts:
                self.drop("repeated")
                return
            call.parts.append(response.records)
            call.deadline = now + REQUEST_TIMEOUT
            call.tries = TRIES
            if len(call.parts) < min(response.total, NODES_MAX):
                return
        self.calls.remove(call)
        yield Answered(call.handle, response, call.records)

    # -- time

    def _failed(self, call: Call) -> list[Event]:
        """Give a request up; what waited for its handshake goes with it."""
        self.calls.remove(call)
        if call.parts:
            # some of several answers are better than none
            return [Answered(call.handle, Nodes(call.message.id, len(call.parts), ()), call.records)]
        events: list[Event] = [Unanswered(call.handle)]
        others = self.calls.of(call.peer)
        if self.sessions.get(call.peer) is None and not any(one.opening for one in others):
            for waiting in others:
                if waiting.stage is Stage.WAITING:
                    self.calls.remove(waiting)
                    events.append(Unanswered(waiting.handle))
        return events

    def clear(self) -> list[Any]:
        """Forget all that is open, and return the handles of our requests."""
        self.challenges.clear()
        return [call.handle for call in self.calls.clear()]

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has something to do."""
        times = [call.deadline for call in self.calls]
        challenge = self.challenges.next_deadline()
        if challenge is not None:
            times.append(challenge)
        return min(times, default=None)

    def expire(self, now: float) -> list[Event]:
        """Repeat or give up what has waited long enough."""
        self.challenges.expire(now)
        events: list[Event] = []
        for call in [call for call in self.calls if call.deadline <= now]:
            if call not in self.calls:
                continue  # it went with another one
            if call.stage is Stage.WAITING or call.tries >= TRIES:
                events += self._failed(call)
                continue
            call.tries += 1
            call.deadline = now + (HANDSHAKE_TIMEOUT if call.stage is Stage.KNOCKING else REQUEST_TIMEOUT)
            events += [Datagram(data, call.peer[1:]) for data in call.data]
        return events
