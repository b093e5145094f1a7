"""JSON-RPC over HTTP, byte by byte: the specification's examples, limits, deadlines, forgers."""

import json
from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from chainp2p.rpc.limits import Limits
from chainp2p.rpc.web.door import Door
from chainp2p.rpc.web.memory import FREE
from chainp2p.rpc.web.request import RpcRequest
from tests.rpc.wire import RpcHarness, call, post, replies


class Calls(RpcHarness):
    def ask(self, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        wire = self.connect()
        wire.protocol.dataReceived(post(body, **headers))
        (reply,) = replies(wire.take())
        return reply

    def answer(self, body: bytes) -> Any:
        status, headers, text = self.ask(body)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        return json.loads(text)

    def test_positional_and_named_parameters(self) -> None:
        for params in ("[42, 23]", '{"subtrahend": 23, "minuend": 42}', '{"minuend": 42, "subtrahend": 23}'):
            text = '{"jsonrpc": "2.0", "method": "t_subtract", "params": %b, "id": 1}'.replace("%b", params)
            self.assertEqual(self.answer(text.encode()), {"jsonrpc": "2.0", "result": 19, "id": 1})

    def test_a_notification_is_not_answered(self) -> None:
        status, headers, body = self.ask(b'{"jsonrpc": "2.0", "method": "t_note", "params": [1]}')
        self.assertEqual((status, body, self.service.called), (204, b"", [(1,)]))
        self.assertNotIn("content-length", headers)
        for method in (b"what", b"t_fail", b"t_refuse"):
            self.assertEqual(self.ask(b'{"jsonrpc": "2.0", "method": "%b"}' % method)[0], 204)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_errors_of_the_specification(self) -> None:
        self.assertEqual(
            self.answer(b'{"jsonrpc": "2.0", "method": "foobar", "id": "1"}'),
            {
                "jsonrpc": "2.0",
                "error": {"code": -32601, "message": "the method foobar does not exist/is not available"},
                "id": "1",
            },
        )
        parse_error = {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None}
        invalid = {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None}
        self.assertEqual(self.answer(b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]'), parse_error)
        self.assertEqual(self.answer(b'{"jsonrpc": "2.0", "method": 1, "params": "bar"}'), invalid)
        self.assertEqual(self.answer(b'[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc"'), parse_error)
        self.assertEqual(self.answer(b"[]"), invalid)
        self.assertEqual(self.answer(b"[1]"), [invalid])
        self.assertEqual(self.answer(b"[1,2,3]"), [invalid] * 3)

    def test_a_batch_of_the_specification(self) -> None:
        batch = b"""[
            {"jsonrpc": "2.0", "method": "t_subtract", "params": [7, 1], "id": "1"},
            {"jsonrpc": "2.0", "method": "t_note", "params": [7]},
            {"jsonrpc": "2.0", "method": "t_subtract", "params": [42,23], "id": "2"},
            {"foo": "boo"},
            {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"}
        ]"""
        answers = self.answer(batch)
        self.assertEqual([one["id"] for one in answers], ["1", "2", None, "5"])
        self.assertEqual([one.get("result") for one in answers], [6, 19, None, None])
        self.assertEqual([one["error"]["code"] for one in answers[2:]], [-32600, -32601])
        self.assertEqual(self.ask(b'[{"jsonrpc": "2.0", "method": "t_note"}]')[0], 204)

    def test_what_handlers_may_do(self) -> None:
        self.assertEqual(self.answer(call("t_refuse"))["error"], {"code": -32000, "message": "no", "data": {"why": 1}})
        internal = {"code": -32603, "message": "internal error"}
        self.assertEqual(self.answer(call("t_fail"))["error"], internal)
        self.assertEqual(self.answer(call("t_nan"))["error"], internal)
        self.assertEqual(len(self.flushLoggedErrors(KeyError, ValueError)), 2)

    def test_subscriptions_need_another_transport(self) -> None:
        error = {"code": -32601, "message": "notifications not supported"}
        self.assertEqual(self.answer(call("t_subscribe", "events"))["error"], error)

    def test_waiting_calls(self) -> None:
        for method, expected in (("t_wait", 5), ("t_later", "late 5")):
            wire = self.connect()
            wire.protocol.dataReceived(post(call(method)))
            self.assertEqual(wire.take(), b"")
            self.service.waiting.pop().callback(5)
            self.assertEqual(json.loads(replies(wire.take())[0][2])["result"], expected)
        self.assertEqual([c for c in self.clock.getDelayedCalls() if c.getTime() < 100], [])

    def test_a_lost_connection_cancels_its_call(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_wait")))
        wire.cut()
        self.assertEqual(self.service.cancelled, 1)
        self.assertEqual((self.factory.channels, self.clock.getDelayedCalls()), (set(), []))

    def test_every_cut_of_the_stream(self) -> None:
        text = post(call("t_subtract", 5, 3))
        for cut in range(1, len(text)):
            wire = self.connect()
            wire.protocol.dataReceived(text[:cut])
            wire.protocol.dataReceived(text[cut:])
            self.assertEqual(json.loads(replies(wire.take())[0][2])["result"], 2)
            wire.cut()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_kept_alive_and_pipelined(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_wait")) + post(call("t_subtract", 2, 1)) + post(call("t_wait")))
        self.assertEqual(wire.take(), b"")
        self.service.waiting[0].callback("first")
        texts = [json.loads(body)["result"] for _, _, body in replies(wire.take())]
        self.assertEqual(texts, ["first", 1])
        self.service.waiting[1].callback("third")
        self.assertEqual(len(replies(wire.take())), 1)
        self.assertFalse(wire.disconnecting)

    def test_connection_close(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_subtract", 2, 1), connection="close"))
        self.assertEqual(replies(wire.take())[0][1]["connection"], "close")
        self.assertTrue(wire.disconnecting)

    def test_chunked_bodies(self) -> None:
        body = call("t_subtract", 2, 1)
        head = post(b"", content_length="", transfer_encoding="chunked")
        wire = self.connect()
        wire.protocol.dataReceived(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        self.assertEqual(json.loads(replies(wire.take())[0][2])["result"], 1)

    def test_the_door_is_asked(self) -> None:
        self.assertEqual(self.ask(b"", host="evil.example")[0], 403)
        self.assertEqual(self.ask(b"", origin="https://evil.example")[0], 403)
        self.assertEqual(self.ask(b"", content_type="text/plain")[0], 415)
        self.assertEqual(self.ask(b"", content_type="")[0], 415)
        self.assertEqual(self.ask(b"", host="")[0], 400)
        own = self.ask(call("t_note"), origin="http://localhost")
        self.assertEqual((own[0], own[1]["access-control-allow-origin"]), (200, "http://localhost"))

    def test_other_methods(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(b"HEAD /readyz?verbose HTTP/1.1\r\nHost: x:1\r\nHost: y\r\n\r\n")
        self.assertIn(b"400", wire.take())
        wire.protocol.dataReceived(b"HEAD /readyz?verbose HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = wire.take().partition(b"\r\n\r\n")
        self.assertIn(b"503", head)
        self.assertEqual(body, b"")
        wire.protocol.dataReceived(
            b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        self.assertEqual([status for status, _, _ in replies(wire.take())], [503, 405])

    def test_a_failing_door_is_ours(self) -> None:
        def fail() -> list[str]:
            raise KeyError("ours")

        self.factory = self.make_factory(door=Door(livez=fail))
        wire = self.connect()
        wire.protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(replies(wire.take())[0][0], 500)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_an_answer_that_cannot_be_made_ends_the_connection(self) -> None:
        def explode(request: object, *_: object) -> None:
            raise KeyError("ours")

        self.patch(RpcRequest, "_send", explode)
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_note")))
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_requests_that_are_none(self) -> None:
        for text in (
            b"\x16\x03\x01\x00\x00\r\n\r\n",
            b"POST /\r\n\r\n",
            b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n",
        ):
            wire = self.connect()
            wire.protocol.dataReceived(text + b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual([status for status, _, _ in replies(wire.take())], [400])
            self.assertTrue(wire.half_closed)


class Limited(RpcHarness):
    limits = Limits(
        body=1_000, header_block=500, batch=3, batch_answers=200, connections=5, connections_per_address=2, headers=9
    )

    def test_a_large_body_is_refused_while_it_comes(self) -> None:
        for head, rest in (
            (post(b"", content_length="1001"), b""),
            (post(b"", content_length="", transfer_encoding="chunked"), b"3e9\r\n" + b"x" * 1_001),
        ):
            wire = self.connect()
            wire.protocol.dataReceived(head + rest)
            self.assertEqual(replies(wire.take())[0][0], 413)
            self.assertTrue(wire.half_closed)
            wire.protocol.dataReceived(b"x" * 5_000)
            wire.protocol.dataReceived(b"\r\n\r\n")
            self.assertEqual(wire.take(), b"")
            self.clock.advance(2)
            self.assertTrue(wire.aborted)

    def test_expect_continue(self) -> None:
        for length, expected in (("1001", b"HTTP/1.1 413"), ("5", b"HTTP/1.1 100")):
            wire = self.connect()
            wire.protocol.dataReceived(post(b"", content_length=length, expect="100-continue"))
            text = wire.take()
            self.assertTrue(text.startswith(expected))
            self.assertEqual(text.count(b"HTTP/1.1"), 1)

    def test_the_client_may_end_it_before(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(b"", content_length="1001"))
        wire.cut()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_body_of_the_limit_passes(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_subtract", 2, 1).ljust(1_000)))
        self.assertEqual(replies(wire.take())[0][0], 200)

    def test_a_large_header_block(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(b"POST /" + b"x" * 600)
        self.assertEqual(replies(wire.take())[0][0], 431)
        wire = self.connect()
        wire.protocol.dataReceived(b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 20)
        self.assertIn(b"400", wire.take())

    def test_batches(self) -> None:
        wire = self.connect()
        many = b"[" + b",".join([b"1", call("t_note", id=7), call("t_note"), call("t_note")]) + b"]"
        wire.protocol.dataReceived(post(many))
        self.assertEqual(
            json.loads(replies(wire.take())[0][2]),
            [{"jsonrpc": "2.0", "id": 7, "error": {"code": -32600, "message": "batch too large"}}],
        )
        wire.protocol.dataReceived(post(b"[1,1,1,1]"))
        self.assertIsNone(json.loads(replies(wire.take())[0][2])[0]["id"])
        large = [call("t_big", 300, id=1), call("t_note", id=2), call("t_note").replace(b'"id": 1, ', b"")]
        wire.protocol.dataReceived(post(b"[" + b",".join(large) + b"]"))
        first, second = json.loads(replies(wire.take())[0][2])
        self.assertEqual((len(first["result"]), second["error"]["code"]), (300, -32003))

    def test_how_many_may_connect(self) -> None:
        far = [IPv4Address("TCP", "10.0.0.1", port) for port in range(3)]
        wires = [self.connect(address) for address in far[:2]]
        self.assertIsNone(self.factory.buildProtocol(far[2]))
        wires += [self.connect(IPv4Address("TCP", host, 1)) for host in ("127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1")]
        for wire in wires:
            wire.protocol.dataReceived(post(call("t_wait")))
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "10.0.0.2", 1)))
        wires[0].cut()
        wires.append(self.connect(far[2]))
        wires[-1].protocol.dataReceived(post(call("t_wait")))
        wires[2].cut()
        wires.append(self.connect(UNIXAddress("x")))
        wires[-1].protocol.dataReceived(post(call("t_wait")))
        self.assertIsNone(self.factory.buildProtocol(UNIXAddress("x")))
        for wire in wires:
            wire.cut()
        self.assertEqual((len(self.factory.channels), len(self.factory._per_address)), (0, 0))
        self.assertIsNotNone(self.factory.buildProtocol(IPv4Address("TCP", "no address", 1)))

    def test_an_address_of_ipv6_is_a_64(self) -> None:
        for number in range(2):
            self.connect(IPv6Address("TCP", f"2001:db8::{number}", 1))
        self.assertIsNone(self.factory.buildProtocol(IPv6Address("TCP", "2001:db8::9", 1)))
        self.assertIsNotNone(self.factory.buildProtocol(IPv6Address("TCP", "2001:db8:0:1::9", 1)))

    def test_who_waits_longest_makes_room_for_others(self) -> None:
        wires = [self.connect() for _ in range(5)]
        busy, slow, resting, *_ = wires
        busy.protocol.dataReceived(post(call("t_wait")))
        slow.protocol.dataReceived(post(b"", content_length="400"))
        resting.protocol.dataReceived(post(call("t_note")))
        for gone in (slow, wires[3], wires[4], resting):
            self.assertFalse(gone.aborted)
            self.connect()
            self.assertTrue(gone.aborted)
        self.assertFalse(busy.aborted)
        self.assertEqual((len(self.factory.channels), self.tally.turned_away), (5, 4))
        self.assertNotIn(busy.protocol, self.factory.waiting)
        self.service.waiting[0].callback(1)
        self.assertIn(busy.protocol, self.factory.waiting)

    def test_large_requests_share_a_bound(self) -> None:
        self.factory = self.make_factory(limits=evolve(self.limits, body=200_000, held=200_000))
        for _ in range(2):
            self.connect().protocol.dataReceived(post(b" " * 100_000, content_length="150000"))
        held = self.factory._memory.total
        self.assertEqual(held, 2 * (100_000 - FREE))
        first, second = self.connect(), self.connect()
        first.protocol.dataReceived(post(call("t_note").ljust(FREE)))
        self.assertEqual(replies(first.take())[0][0], 200)
        first.protocol.dataReceived(post(call("t_wait").ljust(190_000)))
        self.assertEqual(first.take(), b"")
        second.protocol.dataReceived(post(call("t_note").ljust(80_000)))
        self.assertEqual(replies(second.take())[0][0], 503)
        self.service.waiting[0].callback(1)
        self.assertEqual(self.factory._memory.total, held)
        for channel in tuple(self.factory.channels):
            channel.transport.cut()
        self.assertEqual(self.factory._memory.total, 0)

    def test_answers_that_nobody_reads_share_it_too(self) -> None:
        self.factory = self.make_factory(limits=evolve(self.limits, batch_answers=10**6, held=200_000))
        deaf, other = self.connect(), self.connect()
        deaf.protocol.dataReceived(post(call("t_big", 1_000)))
        deaf.protocol.pauseProducing()  # the transport's buffer is full
        for size, status in ((150_000, 200), (1_000, 200), (250_000, 503)):
            deaf.protocol.dataReceived(post(call("t_big", size)))
            self.assertEqual(replies(deaf.take())[-1][0], status)
        self.assertGreater(self.factory._memory.total, 151_000 - FREE)
        other.protocol.dataReceived(post(call("t_big", 190_000)))
        self.assertEqual(replies(other.take())[0][0], 503)
        deaf.protocol.resumeProducing()
        self.assertEqual(self.factory._memory.total, 0)
        other.protocol.dataReceived(post(call("t_big", 190_000)))
        self.assertEqual(replies(other.take())[0][0], 200)
        self.assertEqual(self.factory._memory.total, 0)


class Deadlines(RpcHarness):
    def test_a_slow_request_has_thirty_seconds_in_all(self) -> None:
        wire = self.connect()
        text = post(call("t_subtract", 5, 3))
        for index in range(30):
            wire.protocol.dataReceived(text[index : index + 1])
            self.clock.advance(0.99)
        self.assertEqual(wire.take(), b"")
        self.clock.advance(0.5)
        self.assertEqual(replies(wire.take())[0][0], 408)
        self.clock.advance(2)
        self.assertTrue(wire.aborted)

    def test_a_refused_body_is_not_kept(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(b"x" * 500, content_length="900"))
        self.assertEqual(len(wire.protocol.requests[0].content.getvalue()), 500)
        self.clock.advance(30)
        self.assertEqual(replies(wire.take())[0][0], 408)
        wire.protocol.dataReceived(b"x" * 100)
        self.assertEqual(wire.protocol.requests[0].content.getvalue(), b"")

    def test_a_slow_body_too(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(b"", content_length="900"))
        for _ in range(30):
            wire.protocol.dataReceived(b"x")
            self.clock.advance(1)
        self.assertEqual(replies(wire.take())[0][0], 408)

    def test_reading_and_running_share_the_deadline(self) -> None:
        wire = self.connect()
        text = post(b"[" + call("t_subtract", 2, 1) + b"," + call("t_wait", id=2) + b"," + call("t_note", id=3) + b"]")
        wire.protocol.dataReceived(text[:50])
        self.clock.advance(20)
        wire.protocol.dataReceived(text[50:])
        self.clock.advance(9.9)
        self.assertEqual(wire.take(), b"")
        self.clock.advance(0.2)
        first, second, third = json.loads(replies(wire.take())[0][2])
        self.assertEqual(first["result"], 1)
        timed_out = {"code": -32002, "message": "request timed out"}
        self.assertEqual((second["error"], third["error"]), (timed_out, timed_out))
        self.assertEqual((self.service.cancelled, self.service.called), (1, []))

    def test_each_request_has_its_own(self) -> None:
        wire = self.connect()
        for _ in range(5):
            wire.protocol.dataReceived(post(call("t_note")))
            self.clock.advance(20)
        self.assertEqual(len(replies(wire.take())), 5)

    def test_one_that_came_with_the_last_has_one_too(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_note")) + b"POST / HTTP/1.1\r\n")
        wire.take()
        self.clock.advance(31)
        self.assertEqual(replies(wire.take())[0][0], 408)

    def test_an_idle_connection_ends_later(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_note")))
        wire.take()
        self.clock.advance(119)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(2)
        self.assertTrue(wire.disconnecting)

    def test_a_cancelled_call_that_nobody_expired_is_ours(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(post(call("t_wait")))
        self.service.waiting[0].cancel()
        self.assertEqual(json.loads(replies(wire.take())[0][2])["error"]["code"], -32603)
        self.flushLoggedErrors()


class Fairness(RpcHarness):
    def test_a_long_batch_lets_others_run(self) -> None:
        clock = self.clock

        def slow(*_: Any) -> None:
            clock.rightNow += 0.004

        self.service._note = slow  # type: ignore[method-assign]
        self.registry = type(self.registry)(self.service.namespaces())
        self.factory = self.make_factory()
        wire = self.connect()
        wire.protocol.dataReceived(post(b"[" + b",".join([call("t_note")] * 10) + b"]"))
        other: list[int] = []
        self.clock.callLater(0, lambda: other.append(len(wire.value())))
        self.clock.advance(0)
        self.assertEqual(other, [0])
        self.assertEqual(len(json.loads(replies(wire.take())[0][2])), 10)

    def test_a_batch_whose_time_is_over_stops_breathing(self) -> None:
        self.let_notes_outlast_the_deadline()
        wire = self.connect()
        wire.protocol.dataReceived(post(b"[" + b",".join([call("t_note")] * 5) + b"]"))
        self.clock.advance(0)
        self.clock.advance(0)
        answers = json.loads(replies(wire.take())[0][2])
        self.assertEqual(["error" in one for one in answers], [False, True, True, True, True])


class Ending(RpcHarness):
    def test_draining(self) -> None:
        self.assertTrue(self.successResultOf(self._drain()) is None)
        wire = self.connect()
        draining = self._drain()
        self.assertTrue(wire.disconnecting)
        self.assertNoResult(draining)
        wire.cut()
        self.successResultOf(draining)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_does_not_go_is_aborted(self) -> None:
        wire = self.connect()
        draining = self._drain()
        self.clock.advance(1)
        self.successResultOf(draining)
        self.assertTrue(wire.aborted)

    def _drain(self) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(self.factory.drain())
