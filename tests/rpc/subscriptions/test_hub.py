"""Subscriptions: shared sources, spliced ids, nothing left behind."""

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.namespaces import RpcError
from chainp2p.rpc.registry import Registry, Subscribe, Unsubscribe
from chainp2p.rpc.subscriptions.hub import Hub, Session
from tests.rpc.wire import Service


class Listener:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def notify(self, head: bytes, id: bytes, tail: bytes) -> None:
        self.seen.append(json.loads(head + id + tail)["params"])


class Hubs(SynchronousTestCase):
    def setUp(self) -> None:
        self.service = Service()
        self.registry = Registry(self.service.namespaces())
        self.hub = Hub(b"x")
        self.listeners = [Listener(), Listener()]
        self.sessions = [Session(self.hub, one, 3) for one in self.listeners]

    def wanted(self, *params: Any) -> Subscribe:
        found = self.registry.invoke("t_subscribe", list(params), True)
        assert isinstance(found, Subscribe)
        return found

    def test_ids_have_fixed_width_and_no_leading_zero(self) -> None:
        ids = {self.hub.new_id() for _ in range(2_000)}
        self.assertEqual((len(ids), {len(id) for id in ids}), (2_000, {34}))
        self.assertNotIn("0", {id[2] for id in ids})
        self.assertNotEqual(Hub(b"x").new_id(), Hub(b"y").new_id())

    def test_one_source_serves_all_who_want_the_same(self) -> None:
        ids = [session.subscribe(self.wanted("events")) for session in self.sessions]
        for session, id in zip(self.sessions, ids, strict=True):
            session.release([id])
        self.assertEqual((self.service.opened, len(self.hub)), (1, 2))
        self.service.emit({"a": 1})
        self.assertEqual(
            [one.seen for one in self.listeners], [[{"subscription": id, "result": {"a": 1}}] for id in ids]
        )
        other = self.sessions[0].subscribe(self.wanted("events", 7))
        self.assertEqual(self.service.opened, 2)
        self.sessions[0].close()
        self.assertEqual(self.service.closed, 1)
        self.assertTrue(self.sessions[1].unsubscribe(Unsubscribe("t", ids[1])))
        self.assertEqual((self.service.closed, len(self.hub)), (2, 0))
        self.assertNotIn(other, ids)

    def test_events_wait_for_the_answer_with_the_id(self) -> None:
        id = self.sessions[0].subscribe(self.wanted("events", "first"))
        self.service.emit("second")
        self.assertEqual(self.listeners[0].seen, [])
        self.sessions[0].release([id])
        self.assertEqual(self.listeners[0].seen, [{"subscription": id, "result": r} for r in ("first", "second")])

    def test_limits_and_strangers(self) -> None:
        ids = [self.sessions[0].subscribe(self.wanted("events")) for _ in range(3)]
        self.assertEqual(len(self.sessions[0]), 3)
        error = self.assertRaises(RpcError, self.sessions[0].subscribe, self.wanted("events"))
        self.assertIn("too many subscriptions", error.message)
        for session, wanted in (
            (self.sessions[1], Unsubscribe("t", ids[0])),
            (self.sessions[0], Unsubscribe("eth", ids[0])),
            (self.sessions[0], Unsubscribe("t", "0x\ud800")),
        ):
            self.assertEqual(self.assertRaises(RpcError, session.unsubscribe, wanted).message, "subscription not found")

    def test_one_that_cannot_open_leaves_nothing(self) -> None:
        self.assertRaises(RpcError, self.sessions[0].subscribe, self.wanted("broken"))
        self.assertEqual((len(self.hub), len(self.sessions[0])), (0, 0))

    def test_leaving_while_an_event_is_delivered(self) -> None:
        wanted = self.wanted("events")
        for session in self.sessions:
            session.release([session.subscribe(wanted)])

        def leave(*_: Any) -> None:
            self.sessions[1].close()

        self.listeners[0].notify = leave  # type: ignore[method-assign]
        self.service.emit(1)
        self.assertEqual(len(self.hub), 1)
        self.sessions[0].close()
        self.assertEqual(self.service.closed, 1)
