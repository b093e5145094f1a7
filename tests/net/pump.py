"""Two links face to face in memory, on a virtual clock; every byte is moved by the test."""

from random import Random

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chainp2p.errors import Reason
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.serving import bulk_requests
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.wire.codec import CODEC
from chainp2p.wire.messages import Hello, Status

GENESIS = b"\x01" * 32
A, B = b"\xaa" * 32, b"\xbb" * 32
SETTINGS = ((0, b"\x05" * 32),)


def status_of(peer_id, **changes):
    fields = {
        "agent": "test/1",
        "features": 0,
        "flags": 0,
        "port": 30303,
        "head": GENESIS,
        "height": 0,
        "rank": bytes(32),
        "enr": b"",
        "settings": SETTINGS,
        "observed": (b"", 0),
        "extra": (),
    }
    return Status(**{**fields, **changes})


class Proof:
    """Security that believes what the pump says."""

    def client(self, factory):
        return factory

    server = client

    def proven(self, transport):
        if isinstance(transport.proven, Exception):
            raise transport.proven
        return transport.proven


class FakeHost:
    """Records what a link tells its network."""

    def __init__(self, clock, own_id, handlers=None, genesis=GENESIS, version=1, refuse=None, **status):
        self.reactor = clock
        self.own_id = own_id
        self.codec = CODEC
        self.security = Proof()
        self.handlers = handlers or {}
        self.bulk = bulk_requests(CODEC)
        self.quotas = {}
        self.budget = ReceiveBudget(lambda link: self.short.append(link))
        self.short = []
        self.ready = []
        self.ends = []
        self.gone = []
        self.unknown = []
        self.small_faults = []
        self.refuse = refuse
        self.unwelcome = {}
        self._hello = Hello(version, genesis, status.get("height", 0))
        self._status = status

    def now(self):
        return 1_000_000.0 + self.reactor.seconds()

    def hello(self):
        return self._hello

    def status(self, observed):
        return status_of(self.own_id, observed=observed, **self._status)

    def enr_seq(self):
        return 7

    def welcome(self, peer_id):
        return self.unwelcome.get(peer_id)

    def admit(self, link):
        if self.refuse is not None:
            raise self.refuse

    def link_ready(self, link):
        self.ready.append(link)

    def link_ended(self, link, end):
        self.ends.append(end)

    def link_gone(self, link):
        self.gone.append(link)

    def is_useless(self, link):
        return False

    def useless(self, link, reason, detail):
        self.small_faults.append((reason, detail))

    def above_quota(self, link, name):
        self.small_faults.append((Reason.MISBEHAVED, name))

    def blocks_blamed(self, link):
        pass

    def heights_heard(self, link):
        self.heard_heights = link.height

    def skipped(self, link, tag):
        self.unknown.append(tag)


class Transport:
    """One end: holds what was written until the pump moves it.

    :param capacity: bytes above which a producer is paused.
    """

    def __init__(self, clock, proven, port, capacity=64 * 1024):
        self.clock = clock
        self.proven = proven
        self.port = port
        self.capacity = capacity
        self.protocol = None
        self.other = None
        self.buffer = bytearray()
        self.largest = 0
        self.total = 0
        self.producer = None
        self.paused = False
        self.reading = True
        self.disconnecting = False
        self.connected = True

    def getPeer(self):
        return IPv4Address("TCP", "10.0.0.1", self.port)

    def getHost(self):
        return IPv4Address("TCP", "10.0.0.2", 30303)

    def write(self, data):
        assert isinstance(data, bytes) and data
        if not self.connected or (self.disconnecting and self.producer is None):
            return
        self.buffer += data
        self.total += len(data)
        self.largest = max(self.largest, len(self.buffer))
        if self.producer is not None and len(self.buffer) > self.capacity and not self.paused:
            self.paused = True
            self.producer.pauseProducing()

    def registerProducer(self, producer, streaming):
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def pauseProducing(self):
        self.reading = False

    def resumeProducing(self):
        self.reading = True

    def loseConnection(self):
        self.disconnecting = True
        self._finish()

    def abortConnection(self):
        self.clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, error=None):
        for end in (self, self.other):
            if end.connected:
                end.connected = False
                end.buffer.clear()
                end.protocol.connectionLost(Failure(error or ConnectionDone()))

    def _finish(self):
        if self.disconnecting and not self.buffer and self.producer is None:
            self.clock.callLater(0, self.lose)

    def move(self, limit=None):
        """Hand some written bytes to the other side; True if any moved."""
        if not self.buffer or not self.other.reading or not self.connected:
            return False
        data = bytes(self.buffer[:limit])
        del self.buffer[: len(data)]
        self.other.protocol.dataReceived(data)
        if not self.buffer and self.paused and self.producer is not None:
            self.paused = False
            self.producer.resumeProducing()
        self._finish()
        return True


class Pair:
    """Side *a* has dialled side *b*."""

    def __init__(self, host_a=None, host_b=None, clock=None, expected=B, proven_a=A, proven_b=B, capacity=64 * 1024):
        self.clock = clock or Clock()
        self.host_a = host_a or FakeHost(self.clock, A)
        self.host_b = host_b or FakeHost(self.clock, B)
        self.a = PeerProtocol(self.host_a, expected, outbound=True)
        self.b = PeerProtocol(self.host_b)
        self.ta = Transport(self.clock, proven_b, 30303, capacity)
        self.tb = Transport(self.clock, proven_a, 40000, capacity)
        for here, there, link in ((self.ta, self.tb, self.a), (self.tb, self.ta, self.b)):
            here.other = there
            here.protocol = link
        self.a.makeConnection(self.ta)
        self.b.makeConnection(self.tb)

    def secure(self):
        self.a.handshakeCompleted()
        self.b.handshakeCompleted()
        return self

    def pump(self, limit=None):
        while True:
            while self.ta.move(limit) | self.tb.move(limit):
                pass
            more = bool(self.a._inbox or self.b._inbox)  # more than one turn has come
            self.clock.advance(0)
            if not more:
                return self

    def ready(self):
        self.secure().pump()
        assert self.host_a.ready and self.host_b.ready, (self.host_a.ends, self.host_b.ends)
        return self

    def ends(self):
        self.pump()
        return [
            self.host_a.ends[-1].reason if self.host_a.ends else None,
            self.host_b.ends[-1].reason if self.host_b.ends else None,
        ]


class Stranger:
    """One real link, and a test that writes the other side's bytes by hand."""

    def __init__(self, host=None, clock=None, expected=None, proven=A, secure=True):
        self.clock = clock or Clock()
        self.host = host or FakeHost(self.clock, B)
        self.link = PeerProtocol(self.host, expected, outbound=expected is not None)
        self.transport = Transport(self.clock, proven, 40000)
        self.transport.protocol = self.link
        self.transport.other = self
        self.reading = True
        self.connected = True
        self.protocol = self
        self.buffer = bytearray()
        self.heard = bytearray()
        self.lost = False
        self.link.makeConnection(self.transport)
        if secure:
            self.link.handshakeCompleted()

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason):
        self.lost = True

    def say(self, *frames):
        for frame in frames:
            self.link.dataReceived(frame)
        return self

    def messages(self):
        from chainp2p.wire.frames import FrameReader

        while self.transport.move():
            pass
        self.clock.advance(0)
        return [received.message for received in FrameReader().feed(bytes(self.heard))]

    @property
    def end(self):
        return self.host.ends[-1] if self.host.ends else None


def seeded(seed=1):
    return Random(seed)
