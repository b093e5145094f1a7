"""The loss-free stream over the real ports in memory: WebSocket frames, producers, HTTP, descriptions."""

import json
from typing import Any

from twisted.logger import globalLogPublisher

from chainp2p.namespaces import RpcError
from chainp2p.rpc.limits import Limits
from chainp2p.rpc.methods.chain import chain_namespace
from chainp2p.rpc.openrpc import discover
from chainp2p.rpc.reference import render_rpc
from chainp2p.rpc.registry import Registry
from chainp2p.rpc.subscriptions.cursor import Cursor
from chainp2p.rpc.subscriptions.stream import Streams
from chainp2p.testing.toychain import ToyChain
from tests.rpc.web.test_websocket import Harness, Pair
from tests.rpc.wire import call, post, replies


class StreamCase(Harness):
    limits = Limits(ring_events=3, ring_bytes=100_000)

    def setUp(self) -> None:
        super().setUp()
        self.chain = ToyChain(reactor=self.clock, delay=0.01)
        self.streams = Streams(self.chain)
        self.registry = Registry([chain_namespace(self.chain, self.streams)])
        self.remake()
        self.count = 0

    def extend(self, count: int = 1) -> None:
        for _ in range(count):
            self.count += 1
            self.chain._submit(self.chain.make(salt=self.count))

    def turn(self, *pairs: Pair, seconds: float = 0.5) -> None:
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)
            for pair in pairs:
                pair.pump()

    def subscribe(self, pair: Pair, *params: Any) -> str:
        pair.send(call("chain_subscribe", *params))
        self.turn(pair)
        (answer,) = (one for one in pair.client.got if "id" in one)
        pair.client.got.remove(answer)
        id: str = answer["result"]
        return id

    def events(self, pair: Pair) -> list[dict[str, Any]]:
        got, pair.client.got = pair.client.got, []
        return [one["params"]["result"] for one in got]

    def server(self, pair: Pair) -> Any:
        return pair.server.protocol._websocket


