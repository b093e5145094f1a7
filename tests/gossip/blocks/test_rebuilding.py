"""Blocks in compact form between hosts with toy chains: honest ones, collisions, and peers that lie or keep silent."""

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Interface

import chainp2p.gossip.blocks.compact
import chainp2p.gossip.transactions.announcing
import tests.gossip.test_service as common
from chainp2p.errors import Reason
from chainp2p.gossip.blocks.building import OVERDUE, PUSH_HEADSTART
from chainp2p.gossip.blocks.compact import Form, pack_indexes
from chainp2p.gossip.blocks.rebuilding import Counts
from chainp2p.testing.toychain import FAILS
from chainp2p.wire.messages import (
    COMPACT_BLOCKS,
    NO_TRANSACTIONS,
    AnnounceBlocks,
    Blocks,
    BlockTransactions,
    CompactBlock,
    FoundCompactBlock,
    GetBlocks,
    GetBlockTransactions,
    GetCompactBlock,
    NewBlock,
    NotFound,
    PushBlocks,
)
from tests.links import Puppet, connect, make_status, not_found

#: Transactions that are more than a small body together, and more than what goes whole.
RAWS = [b"%d" % n * 200 for n in range(100, 104)]
LARGE = [b"%d" % n * 2_000 for n in range(100, 104)]


class Speaker(Puppet):
    """A puppet that understands compact forms, with all that it can tell of one block."""

    def __init__(self, net: Any, name: str, answers: dict[Any, Any] | None = None, flags: int = 0) -> None:
        super().__init__(net, name, make_status(features=COMPACT_BLOCKS, flags=flags), answers or {})

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.got if isinstance(message, kind)]


def honest(chain: Any, raw: bytes) -> dict[Any, Any]:
    """The answers of a node that has block *raw*."""
    form = Form.of(chain.block_hash(raw), *chain.split(raw))

    def transactions(message: GetBlockTransactions) -> BlockTransactions:
        wanted = int.from_bytes(message.indexes, "little")
        return BlockTransactions(
            message.hash, tuple(one for at, (_, one) in enumerate(form.transactions) if wanted >> at & 1)
        )

    return {
        GetCompactBlock: lambda message: form.found(),
        GetBlockTransactions: transactions,
        GetBlocks: lambda message: Blocks((raw,)),
    }


class CompactBase(common.Base):
    def counts(self, node: common.Node) -> Counts:
        assert node.gossip.compact is not None
        return node.gossip.compact

    def form(self, node: common.Node, raw: bytes) -> CompactBlock:
        return Form.of(node.chain.block_hash(raw), *node.chain.split(raw)).pushed()

    def puppet(self, node: common.Node, name: str, answers: dict[Any, Any] | None = None) -> tuple[Speaker, Any]:
        puppet = Speaker(self.net, name, answers)
        return puppet, connect(puppet, node)[0]

    def assertHead(self, node: common.Node, raw: bytes) -> None:
        self.assertEqual(node.chain.head.hash, node.chain.block_hash(raw))


