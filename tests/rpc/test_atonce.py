"""Coroutines that are run as far as they get, against what a Deferred makes of the same coroutines."""

from collections.abc import Awaitable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.atonce import at_once


class Culprit(Exception):
    pass


async def add(*terms: "Awaitable[int]") -> int:
    total = 0
    for term in terms:
        total += await term
    return total


async def nested(inner: Awaitable[int]) -> int:
    try:
        return await add(inner)
    except Culprit:
        return -1


class AtOnceTests(SynchronousTestCase):
    def test_what_does_not_wait_is_there_at_once(self) -> None:
        self.assertEqual(at_once(add()), 0)
        self.assertEqual(at_once(add(succeed(1), succeed(2))), 3)
        with self.assertRaises(Culprit):
            at_once(add(succeed(1), fail(Culprit())))

    def test_what_waits_is_a_deferred(self) -> None:
        first, second = Deferred[int](), Deferred[int]()
        result = at_once(add(first, succeed(10), second))
        assert isinstance(result, Deferred)
        first.callback(1)
        self.assertNoResult(result)
        second.callback(100)
        self.assertEqual(self.successResultOf(result), 111)

    def test_failures_arrive_where_they_are_awaited(self) -> None:
        for work, expected in ((nested, -1), (add, None)):
            waiting = Deferred[int]()
            result = at_once(work(waiting))
            assert isinstance(result, Deferred)
            waiting.errback(Culprit())
            if expected is None:
                self.failureResultOf(result, Culprit)
            else:
                self.assertEqual(self.successResultOf(result), expected)

    def test_it_can_be_cancelled(self) -> None:
        cancelled: list[Any] = []
        result = at_once(nested(Deferred(cancelled.append)))
        assert isinstance(result, Deferred)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(len(cancelled), 1)

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=6))
    def test_it_does_what_a_deferred_does(self, plan: "list[tuple[int, bool, bool]]") -> None:
        """Each term has a value, may fail, and may be there from the beginning."""

        def play(run: Any) -> Any:
            terms = [Deferred[int]() for _ in plan]

            def fire(early: bool) -> None:
                for term, (value, fails, now) in zip(terms, plan, strict=True):
                    if now is early:
                        term.errback(Culprit(value)) if fails else term.callback(value)

            fire(True)
            outcome: list[Any] = []
            try:
                result = run(add(*terms))
            except Culprit as error:
                outcome.append(error.args)
            else:
                if isinstance(result, Deferred):
                    result.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value.args))
                else:
                    outcome.append(result)
            fire(False)
            for term in terms:
                term.addErrback(lambda _: None)
            return outcome

        self.assertEqual(play(at_once), play(Deferred.fromCoroutine))
