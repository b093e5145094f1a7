"""JSON-RPC over WebSocket, with Autobahn's client at the other end, in memory."""

import json
from typing import Any

import txaio
from attrs import evolve
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from jwt import encode
from twisted.internet.task import Clock

from chainp2p.errors import StartupError
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.web.door import Door
from chainp2p.rpc.web.frames import fragments, frame
from chainp2p.rpc.web.memory import FREE
from chainp2p.rpc.web.websocket import bind_loop, release_loop
from tests.rpc.wire import RpcHarness, Wire, call, post, replies


class Client(WebSocketClientProtocol):  # type: ignore[misc]
    """Remembers what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.texts: list[bytes] = []
        self.closed: tuple[Any, ...] = ()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert not isBinary
        self.texts.append(payload)
        self.got.append(json.loads(payload, parse_int=lambda digits: int(digits[:4_000])))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.closed = (wasClean, code, reason)


class Pair:
    """Client and server; :meth:`pump` moves bytes until none are left."""

    def __init__(self, test: "Harness", path: str = "/", **headers: str) -> None:
        factory = WebSocketClientFactory(f"ws://localhost:8545{path}", reactor=test.clock, headers=headers)
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        self.server = test.connect()
        self.client: Any = factory.buildProtocol(None)
        self.wire = Wire(self.client)
        self.client.makeConnection(self.wire)
        self.pump()

    def pump(self) -> None:
        while True:
            up, down = self.wire.take(), self.server.take()
            if not up and not down:
                break
            if up and not self.server.gone:
                self.server.protocol.dataReceived(up)
            if down and not self.wire.gone:
                self.client.dataReceived(down)
        if self.server.disconnecting or self.server.gone:
            self.server.cut()
            self.wire.cut()

    def send(self, text: bytes, binary: bool = False) -> None:
        self.client.sendMessage(text, binary)
        self.pump()

    def ask(self, method: str, *params: Any) -> Any:
        self.send(call(method, *params))
        return self.client.got.pop(0)


class Harness(RpcHarness):
    def setUp(self) -> None:
        super().setUp()
        self.patch(txaio.config, "loop", None)
        self.factory.open_websockets()
        self.addCleanup(lambda: self.factory.close_websockets())

    def remake(self, **changes: Any) -> None:
        self.factory.close_websockets()
        self.factory = self.make_factory(**changes)
        self.factory.open_websockets()


class Calls(Harness):
    def test_calls_on_both_paths(self) -> None:
        for path in ("/", "/ws", "/ws?x=1"):
            pair = Pair(self, path)
            self.assertEqual(pair.ask("t_subtract", 5, 3), {"jsonrpc": "2.0", "id": 1, "result": 2})

    def test_binary_messages_too(self) -> None:
        pair = Pair(self)
        pair.send(call("t_subtract", 5, 3), binary=True)
        self.assertEqual(pair.client.got[0]["result"], 2)

    def test_batches_notifications_and_nonsense(self) -> None:
        pair = Pair(self)
        pair.send(b"[" + call("t_subtract", 5, 3) + b",1]")
        self.assertEqual([one.get("result") for one in pair.client.got.pop()], [2, None])
        pair.send(b'{"jsonrpc":"2.0","method":"t_note"}')
        self.assertEqual((pair.client.got, self.service.called), ([], [(None,)]))
        pair.send(b"\x00nonsense")
        self.assertEqual(pair.client.got.pop()["error"]["code"], -32700)

    def test_answers_may_overtake_each_other(self) -> None:
        pair = Pair(self)
        pair.send(call("t_later", id="slow"))
        pair.send(call("t_note", id="quick"))
        self.assertEqual([one["id"] for one in pair.client.got], ["quick"])
        self.service.waiting[0].callback(1)
        pair.pump()
        self.assertEqual([one["id"] for one in pair.client.got], ["quick", "slow"])

    def test_every_size_of_frame(self) -> None:
        pair = Pair(self)
        for size in (1, 125, 126, 65_535, 65_536, 200_000, 6_000_000):
            self.assertEqual(len(pair.ask("t_big", size)["result"]), size)
        self.assertEqual([frame(size)[1] for size in (125, 126, 65_535, 65_536)], [125, 126, 126, 127])
        self.assertEqual(
            [len(list(fragments(b"x" * size))) for size in (65_535, 65_536, 131_070, 131_071)], [1, 2, 2, 3]
        )

    def test_bytes_behind_the_handshake_are_not_lost(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x89\x80\0\0\0\0"
        )
        head, _, rest = wire.take().partition(b"\r\n\r\n")
        self.assertIn(b"101", head)
        self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", head)
        self.assertEqual(rest, b"\x8a\0")

    def test_after_a_call_over_http(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(
            post(call("t_note")) + b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.assertIn(b"HTTP/1.1 101", wire.take())

    def test_who_is_refused(self) -> None:
        self.remake(door=Door(token=b"s" * 32, admin=True))
        for headers in ({}, {"Origin": "https://evil.example"}, {"Authorization": "Bearer x"}):
            pair = Pair(self, **headers)
            self.assertFalse(pair.client.closed and pair.client.closed[0])
            self.assertNotEqual(pair.client.state, pair.client.STATE_OPEN)
        token = encode({"iat": 0}, b"s" * 32, algorithm="HS256")
        self.assertEqual(Pair(self, Authorization=f"Bearer {token}").ask("t_subtract", 2, 1)["result"], 1)

    def test_a_handshake_without_a_key(self) -> None:
        wire = self.connect()
        wire.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n")
        self.assertEqual(replies(wire.take())[0][0], 400)

    def test_too_large_a_message_ends_it(self) -> None:
        self.remake(limits=evolve(self.limits, body=1_000))
        pair = Pair(self)
        pair.send(b"x" * 1_001)
        self.assertEqual(pair.client.remoteCloseCode, 1009)

    def test_a_handler_of_ours_that_fails(self) -> None:
        pair = Pair(self)
        self.assertEqual(pair.ask("t_fail")["error"]["message"], "internal error")
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class Subscriptions(Harness):
    def test_the_answer_comes_before_its_events(self) -> None:
        pair = Pair(self)
        pair.send(call("t_subscribe", "events", "now"))
        answer, event = pair.client.got
        self.assertEqual(event["params"], {"subscription": answer["result"], "result": "now"})
        self.assertEqual(event["method"], "t_subscription")

    def test_in_a_batch_with_a_slow_call_too(self) -> None:
        pair = Pair(self)
        pair.send(b"[" + call("t_subscribe", "events", "now") + b"," + call("t_wait") + b"]")
        self.assertEqual(pair.client.got, [])
        self.service.waiting[0].callback(None)
        pair.pump()
        self.assertEqual([type(one) for one in pair.client.got], [list, dict])

    def test_another_call_in_between_does_not_let_events_overtake(self) -> None:
        pair = Pair(self)
        pair.send(b"[" + call("t_subscribe", "events", "now") + b"," + call("t_wait") + b"]")
        self.assertIsNone(pair.ask("t_note")["result"])
        self.assertEqual(pair.client.got, [])
        self.service.waiting[0].callback(None)
        pair.pump()
        self.assertEqual([type(one) for one in pair.client.got], [list, dict])

    def test_unsubscribing_and_leaving(self) -> None:
        pair, other = Pair(self), Pair(self)
        id = pair.ask("t_subscribe", "events")["result"]
        other.ask("t_subscribe", "events")
        self.assertTrue(pair.ask("t_unsubscribe", id)["result"])
        self.assertEqual(pair.ask("t_unsubscribe", id)["error"]["message"], "subscription not found")
        self.service.emit(1)
        pair.pump()
        self.assertEqual(pair.client.got, [])
        other.client.sendClose()
        other.pump()
        self.assertEqual((self.service.closed, len(self.hub)), (1, 0))
        self.service.emit(2)

    def test_the_limit(self) -> None:
        self.remake(limits=evolve(self.limits, subscriptions=2))
        pair = Pair(self)
        answers = [pair.ask("t_subscribe", "events") for _ in range(3)]
        self.assertEqual(["error" in one for one in answers], [False, False, True])


class Pressure(Harness):
    limits = Limits(calls_in_flight=2, ring_events=3, ring_bytes=10_000)

    def server(self, pair: Pair) -> Any:
        return pair.server.protocol._websocket

    def test_the_next_call_waits_and_reading_stops(self) -> None:
        pair = Pair(self)
        for id in range(4):
            pair.client.sendMessage(call("t_wait", id=id))
        pair.pump()
        self.assertEqual((len(self.service.waiting), pair.server.producerState), (2, "paused"))
        self.service.waiting[0].callback("a")
        self.assertEqual((len(self.service.waiting), pair.server.producerState), (3, "paused"))
        self.service.waiting[1].callback("b")
        self.assertEqual((len(self.service.waiting), pair.server.producerState), (4, "producing"))
        for waiting in self.service.waiting[2:]:
            waiting.callback("c")
        pair.pump()
        self.assertEqual([one["id"] for one in pair.client.got], [0, 1, 2, 3])

    def test_a_slow_reader_gets_pieces_and_is_not_read(self) -> None:
        pair = Pair(self)
        self.server(pair).pauseProducing()
        pair.client.sendMessage(call("t_big", 200_000))
        pair.pump()
        pair.client.sendMessage(call("t_note"))
        pair.pump()
        self.assertEqual((pair.client.got, pair.server.producerState, self.service.called), ([], "paused", []))
        for _lot in range(4):
            self.assertEqual(pair.client.got, [])
            for _ in range(5):
                self.clock.advance(10)  # slow, but it reads
            write, server = pair.server.write, self.server(pair)

            def one_lot(data: bytes, write: Any = write, server: Any = server) -> None:
                write(data)
                server.pauseProducing()

            pair.server.write = one_lot  # type: ignore[method-assign]
            server.resumeProducing()
            pair.server.write = write  # type: ignore[method-assign]
            server.sendPing(b"between two lots")
            pair.pump()
        self.assertEqual(len(pair.client.got), 1)
        self.server(pair).resumeProducing()
        pair.pump()
        self.assertEqual((len(pair.client.got), pair.server.producerState), (2, "producing"))
        self.assertFalse(pair.server.aborted)

    def test_events_for_a_slow_reader_are_bounded(self) -> None:
        pair = Pair(self)
        pair.ask("t_subscribe", "events")
        server = self.server(pair)
        server.pauseProducing()
        server.pauseProducing()
        for index in range(10):
            self.service.emit(index)
        pair.pump()
        self.assertEqual((pair.client.got, server._outbox.dropped), ([], 7))
        server.resumeProducing()
        server.resumeProducing()
        pair.pump()
        self.service.emit("live")
        pair.pump()
        self.assertEqual([one["params"]["result"] for one in pair.client.got], [0, 1, 2, "live"])

    def test_who_takes_nothing_for_a_minute_is_aborted(self) -> None:
        pair = Pair(self)
        pair.ask("t_subscribe", "events")
        self.server(pair).pauseProducing()
        self.service.emit(1)
        self.clock.advance(59)
        self.assertFalse(pair.server.aborted)
        self.clock.advance(1)
        self.assertTrue(pair.server.aborted)
        self.assertEqual(len(self.hub), 0)
        self.server(pair).stopProducing()

    def test_calls_have_a_deadline(self) -> None:
        pair = Pair(self)
        pair.send(call("t_wait"))
        self.clock.advance(30)
        pair.pump()
        self.assertEqual(pair.client.got[0]["error"], {"code": -32002, "message": "request timed out"})

    def test_a_lost_connection_ends_its_calls(self) -> None:
        pair = Pair(self)
        for _ in range(3):
            pair.client.sendMessage(call("t_wait"))
        pair.pump()
        self.server(pair).pauseProducing()
        pair.server.cut()
        self.assertEqual((self.service.cancelled, self.factory.channels), (2, set()))

    def test_an_open_connection_has_no_deadline_but_is_pinged(self) -> None:
        pair = Pair(self)
        for _ in range(10):
            self.clock.advance(20)
            pair.pump()
        self.assertEqual(pair.ask("t_subtract", 2, 1)["result"], 1)

    def test_who_answers_no_ping_is_dropped(self) -> None:
        pair = Pair(self)
        for _ in range(10):
            self.clock.advance(10)
        self.assertTrue(pair.server.aborted)
        self.assertEqual(self.factory.channels, set())


class Ending(Harness):
    def test_the_server_says_goodbye(self) -> None:
        pair = Pair(self)
        for channel in tuple(self.factory.channels):
            channel.close()
            channel.close()
        pair.pump()
        self.assertEqual(pair.client.closed, (True, 1012, "the node stops"))
        self.assertEqual(self.factory.channels, set())

    def test_nothing_follows_a_close_frame(self) -> None:
        pair = Pair(self)
        pair.ask("t_subscribe", "events")
        pair.client.sendMessage(call("t_wait"))
        pair.pump()
        next(iter(self.factory.channels)).close()
        pair.server.take()
        self.service.emit(1)
        self.service.waiting[0].callback(1)
        self.assertEqual(pair.server.take(), b"")


class Loops(Harness):
    def test_one_reactor_at_a_time(self) -> None:
        other = Clock()
        error = self.assertRaises(StartupError, bind_loop, other)
        self.assertIn("Clock", str(error))
        bind_loop(self.clock)
        release_loop(self.clock)
        self.assertRaises(StartupError, bind_loop, other)
        self.factory.close_websockets()
        self.factory.close_websockets()
        self.assertIs(txaio.config.loop, self.clock)
        bind_loop(other)
        self.assertIs(txaio.config.loop, other)
        release_loop(other)

    def test_a_hosts_choice_stays(self) -> None:
        self.factory.close_websockets()
        self.patch(txaio.config, "loop", Clock())
        self.assertRaises(StartupError, bind_loop, self.clock)


class Bounds(Harness):
    def test_frames_of_a_message_are_counted(self) -> None:
        self.remake(limits=evolve(self.limits, frames=3))
        for frames, code in ((3, None), (4, 1009)):
            pair = Pair(self)
            text = call("t_note")
            pair.client.beginMessage()
            for piece in [*[b""] * (frames - 2), text]:
                pair.client.sendMessageFrame(piece)
            pair.client.endMessage()  # an empty frame more
            pair.pump()
            if code is None:
                self.assertEqual(len(pair.client.got), 1)
                pair.ask("t_note")  # and counted anew
            else:
                self.assertEqual((pair.client.got, pair.client.closed[1]), ([], code))

    def test_a_message_that_is_never_whole(self) -> None:
        pair = Pair(self)
        pair.client.beginMessage()
        pair.client.sendMessageFrame(b"[")
        pair.pump()
        for _ in range(2):
            self.assertEqual(pair.client.closed, ())
            self.clock.advance(self.limits.ping)
            pair.pump()
            pair.client.sendMessageFrame(b" ")  # it is not silent
            pair.pump()
        self.assertEqual(pair.client.closed[1:], (1008, "the message was not complete in time"))

    def test_large_messages_share_a_bound(self) -> None:
        self.remake(limits=evolve(self.limits, held=100_000))
        waiting, other = Pair(self), Pair(self)
        waiting.send(call("t_wait").ljust(150_000))
        self.assertEqual(self.factory._memory.total, 150_000 - FREE)
        other.send(call("t_note").ljust(100_000))
        self.assertEqual(other.client.closed[1], 1013)
        self.assertEqual(self.factory._memory.total, 150_000 - FREE)
        self.service.waiting[0].callback(1)
        waiting.pump()
        self.assertEqual(self.factory._memory.total, 0)
        waiting.send(call("t_wait").ljust(150_000))
        waiting.server.cut()
        self.assertEqual(self.factory._memory.total, 0)

    def test_answers_that_nobody_reads_share_it_too(self) -> None:
        self.remake(limits=evolve(self.limits, held=200_000))
        deaf, other = Pair(self), Pair(self)
        deaf.server.protocol._websocket.pauseProducing()
        deaf.server.protocol._websocket._run(call("t_big", 200_000))
        held = self.factory._memory.total
        self.assertGreater(held, 200_000 - FREE)
        other.send(call("t_big", 150_000))
        self.assertEqual(other.client.closed[1], 1013)
        self.assertEqual(self.factory._memory.total, held)
        deaf.server.protocol._websocket.resumeProducing()
        deaf.pump()
        self.assertEqual(len(deaf.client.got[0]["result"]), 200_000)
        self.assertEqual(self.factory._memory.total, 0)

    def test_websockets_leave_room_for_probes(self) -> None:
        self.remake(limits=evolve(self.limits, connections=16))
        pairs = [Pair(self) for _ in range(15)]
        wire = self.connect()
        wire.protocol.dataReceived(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.assertEqual(replies(wire.take())[0][0], 503)
        wire.protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(replies(wire.take())[0][0], 200)
        probe = self.connect()
        probe.protocol.dataReceived(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(replies(probe.take())[0][0], 200)
        self.assertTrue(wire.aborted)
        self.assertFalse(any(pair.server.gone for pair in pairs))
        self.assertEqual(self.connections(), {"http": 1, "websocket": 15})
        for pair in pairs[:2]:
            pair.server.cut()
            pair.server.cut()
        self.assertEqual(self.connections(), {"http": 1, "websocket": 13})
        again = Pair(self)
        again.send(call("t_echo", 1))
        self.assertEqual(len(again.client.got), 1)
        self.assertEqual(self.connections(), {"http": 1, "websocket": 14})

    def connections(self) -> dict[str, float]:
        return {
            labels["transport"]: value
            for name, labels, value in self.factory.metrics()
            if name == "chainp2p_rpc_connections"
        }


class Broken(Harness):
    def test_a_failure_during_the_upgrade_ends_the_connection(self) -> None:
        def explode(data: bytes) -> None:
            raise KeyError("ours")

        build = self.factory.websocket

        def websocket(request: Any, channel: Any) -> Any:
            protocol: Any = build(request, channel)
            protocol.dataReceived = explode
            return protocol

        self.factory.websocket = websocket  # type: ignore[method-assign]
        wire = self.connect()
        wire.protocol.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n")
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        wire.cut()
        self.assertEqual(self.factory._upgraded, 0)
