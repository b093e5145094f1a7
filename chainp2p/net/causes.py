"""Keeps the ledger of causes over restarts."""

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from chainp2p.net.alarm import Alarm
from chainp2p.net.store import PeerStore
from chainp2p.peer.causes import Cause, CauseKind, Causes, Evidence, cause_of_end
from chainp2p.peer.ends import LinkEnd

__all__ = ["CauseKeeper"]

#: Causes are stored so long after the first that is not (seconds): one transaction a second at most, and what a
#: ``kill -9`` can take is the last second.
SAVE_DELAY = 1.0


class CauseKeeper(Causes):
    """The ledger of causes and its table; all times are Unix seconds.

    :param now: answers Unix time in seconds.
    """

    def __init__(self, reactor: Any, now: Callable[[], float], store: PeerStore) -> None:
        super().__init__()
        self._reactor = reactor
        self._now = now
        self._store = store
        self._alarm = Alarm(reactor, self._save)
        self._running = False

    def start(self, stored: Iterable[tuple[int, Cause]]) -> None:
        """Take the causes of an earlier run; what would lie in the future, by a clock that was wrong, is now."""
        if len(self):
            stored = ()  # started again: what is here is what was stored
        now = self._now()
        self.restore((number, one if one.when <= now else evolve(one, when=now)) for number, one in stored)
        self._alarm = Alarm(self._reactor, self._save)
        self._running = True

    def stop(self) -> None:
        """Store what is not stored."""
        self._running = False
        self._alarm.stop()
        self._save()

    def _save(self) -> None:
        changed = self.changed()
        if changed:
            self._store.save_causes(changed)

    def note(self, cause: Cause) -> None:
        """Remember *cause*, and store it soon."""
        super().note(cause)
        if self._running:
            self._alarm.by(self._reactor.seconds() + SAVE_DELAY)

    def ended(self, end: LinkEnd, meant: bytes | None, facts: Evidence, dialled: bool = False) -> None:
        """A link or a dial has ended (see :func:`chainp2p.peer.causes.cause_of_end`)."""
        self.note(cause_of_end(end, meant, facts, dialled))

    def by_operator(self, kind: CauseKind, code: str, peer_id: bytes, text: str) -> None:
        """The operator has decided something about a peer."""
        self.note(Cause(self._now(), kind, code, peer_id, ("", 0), text, {"by": "operator"}))
