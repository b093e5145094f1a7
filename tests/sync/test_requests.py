"""The open requests of a fetch: one end each, and who failed is forgotten."""

import random
from typing import Any

from attrs import define, field
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, PeerGone, Reason, RequestTimedOut
from chainp2p.peer.tasks import Tasks
from chainp2p.sync.asking import Asking
from chainp2p.sync.claims import PASSED_OVER, Claim, Claims
from chainp2p.sync.requests import Requests
from chainp2p.sync.shared import EARLY_REST_MAX, Shared
from chainp2p.testing.toychain import ToyChain
from chainp2p.wire.messages import Blocks, GetBlocks
from tests.links import Host, MemoryLink, Net, Puppet, connect, make_status


@define(eq=False)
class Ask:
    peer: Any


@define
class Seen:
    """What a fetch is told."""

    answered: list[Any] = field(factory=list)
    unanswered: list[Exception] = field(factory=list)
    left: list[Any] = field(factory=list)
    rings: int = 0
    error: Exception | None = None

    def answer(self, ask: Ask, reply: Any) -> None:
        if self.error is not None:
            raise self.error
        self.answered.append(reply)

    def ring(self) -> None:
        self.rings += 1


class RequestsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.net, self.seen = Net(), Seen()
        self.claims: Claims[Any] = Claims(lambda link: link.useless)
        chain, log = ToyChain(), Logger()
        asking = Asking(chain, self.net.clock, self.claims, random.Random(1))
        self.shared = Shared(chain, self.net.clock, lambda: 1_000.0, self.claims, asking, log, Tasks(log).spawn)
        self.requests: Requests[Ask] = Requests(
            self.shared, self.seen.answer, self.unanswered, self.seen.left.append, self.seen.ring
        )

    def unanswered(self, ask: Ask, error: Exception) -> None:
        self.seen.unanswered.append(error)
        self.requests.failed(ask.peer, error)

    def peer(self, answers: bool) -> MemoryLink:
        """A link to a peer that answers, or never does."""
        puppet = Puppet(self.net, "far", make_status(), {GetBlocks: lambda _: Blocks((b"raw",))} if answers else {})
        link, _ = connect(Host(self.net, "near", []), puppet)
        self.claims.joined(link, link.peer_id, Claim(bytes(32), 0, bytes(32)))
        return link

    def send(self, answers: bool = True) -> Ask:
        ask = Ask(self.peer(answers))
        self.requests.send(ask, GetBlocks(bytes(32), 1), 5.0)
        return ask

    def test_answer(self) -> None:
        self.send()
        self.net.clock.run_for(1.0)
        self.assertEqual([reply.blocks for reply in self.seen.answered], [(b"raw",)])
        self.assertEqual((self.seen.unanswered, self.seen.left, self.seen.rings), ([], [], 1))

    def test_another_answer_than_asked_for(self) -> None:
        """Its sender is blamed, loses the link, and is forgotten at once."""
        self.seen.error = PeerFault(Reason.MISBEHAVED, "another")
        ask = self.send()
        self.net.clock.run_for(1.0)
        self.assertEqual([fault[1] for fault in ask.peer.faults], ["another"])
        self.assertEqual((self.seen.unanswered, self.seen.left), ([], [ask.peer]))

    def test_silence(self) -> None:
        """It is no offence: who is silent stays, and is passed over for a while."""
        ask = self.send(answers=False)
        self.net.clock.run_for(4.9)
        self.assertEqual(self.seen.rings, 0)
        self.net.clock.run_for(0.2)
        self.assertIsInstance(self.seen.unanswered[0], RequestTimedOut)
        self.assertEqual((self.seen.left, ask.peer.faults, self.seen.rings), ([], [], 1))
        now = self.net.clock.seconds()
        self.assertTrue(self.claims.sources(now)[0].failed)
        self.assertFalse(self.claims.sources(now + PASSED_OVER)[0].failed)

    def test_gone(self) -> None:
        ask = self.send(answers=False)
        ask.peer.close()
        self.assertIsInstance(self.seen.unanswered[0], PeerGone)
        self.assertEqual(self.seen.left, [ask.peer])

    def test_answer_of_one_that_left(self) -> None:
        """What comes of a peer that is blamed already, before its link has ended, is not taken."""
        ask = self.send()
        self.claims.left(ask.peer)
        self.net.clock.run_for(1.0)
        self.assertEqual(self.seen.answered, [])
        self.assertIsInstance(self.seen.unanswered[0], PeerGone)

    def test_closed(self) -> None:
        """What comes then is passed over."""
        self.requests.close(self.send())
        other = self.send(answers=False)
        self.requests.stop()
        self.requests.close(other)
        self.net.clock.run_for(9.0)
        self.assertEqual((self.seen.answered, self.seen.unanswered), ([], []))

    def test_ours(self) -> None:
        """An error that is no peer's matter is logged, and nobody is judged by it."""
        self.seen.error = ZeroDivisionError()
        ask = self.send()
        self.net.clock.run_for(1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertRaises(ZeroDivisionError, self.requests.failed, ask.peer, ZeroDivisionError())
        self.assertEqual((ask.peer.faults, self.seen.left, self.seen.rings), ([], [], 1))
        self.assertFalse(self.claims.sources(self.net.clock.seconds())[0].failed)

    def test_from_the_future(self) -> None:
        """It is tried again at its time, by the reactor's clock, in a minute at the latest, and never at once."""
        now = self.net.clock.seconds()
        waits = [round(self.shared.until(when) - now, 3) for when in (990.0, 1_000.0, 1_002.5, 9_999.0)]
        self.assertEqual(waits, [0.01, 0.01, 2.5, EARLY_REST_MAX])
