"""Looks at what peers claim, several at once: nobody holds up what others announce, and nothing comes twice."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

from chainp2p.sync.headers.fetch import LOOK_HEADERS, LOOKS_AT_ONCE
from chainp2p.testing.cheap import CheapHeaders
from chainp2p.testing.toychain import ToyChain
from chainp2p.wire.messages import GetBlocks, GetHeaders, Headers, NotFound
from tests.links import Puppet, connect, make_status, not_found
from tests.sync.test_low_rank import HIGH, LowRank, Toys
from tests.sync.test_service import Syncing, grow, status_of


class Looks(LowRank):
    def tearDown(self) -> None:
        for host in self.hosts:
            for link in tuple(host.links):
                link.close()
        self.clock.run_for(2.0)  # whoever answers late has answered
        super().tearDown()

    def in_step(self, blocks: int = 300) -> tuple[Syncing, Syncing]:
        new, old = self.host("new"), self.honest("old", blocks)
        connect(new, old)
        self.converge(10.0)
        return new, old

    def announce(self, new: Syncing, old: Syncing) -> float:
        """The honest one has a new block: how long until its header is known."""
        grow(old.chain, 1, weight=1_000)
        began = self.clock.seconds()
        new.sync.heard(new.links[0], old.chain.head.hash, old.chain.head.height)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != old.chain.best_header, 60.0))
        return self.clock.seconds() - began

    def late(self, seconds: float, answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda message: deferLater(self.clock, seconds, answer, message)

    def asked(self, puppet: Puppet) -> list[GetHeaders]:
        return [message for message in puppet.got if isinstance(message, GetHeaders)]

    def test_fifty_newcomers_whose_chains_part_far_below_hold_up_nobody(self) -> None:
        """Each takes some ten questions: one after the other that was as many seconds as there are newcomers."""
        new, old = self.in_step(3_000)
        self.net.latency = 0.05
        for number in range(50):
            connect(new, self.attacker(old.chain, number, 2_000))
        for _ in range(5):
            self.assertLess(self.announce(new, old), 0.11)
            self.clock.run_for(0.5)
        self.assertEqual(new.faults, [])

    def test_who_announces_what_is_not_there_holds_up_nobody(self) -> None:
        """As often as it likes, as high as it likes, and as late as it may."""
        new, old = self.in_step()
        for number in range(20):
            cheap = CheapHeaders(Toys(old.chain, number + 1), 10)
            answers = {GetHeaders: self.late(1.8, cheap.answer), GetBlocks: not_found}
            connect(new, Puppet(self.net, f"p{number}", make_status(bytes(32), 0), answers))
        for number in range(10):
            for link in new.links[1:]:
                new.sync.heard(link, number.to_bytes(32, "big"), 10**9)
            self.assertLess(self.announce(new, old), 0.05)
            self.clock.run_for(1.0)

    def test_who_never_brought_anything_has_its_turn_as_well(self) -> None:
        new, _ = self.in_step()
        for number in range(8):
            cheap = CheapHeaders(Toys(new.chain, number + 1), 10)
            answers = {GetHeaders: self.late(1.8, cheap.answer), GetBlocks: not_found}
            connect(new, Puppet(self.net, f"p{number}", make_status(bytes(32), 0), answers))
        better = self.honest("better", 320)
        link, _ = connect(new, better)
        for number in range(15):
            for other in new.links[1:-1]:
                new.sync.heard(other, number.to_bytes(32, "big"), 10**9)
            self.clock.run_for(1.0)
        self.assertEqual(new.chain.head, better.chain.head)

    def test_one_block_is_asked_of_one(self) -> None:
        new, old = self.in_step()
        others = [self.puppet(old.chain, f"p{number}") for number in range(5)]
        for other in others:
            connect(new, other)
        grow(old.chain, 1, weight=1_000)
        for link in new.links:
            new.sync.heard(link, old.chain.head.hash, old.chain.head.height)
        self.converge(1.0)
        self.assertEqual(sum(len(self.asked(other)) for other in others), 0)

    def test_who_keeps_a_block_to_itself_is_passed_by_after_a_second(self) -> None:
        new, old = self.in_step()
        silent = self.puppet(old.chain, "silent", headers=self.late(1.9, lambda _: NotFound(())))
        link, _ = connect(new, silent)
        grow(old.chain, 1, weight=1_000)
        new.sync.heard(link, old.chain.head.hash, old.chain.head.height)
        self.clock.run_for(0.001)
        self.assertLess(self.announce_again(new, old), 1.1)

    def announce_again(self, new: Syncing, old: Syncing) -> float:
        began = self.clock.seconds()
        new.sync.heard(new.links[0], old.chain.head.hash, old.chain.head.height)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != old.chain.best_header, 10.0))
        return self.clock.seconds() - began

    def test_who_was_looked_at_and_lost_is_asked_now_and_then_as_well(self) -> None:
        """Its chain was worth less than what came from another one, and then grows, and its announcement is lost."""
        new, old, slow = self.host("new"), self.honest("old", 1_000), ToyChain()
        grow(slow, 6_000, weight=100)
        late = self.late(1.0, lambda message: self.serve_headers(slow, message))
        link, _ = connect(new, self.puppet(slow, headers=late))
        self.assertTrue(self.clock.run_while(lambda: new.sync._quests.get(link).sieve is None, 5.0))
        connect(new, old)
        self.converge(5.0, new, old)
        self.assertIsNotNone(new.sync._quests.get(link).sieve)
        grow(slow, 1, weight=10**6)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != slow.head, 60.0))

    def test_far_peers_do_not_keep_a_fresh_node_waiting(self) -> None:
        old, new = self.honest("old", 400), self.host("new")
        for number in range(LOOKS_AT_ONCE - 3):
            far = self.late(1.5, lambda message: self.serve_headers(old.chain, message))
            connect(new, self.puppet(old.chain, f"far{number}", headers=far))
        connect(new, old)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != old.chain.head, 1.0))

    def test_what_one_brought_is_not_downloaded_from_the_next(self) -> None:
        old, new = self.honest("old", 2_500), self.host("new")
        puppets = [self.puppet(old.chain, f"p{number}") for number in range(6)]
        for puppet in puppets:
            connect(new, puppet)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != old.chain.head, 20.0))
        for number, puppet in enumerate(puppets):  # what they announce now is unknown, and all were looked at before
            grow(old.chain, 1, weight=1_000)
            puppet.status = lambda: status_of(old.chain)
            new.sync.heard(new.links[number], old.chain.head.hash, old.chain.head.height)
            self.clock.run_for(0.2)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != old.chain.head, 20.0))
        self.clock.run_for(5.0)
        sent = sum(len(m.headers) for link in new.links for m in link.other.sent if isinstance(m, Headers))
        self.assertLess(sent, 2 * 2_500 + 6 * LOOK_HEADERS + 50)

    def test_a_better_chain_is_found_while_newcomers_never_answer(self) -> None:
        new, old = self.in_step()
        for number in range(30):
            connect(new, Puppet(self.net, f"mute{number}", make_status(bytes([number + 1]) * 32, 10**6, HIGH), {}))
        self.assertLess(self.announce(new, old), 0.05)
