"""A node of Node Discovery v5.1 without its socket: what it answers, whom it asks, and whom it knows."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from chainp2p.discovery.answers import RecordReader, names_private, nodes_of
from chainp2p.discovery.conversations import Conversations
from chainp2p.discovery.events import Answered, Asked, Datagram, Established, Event, Unanswered
from chainp2p.discovery.handles import Checking, Looking, RunningLookup, Sowing, Talking, Updating
from chainp2p.discovery.limits import Limits
from chainp2p.discovery.lookup import Lookup, distances_towards
from chainp2p.discovery.messages import FindNode, Nodes, Ping, Pong, Request, TalkRequest, TalkResponse
from chainp2p.discovery.news import News
from chainp2p.discovery.opening import Opening
from chainp2p.discovery.outputs import Found, Live, Output, OwnSeen, TalkAsked, Talked, Voted
from chainp2p.discovery.reach import Reach
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.discovery.refresh import Refresh
from chainp2p.discovery.table import BUCKET_SIZE, BucketTable
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey
from chainp2p.peer.votes import is_private

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Discv5"]

#: An entry is checked again after so many seconds; checks follow each other at this distance: a table of 100 entries
#: is looked through in four minutes, for 60 bytes a second.
CHECK_AGAIN, CHECK_EVERY = 60.0, 2.0
#: One that answers other questions is pinged after so many seconds all the same: PONG says how it sees us, and the vote
#: that this is stands for ten minutes.
HEAR_AGAIN = 240.0
#: New entries are checked at this distance: a young table has to fill.
CHECK_NEW_EVERY = 0.2
#: Share of the checks that goes to those who have to hear of our new record: a table of 272 hears within two minutes.
NEWS_SHARE = 0.5
#: Lookups at once.
LOOKUPS_MAX = 8
#: Bytes of a request of another protocol, with its name: a packet has room for so many beside the longest handshake.
TALK_MAX = 768


class Discv5:
    """Table, lookups and answers over :class:`Conversations`.

    1. Every entry is checked by PING, new ones at once; the answer makes it live, its absence makes room. When our
       record has changed all are, soon: a PING tells its number.
    2. :class:`~chainp2p.discovery.opening.Opening` says how it begins, and
       :class:`~chainp2p.discovery.refresh.Refresh` when the table is refreshed by a lookup.
    3. Records of another network are left out everywhere; those that name none may be in the table.
    4. A record is taken from an answer only if its distance was asked for, its signature holds and, from a public
       node, its address is public.
    5. Asked for distance 0, we give our own record; a peer that knows an older one asks for it.

    :param own: answers our current record.
    :param private: whether private addresses are welcome from anybody.
    :param welcome: whether a node may have a session with us and a place in the table (allow-list).
    :param verified: reads records; nodes in one process may share one.
    """

    def __init__(
        self,
        key: NodeKey,
        own: Callable[[], Enr],
        random: "random_module.Random",
        *,
        genesis: bytes,
        private: bool,
        limits: Limits | None = None,
        welcome: Callable[[bytes], bool] = lambda node_id: True,
        verified: VerifiedRecords | None = None,
    ) -> None:
        self._id = key.peer_id
        self._own = own
        self._random = random
        self._prefix = genesis[:4]
        self._welcome = welcome
        self.limits = limits if limits is not None else Limits()
        self.table = BucketTable(key.peer_id, random)
        self.conversations = Conversations(key, own, self._record_of, random, self.limits.may_challenge, welcome)
        self._reader = RecordReader(private, lambda node_id: node_id == key.peer_id or welcome(node_id), verified)
        #: Which address of a record is used; told in which families there are sockets.
        self.reach = Reach()
        self._seeds: tuple[Enr, ...] = ()
        self._lookups: list[RunningLookup] = []
        self._checking: set[bytes] = set()
        self._updating: set[bytes] = set()
        self._news = News()
        self._check_at = 0.0
        self._opening = Opening(private)
        self._refresh = Refresh(key.peer_id, random)
        self._running = False

    def _record_of(self, node_id: bytes) -> Enr | None:
        entry = self.table.get(node_id)
        return entry.enr if entry is not None else None

    # -- life

    def start(self, seeds: Iterable[Enr], now: float) -> list[Output]:
        """Begin with these records, unverified as they may be."""
        self._running = True
        self._seeds = tuple(seeds)
        self._sow()
        self._check_at = now
        self._refresh.start(now + CHECK_NEW_EVERY)
        self._news.look(self._own().seq, ())
        outputs: list[Output] = []
        for enr, distances in self._opening.start([enr for enr in self._seeds if enr.peer_id in self.table], now):
            message = FindNode(self.conversations.new_id(), distances)
            outputs += self._request(enr, message, Sowing(enr, distances), now)
        return outputs + self.expire(now)

    def stop(self) -> list[Output]:
        """Forget everything but how to begin; what somebody waits for ends empty."""
        self._running = False
        outputs: list[Output] = [
            Found(running.handle, (), 0) for running in self._lookups if running.handle is not None
        ]
        outputs += [Talked(one.handle, None) for one in self.conversations.clear() if isinstance(one, Talking)]
        self._lookups.clear()
        self._checking.clear()
        self._updating.clear()
        self._news.clear()
        return outputs

    def _sow(self) -> None:
        for enr in self._seeds:
            self.add(enr)

    # -- asking

    @property
    def looking(self) -> int:
        """How many lookups are under way."""
        return len(self._lookups)

    def lookup(self, target: bytes, handle: Any, now: float) -> list[Output]:
        """Find the closest nodes to *target*; :class:`Found` carries *handle*."""
        if len(self._lookups) >= LOOKUPS_MAX:
            return [Found(handle, (), 0)] if handle is not None else []
        seeds = [entry.enr for entry in self.table.closest(target)]
        running = RunningLookup(Lookup(target, self._id, seeds), handle)
        self._lookups.append(running)
        return self._poll(running, now)

    def talk(self, enr: Enr, protocol: bytes, request: bytes, handle: Any, now: float) -> list[Output]:
        """Send a request of another protocol; :class:`Talked` carries *handle*.

        :raise ValueError: it is longer than :data:`TALK_MAX`.
        """
        if len(protocol) + len(request) > TALK_MAX:
            raise ValueError(f"a request and the name of its protocol have {TALK_MAX} bytes at most")
        message = TalkRequest(self.conversations.new_id(), protocol, request)
        return self._request(enr, message, Talking(handle), now)

    def _request(self, enr: Enr, message: Request, handle: Any, now: float) -> list[Output]:
        endpoint = self.reach.endpoint(enr)
        if endpoint is None:
            return self._failed(handle, now)
        return self._take(self.conversations.request(enr, endpoint, message, handle, now), now)

    def _poll(self, running: RunningLookup, now: float) -> list[Output]:
        outputs: list[Output] = []
        if running not in self._lookups:
            return outputs
        for enr in running.lookup.poll():
            distances = distances_towards(running.lookup.target, enr.peer_id)
            message = FindNode(self.conversations.new_id(), distances)
            outputs += self._request(enr, message, Looking(running, enr, distances), now)
        if running in self._lookups and running.lookup.done:
            self._lookups.remove(running)
            if running.handle is not None:
                outputs.append(Found(running.handle, tuple(running.lookup.result()), running.lookup.rounds))
        return outputs

    # -- datagrams and time

    def received(self, data: bytes, address: tuple[str, int], now: float) -> list[Output]:
        """Take a datagram; whatever it holds, nothing is raised."""
        if not self.limits.may_arrive(address[0], now):
            return []
        return self._take(self.conversations.received(data, address, now), now)

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has something to do."""
        if not self._running:
            return None
        times = [self._check_at, self._refresh.at]
        deadline = self.conversations.next_deadline()
        if deadline is not None:
            times.append(deadline)
        return min(times)

    def expire(self, now: float) -> list[Output]:
        """Do what is due."""
        self.reach.expire(now)
        outputs = self._take(self.conversations.expire(now), now)
        if now >= self._check_at:
            outputs += self._check(now)
        if now >= self._refresh.at:
            outputs += self._look_around(now)
        return outputs

    def _check(self, now: float) -> list[Output]:
        self._news.look(self._own().seq, (entry.enr.peer_id for entry in self.table.live))
        told = self._news.next() if self._random.random() < NEWS_SHARE else None
        entry = self.table.get(told) if told is not None else None
        if entry is None:
            entry = self.table.to_check(now, CHECK_AGAIN, self._checking) or self.table.to_hear(
                now, HEAR_AGAIN, self._checking
            )
        calm = (entry is None or entry.live) and not self._news
        self._check_at = now + (CHECK_EVERY if calm else CHECK_NEW_EVERY)
        return [] if entry is None else self._ping(entry.enr, now)

    def _ping(self, enr: Enr, now: float) -> list[Output]:
        self._checking.add(enr.peer_id)
        self._news.told(enr.peer_id)
        return self._request(enr, Ping(self.conversations.new_id(), self._own().seq), Checking(enr), now)

    def _look_around(self, now: float) -> list[Output]:
        target = self._refresh.due(len(self.table.live), now)
        if target is None:
            self._sow()
            return []
        return self.lookup(target, None, now)

    def _take(self, events: Sequence[Event], now: float) -> list[Output]:
        outputs: list[Output] = []
        for event in events:
            match event:
                case Datagram():
                    outputs.append(event)
                case Asked():
                    outputs += self._asked(event, now)
                case Answered():
                    outputs += self._answered(event, now)
                case Unanswered():
                    outputs += self._failed(event.handle, now)
                case Established():
                    outputs += self._established(event, now)
        return outputs

    # -- what others ask

    def _asked(self, event: Asked, now: float) -> list[Output]:
        peer, request = event.peer, event.request
        reply = self.conversations.reply
        outputs: list[Output] = []
        match request:
            case Ping():
                outputs += self._take(reply(peer, Pong(request.id, self._own().seq, peer[1], peer[2])), now)
                known = self._record_of(peer[0]) or event.enr
                if request.enr_seq > known.seq:
                    outputs += self._update(known, peer[1:], now)  # where it is now: it may have moved
            case FindNode():
                for answer in self._nodes(request, peer[1]):
                    outputs += self._take(reply(peer, answer), now)
            case TalkRequest():
                outputs.append(TalkAsked(peer, request.id, request.protocol, request.request))
        # it may be missing because it did not answer once
        return outputs if peer[0] in self.table else outputs + self._established(Established(peer, event.enr), now)

    def answer_talk(self, asked: TalkAsked, response: bytes, now: float) -> list[Output]:
        """Answer a request of another protocol; with nothing, where the response does not fit into a packet."""
        reply, peer = self.conversations.reply, asked.peer
        sent = reply(peer, TalkResponse(asked.id, response)) or reply(peer, TalkResponse(asked.id, b""))
        return self._take(sent, now)

    def _nodes(self, request: FindNode, asker: str) -> list[Nodes]:
        records = [self._own().raw] if 0 in request.distances else []
        wanted = [distance for distance in request.distances if distance]
        near = is_private(asker)
        found = self.table.at_distances(wanted, BUCKET_SIZE - len(records))
        records += [enr.raw for enr in found if near or not names_private(enr)]
        return nodes_of(request.id, records)

    # -- what others answer

    def _answered(self, event: Answered, now: float) -> list[Output]:
        handle, response = event.handle, event.response
        match handle:
            case Checking(enr=enr):
                self._checking.discard(enr.peer_id)
                assert isinstance(response, Pong)
                return self._ponged(enr, response, now)
            case Updating(enr=enr):
                self._updating.discard(enr.peer_id)
                for record in self._reader.read(event.nodes, enr, (0,)):
                    self.add(record)
                return []
            case Sowing(enr=enr, distances=distances):
                for record in self._reader.read(event.nodes, enr, distances):
                    self.add(record)
                return self._alive(enr, now)
            case Looking(running=running, enr=enr, distances=distances):
                records = self._reader.read(event.nodes, enr, distances)
                outputs: list[Output] = []
                for record in records:
                    if record.peer_id == self._id and record.seq > self._own().seq:
                        outputs.append(OwnSeen(record.seq))
                    self.add(record)
                running.lookup.answered(enr.peer_id, records)
                return outputs + self._alive(enr, now) + self._poll(running, now)
            case _:
                assert isinstance(response, TalkResponse)
                return [Talked(handle.handle, response.response)]

    def _ponged(self, enr: Enr, pong: Pong, now: float) -> list[Output]:
        endpoint = self.reach.endpoint(enr)
        if endpoint is None:
            return []
        self.add(enr)
        self.table.ponged(enr.peer_id, now)
        outputs: list[Output] = [Voted(enr.peer_id, endpoint[0], pong.ip, pong.port), *self._alive(enr, now)]
        if pong.enr_seq > enr.seq:
            outputs += self._update(enr, endpoint, now)
        return outputs

    def _alive(self, enr: Enr, now: float) -> list[Output]:
        """A node has answered at the address of its record: say so the first time.

        That says nothing of another address, which a newer record may name.
        """
        entry = self.table.get(enr.peer_id)
        new = entry is None or not entry.live or entry.enr.seq > enr.seq
        if entry is not None and (entry.ip, entry.port) == self.reach.endpoint(enr):
            self.table.answered(enr.peer_id, now)
        if new and len(self.table.live) == 1:
            self._refresh.at = now  # the first one knows others
        return [Live(enr)] if new and enr.genesis_prefix == self._prefix else []

    def _update(self, enr: Enr, address: tuple[str, int], now: float) -> list[Output]:
        if enr.peer_id in self._updating:
            return []
        self._updating.add(enr.peer_id)
        message = FindNode(self.conversations.new_id(), (0,))
        return self._take(self.conversations.request(enr, address, message, Updating(enr), now), now)

    def _failed(self, handle: Any, now: float) -> list[Output]:
        match handle:
            case Checking(enr=enr):
                self._checking.discard(enr.peer_id)
                self._silent(enr)
                return []
            case Updating(enr=enr):
                self._updating.discard(enr.peer_id)
                return []
            case Sowing():
                return []
            case Looking(running=running, enr=enr):
                running.lookup.failed(enr.peer_id)
                self._silent(enr)
                return self._poll(running, now)
            case _:
                return [Talked(handle.handle, None)]

    def _silent(self, enr: Enr) -> None:
        """A node did not answer at the address of its record; it may have told us of another one meanwhile."""
        entry = self.table.get(enr.peer_id)
        if entry is not None and (entry.ip, entry.port) == self.reach.endpoint(enr):
            self.table.failed(enr.peer_id)

    def _established(self, event: Established, now: float) -> list[Output]:
        enr = event.enr
        new = enr.peer_id not in self.table
        if new and not self._opening.is_open(now):
            return []
        if event.peer[1:] in (enr.udp_in((4,)), enr.udp_in((6,))) and self.add(enr) and new:
            return self._ping(enr, now)
        return []

    def add(self, enr: Enr) -> bool:
        """Hear of a node; False if there is no use or no place for it."""
        endpoint = self.reach.endpoint(enr)
        if endpoint is None or enr.peer_id == self._id or enr.genesis_prefix not in (None, self._prefix):
            return False
        if not self._welcome(enr.peer_id):
            return False
        return self.table.add(enr, *endpoint)
