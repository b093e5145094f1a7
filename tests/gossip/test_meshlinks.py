"""Who is told at once in a large crowd: the mesh over links, and what goes to those outside."""

from typing import Any

from chainp2p.errors import Penalty, Reason
from chainp2p.gossip.blocks.pushers import PUSHERS
from chainp2p.gossip.mesh import CROSSED, FORGIVEN, HIGH, LOW, MESHED_ABOVE
from chainp2p.gossip.meshlinks import MeshLinks
from chainp2p.wire.messages import (
    COMPACT_BLOCKS,
    MESH,
    AnnounceBlocks,
    CompactBlock,
    DoNotSend,
    Graft,
    NewBlock,
    Prune,
    PushBlocks,
)
from tests.gossip.test_service import INTERVAL, Base, Node
from tests.links import MemoryLink, Puppet, connect, make_status

CROWD = MESHED_ABOVE + 4
#: So many large transactions that a block is worth a word.
LARGE = [b"%d" % n + bytes(400) for n in range(5)]


def mesh(node: Node) -> MeshLinks:
    return node.gossip._blocks.mesh


class OfMany(Base):
    def produce(self, node: Node) -> bytes:
        raw = node.chain.produce(time=0)
        return node.chain.block_hash(raw)

    def crowd(self, **fields: Any) -> list[Node]:
        nodes = self.full_mesh(CROWD, **fields)
        self.clock.run_for(5.0)
        return nodes

    def heads(self) -> set[bytes]:
        return {node.chain.head.hash for node in self.nodes}

    def test_meshes_agree(self) -> None:
        nodes = self.crowd()
        for node in nodes:
            members = mesh(node).members
            self.assertTrue(LOW <= len(members) <= HIGH)
            self.assertTrue(all(link.other in mesh(link.other.host).members for link in members))
            self.assertTrue(all(mesh(node).at_once(link) is (link in members) for link in node.links))
        asked = [link for node in nodes for link in node.links if link in node.gossip._blocks.rebuilding._pushers]
        self.assertEqual(len(asked), PUSHERS * CROWD)
        self.assertTrue(all(link in mesh(link.host).members for link in asked))
        self.assertEqual([node.faults for node in nodes], [[]] * CROWD)

    def test_a_block_goes_to_members_at_once_and_to_others_later(self) -> None:
        nodes = self.crowd()
        for raw in LARGE:
            nodes[0].admit(raw)
        self.clock.run_for(2.0)
        self.produce(nodes[0])
        members = mesh(nodes[0]).members
        told = [link for link in nodes[0].links if isinstance(link.sent[-1], AnnounceBlocks | CompactBlock)]
        self.assertEqual(set(told), set(members))
        self.clock.run_for(0.05)  # less than a beat: members tell members
        self.assertEqual(len(self.heads()), 1)
        self.clock.run_for(2 * INTERVAL)
        rest = self.sent(nodes[0], AnnounceBlocks)
        self.assertLess(len(rest), CROWD - 1 - len(members))  # most have told us by then
        self.assertLessEqual(sum(len(self.sent(node, CompactBlock)) for node in nodes), (PUSHERS + 1) * CROWD)

    def test_whole_blocks_go_to_members_and_words_spare_copies(self) -> None:
        nodes = self.crowd(pool=False)
        for raw in LARGE:
            nodes[0].admit(raw)
        for node in nodes:
            node.chain._delay, node.chain._reactor = 0.03, self.clock  # to be checked takes longer than a word
        self.produce(nodes[0])
        self.clock.run_for(2.0)
        self.assertEqual(len(self.heads()), 1)
        copies = sum(len(self.sent(node, NewBlock)) for node in nodes)
        self.assertGreater(sum(len(self.sent(node, DoNotSend)) for node in nodes), 0)
        # without them each link of the mesh carries one, or one each way
        self.assertLess(copies, 0.9 * sum(len(mesh(node).members) for node in nodes) / 2)
        self.assertEqual([node.faults for node in nodes], [[]] * CROWD)

    def test_a_word_turns_a_push_into_an_announcement(self) -> None:
        one = self.node("one", pool=False)
        spy = Puppet(self.net, "spy", make_status(features=MESH), {})
        end, _ = connect(spy, one)
        hash = one.chain.block_hash(one.chain.make(transactions=LARGE))
        end.send(DoNotSend((hash,)))
        self.clock.run_for(0.1)
        for raw in LARGE:
            one.admit(raw)
        self.assertEqual(self.produce(one), hash)
        self.clock.run_for(0.1)
        self.assertEqual([m for m in spy.got if isinstance(m, NewBlock)], [])
        self.assertEqual([m for m in spy.got if isinstance(m, AnnounceBlocks)], [AnnounceBlocks(((hash, 1),))])

    def small(self) -> tuple[Node, list[MemoryLink]]:
        """A node with one peer too few, and our ends of its links."""
        one = self.node("one")
        status = make_status(features=MESH | COMPACT_BLOCKS)
        spies = [Puppet(self.net, f"spy{n}", status, {}) for n in range(MESHED_ABOVE)]
        ends = [connect(spy, one)[0] for spy in spies]
        self.clock.run_for(0.1)
        return one, ends

    def more(self, one: Node, features: int = MESH) -> MemoryLink:
        return connect(Puppet(self.net, f"more{features}", make_status(features=features), {}), one)[0]

    def got(self, end: MemoryLink, kind: type[Any]) -> list[Any]:
        return [message for message in end.host.got if isinstance(message, kind)]

    def test_it_wakes_with_one_more_and_sleeps_again(self) -> None:
        one, ends = self.small()
        for end in ends:
            end.send(PushBlocks(1))
        self.clock.run_for(3.0)
        self.assertEqual([end for end in ends if self.got(end, Graft)], [])
        self.assertTrue(all(mesh(one).at_once(link) for link in one.links))
        last = self.more(one)
        self.clock.run_for(0.1)
        asked = [end for end in [*ends, last] if self.got(end, Graft)]
        self.assertEqual({end.other for end in asked}, {link for link in one.links if mesh(one).at_once(link)})
        pushing = [end for end in ends if [m.wanted for m in self.got(end, PushBlocks)][-1:] == [1]]
        self.assertTrue(set(pushing) <= set(asked) and len(pushing) >= 2)
        hash = self.produce(one)
        self.clock.run_for(0.02)
        pushed = [end for end in ends if self.got(end, CompactBlock)]
        self.assertEqual(len(pushed), 12)  # members that asked, and others that did
        self.assertTrue(set(asked) - {last} <= set(pushed))
        self.clock.run_for(2 * INTERVAL)
        for end in ends:
            told = self.got(end, CompactBlock) or self.got(end, AnnounceBlocks)
            self.assertEqual(len(told), 1, hash.hex())
        last.close()
        self.assertTrue(all(mesh(one).at_once(link) for link in one.links))

    def test_who_knows_no_mesh_is_told_at_once(self) -> None:
        one, _ = self.small()
        self.more(one)
        old = self.more(one, features=0)
        self.clock.run_for(0.1)
        self.produce(one)
        self.clock.run_for(0.02)
        self.assertEqual(len(self.got(old, NewBlock)), 1)
        self.assertEqual(self.got(old, Graft), [])

    def test_who_puts_us_out_is_told_later(self) -> None:
        one, ends = self.small()
        self.more(one)
        self.clock.run_for(0.1)
        member = next(end for end in ends if end.other in mesh(one).members)
        member.send(Prune(60))
        self.clock.run_for(0.1)
        self.assertFalse(mesh(one).at_once(member.other))
        self.clock.run_for(50.0)
        self.assertEqual(len(self.got(member, Graft)), 1)

    def test_announcements_that_wait_are_few(self) -> None:
        one, ends = self.small()
        self.more(one)
        self.clock.run_for(0.1)
        for _ in range(100):
            self.produce(one)
        self.clock.run_for(2 * INTERVAL)
        outside = next(end for end in ends if end.other not in mesh(one).members)
        self.assertEqual([len(m.blocks) for m in self.got(outside, AnnounceBlocks)], [64])

    def test_who_asks_again_and_again_pays(self) -> None:
        one, ends = self.small()
        self.more(one)
        for end in ends:
            end.send(Graft())
        self.clock.run_for(0.1)
        refused = next(end for end in ends if self.got(end, Prune))
        for n in range(1, FORGIVEN + 2):
            refused.send(Graft())
            self.clock.run_for(0.1)
            penalties = [penalty for *_, penalty in one.faults]
            useless = min(max(0, n - CROSSED), FORGIVEN - CROSSED)
            hostile = int(n > FORGIVEN)
            self.assertEqual(penalties, [Penalty.USELESS] * useless + [Penalty.MALICIOUS] * hostile)
        self.assertFalse(refused.open)
        self.assertEqual({reason for _, reason, *_ in one.faults}, {Reason.MISBEHAVED})
        self.assertEqual(len(self.got(refused, Prune)), FORGIVEN + 1)

    def test_words_after_the_end_are_passed_over(self) -> None:
        one, ends = self.small()
        self.more(one)
        self.clock.run_for(0.1)
        one.gossip.stop()
        before = [len(link.sent) for link in one.links]
        for end in ends:
            for word in (Graft(), Prune(60), DoNotSend((bytes(32),)), AnnounceBlocks(((bytes(32), 1),))):
                end.send(word)
        self.clock.run_for(2.0)
        self.assertEqual([len(link.sent) for link in one.links], before)
        self.assertEqual(one.faults, [])
