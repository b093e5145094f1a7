"""Counting calls: every kind of answer, on both transports, and nothing that a stranger could make grow."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.tally import BUCKETS, Latencies, Tally
from tests.rpc.web.test_websocket import Harness, Pair
from tests.rpc.wire import call, post


class Histograms(SynchronousTestCase):
    def test_buckets_are_cumulative_and_their_ends_belong_to_them(self) -> None:
        latencies = Latencies()
        for seconds in (0.0, BUCKETS[0], BUCKETS[0] * 1.01, BUCKETS[-1], 1_000.0):
            latencies.add(seconds)
        samples = [(name, labels.get("le"), value) for name, labels, value in latencies.metrics("x", {"a": "b"})]
        self.assertEqual([value for _, end, value in samples if end], [2, *[3] * (len(BUCKETS) - 2), 4, 5])
        self.assertEqual((samples[0][1], samples[-3][1]), ("0.0005", "+Inf"))
        self.assertEqual([(name, value) for name, _, value in samples[-2:]], [("x_count", 5), ("x_sum", 1_030.001005)])


class Counting(Harness):
    def samples(self) -> dict[tuple[Any, ...], float]:
        return {
            (name.removeprefix("chainp2p_rpc_"), *labels.values()): value
            for name, labels, value in self.factory.metrics()
        }

    def test_calls_errors_and_bytes_by_method(self) -> None:
        wire = self.connect()
        text = b"[" + b",".join([call("t_note"), call("t_refuse"), call("t_fail"), call("t_nonsense"), b"1"]) + b"]"
        wire.protocol.dataReceived(post(text))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        body = wire.take().partition(b"\r\n\r\n")[2]
        pair = Pair(self)
        pair.send(call("t_subtract", 5, 3))
        pair.send(b'{"jsonrpc":"2.0","method":"t_refuse"}')
        found = self.samples()
        for method, count in (("t_note", 1), ("t_refuse", 2), ("t_fail", 1), ("unknown", 1), ("invalid", 1)):
            self.assertEqual(found["call_seconds_count", "rpc", method], count)
        self.assertEqual(found["errors_total", "rpc", "t_refuse", "-32000"], 2)
        self.assertEqual(found["errors_total", "rpc", "t_fail", "-32603"], 1)
        self.assertEqual(found["errors_total", "rpc", "unknown", "-32601"], 1)
        self.assertEqual(found["errors_total", "rpc", "invalid", "-32600"], 1)
        self.assertNotIn(("errors_total", "rpc", "t_note", "0"), found)
        self.assertEqual(found["received_bytes_total", "rpc", "http"], len(text))
        self.assertEqual(found["sent_bytes_total", "rpc", "http"], len(body))
        self.assertEqual(found["sent_bytes_total", "rpc", "websocket"], len(pair.client.texts[0]))
        self.assertEqual((found["connections", "rpc", "http"], found["connections", "rpc", "websocket"]), (1, 1))

    def test_names_that_callers_invent_are_one(self) -> None:
        wire = self.connect()
        for number in range(300):
            wire.protocol.dataReceived(post(call(f"x_{number}")))
        self.assertEqual(set(self.tally.latencies), {"unknown"})

    def test_what_is_in_flight_and_how_long_it_took(self) -> None:
        pair = Pair(self)
        pair.send(call("t_later"))
        self.assertEqual(self.samples()["in_flight", "rpc"], 1)
        self.clock.advance(0.2)
        self.service.waiting[0].callback(1)
        found = self.samples()
        self.assertEqual((found["in_flight", "rpc"], found["call_seconds_sum", "rpc", "t_later"]), (0, 0.2))
        self.assertEqual(found["call_seconds_bucket", "rpc", "t_later", "0.25"], 1)
        self.assertEqual(found["call_seconds_bucket", "rpc", "t_later", "0.1"], 0)

    def test_subscriptions_events_drops_and_what_waits(self) -> None:
        pair = Pair(self)
        pair.ask("t_subscribe", "events")
        self.service.emit("x")
        pair.pump()
        found = self.samples()
        self.assertEqual((found["subscriptions", "rpc", "t_events"], found["events_total", "rpc"]), (1, 1))
        pair.server.protocol._websocket.pauseProducing()
        for _ in range(300):
            self.service.emit("x" * 100)
        found = self.samples()
        self.assertEqual((found["events_total", "rpc"], found["events_dropped_total", "rpc"]), (257, 44))
        self.assertGreater(found["waiting_highest_bytes", "rpc"], 256 * 100)
        self.clock.advance(60)
        self.assertEqual(self.samples()["stalled_total", "rpc"], 1)
        self.assertEqual(self.samples()["waiting_bytes", "rpc"], 0)
        self.assertNotIn(("subscriptions", "rpc", "t_events"), self.samples())

    def test_what_http_refuses(self) -> None:
        for request in (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"nonsense\r\n\r\n",
            post(b"", origin="http://x"),
        ):
            self.connect().protocol.dataReceived(request)
        found = self.samples()
        self.assertEqual([found["http_refused_total", "rpc", status] for status in ("400", "403", "405")], [1, 1, 1])

    def test_a_tally_says_which_port_it_is_of(self) -> None:
        self.assertEqual({labels["port"] for _, labels, _ in Tally("admin").metrics()}, {"admin"})
        self.assertEqual(json.dumps(self.tally.port), '"rpc"')
