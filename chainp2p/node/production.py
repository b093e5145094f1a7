"""Calls the chain's block producer when it is time, and after a start not before the warm-up is over."""

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chainp2p.chain.interfaces import FinalizedChanged, HeadChanged, TransactionAdded
from chainp2p.errors import Reason, StorageError
from chainp2p.node.warmup import WarmUp
from chainp2p.peer.link import Handler, Link

__all__ = ["Production"]

#: Seconds until a producer that failed is asked again: its error has been logged, and a network waits for it.
_AFTER_FAILURE = 1.0


class Production:
    """A LinkUser that drives one :class:`IBlockProducer`.

    It sleeps until the time that the producer named and wakes early when the head, finality or the pool changes. One
    ``produce`` runs at a time; what changes meanwhile is looked at after it.

    :param chain: an ``IChain``, started, that is an ``IBlockProducer`` as well.
    :param alone: nobody else is to be asked: there are no bootstrap and no static peers.
    """

    log = Logger()

    def __init__(self, *, chain: Any, reactor: Any, now: Callable[[], float], alone: bool) -> None:
        self._chain = chain
        self._reactor = reactor
        self._now = now
        # made here, not at the start: a link may be ready between the two, and its claim counts
        self._warm_up = WarmUp(chain.warm_up_seconds(), now(), at_once=alone and bool(chain.sole_producer()))
        self._on = False
        self._call: Any = None
        self._soon = False  #: the call is for the next turn
        self._running: Deferred[Any] | None = None
        self._again = False
        self._unsubscribe: tuple[Callable[[], None], ...] = ()

    def handlers(self) -> Mapping[type[Any], Handler]:
        return {}

    def joined(self, link: Link) -> None:
        self._warm_up.joined(link, link.status.rank, self._now())
        self._wake()

    def left(self, link: Link, reason: Reason) -> None:
        self._warm_up.left(link, self._now())
        self._wake()

    def start(self) -> None:
        self._on = True
        subscribe = self._chain.events.subscribe
        self._unsubscribe = (
            subscribe(HeadChanged, lambda _: self._wake()),
            subscribe(TransactionAdded, lambda _: self._wake()),
            subscribe(FinalizedChanged, lambda _: self._wake()),
        )
        self._wake()

    def stop(self) -> "Deferred[None] | None":
        """End; fires when a block that is being produced is done."""
        self._on = False
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._cancel()
        running = self._running
        if running is None:
            return None
        done: Deferred[None] = Deferred()
        running.addBoth(lambda _: done.callback(None))
        self._chain.abandon()
        return done

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call, self._soon = None, False

    def _wake(self) -> None:
        """Look at what is to do, in a turn of its own: events come from the middle of the chain's work."""
        if self._running is not None:
            self._again = True
        elif self._on and not self._soon:  # transactions come by the hundred in a turn
            self._sleep(0.0)

    def _sleep(self, seconds: float) -> None:
        self._cancel()
        self._soon = seconds <= 0.0
        self._call = self._reactor.callLater(max(0.0, seconds), self._look)

    def _look(self) -> None:
        self._call, self._soon = None, False
        warm_up, chain, now = self._warm_up, self._chain, self._now()
        if not self._on or not chain.can_produce():
            return
        if not warm_up.is_over(chain.head.rank, now):
            self._sleep(warm_up.next_time(now) - now)
            return
        when = chain.next_time(now)
        if when is None:
            return
        if when > now:
            self._sleep(when - now)
            return
        self._again = False
        self._running = chain.produce(now)
        self._running.addCallbacks(self._produced, self._failed)

    def _produced(self, raw: bytes | None) -> None:
        self._running = None
        if not self._on:
            return
        if raw is None and not self._again:
            now = self._now()
            when = self._chain.next_time(now)
            if when is not None:
                # a producer whose time has come and that still declines is not asked in a tight loop
                self._sleep(when - now if when > now else _AFTER_FAILURE / 20)
            return
        self._sleep(0.0)

    def _failed(self, failure: Any) -> None:
        self._running = None
        if not isinstance(failure.value, StorageError):  # of the disk it is told once, see StorageCheck
            self.log.failure("producing a block failed", failure)
        if self._on:
            self._sleep(_AFTER_FAILURE)
