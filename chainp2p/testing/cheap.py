"""A peer that seals headers of low rank without end, at next to no cost, and keeps none of them."""

from collections.abc import Callable
from typing import Protocol

from chainp2p.wire.messages import GetHeaders, Headers, Message, NotFound

__all__ = ["CheapHeaders", "Forger"]


class Forger(Protocol):
    """Makes one header upon another."""

    def start(self) -> tuple[bytes, object]:
        """The hash of the good block that the first follows, and what :meth:`next` needs."""
        ...

    def below(self, hash: bytes) -> list[bytes] | None:
        """The good headers between block *hash* and the first; None: it is not below that."""
        ...

    def next(self, place: object) -> tuple[bytes, bytes, object]:
        """A header, its hash, and what the next one needs."""
        ...


class CheapHeaders:
    """Answers ``GetHeaders`` with *count* headers in all, in order; it begins anew when it is asked from below.

    :param most: headers in a message.
    :param sent: how many were sent, told after each message.
    """

    def __init__(
        self, forger: Forger, count: int, most: int = 2_000, sent: Callable[[int], None] = lambda _: None
    ) -> None:
        self._forger = forger
        self._count = count
        self._most = most
        self._sent = sent
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._tip, self._place = self._forger.start()

    def answer(self, message: GetHeaders) -> Message:
        """What it says."""
        raws: list[bytes] = []
        if message.from_ != self._tip:
            below = self._forger.below(message.from_)
            if below is None:
                return NotFound((message.from_,))
            self._begin()
            raws = below[: message.count]
        fresh = max(0, min(self._most, message.count - len(raws), self._count - self._at))
        for _ in range(fresh):
            raw, self._tip, self._place = self._forger.next(self._place)
            raws.append(raw)
        self._at += fresh
        self._sent(fresh)
        return Headers(tuple(raws))
