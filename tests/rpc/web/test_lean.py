"""What idle connections hold, and that they are all there when they are used again."""

import sys
from typing import Any

from chainp2p.rpc.web.lean import keep_only
from tests.rpc.web.test_websocket import Harness, Pair

#: Bytes of the attributes of a channel and its WebSocket: 28 times as many before anything was freed.
ATTRIBUTES = 512


class Idle(Harness):
    def websocket(self, pair: Pair) -> Any:
        return pair.server.protocol._websocket

    def attributes(self, pair: Pair) -> int:
        return sys.getsizeof(vars(pair.server.protocol)) + sys.getsizeof(vars(self.websocket(pair)))

    def test_attributes_of_the_handshake_and_settings_are_gone(self) -> None:
        for _ in range(2):
            pair = Pair(self)
            pair.ask("t_subscribe", "events")
            self.assertLess(self.attributes(pair), ATTRIBUTES)
            self.assertEqual(vars(self.websocket(pair)), {})

    def test_calls_leave_nothing(self) -> None:
        pair = Pair(self)
        pair.ask("t_note")
        before = self.attributes(pair)
        for _ in range(20):
            pair.ask("t_note")
            pair.client.sendPing(b"x")
            pair.pump()
        self.assertEqual(self.attributes(pair), before)

    def test_what_one_does_is_its_own(self) -> None:
        others = [Pair(self), Pair(self)]
        broken = Pair(self)
        broken.client.transport.write(b"\xff\xff")  # reserved bits, and an opcode that there is not
        broken.pump()
        self.assertEqual(broken.client.remoteCloseCode, 1002)
        leaving = Pair(self)
        leaving.client.sendClose(1000, "bye")
        leaving.pump()
        self.assertEqual(leaving.client.closed[:2], (True, 1000))
        for pair in (*others, Pair(self)):
            self.assertFalse(self.websocket(pair).failedByMe or self.websocket(pair).closedByMe)
            self.assertIsNone(self.websocket(pair).remoteCloseCode)
            self.assertEqual(pair.ask("t_subtract", 5, 3)["result"], 2)


class Kept(Harness):
    def test_classes_answer_for_what_is_forgotten(self) -> None:
        class Thing:
            there = 1

        thing = Thing()
        thing.there = 2
        vars(thing)["own"] = 3
        keep_only(thing, {"own"})
        self.assertEqual((thing.there, vars(thing)), (1, {"own": 3}))
