"""Headers are asked for while those before them are checked, and their blocks come before the chain has ended."""

import gc
from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

import chainp2p.sync.headers.chase
import chainp2p.sync.headers.fetch
import chainp2p.sync.headers.sieve
from chainp2p.chain.interfaces import HeadersRejected
from chainp2p.errors import Reason
from chainp2p.wire.messages import GetHeaders
from tests.links import connect
from tests.sync.test_service import Base, Syncing

COUNT = 50


class Ahead(Base):
    def setUp(self) -> None:
        super().setUp()
        self.patch(chainp2p.sync.headers.chase, "HEADERS_MAX", COUNT)
        self.patch(chainp2p.sync.headers.fetch, "HEADERS_MAX", COUNT)
        self.patch(chainp2p.sync.headers.fetch, "LOOK_HEADERS", 10)

    def slow(self, host: Syncing, name: str) -> list[float]:
        """Let a method of its chain take a second; return when each call began."""
        method: Callable[..., Any] = getattr(host.chain, name)
        began: list[float] = []

        def late(*args: Any) -> Any:
            began.append(self.clock.seconds())
            return deferLater(self.clock, 1.0, method, *args)

        setattr(host.chain, name, late)
        return began

    def asked(self, host: Syncing) -> list[bytes]:
        return [message.from_ for message in host.links[0].sent if isinstance(message, GetHeaders)]

    def test_one_answer_ahead(self) -> None:
        old, new = self.host("old", 500), self.host("new")
        began = self.slow(new, "check_run")
        connect(new, old)
        self.clock.run_while(lambda: len(began) < 3, 10.0)
        self.clock.run_for(0.5)
        # a look, and two answers of the turn: what comes after the second of these is on its way
        self.assertEqual(len(self.asked(new)), 1 + 2 + 1)
        self.converge(30.0)
        asked = self.asked(new)
        self.assertEqual(len(asked), len(set(asked)), "nothing was asked for twice")
        # of 500 headers that take a second for each 50 none waited for a question
        self.assertTrue(all(after - before < 1.001 for before, after in zip(began[1:], began[2:], strict=False)), began)

    def test_blocks_come_meanwhile(self) -> None:
        old, new = self.host("old", 500), self.host("new")
        began = self.slow(new, "add_headers")
        connect(new, old)
        for stored in range(2, 9):
            self.clock.run_while(lambda least=stored: len(began) < least, 10.0)  # type: ignore[misc]
            self.clock.run_for(0.5)
            self.assertEqual((new.chain.best_header.height, new.chain.head.height), (50 * stored - 50,) * 2)
        self.converge(30.0)

    def test_what_comes_again_from_the_start(self) -> None:
        for name, value in (("HELD_BYTES", 60 * 160), ("PERIOD", 8), ("LOOKAHEAD", 5)):
            self.patch(chainp2p.sync.headers.sieve, name, value)
        old, new = self.host("old", 500), self.host("new")
        connect(new, old)
        self.converge(30.0)

    def test_what_was_asked_ahead_is_left_where_headers_are_bad(self) -> None:
        old, new = self.host("old", 500), self.host("new")
        real, waiting = new.chain.check_run, []

        def check(raws: Any, after: Any) -> Any:
            if len(raws) < COUNT:
                return real(raws, after)
            waiting.append(self.asked(new)[-1])
            return deferLater(self.clock, 1.0, self.reject)

        new.chain.check_run = check  # type: ignore[method-assign]
        connect(new, old)
        self.clock.run_for(0.5)
        self.assertEqual(len(waiting), 1)
        link = new.links[0]
        old.links[0].stalled = True
        self.clock.run_for(3.0)
        self.assertEqual([fault[1] for fault in new.faults], [Reason.MISBEHAVED])
        self.assertFalse(link.open)
        self.assertEqual(link._waiting, {}, "nobody waits for what was asked ahead")
        del link
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def reject(self) -> None:
        raise HeadersRejected(0, "it is bad")
