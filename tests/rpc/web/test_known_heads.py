"""A request whose head is known gets, byte for byte, what it got when its head was read."""

import json
from itertools import pairwise
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address

from chainp2p.rpc.limits import Limits
from chainp2p.rpc.web.door import Door
from chainp2p.rpc.web.heads import Heads
from chainp2p.rpc.web.http import AT_ONCE
from chainp2p.rpc.web.memory import FREE
from tests.rpc.wire import RpcHarness, Wire, call, post, replies

BODIES = (
    call("t_subtract", 5, 3),
    call("t_subtract", 5, 3, id="x"),
    call("t_fail"),
    call("t_refuse"),
    call("foobar"),
    b'{"jsonrpc": "2.0", "method": "t_note", "params": [1]}',
    b"[" + call("t_subtract", 2, 1) + b',1,{"jsonrpc": "2.0", "method": "t_note"}]',
    b"[]",
    b"{",
    b'{"jsonrpc": "2.0", "id": 1e400, "method": "t_note"}',
    b"\xff\r\n\r\n",
)


class Direct(Wire, FileDescriptor):
    """A socket that takes so many bytes at once; *reactor* has only readers."""

    room = 1 << 30
    TLS = False

    def writeSomeData(self, data: bytes) -> Any:
        sent = min(len(data), self.room)
        self.room -= sent
        self.io.write(data[:sent])
        return sent


