"""Frames sent in volleys, on Twisted's own descriptors with sockets that take as much as a test says."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.volley import Volley, sends_at_once


class Writers:
    """The part of a reactor that knows who writes."""

    def __init__(self) -> None:
        self.writers: dict[FileDescriptor, None] = {}

    def addWriter(self, one: FileDescriptor) -> None:
        self.writers[one] = None

    def removeWriter(self, one: FileDescriptor) -> None:
        self.writers.pop(one, None)

    def getWriters(self) -> list[FileDescriptor]:
        return list(self.writers)

    def turn(self) -> None:
        for one in self.getWriters():
            one.doWrite()


class Descriptor(FileDescriptor):
    """A connection whose socket has *room* bytes free."""

    def __init__(self, reactor: Writers) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]
        self.connected = 1
        self.room = 0
        self.calls = 0
        self.lost = False
        self.got = b""

    def writeSomeData(self, data: bytes) -> "int | Exception":  # type: ignore[override]
        self.calls += 1
        if self.lost:
            return CONNECTION_LOST
        taken = min(self.room, len(data))
        self.room -= taken
        self.got += bytes(data[:taken])
        return taken


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.lists(st.integers(0, 3), max_size=5)),
        st.tuples(st.just("answer"), st.integers(0, 3)),
        st.tuples(st.just("room"), st.integers(0, 3), st.integers(0, 40)),
        st.tuples(st.just("turn")),
    ),
    max_size=40,
)


class Volleys(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Writers()
        self.volley = Volley(self.reactor)

    def descriptor(self, room: int) -> Descriptor:
        one = Descriptor(self.reactor)
        one.room = room
        return one

    @settings(deadline=None, derandomize=True)
    @given(_STEPS)
    def test_every_socket_gets_all_bytes_in_order(self, steps: list[tuple[object, ...]]) -> None:
        self.reactor.writers.clear()
        everybody = [self.descriptor(30) for _ in range(4)]
        written = [b""] * 4

        def write(who: int, data: bytes) -> None:
            self.volley.write(everybody[who], data)
            written[who] += data

        for number, (what, *how) in enumerate(steps):
            data = b"<%d>" % number
            if what == "event":
                with self.volley:
                    for who in how[0]:  # type: ignore[attr-defined]
                        write(who, data * (who + 1))
            elif what == "answer":
                everybody[how[0]].write(data)  # type: ignore[call-overload]
                written[how[0]] += data  # type: ignore[call-overload]
            elif what == "room":
                everybody[how[0]].room += how[1]  # type: ignore[call-overload, operator]
            else:
                self.reactor.turn()
            for one, all_of_it in zip(everybody, written, strict=True):
                self.assertTrue(all_of_it.startswith(one.got), (one.got, all_of_it))
        for one in everybody:
            one.room = 10_000
        self.reactor.turn()
        self.assertEqual([one.got for one in everybody], written)
        self.assertEqual(self.reactor.writers, {})

    def test_all_is_gathered_and_sent_without_the_reactor(self) -> None:
        first, second = self.descriptor(100), self.descriptor(100)
        with self.volley:
            self.volley.write(first, b"one")
            self.volley.write(second, b"two")
            self.assertEqual((first.calls, second.calls), (0, 0))
        self.assertEqual((first.got, second.got), (b"one", b"two"))
        self.assertEqual(self.reactor.writers, {})

    def test_one_within_another_is_sent_first(self) -> None:
        one = self.descriptor(100)
        with self.volley:
            self.volley.write(one, b"a")
            with self.volley:
                self.volley.write(one, b"b")
            self.volley.write(one, b"c")
        self.reactor.turn()
        self.assertEqual(one.got, b"abc")

    def test_alone_it_is_written_as_ever(self) -> None:
        one = self.descriptor(100)
        self.volley.write(one, b"alone")
        self.assertEqual(one.calls, 0)
        self.reactor.turn()
        self.assertEqual(one.got, b"alone")

    def test_a_lost_connection_is_left_to_its_transport(self) -> None:
        lost, other = self.descriptor(100), self.descriptor(100)
        lost.lost = True
        with self.volley:
            self.volley.write(lost, b"x")
            self.volley.write(other, b"y")
        self.assertEqual(other.got, b"y")
        self.assertIs(lost.doWrite(), CONNECTION_LOST)

    def test_what_is_sent_if_an_event_fails_half_way(self) -> None:
        one = self.descriptor(100)
        with self.assertRaises(KeyError), self.volley:
            self.volley.write(one, b"x")
            raise KeyError("ours")
        self.assertEqual(one.got, b"x")

    def test_who_sends_at_once(self) -> None:
        one = self.descriptor(0)
        self.assertTrue(sends_at_once(one))
        one.TLS = True  # type: ignore[attr-defined]
        self.assertFalse(sends_at_once(one))
        self.assertFalse(sends_at_once(StringTransport()))
