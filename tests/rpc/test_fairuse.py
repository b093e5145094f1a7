"""What clients may cost: against a naive model, and as they see it on both transports."""

import json
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc import fairuse
from chainp2p.rpc.fairuse import BYTES_PER_UNIT, LONGEST_PAUSE, Allowance, FairUse
from chainp2p.rpc.limits import Limits
from tests.rpc.web.test_websocket import Harness, Pair
from tests.rpc.wire import Wire, call, post, replies

SMALL = Limits(
    cost_rate=10.0,
    cost_soft=50.0,
    cost_hard=100.0,
    subnet_cost_rate=20.0,
    subnet_cost_soft=100.0,
    subnet_cost_hard=200.0,
)
FAR = IPv4Address("TCP", "203.0.113.5", 50_000)


class _Debt:
    """The model: what is owed shrinks by *rate* a second."""

    def __init__(self, rate: float) -> None:
        self.rate, self.owed, self.at = rate, 0.0, 0.0

    def now(self, now: float) -> float:
        self.owed = max(0.0, self.owed - self.rate * (now - self.at))
        self.at = now
        return self.owed


class Model(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a1", "a2", "b1"]),
                st.floats(0.0, 30.0, allow_nan=False),
                st.floats(0.0, 120.0, allow_nan=False),
            ),
            max_size=40,
        )
    )
    def test_pauses_and_refusals_are_those_of_a_naive_model(self, steps: list[tuple[str, float, float]]) -> None:
        fair = FairUse(SMALL)
        hosts = {"a1": "198.51.100.1", "a2": "198.51.100.200", "b1": "2001:db8::1"}
        allowances = {name: fair.allowance(host) for name, host in hosts.items()}
        own = {name: _Debt(SMALL.cost_rate) for name in hosts}
        groups = {"a": _Debt(SMALL.subnet_cost_rate), "b": _Debt(SMALL.subnet_cost_rate)}
        now = 0.0
        for name, later, units in steps:
            now += later
            mine, ours = own[name], groups[name[0]]
            over = max(
                (mine.now(now) - SMALL.cost_soft) / mine.rate, (ours.now(now) - SMALL.subnet_cost_soft) / ours.rate
            )
            self.assertAlmostEqual(allowances[name].pause(now), min(max(0.0, over), LONGEST_PAUSE), places=4)
            hard = (mine.owed - SMALL.cost_hard, ours.owed - SMALL.subnet_cost_hard)
            refusal = allowances[name].refusal(now)
            if min(map(abs, hard)) > 1e-3:
                self.assertEqual(refusal is not None, max(hard) > 0)
            if refusal is not None:
                self.assertAlmostEqual(refusal.seconds, over, places=4)
                self.assertIsNone(allowances[name].refusal(now + refusal.seconds + 1e-3))
                self.assertEqual(allowances[name].pause(now + refusal.seconds + 1e-3), 0.0)
            allowances[name].spend(units, now)
            mine.owed += units
            ours.owed += units

    def test_the_smallest_debts_are_forgotten(self) -> None:
        self.patch(fairuse, "SUBNETS", 100)
        fair = FairUse(SMALL)
        for number in range(99):
            fair.allowance(f"10.0.{number}.1").spend(1 + number, 0.0)
        worst = fair.allowance("10.0.200.1")
        worst.spend(1_000, 0.0)
        self.assertEqual(len(fair), 100)
        fair.allowance("10.1.0.1").spend(1, 0.0)
        self.assertEqual(len(fair), 51)
        refusal = worst.refusal(0.0)
        assert refusal is not None
        fair.allowance("10.1.0.1").spend(1, 10_000.0)
        for number in range(100):
            fair.allowance(f"10.2.{number}.1").spend(1, 10_000.0)
        self.assertLess(len(fair), 101)
        self.assertIsNone(worst.refusal(10_000.0))