class Honest(CompactBase):
    def test_pushed_to_who_asked_and_announced_to_the_others(self) -> None:
        nodes = self.full_mesh(12)
        asked = [sum(isinstance(m, PushBlocks) and m.wanted for m in link.sent) for n in nodes for link in n.links]
        self.assertEqual(sum(asked), 36)
        for raw in RAWS:
            nodes[0].admit(raw)
        self.clock.run_for(1.5)
        nodes[0].chain.produce()
        self.clock.run_for(1.0)
        for node in nodes[1:]:
            self.assertEqual(node.chain.head, nodes[0].chain.head)
            self.assertEqual((self.counts(node).free, self.counts(node).asked), (1, 0))
        self.assertEqual([node.faults for node in nodes], [[]] * 12)
        self.assertEqual([self.sent(node, kind) for node in nodes for kind in (NewBlock, GetBlocks)], [[]] * 24)
        pushes = self.sent(nodes[0], CompactBlock)
        self.assertTrue(pushes)
        self.assertEqual({len(message.short_ids) for message in pushes}, {6 * len(RAWS)})
        told = len(self.sent(nodes[0], CompactBlock)) + len(self.sent(nodes[0], AnnounceBlocks))
        self.assertEqual(told, 11)

    def test_what_is_missing_is_asked_for(self) -> None:
        one, two = self.full_mesh(2)
        raw = one.chain.make(transactions=LARGE)
        two.admit(LARGE[1])
        one.gossip._blocks.spreading.forms._lacks = lambda link, id: False
        one.chain.submit_block(raw)
        self.clock.run_for(0.0)
        one.links[0].send(self.form(one, raw))
        self.clock.run_for(0.05)
        self.assertHead(two, raw)
        (asked,) = self.sent(two, GetBlockTransactions)
        self.assertEqual(asked.indexes, pack_indexes([0, 2, 3]))
        self.assertEqual((self.counts(two).free, self.counts(two).asked), (0, 1))

    def test_what_the_receiver_does_not_know_goes_whole_hop_by_hop(self) -> None:
        self.patch(chainp2p.gossip.transactions.announcing, "PUSH_BYTES", 0)
        nodes = [self.node(f"n{n}") for n in range(6)]
        for one, other in zip(nodes, nodes[1:], strict=False):
            connect(one, other)
        for raw in RAWS[:2]:
            nodes[0].admit(raw)
        self.clock.run_for(2.0)
        for raw in RAWS[2:]:
            nodes[0].chain.admit(raw, True)  # nobody was told yet
        nodes[0].chain.produce()
        self.clock.run_for(0.055)
        self.assertEqual({node.chain.head.height for node in nodes}, {1})
        self.assertEqual([self.counts(node).free for node in nodes], [0, 1, 1, 1, 1, 1])
        for node in nodes[:-1]:
            (push,) = self.sent(node, CompactBlock)
            self.assertEqual(len(push.prefilled), 2)

    def test_a_guess_that_is_too_large_goes_not_at_all(self) -> None:
        one, two = self.full_mesh(2)
        for raw in LARGE:
            one.chain.admit(raw, True)
        one.gossip._transactions.left(one.links[0])  # nothing is pushed or announced before the block
        one.gossip._transactions.joined(one.links[0])
        one.chain.produce()
        self.clock.run_for(0.05)
        self.assertEqual([m.prefilled for m in self.sent(one, CompactBlock)], [()])
        self.assertEqual(two.chain.head, one.chain.head)

    def test_over_a_link_for_blocks_only_nothing_is_guessed(self) -> None:
        one, two = self.node("one"), self.node("two")
        two.status = lambda: make_status(two.chain.head.hash, features=COMPACT_BLOCKS, flags=NO_TRANSACTIONS)
        connect(two, one)
        self.clock.run_for(0.1)
        for raw in RAWS:
            one.admit(raw)
        one.chain.produce()
        self.clock.run_for(0.1)
        self.assertEqual([m.prefilled for m in self.sent(one, CompactBlock)], [()])
        self.assertEqual(two.chain.head, one.chain.head)
        self.assertEqual(self.counts(two).asked, 1)

    def test_relayed_before_it_is_judged(self) -> None:
        nodes = [self.node(f"n{n}") for n in range(4)]
        for one, other in zip(nodes, nodes[1:], strict=False):
            connect(one, other)
        for node in nodes[1:]:
            submit = node.chain.submit_block
            node.chain.submit_block = lambda raw, submit=submit: self.later(submit, raw)
        self.clock.run_for(0.1)
        nodes[0].chain.produce()
        self.clock.run_for(0.035)
        self.assertEqual([len(self.sent(node, CompactBlock)) for node in nodes], [1, 1, 1, 0])
        self.assertEqual([node.chain.head.height for node in nodes], [1, 0, 0, 0])
        # and served too
        form = nodes[1].links[0].other.request(GetCompactBlock(nodes[0].chain.head.hash))
        self.clock.run_for(0.03)
        self.assertIsInstance(self.successResultOf(form), FoundCompactBlock)
        self.clock.run_for(1.0)
        self.assertEqual([node.chain.head.height for node in nodes], [1, 1, 1, 1])

    def later(self, submit: Any, raw: bytes) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.clock.callLater(1.0, lambda: submit(raw).chainDeferred(done))
        return done

    def test_a_chain_that_cannot_check_bodies_relays_on_its_verdict(self) -> None:
        class Other(Interface):
            """What no chain provides."""

        self.patch(chainp2p.gossip.blocks.relay, "IBodyCheck", Other)
        self.patch(chainp2p.gossip.blocks.rebuilding, "IBodyCheck", Other)
        nodes = [self.node(f"n{n}") for n in range(3)]
        for one, other in zip(nodes, nodes[1:], strict=False):
            connect(one, other)
        made_up = CompactBlock(nodes[1].chain.make(salt=1), b"", ((0, b"made up"),), 1)
        _, far = self.puppet(nodes[1], "p", {GetBlocks: not_found})
        far.send(made_up)
        self.clock.run_for(0.1)
        self.assertEqual((self.sent(nodes[1], CompactBlock), self.counts(nodes[1]).mismatched), ([], 1))
        nodes[0].chain.produce()
        self.clock.run_for(0.1)
        self.assertEqual([node.chain.head.height for node in nodes], [1, 1, 1])
        self.assertEqual([self.counts(node).free for node in nodes], [0, 1, 1])
        self.assertEqual(nodes[1].faults, [])

    def test_without_a_pool_blocks_come_whole(self) -> None:
        one, two, bare = self.node("one"), self.node("two"), self.node("bare", pool=False)
        for left, right in ((one, two), (two, bare), (one, bare)):
            connect(left, right)
        for raw in RAWS:
            one.admit(raw)
        self.clock.run_for(0.5)
        for node in self.nodes:
            node.chain.produce()
            self.clock.run_for(0.5)
        self.assertEqual({node.chain.head.hash for node in self.nodes}, {bare.chain.head.hash})
        self.assertEqual(bare.chain.head.height, 3)
        self.assertIsNone(bare.gossip.compact)
        self.assertEqual(self.sent(bare, CompactBlock) + self.sent(bare, PushBlocks), [])
        self.assertTrue(self.sent(one, NewBlock))

    def test_too_many_transactions_are_announced(self) -> None:
        self.patch(chainp2p.gossip.blocks.compact, "COMPACT_TRANSACTIONS", 3)
        one, two = self.full_mesh(2)
        for raw in RAWS:
            one.admit(raw)
        self.clock.run_for(0.5)
        one.chain.produce()
        self.clock.run_for(1.0)
        self.assertEqual((self.sent(one, CompactBlock), len(self.sent(two, GetCompactBlock))), ([], 1))
        self.assertEqual(two.chain.head, one.chain.head)
        self.assertEqual(self.counts(two).given_up, 1)

    def test_one_announced_is_asked_for_when_nobody_pushes(self) -> None:
        one = self.node("one")
        raw = one.chain.make(transactions=RAWS)
        puppet, far = self.puppet(one, "p", honest(one.chain, raw))
        self.clock.run_for(0.05)
        self.assertEqual(puppet.of(PushBlocks), [PushBlocks(1)])
        far.send(AnnounceBlocks(((one.chain.block_hash(raw), 1),)))
        self.clock.run_for(0.025)
        self.assertEqual(puppet.of(GetCompactBlock), [])
        self.clock.run_for(0.03 + PUSH_HEADSTART)
        self.assertHead(one, raw)
        self.assertEqual((len(puppet.of(GetCompactBlock)), len(puppet.of(GetBlocks))), (1, 0))


