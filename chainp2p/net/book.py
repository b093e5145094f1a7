"""Keeps the address book over restarts."""

from collections.abc import Callable
from typing import Any

from chainp2p.net.alarm import Alarm
from chainp2p.net.book_store import StoredBook
from chainp2p.net.metrics import Metric
from chainp2p.net.store import PeerStore
from chainp2p.peer.book import FAILURES_MAX, AddressBook, Learnt, Lost
from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.ends import LinkEnd

__all__ = ["BookKeeper"]

#: What has changed is stored so often (seconds): what a ``kill -9`` can take is a minute at most, and a peer that comes
#: and goes is not a transaction each time.
SAVE_INTERVAL = 10.0
#: Addresses that one transaction stores, and the pause before the next one (seconds): 5 ms of this thread at a time,
#: and the fullest book within a quarter of a minute.
SAVE_CHUNK, SAVE_PAUSE = 2_000, 0.25

_TEXTS = {
    Lost.GIVEN_UP: f"forgotten: more than {FAILURES_MAX} dials in a row failed, and nobody ever answered there",
    Lost.SLOT: "another address that answered has its place in the book now: a dial to this one failed",
}


class BookKeeper:
    """Stores what has changed in the book, and tells who lost its place there.

    Times that are stored are Unix seconds, those that run are the reactor's; a stored time in the future is now.

    :param now: answers Unix time in seconds.
    :param welcome: whether the operator has nothing against a peer.
    :param note: told what happened and why.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float],
        store: PeerStore,
        book: AddressBook,
        welcome: Callable[[bytes], bool],
        note: Callable[[Cause], None],
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._store = store
        self._book = book
        self._welcome = welcome
        self._note = note
        self._anchors: list[bytes] = []
        self._alarm = Alarm(reactor, self._save)

    @property
    def _offset(self) -> float:
        """What has to be added to the reactor's seconds for Unix time."""
        offset: float = self._now() - self._reactor.seconds()
        return offset

    def start(self, stored: StoredBook) -> None:
        """Take the book of an earlier run and store changes from now on."""
        now, offset = self._reactor.seconds(), self._offset
        for known in stored.known:
            known.seen_at = min(known.seen_at - offset, now)
            if known.reached_at is not None:
                known.reached_at = min(known.reached_at - offset, now)
        welcome = [known for known in stored.known if self._welcome(known.peer_id) and not known.is_stale(now)]
        self._book.restore(stored.secret or self._book.secret, welcome, stored.anchors)
        self._anchors = [address.peer_id for address in self._book.anchors()]
        if stored.secret is None:
            self._store.save_secret(self._book.secret)
        kept = {known.peer_id for known in self._book}
        self._store.save_book([(known.peer_id, None) for known in stored.known if known.peer_id not in kept], offset)
        self._alarm = Alarm(self._reactor, self._save)
        self._alarm.by(now + SAVE_INTERVAL)

    def stop(self) -> None:
        """Store all that is not stored."""
        self._alarm.stop()
        self._write(len(self._book) + SAVE_CHUNK)

    def ended(self, peer_id: bytes, end: LinkEnd) -> None:
        """A link to, or an attempt to dial, *peer_id* has ended."""
        known = self._book.get(peer_id)
        lost = self._book.ended(peer_id, end, self._reactor.seconds())
        if known is not None and lost is not None:
            address = known.address.host, known.address.port
            evidence: dict[str, str | int | float] = {"failures": known.failures, "detail": end.detail}
            self._note(
                Cause(self._now(), CauseKind.NOTED, lost.value, None, address, _TEXTS[lost], evidence, meant=peer_id)
            )

    def metrics(self) -> list[Metric]:
        """Return how full the book is and what became of the records that we were told."""
        return [
            *(("chainp2p_book", {"part": name}, count) for name, count in self._book.counts().items()),
            *(("chainp2p_records_total", {"result": one.value}, self._book.learnt[one]) for one in Learnt),
        ]

    def _save(self) -> None:
        pause = SAVE_PAUSE if self._write(SAVE_CHUNK) == SAVE_CHUNK else SAVE_INTERVAL
        self._alarm.by(self._reactor.seconds() + pause)

    def _write(self, limit: int) -> int:
        changes = self._book.changes(limit)
        self._store.save_book(changes, self._offset)
        anchors = [address.peer_id for address in self._book.anchors()]
        if anchors != self._anchors:
            self._anchors = anchors
            self._store.save_anchors(anchors)
        return len(changes)