class Served(Harness):
    """The same through a server's port."""

    limits = evolve(SMALL, batch=1_000)

    def setUp(self) -> None:
        super().setUp()
        self.remake(fair=FairUse(self.limits))

    def ask(self, wire: Wire, text: bytes) -> Any:
        wire.protocol.dataReceived(post(text))
        return self.answer(wire)

    def answer(self, wire: Wire) -> Any:
        found = replies(wire.take())
        return json.loads(found[0][2]) if found else None

    def spend(self, wire: Wire, count: int) -> list[Any]:
        """What a batch of so many calls is answered."""
        answers: list[Any] = self.ask(wire, b"[" + b",".join([call("t_note")] * count) + b"]")
        return answers

    def test_each_entry_of_a_batch_costs_and_a_refusal_says_when_to_come_back(self) -> None:
        wire = self.connect(FAR)
        answers = self.spend(wire, 130)
        refused = [one["error"] for one in answers if "error" in one]
        self.assertTrue(all("result" in one for one in answers[:90]))
        self.assertGreater(len(refused), 20)
        self.assertEqual(refused[-1], refused[0] | {"message": refused[-1]["message"], "data": refused[-1]["data"]})
        self.assertEqual(refused[-1]["code"], -32005)
        seconds = refused[-1]["data"]["retryAfter"]
        self.assertEqual(
            (refused[-1]["message"], refused[-1]["data"]["limit"]),
            (f"limit exceeded: this connection asks for too much, come back in {seconds:g} s", "connection"),
        )
        self.clock.advance(seconds + 0.1)
        self.assertEqual(self.ask(wire, call("t_note"))["result"], None)
        self.assertEqual(self.tally.errors["t_note", -32005], len(refused))

    def test_above_the_soft_limit_messages_wait(self) -> None:
        wire = self.connect(FAR)
        self.spend(wire, 55)
        self.assertIsNone(self.ask(wire, call("t_note")))
        self.assertEqual((self.tally.paused, self.tally.in_flight), (1, 1))
        self.clock.advance(LONGEST_PAUSE)
        self.assertIn("result", self.answer(wire))
        self.assertEqual(self.tally.in_flight, 0)

    def test_refusals_wait_too(self) -> None:
        wire = self.connect(FAR)
        self.ask(wire, call("t_big", 300 * BYTES_PER_UNIT))
        wire.take()
        for _ in range(3):
            self.assertIsNone(self.ask(wire, call("t_note")))
            self.clock.advance(LONGEST_PAUSE)
            self.assertEqual(self.answer(wire)["error"]["code"], -32005)

    def test_a_connection_that_ends_while_it_waits_calls_nothing(self) -> None:
        wire = self.connect(FAR)
        self.spend(wire, 55)
        called = len(self.service.called)
        self.ask(wire, call("t_note"))
        wire.cut()
        self.clock.advance(30)
        self.assertEqual((len(self.service.called), self.tally.in_flight), (called, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_subnet_pays_for_all_its_connections(self) -> None:
        for number in range(3):
            wire = self.connect(IPv4Address("TCP", f"203.0.113.{number}", 1))
            answers = self.spend(wire, 90)
            self.clock.advance(LONGEST_PAUSE)
            answers = answers or self.answer(wire)
            self.assertIn("result", answers[0])
        self.assertEqual(answers[-1]["error"]["data"]["limit"], "subnet")
        elsewhere = self.connect(IPv6Address("TCP", "2001:db8::5", 1))
        self.assertIn("result", self.ask(elsewhere, call("t_note")))

    def test_bytes_cost_in_both_directions(self) -> None:
        wire = self.connect(FAR)
        self.ask(wire, call("t_big", 60 * BYTES_PER_UNIT))
        self.assertIsNone(self.ask(wire, call("t_note")))
        wire = self.connect(IPv4Address("TCP", "198.51.100.1", 1))
        self.ask(wire, call("t_note", "x" * 60 * BYTES_PER_UNIT))
        self.assertIsNone(self.ask(wire, call("t_note")))

    def test_this_machine_pays_nothing_unless_it_is_to(self) -> None:
        self.assertTrue(all("result" in one for one in self.spend(self.connect(), 500)))
        self.remake(fair=FairUse(self.limits), exempt=False)
        self.assertIn("error", self.spend(self.connect(), 500)[-1])

    def test_a_websocket_pays_too(self) -> None:
        pair = Pair(self)
        self.assertIsNone(pair.server.protocol._websocket.allowance)
        self.remake(fair=FairUse(self.limits), exempt=False)
        pair = Pair(self)
        pair.send(b"[" + b",".join([call("t_note")] * 130) + b"]")
        self.assertEqual(pair.client.got.pop()[-1]["error"]["code"], -32005)
        for _ in range(20):
            pair.send(call("t_note"))
        self.assertEqual((pair.client.got, self.tally.in_flight), ([], 16))
        self.clock.advance(LONGEST_PAUSE)
        pair.pump()
        # one second gave back ten units
        refused = [one for one in pair.client.got if one.get("error", {}).get("code") == -32005]
        self.assertEqual((len(pair.client.got), len(refused) > 0, len(refused) < 16), (16, True, True))


class Defaults(SynchronousTestCase):
    def test_a_batch_of_a_thousand_passes_and_a_steady_caller_is_not_refused(self) -> None:
        limits = Limits()
        allowance: Allowance = FairUse(limits).allowance("203.0.113.5")
        for _ in range(limits.batch):
            self.assertIsNone(allowance.refusal(0.0))
            allowance.spend(5, 0.0)
        self.assertEqual(allowance.pause(0.0), 0.0)
        now = 0.0
        for _ in range(1_000):
            now += 0.1 + allowance.pause(now)
            self.assertIsNone(allowance.refusal(now))
            allowance.spend(200, now)
        self.assertGreater(now, 180)