class PassedOn(CompactBase):
    """Short ids travel on at once; who passes them on unseen does not answer for them, and corrects them."""

    def setUp(self) -> None:
        super().setUp()
        self.nodes_ = [self.node(f"n{n}") for n in range(3)]
        for one, other in zip(self.nodes_, self.nodes_[1:], strict=False):
            connect(one, other)
        self.clock.run_for(0.1)
        self.raw = self.nodes_[0].chain.make(transactions=RAWS)
        self.good = self.form(self.nodes_[0], self.raw)

    def pushes(self, node: common.Node) -> list[int]:
        return [message.checked for message in self.sent(node, CompactBlock)]

    def test_before_what_is_missing_has_come(self) -> None:
        puppet, far = self.puppet(self.nodes_[0], "p", honest(self.nodes_[0].chain, self.raw))
        far.send(self.good)
        self.clock.run_for(0.025)
        self.assertEqual([self.pushes(node) for node in self.nodes_], [[0], [0], []])
        # 10 ms a hop: asked at 10, 20 and 30; the answers at 30, 40 and 50, each waited for by the next
        self.clock.run_for(0.026)
        self.assertEqual([node.chain.head.height for node in self.nodes_], [1, 1, 1])
        self.assertEqual([self.pushes(node) for node in self.nodes_], [[0], [0], []])
        self.assertEqual([self.counts(node).asked for node in self.nodes_], [1, 1, 1])
        self.assertEqual(len(puppet.of(GetBlockTransactions)), 1)

    def test_who_passed_it_on_unseen_is_told_when_it_is_here(self) -> None:
        """It may not get it from whom it asked."""
        one = self.nodes_[2]
        passing, far = self.puppet(one, "passing")
        far.send(PushBlocks(1))
        self.clock.run_for(0.05)
        far.send(CompactBlock(self.good.header, self.good.short_ids, (), 0))
        self.clock.run_for(0.05)
        self.assertEqual(passing.of(AnnounceBlocks) + passing.of(CompactBlock), [])
        _, near = self.puppet(one, "honest", honest(one.chain, self.raw))
        near.send(self.good)
        self.clock.run_for(OVERDUE + 0.2)
        self.assertHead(one, self.raw)
        self.assertEqual((len(passing.of(AnnounceBlocks)), len(passing.of(CompactBlock))), (1, 0))

    def test_what_was_made_up_is_corrected(self) -> None:
        for form in (
            CompactBlock(self.good.header, b"garbage."[:6] * 7, (), 1),
            Form.of(bytes(32), self.good.header, [(sha256(raw).digest(), raw) for raw in LARGE]).pushed(),
        ):
            liar, far = self.puppet(self.nodes_[0], "liar")
            far.send(form)
            self.clock.run_for(0.015)
            honest_one, near = self.puppet(self.nodes_[0], "honest", honest(self.nodes_[0].chain, self.raw))
            near.send(self.good)
            self.clock.run_for(OVERDUE + 0.2)
            self.assertEqual([node.chain.head.height for node in self.nodes_], [1, 1, 1])
            self.assertEqual([node.faults for node in self.nodes_], [[], [], []])
            self.assertEqual([self.pushes(node) for node in self.nodes_], [[0, 1], [0, 1], []])
            self.assertEqual(self.sent(self.nodes_[1], GetBlocks) + self.sent(self.nodes_[2], GetBlocks), [])
            self.tearDown()
            self.nodes = []
            self.net = common.Net()
            self.clock = self.net.clock
            self.setUp()

    def test_what_was_made_up_of_known_transactions(self) -> None:
        for node in self.nodes_:
            for raw in LARGE:
                node.chain.admit(raw, True)
        self.clock.run_for(1.0)
        story = Form.of(
            self.nodes_[0].chain.block_hash(self.raw), self.good.header, [(sha256(r).digest(), r) for r in LARGE]
        )
        _, far = self.puppet(self.nodes_[0], "liar", {GetBlocks: not_found})
        far.send(story.pushed())
        self.clock.run_for(0.05)
        self.assertEqual([self.pushes(node) for node in self.nodes_], [[], [], []])
        _, near = self.puppet(self.nodes_[0], "honest", honest(self.nodes_[0].chain, self.raw))
        near.send(self.good)
        self.clock.run_for(1.0)
        self.assertEqual([node.chain.head.height for node in self.nodes_], [1, 1, 1])
        self.assertEqual([node.faults for node in self.nodes_], [[], [], []])

    def test_unseen_and_wrong_of_known_transactions_is_asked_for_later(self) -> None:
        last = self.nodes_[2]
        for raw in LARGE:
            last.admit(raw)
        self.clock.run_for(1.0)
        story = Form.of(last.chain.block_hash(self.raw), self.good.header, [(sha256(r).digest(), r) for r in LARGE])
        puppet, far = self.puppet(last, "p", honest(last.chain, self.raw))
        message = story.pushed()
        far.send(CompactBlock(message.header, message.short_ids, (), 0))
        self.clock.run_for(0.3)
        self.assertHead(last, self.raw)
        self.assertEqual((len(puppet.of(GetCompactBlock)), len(puppet.of(GetBlocks)), last.faults), (1, 0, []))

    def test_who_waits_for_a_block_that_does_not_come_is_told(self) -> None:
        one = self.nodes_[2]
        _, far = self.puppet(one, "silent")
        puppet, asker = self.puppet(one, "asker")
        far.send(self.good)
        self.clock.run_for(0.05)
        hash = one.chain.block_hash(self.raw)
        asked = asker.request(GetBlockTransactions(hash, b"\1"))
        self.clock.run_for(1.0)
        self.assertNoResult(asked)
        self.clock.run_for(1.1)
        self.assertEqual(self.successResultOf(asked), NotFound((hash,)))
        self.clock.run_for(5.0)

    def test_more_than_can_be_remembered(self) -> None:
        one = self.nodes_[2]
        self.patch(chainp2p.gossip.blocks.forms, "UNSEEN", 1)
        _, far = self.puppet(one, "silent")
        _, asker = self.puppet(one, "asker")
        asked = []
        for salt in range(2):
            raw = one.chain.make(transactions=RAWS, salt=salt)
            far.send(self.form(one, raw))
            self.clock.run_for(0.05)
            asked.append(asker.request(GetBlockTransactions(one.chain.block_hash(raw), b"\1")))
        self.clock.run_for(0.05)
        self.assertIsInstance(self.successResultOf(asked[0]), NotFound)
        self.assertNoResult(asked[1])
        one.gossip.stop()
        self.clock.run_for(0.05)
        self.assertIsInstance(self.successResultOf(asked[1]), NotFound)

    def test_who_leaves_gets_no_correction(self) -> None:
        _, far = self.puppet(self.nodes_[1], "silent")
        far.send(self.good)
        self.clock.run_for(0.015)
        self.assertEqual(self.pushes(self.nodes_[1]), [0, 0])
        self.nodes_[1].links[0].close()
        forms = self.nodes_[1].gossip._blocks.spreading.forms
        self.assertEqual([len(unseen.links) for unseen in forms._unseen.values()], [1])


