"""Peers with headers of low rank, on a fresh node and on one in step: none are kept, good chains are followed."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.task import deferLater

import chainp2p.sync.headers.fetch
import chainp2p.sync.headers.sieve
from chainp2p.chain.interfaces import HeaderAdded
from chainp2p.errors import Reason
from chainp2p.sync.headers.quests import parse_rank
from chainp2p.sync.headers.sieve import Sieve
from chainp2p.sync.state import Phase
from chainp2p.testing.cheap import CheapHeaders
from chainp2p.testing.toyblocks import ToyHeader
from chainp2p.testing.toychain import ToyChain
from chainp2p.wire.messages import GetBlocks, GetHeaders, Headers
from tests.links import Puppet, connect, make_status, not_found
from tests.sync.test_service import Base, Syncing, grow

#: What a good block weighs here; that of an attacker weighs 1.
WEIGHT = 1_000
HIGH = (10**12).to_bytes(32, "big")


class Toys:
    """Toy headers of weight 1 on a block of *chain*."""

    def __init__(self, chain: ToyChain, salt: int, fork: int = 0) -> None:
        self._chain, self._salt, self._fork = chain, salt.to_bytes(8, "big"), fork

    def start(self) -> tuple[bytes, object]:
        node = self._chain._chain[self._fork]
        return node.info.hash, (node.info.hash, self._fork)

    def below(self, hash: bytes) -> list[bytes] | None:
        nodes = self._chain._chain[: self._fork + 1]
        place = next((node.info.height for node in nodes if node.info.hash == hash), None)
        return None if place is None else [node.data for node in nodes[place + 1 :]]

    def next(self, place: Any) -> tuple[bytes, bytes, object]:
        parent, height = place
        raw = ToyHeader(parent, height + 1, 1, 0, bytes(32), self._salt).raw
        hash = self._chain.block_hash(raw)
        return raw, hash, (hash, height + 1)


class LowRank(Base):
    def setUp(self) -> None:
        super().setUp()
        for name, value in (("HELD_BYTES", 300 * 160), ("PERIOD", 8), ("LOOKAHEAD", 20)):
            self.patch(chainp2p.sync.headers.sieve, name, value)
        self.sent = 0
        self.added: list[Any] = []

    def watch(self, host: Syncing) -> None:
        host.chain.events.subscribe(HeaderAdded, self.added.append)

    def honest(self, name: str, blocks: int, **fields: Any) -> Syncing:
        host = self.host(name, **fields)
        grow(host.chain, blocks, weight=WEIGHT)
        return host

    def attacker(
        self, chain: ToyChain, number: int, count: int, rank: bytes = HIGH, height: int = 10**6, fork: int = 0
    ) -> Puppet:
        def sent(count: int) -> None:
            self.sent += count

        cheap = CheapHeaders(Toys(chain, number + 1, fork), count, sent=sent)
        status = make_status(bytes([number + 1]) * 32, height, rank)
        return Puppet(self.net, f"attacker{number}", status, {GetHeaders: cheap.answer, GetBlocks: not_found})


class Fresh(LowRank):
    def test_a_chain_that_does_not_reach_what_was_claimed_is_not_kept(self) -> None:
        new = self.host("new")
        self.watch(new)
        connect(new, self.attacker(new.chain, 0, 9_000))
        self.clock.run_for(5.0)
        self.assertEqual((self.sent, self.added), (9_000, []))
        self.assertIn("1 of 1 peers showed less than they stated", new.sync.explain().text)
        self.assertEqual((new.faults, len(new.links)), ([], 1))

    def test_many_of_them_and_one_good(self) -> None:
        new, old = self.host("new"), self.honest("old", 5_000)
        self.watch(new)
        for number in range(20):
            connect(new, self.attacker(new.chain, number, 5_000))
        connect(new, old)
        self.converge(60.0, new, old)
        self.assertEqual(len(self.added), 5_000)
        self.assertEqual(len(new.links), 21)

    def test_a_short_chain_below_the_claim_is_not_kept_either(self) -> None:
        new = self.host("new")
        self.watch(new)
        connect(new, self.attacker(new.chain, 0, 10))
        self.clock.run_for(5.0)
        self.assertEqual(self.added, [])

    def test_a_minimum_holds_for_all(self) -> None:
        new, old = self.host("new"), self.honest("old", 200)
        new.sync._quests.minimum = parse_rank("0x%x" % (250 * WEIGHT))
        connect(new, old)
        self.clock.run_for(15.0)
        self.assertEqual(new.chain.best_header.height, 0)
        grow(old.chain, 60, weight=WEIGHT)
        new.sync.heard(new.links[0], old.chain.head.hash, 260)
        self.converge(5.0, new, old)

    def test_after_ten_minutes_it_may_have_less_than_it_said(self) -> None:
        new, old = self.host("new"), self.honest("old", 10)
        connect(
            new,
            Puppet(
                self.net,
                "p",
                make_status(b"x" * 32, 20, HIGH),
                {
                    GetHeaders: lambda message: self.serve_headers(old.chain, message),
                },
            ),
        )
        self.clock.run_for(590.0)
        self.assertEqual(new.chain.best_header.height, 0)
        self.clock.run_for(40.0)
        self.assertEqual(new.chain.best_header.height, 10)

    def test_good_headers_come_twice_where_they_cannot_be_held(self) -> None:
        for blocks in (250, 301, 2_000, 5_000):
            new, old = self.host("new"), self.honest("old", blocks)
            connect(new, old)
            self.converge(20.0, new, old)

    def test_exactly_what_was_claimed(self) -> None:
        old = self.honest("old", 3_000)
        for over in (0, 1):
            new = self.host(f"new{over}")
            claim = (int.from_bytes(old.chain.head.rank, "big") + over).to_bytes(32, "big")
            status = make_status(old.chain.head.hash, 3_000, claim)
            puppet = self.puppet(old.chain, f"p{over}")
            puppet.status = lambda status=status: status
            connect(new, puppet)
            self.clock.run_for(20.0)
            self.assertEqual(new.chain.head.height, 0 if over else 3_000)

    def test_headers_from_the_future_at_the_end(self) -> None:
        ahead = ToyChain(now=lambda: 1e9)
        grow(ahead, 10, weight=WEIGHT)
        grow(ahead, 2, weight=WEIGHT, time=5_000)
        new = self.host("new")
        connect(new, self.puppet(ahead))
        self.clock.run_for(4.5)
        self.assertEqual(new.chain.best_header.height, 0)
        self.clock.run_for(2.0)
        self.assertEqual(new.chain.head.height, 12)
        self.assertEqual(new.faults, [])

    def test_a_restart_in_the_middle(self) -> None:
        """What came a second time and was stored is not asked for again."""
        old, new = self.honest("old", 9_000), self.host("new")
        self.watch(new)
        connect(new, old)
        self.assertTrue(self.clock.run_while(lambda: len(self.added) < 1_000, 10.0))
        self.assertLess(len(self.added), 9_000)
        new.links[0].close()
        new.sync.stop()
        again = Syncing(self.net, "again")
        self.hosts.append(again)
        stored = new.chain.best_header.height
        again.chain.add_headers(self.successResultOf(old.chain.headers_after(old.chain.genesis_hash, stored)))
        connect(again, old)
        self.converge(20.0, again, old)
        first = [m for m in again.links[0].sent if isinstance(m, GetHeaders)]
        self.assertGreater(stored, 0)
        self.assertLessEqual(len(first), 2 * (9_000 - stored) // 2_000 + 16)

    def test_a_peer_that_changes_branches_between_the_passes(self) -> None:
        old, other, new = self.honest("old", 5_000), ToyChain(), self.host("new")
        grow(other, 5_500, weight=WEIGHT, salt=3)
        asked = [0]

        def headers(message: GetHeaders) -> Any:
            asked[0] += message.from_ == new.chain.genesis_hash
            return self.serve_headers(old.chain if asked[0] < 2 else other, message)

        puppet = self.puppet(old.chain, headers=headers)
        reasons: list[str] = []
        connect(new, puppet)
        for _ in range(200):
            self.clock.run_for(0.02)
            reasons.append(new.sync.explain().text)
        self.assertTrue(any("other headers than before" in text for text in reasons))
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header != other.head, 60.0))
        self.assertEqual(new.faults, [])

    def test_a_good_chain_the_first_time_and_a_cheap_one_the_second(self) -> None:
        old, new = self.honest("old", 5_000), self.host("new")
        self.watch(new)
        cheap = CheapHeaders(Toys(new.chain, 1), 10**6)
        asked = [0]

        def headers(message: GetHeaders) -> Any:
            asked[0] += message.from_ == new.chain.genesis_hash
            return self.serve_headers(old.chain, message) if asked[0] < 2 else cheap.answer(message)

        connect(new, self.puppet(old.chain, headers=headers))
        self.clock.run_for(20.0)
        self.assertEqual(self.added, [])
        connect(new, old)
        self.converge(20.0, new, old)

    def test_malformed_the_second_time(self) -> None:
        old, new = self.honest("old", 5_000), self.host("new")
        asked = [0]

        def headers(message: GetHeaders) -> Any:
            asked[0] += message.from_ == new.chain.genesis_hash
            return self.serve_headers(old.chain, message) if asked[0] < 2 else Headers((b"x", old.chain.make()[:96]))

        connect(new, self.puppet(old.chain, headers=headers))
        self.clock.run_for(5.0)
        self.assertEqual([fault[1] for fault in new.faults], [Reason.MISBEHAVED])

    def test_one_that_ends_sooner_the_second_time(self) -> None:
        old, new = self.honest("old", 5_000), self.host("new")
        asked = [0]

        def headers(message: GetHeaders) -> Any:
            asked[0] += message.from_ == new.chain.genesis_hash
            if asked[0] >= 2 and message.from_ != new.chain.genesis_hash:
                return Headers(())
            return self.serve_headers(old.chain, message)

        connect(new, self.puppet(old.chain, headers=headers))
        self.clock.run_for(1.0)
        self.assertLess(new.chain.best_header.height, 2_000)
        self.assertEqual(new.faults, [])
        connect(new, old)
        self.converge(20.0, new, old)

    def test_a_slow_one_does_not_hold_up_the_others(self) -> None:
        """One header an answer, just in time, from peers that claim more than the good one."""
        new, old = self.host("new"), self.honest("old", 400)
        for number in range(10):
            cheap = CheapHeaders(Toys(new.chain, number + 1), 10**6, most=1)
            status = make_status(bytes([number + 1]) * 32, 10**6, HIGH)
            connect(new, Puppet(self.net, f"slow{number}", status, {GetHeaders: self.late(cheap, 1.5)}))
        connect(new, old)
        self.converge(80.0, new, old)
        self.assertIs(new.sync.explain().phase, Phase.HEADERS)
        for link in tuple(new.links):
            link.close()
        self.clock.run_for(2.0)

    def late(self, cheap: CheapHeaders, seconds: float) -> Callable[[GetHeaders], Any]:
        return lambda message: deferLater(self.clock, seconds, cheap.answer, message)


class InStep(LowRank):
    def test_nothing_that_loses_is_kept_wherever_it_parts(self) -> None:
        new = self.host("new")
        old = self.honest("old", 300)
        connect(new, old)
        self.converge(10.0)
        self.watch(new)
        for number, fork in enumerate((0, 100, 200, 290, 299)):
            connect(new, self.attacker(old.chain, number, 900, fork=fork))
        self.clock.run_for(60.0)
        self.assertGreaterEqual(self.sent, 5 * 900)
        self.assertEqual(self.added, [])
        grow(old.chain, 1, weight=WEIGHT)
        self.assertEqual(new.faults, [])

    def test_the_good_are_followed_meanwhile(self) -> None:
        new, old = self.host("new"), self.honest("old", 300)
        connect(new, old)
        self.converge(10.0)
        self.watch(new)
        for number in range(10):
            connect(new, self.attacker(old.chain, number, 10_000))
        for _ in range(20):
            grow(old.chain, 1, weight=WEIGHT)
            new.sync.heard(new.links[0], old.chain.head.hash, old.chain.head.height)
            self.converge(10.0, new, old)
        self.assertEqual(len(self.added), 20)

    def test_a_long_better_branch_from_deep_below_is_taken(self) -> None:
        one, two = self.host("one"), self.host("two")
        for raw in grow(one.chain, 100, weight=WEIGHT):
            two.chain.submit_block(raw)
        grow(one.chain, 4_000, weight=WEIGHT, salt=1)
        grow(two.chain, 4_100, weight=WEIGHT, salt=2)
        connect(one, two)
        self.converge(30.0, one, two)

    def test_a_chain_higher_than_claimed_that_shows_nothing_is_given_up(self) -> None:
        new, old = self.host("new"), self.honest("old", 300)
        connect(new, old)
        self.converge(10.0)
        connect(new, self.attacker(old.chain, 0, 10**6, height=400))
        self.clock.run_for(20.0)
        self.assertLess(self.sent, 10_000)

    def test_what_came_to_nothing_is_not_looked_at_all_the_time(self) -> None:
        new, old = self.host("new"), self.honest("old", 300)
        connect(new, old)
        self.converge(10.0)
        self.net.latency = 0.4
        link, _ = connect(new, self.attacker(old.chain, 0, 8_000))
        for number in range(300):
            self.clock.run_for(1.0)
            new.sync.heard(link, number.to_bytes(32, "big"), 10**6)
        self.assertGreaterEqual(self.sent, 8_000)
        self.assertLess(self.sent, 8 * 8_000)

    def test_a_sieve_from_below_the_finalized_block_is_thrown_away(self) -> None:
        new, old = self.host("new", finality=10), self.honest("old", 300)
        connect(new, old)
        self.converge(10.0)
        link, _ = connect(new, self.attacker(old.chain, 0, 10**5, fork=295))
        quest = new.sync._quests.get(link)
        quest.sieve = Sieve(self.successResultOf(old.chain.header_at(5)), b"", b"key")
        self.clock.run_for(5.0)
        self.assertIsNone(quest.sieve)
        self.assertEqual(new.chain.head, old.chain.head)


class Elsewhere(LowRank):
    """Nobody has the blocks of the best header: another branch is taken, but not whatever comes."""

    def stranded(self, new: Syncing) -> None:
        """Its best header is one whose block nobody has."""
        gone = self.honest(f"gone {new.name}", 300)
        grow(gone.chain, 700, weight=WEIGHT, salt=9)
        new.chain.add_headers(self.successResultOf(gone.chain.headers_after(gone.chain.genesis_hash, 2_000)))

    def test_a_long_one_that_is_good(self) -> None:
        for blocks in (200, 900, 4_000):
            new, here = self.host(f"new{blocks}"), self.host(f"here{blocks}")
            grow(here.chain, blocks, weight=100, salt=5)
            self.stranded(new)
            connect(new, here)
            new.sync.heard(new.links[0], here.chain.head.hash, blocks)
            self.converge(60.0, new, here)

    def test_one_that_shows_a_good_branch_and_then_gives_a_cheap_one(self) -> None:
        new, here = self.host("new"), self.host("here")
        grow(here.chain, 900, weight=100, salt=5)
        self.stranded(new)
        self.watch(new)
        cheap = CheapHeaders(Toys(new.chain, 1), 10**6)
        asked = [0]

        def headers(message: GetHeaders) -> Any:
            asked[0] += 1
            return self.serve_headers(here.chain, message) if asked[0] < 6 else cheap.answer(message)

        link, _ = connect(new, self.puppet(here.chain, headers=headers, blocks=not_found))
        new.sync.heard(link, here.chain.head.hash, 900)
        self.clock.run_for(60.0)
        good = {one.info.hash for one in here.chain._chain}
        self.assertEqual([info for info in (event.header for event in self.added) if info.hash not in good], [])
        self.assertGreater(asked[0], 6)


class Schedules(LowRank):
    def test_random_peers_good_and_bad_end_in_the_best_chain_and_nothing_else_is_kept(self) -> None:
        for seed in range(10):
            chance = random.Random(seed)
            self.net.latency = chance.choice((0.001, 0.02, 0.3))
            self.added = []
            new = self.host(f"new{seed}")
            self.watch(new)
            old = self.host(f"old{seed}")
            grow(old.chain, chance.randrange(1, 3_000), weight=WEIGHT, salt=seed)
            peers: list[Any] = [old]
            for number in range(chance.randrange(1, 6)):
                rank = chance.choice((HIGH, old.chain.head.rank, (10).to_bytes(32, "big")))
                count = chance.choice((5, 700, 6_000))
                peers.append(self.attacker(new.chain, 10 * seed + number, count, rank))
            chance.shuffle(peers)
            for peer in peers:
                connect(new, peer)
                self.clock.run_for(chance.random() * 2 if peer is not peers[0] else 0.0)
            self.assertTrue(
                self.clock.run_while(lambda new=new, old=old: new.chain.head != old.chain.head, 300.0),
                (seed, new.sync.explain()),
            )
            for link in tuple(new.links):
                link.close()


class Words(LowRank):
    def test_what_is_done_is_said(self) -> None:
        new, old = self.host("new"), self.honest("old", 6_000)
        self.net.latency = 0.5
        connect(new, old)
        texts = set()
        for _ in range(200):
            self.clock.run_for(0.1)
            texts.add(new.sync.explain().text)
        self.assertTrue(any("looked at and not kept" in text for text in texts), texts)
        self.assertTrue(any("a second time, to keep them" in text for text in texts))
