"""Runs a coroutine as far as it gets without waiting: most calls are answered from memory, and a Deferred for each that
never waits would cost as much as the call."""

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

__all__ = ["at_once"]

T = TypeVar("T")


def at_once(work: Coroutine[Any, Any, T]) -> "T | Deferred[T]":
    """Return the result of *work*, or raise what it raises; a Deferred of either if *work* has to wait."""
    try:
        awaited = work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    return Deferred.fromCoroutine(_rest(work, awaited))


@coroutine
def _rest(work: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """What is left of *work*, which waits for *awaited*, for somebody else to drive."""
    while True:
        try:
            try:
                result = yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(result)
        except StopIteration as done:
            last: T = done.value
            return last