class Collisions(CompactBase):
    def test_another_of_the_pool_costs_a_whole_block_and_nobody_anything(self) -> None:
        one = self.node("one")
        raw = one.chain.make(transactions=RAWS)
        right = [sha256(item).digest() for item in RAWS]
        short = chainp2p.gossip.blocks.compact._short
        stranger = one.admit(b"stranger")
        self.patch(
            chainp2p.gossip.blocks.compact, "_short", lambda key, id: short(key, right[2] if id == stranger else id)
        )
        for item in RAWS[:2] + RAWS[3:]:
            one.admit(item)
        puppet, far = self.puppet(one, "p", honest(one.chain, raw))
        self.clock.run_for(0.05)
        far.send(self.form(one, raw))
        self.clock.run_for(1.0)
        self.assertHead(one, raw)
        self.assertEqual((self.counts(one).mismatched, self.counts(one).given_up), (1, 1))
        self.assertEqual((one.faults, len(puppet.of(GetBlocks))), ([], 1))

    def test_after_something_was_asked_for_too(self) -> None:
        one = self.node("one")
        raw = one.chain.make(transactions=RAWS)
        right = [sha256(item).digest() for item in RAWS]
        short = chainp2p.gossip.blocks.compact._short
        stranger = one.admit(b"stranger")
        self.patch(
            chainp2p.gossip.blocks.compact, "_short", lambda key, id: short(key, right[2] if id == stranger else id)
        )
        puppet, far = self.puppet(one, "p", honest(one.chain, raw))
        far.send(self.form(one, raw))
        self.clock.run_for(1.0)
        self.assertHead(one, raw)
        self.assertEqual((len(puppet.of(GetBlockTransactions)), len(puppet.of(GetBlocks)), one.faults), (1, 1, []))


