"""Sync between hosts with toy chains: it converges, whatever peers do, and blames who is to blame."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

import chainp2p.sync.blocks.branch
import chainp2p.sync.headers.chase
import chainp2p.sync.headers.fetch
from chainp2p.chain.interfaces import HeadChanged, NotYet, ParentMissing
from chainp2p.errors import Penalty, Reason
from chainp2p.sync.service import SyncService
from chainp2p.sync.state import Phase, SyncChanged
from chainp2p.testing.toychain import FAILS, ToyChain, ToyHeader
from chainp2p.wire.messages import Blocks, GetBlocks, GetHeaders, Headers, NotFound, Refused, Status
from tests.links import Host, Net, Puppet, connect, make_status, not_found


def status_of(chain: ToyChain) -> Status:
    return make_status(chain.head.hash, chain.head.height, chain.head.rank)


def grow(chain: ToyChain, blocks: int, salt: int = 0, weight: int = 1, time: int = 0) -> list[bytes]:
    raws = []
    for _ in range(blocks):
        raws.append(chain.make(salt=salt, weight=weight, time=time))
        chain.submit_block(raws[-1])
    return raws


class Syncing(Host):
    """A host that does nothing but sync."""

    def __init__(self, net: Net, name: str, **fields: Any) -> None:
        self.chain = ToyChain(now=net.clock.seconds, **fields)
        #: Blocks that gossip is bringing.
        self.coming: set[bytes] = set()
        self.sync = SyncService(
            chain=self.chain,
            reactor=net.clock,
            now=net.clock.seconds,
            random=random.Random(name),
            events=self.chain.events,
            coming=self.coming.__contains__,
        )
        super().__init__(net, name, [self.sync], lambda: status_of(self.chain))
        self.sync.start()


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = Net()
        self.clock = self.net.clock
        self.hosts: list[Syncing] = []

    def host(self, name: str, blocks: int = 0, salt: int = 0, **fields: Any) -> Syncing:
        host = Syncing(self.net, name, **fields)
        grow(host.chain, blocks, salt)
        self.hosts.append(host)
        return host

    def puppet(self, chain: ToyChain, name: str = "puppet", **answers: Callable[[Any], Any]) -> Puppet:
        """A peer that claims the head of *chain* and by default serves it."""
        kinds = {"headers": GetHeaders, "blocks": GetBlocks}
        served = {
            GetHeaders: lambda message: self.serve_headers(chain, message),
            GetBlocks: lambda message: self.serve_blocks(chain, message),
        }
        served.update({kinds[key]: answer for key, answer in answers.items()})
        return Puppet(self.net, name, status_of(chain), served)

    def serve_headers(self, chain: ToyChain, message: GetHeaders) -> Headers | NotFound:
        raws = self.successResultOf(chain.headers_after(message.from_, message.count))
        return NotFound((message.from_,)) if raws is None else Headers(tuple(raws))

    def serve_blocks(self, chain: ToyChain, message: GetBlocks) -> Blocks | NotFound:
        raws = self.successResultOf(chain.blocks_from(message.from_, message.count, 1 << 21))
        return NotFound((message.from_,)) if raws is None else Blocks(tuple(raws))

    def converge(self, seconds: float, *hosts: Syncing) -> None:
        """All have one head within so many seconds, and nobody was blamed."""
        some: Sequence[Syncing] = hosts or self.hosts
        done = self.clock.run_while(lambda: len({host.chain.head.hash for host in some}) > 1, seconds)
        self.assertTrue(done, {host.name: (host.chain.head.height, host.sync.explain()) for host in some})
        self.assertEqual([host.faults for host in self.hosts], [[] for _ in self.hosts])

    def tearDown(self) -> None:
        self.assertEqual(self.clock.failures, 0)
        for host in self.hosts:
            host.sync.stop()
        for host in self.hosts:
            for link in tuple(host.links):
                link.close()
        self.assertEqual([call.func for call in self.clock.planned(None) if "check" not in repr(call.func)], [])
        self.assertEqual(self.flushLoggedErrors(), [])


class BesideGossip(Base):
    def test_the_next_block_is_left_to_gossip_for_a_second(self) -> None:
        old, new = self.host("old", 1), self.host("new")
        new.coming.add(old.chain.head.hash)
        connect(new, old)
        self.clock.run_for(0.9)
        self.assertEqual(new.chain.best_header.height, 1)
        self.assertEqual([message for message in new.links[0].sent if isinstance(message, GetBlocks)], [])
        self.assertIn("gossip is bringing block 1", new.sync.explain().text)
        self.converge(1.0)

    def test_two_blocks_are_not(self) -> None:
        old, new = self.host("old", 2), self.host("new")
        new.coming.add(old.chain.head.hash)
        connect(new, old)
        self.converge(0.5)


class Initial(Base):
    def test_five_thousand_blocks(self) -> None:
        old, new = self.host("old", 5_000), self.host("new")
        changes: list[SyncChanged] = []
        new.chain.events.subscribe(SyncChanged, changes.append)
        connect(new, old)
        self.clock.run_for(0.2)
        state = new.sync.explain()
        self.assertIs(state.phase, Phase.BLOCKS)
        self.assertEqual((state.starting, state.highest, state.target), (0, 5_000, old.peer_id))
        self.assertTrue(new.sync.syncing)
        self.assertIn("is asked for", state.text)
        self.converge(10.0)
        self.clock.run_for(2.0)
        self.assertIs(new.sync.explain().phase, Phase.FOLLOWING)
        self.assertFalse(new.sync.syncing)
        headers = [message for message in new.links[0].sent if isinstance(message, GetHeaders)]
        self.assertEqual([message.count for message in headers], [512, 2_000, 2_000, 2_000])
        self.assertEqual([change.state.behind for change in changes], [True, False])

    def test_the_chain_is_asked_seldom_what_it_lacks(self) -> None:
        old, new = self.host("old", 5_000), self.host("new")
        asked, missing = [0], new.chain.missing

        def counted(limit: int) -> Any:
            asked[0] += 1
            return missing(limit)

        self.patch(new.chain, "missing", counted)
        connect(new, old)
        self.converge(10.0)
        # as headers come, and when half of what was planned is used; not each time that the head moved (62 times)
        self.assertLess(asked[0], 10)

    def test_who_is_ahead_asks_nothing(self) -> None:
        old, new = self.host("old", 10), self.host("new")
        connect(old, new)
        self.converge(1.0)
        self.assertEqual([m for m in old.links[0].sent if isinstance(m, GetHeaders)], [])

    def test_alone_it_says_so(self) -> None:
        host = self.host("alone")
        self.clock.run_for(3.0)
        self.assertIs(host.sync.explain().phase, Phase.IDLE)
        self.assertIn("no peers", host.sync.explain().text)

    def test_an_answer_that_takes_time(self) -> None:
        old, new = self.host("old", 300), self.host("new", reactor=self.clock, delay=0.05)
        connect(new, old)
        self.converge(20.0)


class Forks(Base):
    def test_shorter_but_better(self) -> None:
        one, two = self.host("one", 30, salt=1), self.host("two")
        grow(two.chain, 3, salt=2, weight=100)
        changes: list[HeadChanged] = []
        one.chain.events.subscribe(HeadChanged, changes.append)
        connect(one, two)
        self.converge(5.0)
        self.assertEqual(one.chain.head.height, 3)
        self.assertEqual(len(changes[0].left), 30)

    def test_each_on_its_own_branch_after_a_common_past(self) -> None:
        for lengths in ((5, 9), (300, 301), (2_500, 10), (0, 1)):
            one, two = self.host("one"), self.host("two")
            for raw in grow(one.chain, 20):
                two.chain.submit_block(raw)
            grow(one.chain, lengths[0], salt=1)
            grow(two.chain, lengths[1], salt=2)
            connect(one, two)
            self.converge(10.0, one, two)
            self.assertEqual(one.chain.head.height, 20 + max(lengths))
            self.net.clock.run_for(30.0)

    def test_equal_ranks_smaller_hash(self) -> None:
        one, two = self.host("one", 3, salt=1), self.host("two", 3, salt=2)
        smaller = min(one.chain.head.hash, two.chain.head.hash)
        connect(one, two)
        self.converge(5.0)
        self.assertEqual(one.chain.head.hash, smaller)

    def test_step_back_is_logarithmic(self) -> None:
        one, two = self.host("one"), self.host("two")
        for raw in grow(one.chain, 3_000):
            two.chain.submit_block(raw)
        grow(one.chain, 1_500, salt=1)
        grow(two.chain, 2_000, salt=2)
        connect(one, two)
        self.converge(20.0)
        self.assertLess(len([m for m in one.links[0].sent if isinstance(m, GetHeaders)]), 30)

    def test_no_branch_below_the_finalized_block_and_no_blame(self) -> None:
        one, two = self.host("one", 40, salt=1, finality=5), self.host("two", 60, salt=2, finality=5)
        heads = one.chain.head, two.chain.head
        connect(one, two)
        self.clock.run_for(120.0)
        self.assertEqual((one.chain.head, two.chain.head), heads)
        self.assertIsNotNone(one.chain.conflict)
        self.assertEqual(self.successResultOf(one.chain.locate(two.chain.head.hash)), two.chain.head)
        self.assertEqual((one.faults, two.faults), ([], []))
        asked = [m for m in one.links[0].sent if isinstance(m, GetHeaders)]
        self.assertLess(len(asked), 120)
        self.assertTrue(one.links)
        self.assertIn("1 of 1 peers have nothing of our chain", one.sync.explain().text)

    def test_a_conflict_is_looked_for_over_several_messages(self) -> None:
        self.patch(chainp2p.sync.headers.chase, "HEADERS_MAX", 7)
        self.patch(chainp2p.sync.headers.chase, "PROBE_HEADERS", 50)
        one, two = self.host("one", 40, salt=1, finality=5), self.host("two", 60, salt=2, finality=5)
        far = self.host("far", 44, salt=3, finality=5)
        connect(one, two)
        connect(one, far)
        self.clock.run_for(30.0)
        self.assertIsNotNone(one.chain.conflict)
        self.assertEqual((one.faults, two.faults), ([], []))

    def test_probes_are_few_and_remembered_within_bounds(self) -> None:
        self.patch(chainp2p.sync.headers.fetch, "PROBES_REMEMBERED", 2)
        one = self.host("one", 40, salt=1, finality=5)
        for n in range(4):
            connect(one, self.host(f"peer{n}", 60, salt=2 + n, finality=5))
        self.clock.run_for(60.0)
        self.assertEqual(one.faults, [])

    def test_a_peer_whose_chain_ends_at_what_it_claims(self) -> None:
        self.patch(chainp2p.sync.headers.chase, "HEADERS_MAX", 10)
        one, two = self.host("one", 50), self.host("two", 50, salt=1)
        two.chain.add_headers(self.successResultOf(one.chain.headers_after(one.chain.genesis_hash, 30)))
        grow(one.chain, 1)
        connect(two, one)
        self.converge(5.0)

    def test_a_claim_of_a_parted_peer_is_not_chased_in_a_loop(self) -> None:
        one, two = self.host("one", 40, salt=1, finality=5), self.host("two", 60, salt=2, finality=5)
        connect(one, two)
        for _ in range(40):
            self.clock.run_for(0.25)
            grow(two.chain, 1, salt=2)
            one.sync.heard(one.links[0], two.chain.head.hash, two.chain.head.height)
        self.assertLess(len([m for m in one.links[0].sent if isinstance(m, GetHeaders)]), 60)
        self.assertEqual(one.faults, [])


class Following(Base):
    def test_quarter_second_blocks_by_hearsay(self) -> None:
        one, two = self.host("one", 100), self.host("two")
        connect(two, one)
        for _ in range(200):
            self.clock.run_for(0.25)
            grow(one.chain, 1)
            two.sync.heard(two.links[0], one.chain.head.hash, one.chain.head.height)
        self.converge(1.0)
        self.assertFalse(two.sync.syncing)

    def test_a_lost_announcement_is_made_up_for(self) -> None:
        one, two = self.host("one", 5), self.host("two")
        connect(two, one)
        self.converge(2.0)
        grow(one.chain, 3)
        self.converge(15.0)

    def test_a_peer_that_restarts_lower(self) -> None:
        one, two = self.host("one", 50), self.host("two")
        connect(two, one)
        self.converge(5.0)
        two.links[0].close()
        low = self.host("low")
        connect(two, low)
        self.clock.run_for(15.0)
        self.assertEqual(low.chain.head, two.chain.head)
        grow(low.chain, 2)
        two.sync.heard(two.links[0], low.chain.head.hash, low.chain.head.height)
        self.converge(3.0, two, low)

    def test_headers_and_blocks_from_the_future_wait(self) -> None:
        one, two = self.host("one", 3), self.host("two")
        ahead = ToyChain(now=lambda: 1e9)
        grow(ahead, 3)
        puppet = self.puppet(ahead)
        grow(ahead, 2, salt=9, time=5_000)
        connect(two, puppet)
        two.sync.heard(two.links[0], ahead.head.hash, ahead.head.height)
        self.clock.run_for(4.0)
        self.assertEqual(two.chain.head.height, 3)
        self.clock.run_for(2.0)
        self.assertEqual(two.chain.head, ahead.head)
        self.assertEqual(two.faults, [])
        self.assertEqual(one.faults, [])


class Stalls(Base):
    def test_a_silent_peer_is_left_for_another(self) -> None:
        old = self.host("old", 400)
        silent = Puppet(self.net, "silent", status_of(old.chain), {})
        new = self.host("new")
        connect(new, silent)
        connect(new, old)
        self.converge(10.0)
        self.assertEqual(new.faults, [])

    def test_headers_but_no_blocks(self) -> None:
        old, new = self.host("old", 400), self.host("new")
        lazy = self.puppet(old.chain, "lazy", blocks=not_found)
        connect(new, lazy)
        self.clock.run_for(3.0)
        self.assertEqual(new.chain.best_header.height, 400)
        self.assertIn("no peer has it", new.sync.explain().text)
        connect(new, old)
        self.converge(3.0)
        self.assertEqual(new.faults, [])

    def test_what_came_by_another_way_is_not_awaited_any_more(self) -> None:
        """A block that is here but not connected moves no head: nothing tells that it is not missing."""
        old, new = self.host("old"), self.host("new")
        raws = grow(old.chain, 8)
        connect(new, self.puppet(old.chain, "mute", blocks=lambda message: Deferred()))
        self.clock.run_for(1.5)
        self.assertEqual((new.chain.best_header.height, new.sync._blocks.window.row.left), (8, 8))
        for raw in raws[1:]:
            new.chain.submit_block(raw)
        self.clock.run_for(2.5)
        self.assertEqual((new.chain.head.height, new.sync._blocks.window.row.left), (0, 1))

    def test_the_first_leaves_midway(self) -> None:
        one, two, new = self.host("one", 3_000), self.host("two", 2_900), self.host("new")
        for raw in grow(one.chain, 0):
            two.chain.submit_block(raw)
        connect(new, one)
        self.clock.run_for(0.15)
        self.assertEqual(new.chain.best_header.height, 3_000)
        new.links[0].close()
        connect(new, two)
        self.converge(10.0, new, two)

    def test_blocks_nobody_has_give_way_to_another_branch(self) -> None:
        gone, here, new = self.host("gone", 300, salt=1), self.host("here", 200, salt=2), self.host("new", 10, salt=3)
        connect(new, gone)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header.height < 300, 1.0))
        new.links[0].close()
        height = new.chain.head.height
        self.assertLess(height, 200)
        connect(new, here)
        grow(here.chain, 1, salt=2)
        new.sync.heard(new.links[0], here.chain.head.hash, here.chain.head.height)
        self.converge(15.0, new, here)

    def test_another_branch_that_needs_many_steps_before_it_wins(self) -> None:
        self.patch(chainp2p.sync.blocks.branch, "HEADERS_MAX", 20)
        gone, here, new = self.host("gone", 300, salt=1), self.host("here", 200, salt=2), self.host("new", 70, salt=3)
        connect(new, gone)
        self.assertTrue(self.clock.run_while(lambda: new.chain.best_header.height < 300, 1.0))
        new.links[0].close()
        connect(new, here)
        grow(here.chain, 1, salt=2)
        new.sync.heard(new.links[0], here.chain.head.hash, here.chain.head.height)
        self.converge(15.0, new, here)
        self.assertEqual(new.faults, [])

    def test_another_branch_is_asked_of_a_peer_that_fails(self) -> None:
        gone, here = self.host("gone", 300, salt=1), self.host("here", 200, salt=2)
        orphan = ToyHeader(b"?" * 32, 1, 1, 0, bytes(32), bytes(8)).raw
        answers: dict[str, Callable[[Any], Any]] = {
            "orphan": lambda message: Headers((orphan,)),
            "silent": lambda message: Deferred(),
            "short": lambda message: Headers((b"x",)),
        }
        for name, answer in answers.items():
            new = self.host(name, 10, salt=3)
            connect(new, gone)
            self.assertTrue(self.clock.run_while(lambda new=new: new.chain.best_header.height < 300, 1.0))
            new.links[0].close()
            new.chain.add_headers(self.successResultOf(here.chain.headers_after(here.chain.genesis_hash, 999)))
            connect(new, self.puppet(here.chain, name, headers=answer))
            new.sync.heard(new.links[0], here.chain.head.hash, here.chain.head.height)
            self.clock.run_for(4.0)
            self.assertEqual(new.chain.head.height, 10)
            self.assertEqual(bool(new.faults), name == "short")

    def test_blocks_from_the_future_wait(self) -> None:
        """The header is taken when its time has come, and then the clock goes back."""
        old, new = self.host("old"), self.host("new")
        grow(old.chain, 3)
        late = old.chain.make(time=0)
        old.chain.submit_block(late)
        submit = new.chain._submit
        tries = []

        def early(raw: bytes) -> Any:
            if raw == late and not tries:
                tries.append(self.clock.seconds())
                return NotYet(new.chain.block_hash(raw), self.clock.seconds() + 3.0)
            return submit(raw)

        new.chain._submit = early  # type: ignore[method-assign]
        connect(new, old)
        self.clock.run_for(2.5)
        self.assertEqual(new.chain.head.height, 3)
        self.converge(2.0)

    def test_a_block_whose_parent_went_away(self) -> None:
        old, new = self.host("old", 3), self.host("new")
        submit, tries = new.chain._submit, []

        def orphan(raw: bytes) -> Any:
            tries.append(raw)
            return ParentMissing(new.chain.block_hash(raw), bytes(32)) if len(tries) == 1 else submit(raw)

        new.chain._submit = orphan  # type: ignore[method-assign]
        connect(new, old)
        self.converge(5.0)

    def test_a_round_that_fails_by_our_fault_is_logged_and_tried_again(self) -> None:
        old, new = self.host("old", 3), self.host("new")
        missing, failures = new.chain.missing, [KeyError("ours")]
        new.chain.missing = lambda limit: fail(failures.pop()) if failures else missing(limit)  # type: ignore
        connect(new, old)
        self.converge(5.0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_large_blocks_come_in_the_numbers_that_fit(self) -> None:
        old, new = self.host("old"), self.host("new")
        for _ in range(40):
            old.chain.submit_block(old.chain.make(transactions=[bytes(400_000)]))
        connect(new, old)
        self.converge(5.0)
        asked = [m.count for m in new.links[0].sent if isinstance(m, GetBlocks)]
        self.assertEqual(asked[0], 4)
        self.assertLess(len(asked), 25)
        self.assertEqual(new.faults, [])

    def test_a_slow_only_peer_gets_there(self) -> None:
        old, new = self.host("old", 40), self.host("new")
        self.net.latency = 9.0
        connect(new, old)
        self.converge(1_000.0)

    def test_everybody_equally_slow(self) -> None:
        old, also, new = self.host("old", 40), self.host("also", 40), self.host("new")
        self.net.latency = 4.0
        connect(new, old)
        connect(new, also)
        self.converge(1_000.0)

    def test_a_busy_peer_is_asked_again(self) -> None:
        old, new = self.host("old", 10), self.host("new")
        busy = [Refused(0, 1_500), Refused(0, 0)]
        puppet = self.puppet(
            old.chain, headers=lambda message: busy.pop() if busy else self.serve_headers(old.chain, message)
        )
        connect(new, puppet)
        self.converge(10.0)

    def test_a_turning_peer(self) -> None:
        """It answers that it lacks what it just served: it changed branches."""
        old, new = self.host("old", 10), self.host("new")
        answers = iter([Headers(tuple(self.successResultOf(old.chain.headers_after(old.chain.genesis_hash, 4))))])
        puppet = self.puppet(
            old.chain,
            headers=lambda message: (
                next(answers, None) or self.serve_headers(old.chain, message)
                if message.from_ == old.chain.genesis_hash
                else NotFound(())
            ),
        )
        connect(new, puppet)
        self.clock.run_for(3.0)
        connect(new, old)
        self.converge(5.0)


class Liars(Base):
    def test_a_false_rank_is_asked_last(self) -> None:
        old, new = self.host("old", 20), self.host("new")
        boast = make_status(bytes(31) + b"\1", 1_000_000, b"\xff" * 32)
        liar = Puppet(self.net, "liar", boast, {GetHeaders: lambda message: Headers(()), GetBlocks: not_found})
        connect(new, liar)
        connect(new, old)
        self.converge(5.0)
        self.assertEqual(new.faults, [])
        self.assertFalse(new.sync.syncing)

    def test_bad_headers_cost_the_link(self) -> None:
        old, new = self.host("old", 20), self.host("new")
        head = old.chain.head
        bad = ToyHeader(old.chain.genesis_hash, 1, 0, 0, bytes(32), bytes(8)).raw
        good = self.successResultOf(old.chain.headers_after(old.chain.genesis_hash, 1))[0]
        for name, headers in (("invalid", (bad,)), ("short", (b"x",)), ("within", (b"x", good))):
            liar = Puppet(
                self.net,
                name,
                make_status(b"y" * 32, 9, b"\xff" * 32),
                {GetHeaders: lambda message, h=headers: Headers(h)},
            )
            connect(new, liar)
        connect(new, old)
        self.clock.run_for(5.0)
        self.assertEqual(new.chain.head, head)
        self.assertEqual(
            [fault[1] for fault in new.faults], [Reason.MISBEHAVED, Reason.MALFORMED_MESSAGE, Reason.MISBEHAVED]
        )
        self.assertEqual({fault[3] for fault in new.faults}, {Penalty.MALICIOUS})

    def test_headers_in_a_circle(self) -> None:
        old, new = self.host("old", 20), self.host("new", 20)
        headers = Headers(tuple(self.successResultOf(old.chain.headers_after(old.chain.genesis_hash, 10))))
        liar = Puppet(self.net, "liar", make_status(b"y" * 32, 9, b"\xff" * 32), {GetHeaders: lambda message: headers})
        connect(new, liar)
        self.clock.run_for(5.0)
        self.assertEqual([fault[1] for fault in new.faults], [Reason.MISBEHAVED])

    def test_bodies_that_do_not_match_cost_the_link_and_come_from_another(self) -> None:
        old, new = self.host("old", 20), self.host("new")
        forged = self.puppet(
            old.chain,
            "forger",
            blocks=lambda message: Blocks(tuple(raw + b"x" for raw in self.serve_blocks(old.chain, message).blocks)),
        )
        connect(new, forged)
        self.clock.run_for(0.5)
        self.assertEqual([fault[1] for fault in new.faults], [Reason.MISBEHAVED])
        new.faults.clear()
        connect(new, old)
        self.converge(5.0)

    def test_other_blocks_than_asked(self) -> None:
        old, new = self.host("old", 20), self.host("new")
        other = old.chain.make()
        for name, blocks in (("other", (other,)), ("short", (b"x",))):
            connect(new, self.puppet(old.chain, name, blocks=lambda message, b=blocks: Blocks(b)))
        self.clock.run_for(10.0)
        self.assertEqual(sorted(fault[1] for fault in new.faults), [Reason.MALFORMED_MESSAGE, Reason.MISBEHAVED])

    def test_a_block_that_fails_is_nobodys_fault_and_its_branch_is_left(self) -> None:
        good, new = self.host("good", 5), self.host("new")
        bad = ToyChain()
        grow(bad, 3, salt=7)
        poison = bad.make(transactions=[FAILS], weight=50)
        header, _ = bad.split(poison)
        child = ToyHeader(bad.block_hash(poison), 5, 50, 0, bad.split(bad.make())[0][56:88], bytes(8)).raw
        raws = self.successResultOf(bad.headers_after(bad.genesis_hash, 10))
        blocks = [*self.successResultOf(bad.blocks_from(bad.block_hash(raws[0]), 9, 1 << 20)), poison, child]
        index = {bad.block_hash(raw): raw for raw in blocks}

        def headers(message: GetHeaders) -> Any:
            chain = [bad.genesis_hash, *index]
            if message.from_ not in chain:
                return NotFound((message.from_,))
            return Headers(tuple(index[hash][: len(header)] for hash in chain[chain.index(message.from_) + 1 :]))

        def serve(message: GetBlocks) -> Any:
            chain = list(index)
            if message.from_ not in chain:
                return NotFound((message.from_,))
            return Blocks(tuple(index[hash] for hash in chain[chain.index(message.from_) :][: message.count]))

        claim = make_status(bad.block_hash(child), 5, (1 + 3 + 50 + 50).to_bytes(32, "big"))
        connect(new, Puppet(self.net, "puppet", claim, {GetHeaders: headers, GetBlocks: serve}))
        self.clock.run_for(3.0)
        self.assertEqual(new.chain.head.height, 3)
        connect(new, good)
        self.converge(5.0, new, good)
        grandchild = ToyHeader(bad.block_hash(child), 6, 50, 0, bytes(32), bytes(8)).raw
        index[bad.block_hash(grandchild)] = grandchild
        new.sync.heard(new.links[0], bad.block_hash(grandchild), 6)
        self.clock.run_for(3.0)
        self.assertEqual((new.faults, len(new.links)), ([], 2))


class Schedules(Base):
    def test_random_links_stalls_and_growth_end_in_one_head(self) -> None:
        for seed in range(12):
            chance = random.Random(seed)
            self.net = Net(latency=0.02)
            self.clock = self.net.clock
            self.hosts = []
            hosts = [self.host(f"{seed}-{n}", chance.randrange(40), salt=n, delay=0.0) for n in range(4)]
            for _ in range(60):
                one, two = chance.sample(hosts, 2)
                match chance.randrange(5):
                    case 0 if all(link.other.host is not two for link in one.links):
                        connect(one, two)
                    case 1 if one.links:
                        chance.choice(one.links).close()
                    case 2 if one.links:
                        link = chance.choice(one.links)
                        link.stalled = not link.stalled
                    case _:
                        grow(one.chain, 1, salt=hosts.index(one))
                        for link in one.links:
                            other = link.other
                            other.host.users[0].heard(other, one.chain.head.hash, one.chain.head.height)
                self.clock.run_for(chance.random() * 0.6)
            for host in hosts:
                for link in tuple(host.links):
                    link.close()
            for one, two in zip(hosts, hosts[1:], strict=False):
                connect(one, two)
            self.converge(60.0)
            for host in hosts:
                host.sync.stop()