class WireTests(StreamCase):
    def test_the_id_comes_first_and_each_event_names_it(self) -> None:
        self.extend(3)
        pair = Pair(self)
        pair.send(call("chain_subscribe", ["heads"], id="mine"))
        self.turn(pair)
        answer, ready = pair.client.got
        self.assertEqual((answer["id"], ready["method"]), ("mine", "chain_subscription"))
        self.assertEqual(set(ready), {"jsonrpc", "method", "params"})
        self.assertEqual(ready["params"]["subscription"], answer["result"])
        self.assertEqual(ready["params"]["result"]["type"], "ready")
        pair.client.got.clear()
        self.extend(2)
        self.turn(pair)
        self.assertEqual([one["height"] for one in self.events(pair)], [4, 5])

    def test_parameters_by_name_and_in_a_batch(self) -> None:
        pair = Pair(self)
        first = {"jsonrpc": "2.0", "id": 1, "method": "chain_subscribe", "params": {"topics": ["heads"]}}
        second = {"jsonrpc": "2.0", "id": 2, "method": "chain_subscribe", "params": [["nonsense"]]}
        pair.send(json.dumps([first, second]).encode())
        self.turn(pair)
        (good, bad), ready = pair.client.got
        self.assertEqual((ready["params"]["subscription"], bad["error"]["code"]), (good["result"], -32602))

    def test_errors(self) -> None:
        pair = Pair(self)
        unknown = Cursor.of(9, b"?" * 32, dict.fromkeys(range(9), b"!" * 32)).encode().decode()
        for params, code in ((["heads"], -32602), ([["heads"], "x"], -32602), ([["heads"], unknown], -32020)):
            pair.send(call("chain_subscribe", *params))
            self.turn(pair)
            self.assertEqual(pair.client.got.pop()["error"]["code"], code)
        self.assertEqual(len(self.streams), 0)

    def test_over_http_there_is_no_such_method(self) -> None:
        for method in ("chain_subscribe", "chain_unsubscribe"):
            wire = self.connect()
            wire.protocol.dataReceived(post(call(method, ["heads"])))
            ((status, _, body),) = replies(wire.take())
            self.assertEqual((status, json.loads(body)["error"]["code"]), (200, -32601))

    def test_unsubscribing_and_leaving(self) -> None:
        pair = Pair(self)
        id = self.subscribe(pair, ["heads"])
        self.subscribe(pair, ["heads"])
        self.events(pair)
        self.assertTrue(pair.ask("chain_unsubscribe", id)["result"])
        self.assertEqual(pair.ask("chain_unsubscribe", id)["error"]["message"], "subscription not found")
        self.extend()
        self.turn(pair)
        self.assertEqual((len(self.events(pair)), len(self.streams)), (1, 1))
        pair.client.sendClose()
        pair.pump()
        self.assertEqual(len(self.streams), 0)

    def test_leaving_before_the_cursor_is_found(self) -> None:
        self.extend(3)
        pair = Pair(self)
        self.subscribe(pair, ["heads"])
        cursor = self.events(pair)[0]["cursor"]
        pair.send(call("chain_subscribe", ["heads"], cursor))
        pair.server.cut()
        self.clock.advance(1)
        self.assertEqual((len(self.streams), self.clock.getDelayedCalls()), (0, []))

    def test_a_connection_has_one_limit_for_all_its_subscriptions(self) -> None:
        self.registry = Registry([*self.service.namespaces(), chain_namespace(self.chain, self.streams)])
        self.remake(limits=Limits(subscriptions=3))
        pair = Pair(self)
        pair.ask("t_subscribe", "events")
        self.subscribe(pair, ["heads"])
        self.subscribe(pair, ["heads"])
        self.events(pair)
        pair.send(call("chain_subscribe", ["heads"]))
        self.turn(pair)
        self.assertIn("too many subscriptions", pair.client.got.pop()["error"]["message"])
        self.assertIn("too many subscriptions", pair.ask("t_subscribe", "events")["error"]["message"])

    def test_history_is_read_as_the_socket_drains(self) -> None:
        pair = Pair(self)
        self.subscribe(pair, ["heads"])
        cursor = self.events(pair)[0]["cursor"]
        self.extend(100)
        self.turn(pair, seconds=5)
        self.events(pair)
        slow = Pair(self)
        self.server(slow).pauseProducing()
        slow.send(call("chain_subscribe", ["heads"], cursor))
        self.turn(slow)
        self.assertEqual(slow.client.got, [])
        server, write = self.server(slow), slow.server.write
        heights: list[int] = []

        def one_and_no_more(data: bytes) -> None:
            write(data)
            server.pauseProducing()

        slow.server.write = one_and_no_more  # type: ignore[method-assign]
        for _ in range(200):
            server.resumeProducing()
            self.turn(slow, seconds=0.05)
            got, slow.client.got = slow.client.got, []
            self.assertLessEqual(len(got), 1)
            heights += [
                one["params"]["result"]["height"] for one in got if "height" in one.get("params", {}).get("result", {})
            ]
        self.assertEqual(heights, [*range(1, 101), 0])  # genesis is final
        self.assertEqual(server._outbox.dropped, 0)

    def test_a_frozen_reader_gets_a_gap_and_loses_nothing_where_it_resumes(self) -> None:
        self.extend(2)
        pair = Pair(self)
        self.subscribe(pair, ["heads"])
        self.events(pair)
        self.server(pair).pauseProducing()
        self.extend(10)
        self.turn(pair, seconds=30)
        self.assertEqual(pair.client.got, [])
        self.server(pair).resumeProducing()
        pair.pump()
        *blocks, gap = self.events(pair)
        self.assertEqual([one["height"] for one in blocks], [3, 4, 5])
        self.assertEqual((gap["type"], gap["from"], gap["to"]["height"], gap["lost"]), ("gap", 6, 12, 7))
        self.assertEqual(gap["resume"], blocks[-1]["cursor"])
        self.extend()
        self.turn(pair)
        (block,) = self.events(pair)
        self.assertEqual((block["height"], block["parent"]), (13, gap["to"]["hash"]))
        self.subscribe(pair, ["heads"], gap["resume"])
        ready, *blocks, final = self.events(pair)
        self.assertEqual((ready["cursor"], final["type"]), (gap["resume"], "finalized"))
        self.assertEqual([one["height"] for one in blocks], list(range(6, 14)))

    def test_who_takes_nothing_for_a_minute_is_aborted_and_its_cursor_logged(self) -> None:
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        pair = Pair(self)
        self.subscribe(pair, ["heads"])
        cursor = self.events(pair)[0]["cursor"]
        self.server(pair).pauseProducing()
        self.clock.advance(60)
        self.assertTrue(pair.server.aborted)
        self.assertEqual([one["cursors"] for one in logged if "cursors" in one], [cursor])
        self.assertEqual(len(self.streams), 0)

    def test_a_failure_of_ours_before_it_begins(self) -> None:
        self.extend(3)
        pair = Pair(self)
        self.patch(self.chain, "block", lambda hash: 1 / 0)
        pair.send(call("chain_subscribe", ["heads"]))
        self.turn(pair)
        self.assertEqual(pair.client.got.pop()["error"]["message"], "internal error")
        self.assertEqual((len(self.flushLoggedErrors(ZeroDivisionError)), len(self.streams)), (1, 0))

    def test_a_connection_ends_when_its_stream_cannot_go_on(self) -> None:
        self.extend(3)
        pair = Pair(self)
        genesis = Cursor.of(0, self.chain.genesis_hash, {}).encode().decode()
        self.server(pair).pauseProducing()
        pair.send(call("chain_subscribe", ["heads"], genesis))
        self.turn(pair)
        self.patch(self.chain, "hashes_at", lambda *_: 1 / 0)
        self.server(pair).resumeProducing()
        pair.pump()
        self.turn(pair)
        self.assertEqual(pair.client.closed[1:], (1011, "a subscription failed"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class DescriptionTests(StreamCase):
    def test_programs_and_people_read_of_it(self) -> None:
        namespace = chain_namespace(self.chain, self.streams)
        methods = {one["name"]: one for one in discover([namespace], "1")["methods"]}
        params = methods["chain_subscribe"]["params"]
        self.assertEqual([(one["name"], one["required"]) for one in params], [("topics", True), ("cursor", False)])
        self.assertEqual(params[0]["schema"]["items"]["enum"], ["heads", "transactions", "peers"])
        self.assertIn("chain_unsubscribe", methods)
        self.assertIn("``chain_subscribe(topics, [cursor])``", render_rpc([namespace]))

    def test_it_is_there_only_for_connections(self) -> None:
        self.assertRaises(RpcError, self.registry.invoke, "chain_subscribe", [["heads"]])