class Liars(CompactBase):
    """None of them costs a block or an honest peer; who is at fault is only who sent what is wrong by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.node("one")
        self.raw = self.one.chain.make(transactions=RAWS)
        self.hash = self.one.chain.block_hash(self.raw)
        self.good = self.form(self.one, self.raw)
        self.garbage = CompactBlock(self.good.header, b"garbage."[:6] * 7, (), 1)

    def send(self, name: str, message: Any, answers: dict[Any, Any] | None = None) -> Speaker:
        puppet, far = self.puppet(self.one, name, answers)
        far.send(message)
        return puppet

    def blamed(self) -> set[str]:
        names = {sha256(name.encode()).digest(): name for name in ("liar", "honest", "second", "silent")}
        return {names[fault[0]] for fault in self.one.faults}

    def check(self, within: float, *blamed: str) -> None:
        self.clock.run_for(within)
        self.assertHead(self.one, self.raw)
        self.assertEqual(self.blamed(), set(blamed))

    def test_silent_after_the_push(self) -> None:
        self.send("silent", self.good)
        self.clock.run_for(0.001)
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(OVERDUE + 0.1)

    def test_silent_and_nobody_else_until_later(self) -> None:
        puppet = self.send("silent", self.good)
        self.clock.run_for(6.0)
        self.assertEqual((len(puppet.of(GetBlockTransactions)), len(puppet.of(GetBlocks))), (1, 1))
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(5.0)

    def test_three_silent_ones_and_one_who_announces(self) -> None:
        for name in ("liar", "silent", "second"):
            self.send(name, self.good)
        self.send("honest", AnnounceBlocks(((self.hash, 1),)), honest(self.one.chain, self.raw))
        self.check(3 * OVERDUE + 0.2)

    def test_one_transaction_in_place_of_another(self) -> None:
        wrong = {GetBlockTransactions: lambda m: BlockTransactions(m.hash, (b"another", *RAWS[1:]))}
        self.send("liar", self.good, wrong)
        self.clock.run_for(0.001)
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.2, "liar")

    def test_more_than_was_asked_for(self) -> None:
        self.send("liar", self.good, {GetBlockTransactions: lambda m: BlockTransactions(m.hash, (*RAWS, b"more"))})
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.2, "liar")

    def test_less_another_block_or_nothing(self) -> None:
        for n, answer in enumerate(
            (
                lambda m: BlockTransactions(m.hash, tuple(RAWS[:2])),
                lambda m: BlockTransactions(bytes(32), tuple(RAWS)),
                lambda m: NotFound((m.hash,)),
            )
        ):
            self.send("second" + "x" * n, self.good, {GetBlockTransactions: answer})
        self.send("honest", AnnounceBlocks(((self.hash, 1),)), honest(self.one.chain, self.raw))
        self.clock.run_for(0.5)
        self.assertHead(self.one, self.raw)
        self.assertEqual(self.one.faults, [])

    def test_short_ids_of_nothing(self) -> None:
        self.send("liar", self.garbage)
        self.clock.run_for(0.001)
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(OVERDUE + 0.1)

    def tell_a_story(self) -> None:
        """Short ids and transactions that agree with each other, and with no header."""
        story = Form.of(self.hash, self.good.header, [(sha256(raw).digest(), raw) for raw in LARGE])
        answers = {
            GetBlockTransactions: lambda m: BlockTransactions(m.hash, tuple(LARGE)),
            GetBlocks: lambda m: Blocks((self.good.header + self.one.chain.assemble(b"", LARGE),)),
        }
        self.send("liar", story.pushed(), answers)

    def test_a_consistent_story_that_is_not_the_block(self) -> None:
        """Short ids and transactions agree, the header knows neither: found out by the header, settled by the block."""
        self.tell_a_story()
        self.clock.run_for(0.001)
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.5)
        self.assertEqual(self.counts(self.one).mismatched, 1)

    def test_the_same_story_once_it_is_told_as_a_whole_block(self) -> None:
        self.tell_a_story()
        self.clock.run_for(0.5)
        self.assertEqual(self.blamed(), {"liar"})
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.5, "liar")

    def test_a_made_up_body_is_not_passed_on(self) -> None:
        two = self.node("two")
        connect(self.one, two)
        self.clock.run_for(0.1)
        whole = tuple(enumerate([b"made", b"up"]))
        self.send("liar", CompactBlock(self.good.header, b"", whole, 1))
        self.clock.run_for(0.03)
        self.assertEqual(self.sent(self.one, CompactBlock), [])
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(6.0)
        self.assertEqual(two.chain.head, self.one.chain.head)

    def test_bad_headers(self) -> None:
        wrong = self.one.chain.make(weight=0)
        self.send("liar", self.form(self.one, wrong))
        self.clock.run_for(0.1)
        self.assertEqual(self.blamed(), {"liar"})
        self.send("second", CompactBlock(b"short", b"", (), 1))
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(1.0, "liar", "second")
        reasons = [fault[1] for fault in self.one.faults]
        self.assertEqual(reasons, [Reason.MISBEHAVED, Reason.MALFORMED_MESSAGE])

    def test_what_is_no_compact_form(self) -> None:
        self.send("liar", CompactBlock(self.good.header, b"12345", (), 1))
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.5, "liar")

    def test_announced_and_then_another_block_or_a_bad_header(self) -> None:
        other = self.one.chain.make(transactions=RAWS[:2])
        wrong = self.one.chain.make(weight=0)
        self.send("liar", AnnounceBlocks(((self.hash, 1),)), honest(self.one.chain, other))
        self.clock.run_for(0.5)
        self.assertEqual(self.blamed(), {"liar"})
        bad = AnnounceBlocks(((self.one.chain.block_hash(wrong), 1),))
        self.send("second", bad, honest(self.one.chain, wrong))
        self.clock.run_for(0.5)
        self.assertEqual(self.blamed(), {"liar", "second"})
        self.send("honest", AnnounceBlocks(((self.hash, 1),)), honest(self.one.chain, self.raw))
        self.check(0.5, "liar", "second")

    def test_a_block_that_fails_is_its_producers_fault(self) -> None:
        fails = self.one.chain.make(transactions=[FAILS + b"x" * 2_000])
        puppet = self.send("honest", self.form(self.one, fails), honest(self.one.chain, fails))
        self.clock.run_for(1.0)
        self.assertEqual((self.one.chain.head.height, self.one.faults), (0, []))
        self.assertEqual(len(puppet.of(GetBlockTransactions)), 1)
        self.assertEqual(self.one.gossip._blocks.spreading.forms._recent.get(self.one.chain.block_hash(fails)), None)

    def test_a_parent_that_is_missing_is_syncs_work(self) -> None:
        other = self.node("other")
        other.chain.produce()
        raw = other.chain.make(transactions=RAWS)
        self.send("honest", self.form(other, raw))
        self.clock.run_for(0.1)
        self.assertEqual(self.one.heard, [(other.chain.block_hash(raw), 0)])

    def test_an_early_block_waits(self) -> None:
        early = self.one.chain.make(transactions=RAWS, time=2_000)
        self.send("honest", self.form(self.one, early), honest(self.one.chain, early))
        self.clock.run_for(1.5)
        self.assertEqual(self.one.chain.head.height, 0)
        self.clock.run_for(1.0)
        self.assertHead(self.one, early)
        self.assertEqual(self.one.faults, [])

    def test_a_sender_that_leaves_in_the_middle(self) -> None:
        puppet, far = self.puppet(self.one, "silent")
        far.send(self.good)
        self.clock.run_for(0.015)
        far.close()
        self.clock.run_for(0.1)
        self.send("honest", self.good, honest(self.one.chain, self.raw))
        self.check(0.5)

    def test_a_flood_of_pushes_of_one_peer(self) -> None:
        one = self.node("slow", reactor=self.clock, delay=0.5)
        puppet, far = self.puppet(one, "liar")
        for salt in range(9):
            far.send(self.form(one, one.chain.make(transactions=RAWS, salt=salt)))
        self.clock.run_for(0.3)
        self.assertEqual(len(puppet.of(GetCompactBlock)), 4)  # those that were not taken were announced
        self.clock.run_for(20.0)


class Serving(CompactBase):
    def test_what_is_near_the_head(self) -> None:
        one = self.node("one")
        puppet, far = self.puppet(one, "p")
        raws = [one.chain.make(transactions=RAWS)]
        one.chain.submit_block(raws[0])
        hash = one.chain.head.hash
        asked = far.request(GetBlockTransactions(hash, pack_indexes([3, 1]))), far.request(GetCompactBlock(hash))
        self.clock.run_for(0.1)
        self.assertEqual(self.successResultOf(asked[0]), BlockTransactions(hash, (RAWS[1], RAWS[3])))
        self.assertEqual(self.successResultOf(asked[1]).prefilled, tuple(enumerate(RAWS)))
        one.gossip._blocks.spreading.forms._recent.drop(hash)
        for _ in range(11):
            one.chain.submit_block(one.chain.make())
        unknown = b"?" * 32
        asked = [far.request(kind) for kind in (GetBlockTransactions(hash, b"\1"), GetCompactBlock(unknown))]
        self.clock.run_for(0.1)
        self.assertEqual([self.successResultOf(d) for d in asked], [NotFound((hash,)), NotFound((unknown,))])

    def test_cut_before_two_mebibytes(self) -> None:
        one = self.node("one")
        self.patch(chainp2p.gossip.blocks.forms, "SERVED_BYTES", 2_500)
        _, far = self.puppet(one, "p")
        one.chain.submit_block(one.chain.make(transactions=[bytes([n]) * 1_000 for n in range(4)]))
        asked = far.request(GetBlockTransactions(one.chain.head.hash, b"\x0f"))
        self.clock.run_for(0.1)
        self.assertEqual(len(self.successResultOf(asked).transactions), 2)

    def test_positions_beyond_the_block(self) -> None:
        one = self.node("one")
        _, far = self.puppet(one, "p")
        one.chain.submit_block(one.chain.make(transactions=RAWS))
        asked = far.request(GetBlockTransactions(one.chain.head.hash, b"\x10"))
        self.clock.run_for(0.1)
        self.assertEqual(self.successResultOf(asked), NotFound((one.chain.head.hash,)))

    def test_pushing_can_be_ended(self) -> None:
        one = self.node("one")
        puppet, far = self.puppet(one, "p")
        for wanted in (1, 0):
            far.send(PushBlocks(wanted))
            self.clock.run_for(0.1)
            one.chain.produce()
            self.clock.run_for(0.1)
        self.assertEqual((len(puppet.of(CompactBlock)), len(puppet.of(AnnounceBlocks))), (1, 1))
        far.close()
        one.handlers[PushBlocks](far.other, PushBlocks(1))
        one.handlers[CompactBlock](far.other, puppet.of(CompactBlock)[0])
