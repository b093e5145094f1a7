"""A bus of frozen event values: subscribers are called in order, at once, and cannot harm the publisher."""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["EventBus"]

E = TypeVar("E")


class EventBus:
    """Events are published by their exact class to those who subscribed to it.

    :param on_error: called with the exception that a subscriber raised; the others still get the event.
    """

    def __init__(self, on_error: Callable[[Exception], None] | None = None) -> None:
        self._subscribers: dict[type, list[Callable[[Any], object]]] = {}
        self._on_error = on_error

    def subscribe(self, kind: type[E], callback: Callable[[E], object]) -> Callable[[], None]:
        """Call *callback* with each event of class *kind*; the result ends the subscription (any number of times)."""
        callbacks = self._subscribers.setdefault(kind, [])
        callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)

        return unsubscribe

    def publish(self, event: object) -> None:
        """Hand *event* to its subscribers."""
        for callback in tuple(self._subscribers.get(type(event), ())):
            try:
                callback(event)
            except Exception as error:
                if self._on_error is None:
                    raise
                self._on_error(error)
