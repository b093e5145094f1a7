"""TXT records in memory, looked up in virtual time."""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names.dns import TXT, Record_TXT, RRHeader
from twisted.names.error import DNSNameError

__all__ = ["MemoryResolver"]

#: Virtual seconds until an answer is there: a name server nearby.
DELAY = 0.02
#: Bytes of one string of a record (RFC 1035, section 3.3.14).
_STRING_MAX = 255


class MemoryResolver:
    """Answers ``lookupText`` as Twisted's ``IResolver`` does, from a table that may change.

    :param reactor: whose time it is.
    :param texts: name -> text.
    """

    def __init__(self, reactor: Any, texts: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._texts = texts

    def lookupText(self, name: str, timeout: Sequence[int] | None = None) -> "Deferred[Any]":
        """Fire with (answers, authority, additional), or fail as for a name that does not exist."""
        call: Any = None
        done: Deferred[Any] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(DELAY, self._answer, name, done)
        return done

    def _answer(self, name: str, done: "Deferred[Any]") -> None:
        text = self._texts.get(name)
        if text is None:
            done.errback(DNSNameError(f"there is no {name}"))
            return
        raw = text.encode()
        strings = [raw[start : start + _STRING_MAX] for start in range(0, len(raw), _STRING_MAX)]
        record = RRHeader(name, TXT, ttl=60, payload=Record_TXT(*strings))  # type: ignore[no-untyped-call]
        done.callback(([record], [], []))