class Known(RpcHarness):
    limits = Limits(body=400_000, held=200_000, batch_answers=10**6)

    def served(self, *texts: bytes) -> bytes:
        """What one connection gets for these pieces."""
        wire = self.connect()
        for text in texts:
            wire.protocol.dataReceived(text)
        return wire.take()

    def test_the_same_answer_again(self) -> None:
        for body in BODIES:
            for headers in ({}, {"origin": "http://localhost"}, {"user_agent": "x"}):
                request = post(body, **headers)
                read = self.served(request)
                self.assertIsNotNone(self.factory.heads.find(request), request)
                self.assertEqual((self.served(request), self.served(request, request)), (read, read + read))
        self.flushLoggedErrors()

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(BODIES), min_size=1, max_size=4), st.lists(st.integers(1, 800), max_size=4))
    def test_however_the_stream_is_cut(self, bodies: list[bytes], cuts: list[int]) -> None:
        text = b"".join(map(post, bodies))
        bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
        pieces = [text[start:end] for start, end in pairwise(bounds)]
        self.factory.heads = Heads()
        whole = self.served(text)
        self.assertEqual(self.served(*pieces), whole)
        for body in bodies:
            self.served(post(body))
        self.assertEqual((self.served(*pieces), self.served(*map(post, bodies))), (whole, whole))
        self.flushLoggedErrors()

    def test_what_is_refused_is_not_learnt(self) -> None:
        body = call("t_note")
        good = post(body)
        for bad in (
            post(body, host="evil.example"),
            post(body, origin="https://evil.example"),
            post(body, content_type="text/plain"),
            good.replace(b"POST / ", b"POST /livez "),
            good.replace(b"POST / ", b"POST /ws "),
            good.replace(b"HTTP/1.1", b"HTTP/1.0"),
            post(body, connection="close"),
            post(body, expect="100-continue"),
            post(body, authorization="Bearer x"),
            post(b"", content_length="", transfer_encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        ):
            for pieces in ([bad], [bad, good], [bad + good], [bad[:-1], bad[-1:] + good]):
                self.factory.heads = Heads()
                first, again = self.served(*pieces), self.served(*pieces)
                self.assertEqual(first, again)
                self.assertIsNone(self.factory.heads.find(bad), bad)

    def test_a_port_with_tokens_looks_each_time(self) -> None:
        self.factory = self.make_factory(door=Door(token=b"s" * 32))
        request = post(call("t_note"))
        self.assertIn(b" 401 ", self.served(request, request)[:20])
        self.assertIsNone(self.factory.heads.find(request))

    def test_it_may_wait_like_any_other(self) -> None:
        request, other = post(call("t_wait")), post(call("t_subtract", 3, 1))
        self.service.waiting.clear()
        for known in (False, True):
            self.assertEqual(self.factory.heads.find(request) is not None, known)
            wire = self.connect()
            wire.protocol.dataReceived(request)
            wire.protocol.dataReceived(other)
            self.assertEqual(wire.take(), b"")
            self.assertNotIn(wire.protocol, self.factory.waiting)
            self.service.waiting.pop().callback(5)
            self.assertEqual([json.loads(body)["result"] for _, _, body in replies(wire.take())], [5, 2])
            self.assertIn(wire.protocol, self.factory.waiting)
            self.assertEqual(len([one for one in self.clock.getDelayedCalls() if one.getTime() < 100]), 0)
            wire.protocol.dataReceived(request)
            self.clock.advance(29.9)
            self.assertEqual(wire.take(), b"")
            self.clock.advance(0.2)
            self.assertEqual(json.loads(replies(wire.take())[0][2])["error"]["message"], "request timed out")
            wire.protocol.dataReceived(request)
            cancelled = self.service.cancelled
            wire.cut()
            self.assertEqual(self.service.cancelled, cancelled + 1)
            self.service.waiting.clear()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_its_deadline_counts_from_its_first_byte(self) -> None:
        self.let_notes_outlast_the_deadline()
        request = post(b"[" + b",".join([call("t_note")] * 5) + b"]")
        for _ in range(2):
            wire = self.connect()
            wire.protocol.dataReceived(request)
            self.clock.advance(0)
            self.clock.advance(0)
            answers = json.loads(replies(wire.take())[0][2])
            self.assertEqual(["error" in one for one in answers], [False, True, True, True, True])
            wire.cut()

    def test_an_idle_connection_ends_as_late(self) -> None:
        wire = self.connect()
        for _ in range(4):
            wire.protocol.dataReceived(post(call("t_note")))
            self.clock.advance(100)
        self.assertEqual(len(replies(wire.take())), 4)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(21)
        self.assertTrue(wire.disconnecting)

    def test_who_was_served_longest_ago_makes_room(self) -> None:
        self.factory = self.make_factory(limits=evolve(self.limits, connections=2))
        request = post(call("t_note"))
        first, second = self.connect(), self.connect()
        for wire in (first, second, first):
            wire.protocol.dataReceived(request)
        self.connect()
        self.assertEqual((first.aborted, second.aborted), (False, True))

    def test_room_for_large_ones_is_bounded_too(self) -> None:
        large, small = post(call("t_note").ljust(190_000)), post(call("t_big", 100_000))
        for _ in range(2):
            self.assertEqual([status for status, _, _ in replies(self.served(large, small))], [200, 200])
        other = self.connect()
        other.protocol.dataReceived(post(call("t_wait").ljust(200_000)))
        self.assertEqual(self.factory._memory.total, 200_000 - FREE)
        self.assertEqual([status for status, _, _ in replies(self.served(large))], [503])
        self.assertEqual([status for status, _, _ in replies(self.served(post(call("t_big", 199_999))))], [503])
        self.service.waiting.pop().callback(1)
        self.assertEqual(self.factory._memory.total, 0)
        self.assertEqual([status for status, _, _ in replies(self.served(large))], [200])

    def test_an_answer_that_cannot_be_sent_ends_the_connection(self) -> None:
        request = post(call("t_note"))
        self.served(request)
        wire = self.connect()

        def explode(data: bytes) -> None:
            raise KeyError("ours")

        wire.protocol.write = explode
        wire.protocol.dataReceived(request)
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class AtOnce(RpcHarness):
    """Answers that a socket takes without the reactor."""

    def direct(self, room: int) -> Any:
        channel: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        wire = Direct(channel)
        wire.room, wire.later = room, []
        wire.write = wire.later.append
        channel.makeConnection(wire)
        return wire

    def test_what_the_socket_does_not_take_goes_through_the_transport(self) -> None:
        request = post(call("t_subtract", 2, 1))
        answer = self.direct(10**6)
        answer.protocol.dataReceived(request)
        text = answer.take()
        self.assertEqual((replies(text)[0][0], answer.later), (200, []))
        for room in (0, 1, len(text) - 1, len(text), len(text) + 1, 2 * len(text)):
            wire = self.direct(room)
            wire.protocol.dataReceived(request)
            wire.protocol.dataReceived(request)
            self.assertEqual(wire.value() + b"".join(wire.later), text + text)
            self.assertEqual(wire.value(), (text + text)[:room])
            wire.room = 10**6
            wire.protocol.dataReceived(request)
            self.assertEqual(bool(wire.later), room < 2 * len(text))
            wire.later.clear()
            wire.protocol.resumeProducing()  # the transport has sent all
            wire.protocol.dataReceived(request)
            self.assertEqual(wire.later, [])

    def test_large_answers_are_left_to_the_transport(self) -> None:
        wire = self.direct(10**6)
        wire.protocol.dataReceived(post(call("t_big", AT_ONCE)))
        self.assertEqual((wire.value(), len(wire.later)), (b"", 1))

    def test_a_lost_connection_is_told_by_the_transport(self) -> None:
        wire = self.direct(0)
        wire.protocol._send_some = lambda data: ConnectionError("gone")
        wire.protocol.dataReceived(post(call("t_note")))
        self.assertEqual(len(wire.later), 1)

    def test_continue_comes_before_the_answer(self) -> None:
        wire = self.direct(10**6)
        body = call("t_note")
        wire.protocol.dataReceived(post(body, expect="100-continue"))
        self.assertEqual(wire.later, [])
        self.assertTrue(wire.take().startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"))

    def test_only_bare_sockets_are_written_to(self) -> None:
        self.assertIsNone(self.connect().protocol._send_some)
        self.patch(Direct, "TLS", True)
        self.assertIsNone(self.direct(1).protocol._send_some)
