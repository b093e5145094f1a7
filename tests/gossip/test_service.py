"""Gossip between hosts with toy chains."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import chainp2p.gossip.transactions.announcing
from chainp2p.chain.interfaces import Admission, TransactionAdded
from chainp2p.errors import Penalty, Reason, RefusalReason, RequestRefused
from chainp2p.gossip.service import GossipService
from chainp2p.gossip.transactions.announcing import PUSH_BYTES
from chainp2p.gossip.transactions.relay import VAIN
from chainp2p.peer.link import Credit
from chainp2p.sync.service import SyncService
from chainp2p.testing.toychain import FAILS, IGNORED, REJECTED, ToyChain
from chainp2p.wire.messages import (
    NO_TRANSACTIONS,
    AnnounceBlocks,
    AnnounceTransactions,
    Blocks,
    GetBlocks,
    GetMempool,
    GetTransactions,
    Mempool,
    NewBlock,
    NewTransaction,
    NotFound,
    Refused,
    Transactions,
)
from tests.links import Host, Net, Puppet, connect, make_status, not_found

INTERVAL = 0.1


class Node(Host):
    """Gossip and sync over one toy chain."""

    def __init__(
        self, net: Net, name: str, pool: bool = True, flags: int = 0, compact: bool = True, **fields: Any
    ) -> None:
        self.chain = chain = ToyChain(now=net.clock.seconds, **fields)
        common: dict[str, Any] = {"reactor": net.clock, "now": net.clock.seconds, "random": random.Random(name)}
        self.sync = SyncService(chain=chain, events=chain.events, **common)
        self.heard: list[tuple[bytes, int]] = []

        def heard(link: Any, hash: bytes, height: int) -> None:
            self.heard.append((hash, height))
            self.sync.heard(link, hash, height)

        self.gossip = GossipService(chain=chain, pool=chain if pool else None, interval=INTERVAL, heard=heard, **common)
        features = self.gossip.features if compact else 0
        super().__init__(
            net,
            name,
            [self.sync, self.gossip],
            lambda: make_status(chain.head.hash, chain.head.height, chain.head.rank, flags, features),
        )
        self.sync.start()
        self.gossip.start()

    def admit(self, raw: bytes) -> bytes:
        self.chain.admit(raw, True)
        return self.chain.transaction_hash(raw)


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = Net()
        self.clock = self.net.clock
        self.nodes: list[Node] = []

    def node(self, name: str, **fields: Any) -> Node:
        node = Node(self.net, name, **fields)
        self.nodes.append(node)
        return node

    def full_mesh(self, count: int, **fields: Any) -> list[Node]:
        nodes = [self.node(f"n{n}", **fields) for n in range(count)]
        for index, one in enumerate(nodes):
            for other in nodes[:index]:
                connect(one, other)
        self.clock.run_for(0.5)
        return nodes

    def sent(self, node: Node, kind: type[Any]) -> list[Any]:
        return [message for link in node.links for message in link.sent if isinstance(message, kind)]

    def tearDown(self) -> None:
        self.assertEqual(self.clock.failures, 0)
        for node in self.nodes:
            node.gossip.stop()
            node.sync.stop()
        for node in self.nodes:
            for link in tuple(node.links):
                link.close()
        self.assertEqual([call.func for call in self.clock.planned(None) if "check" not in repr(call.func)], [])
        self.assertEqual(self.flushLoggedErrors(), [])


class OfTransactions(Base):
    def test_a_small_one_is_pushed_to_some_and_announced_to_the_rest(self) -> None:
        nodes = self.full_mesh(10)
        hash = nodes[9].admit(b"pay")  # who has dialled all others
        self.clock.run_for(0.009)
        self.assertIn(len(self.sent(nodes[9], NewTransaction)), (1, 2))
        self.clock.run_for(1.0)
        self.assertTrue(all(node.chain.transaction(hash) for node in nodes))
        self.assertIn(len(self.sent(nodes[9], NewTransaction)), (1, 2))
        self.assertEqual([node.faults for node in nodes], [[]] * 10)
        # each got it from one that was the first
        credits = [[credit for link in node.links for credit in link.credits] for node in nodes]
        self.assertEqual(credits, [*[[Credit.TRANSACTION]] * 9, []])

    def test_pushed_to_those_that_we_dialled_only(self) -> None:
        """A spy that dials everybody is told on the beat, and what was fetched is pushed by nobody."""
        one, two = self.node("one"), self.node("two")
        spies = [Puppet(self.net, f"spy{n}", make_status(), {}) for n in range(8)]
        for spy in spies:
            connect(spy, one)
        connect(one, two)
        self.clock.run_for(0.5)
        raws = [b"pay %d" % n for n in range(40)]
        for raw in raws:
            one.chain.admit(raw, True)
        pushed = {message.transaction for message in self.sent(one, NewTransaction)}
        self.assertEqual(pushed, set(raws))
        self.assertEqual(
            {link.other.host for link in one.links for m in link.sent if isinstance(m, NewTransaction)}, {two}
        )
        self.clock.run_for(1.0)
        told = [[m for m in spy.got if isinstance(m, NewTransaction | AnnounceTransactions)] for spy in spies]
        self.assertEqual({type(message) for messages in told for message in messages}, {AnnounceTransactions})
        three = self.node("three")
        connect(three, two)
        connect(two, four := self.node("four"))
        self.clock.run_for(1.0)
        self.assertEqual(len(three.chain.transaction_hashes()), 40)
        self.assertEqual(len(four.chain.transaction_hashes()), 40)
        self.assertEqual(self.sent(three, NewTransaction), [])

    def test_a_large_one_is_only_announced(self) -> None:
        one, two, three = self.full_mesh(3)
        hash = one.admit(bytes(PUSH_BYTES + 1))
        self.clock.run_for(1.0)
        self.assertTrue(two.chain.transaction(hash) and three.chain.transaction(hash))
        self.assertEqual(sum(len(self.sent(node, NewTransaction)) for node in self.nodes), 0)

    def test_who_joins_gets_the_pool_once(self) -> None:
        one, two = self.node("one"), self.node("two")
        first = self.node("first")
        connect(one, first)
        hashes = [one.admit(b"pay %d" % n) for n in range(300)]
        self.clock.run_for(2.0)
        near, far = connect(two, one)
        self.clock.run_for(3.0)
        self.assertTrue(all(two.chain.transaction(hash) for hash in hashes))
        self.assertEqual(len(self.sent(two, GetTransactions)), 3)
        self.assertEqual([m for m in far.sent if isinstance(m, NewTransaction | AnnounceTransactions)], [])
        again = near.request(GetMempool())
        self.clock.run_for(0.1)
        self.assertEqual(self.failureResultOf(again, RequestRefused).value.reason, RefusalReason.TOO_OFTEN)

    def test_a_pool_of_large_ones_takes_several_answers(self) -> None:
        one, two, other = self.node("one"), self.node("two"), self.node("other")
        connect(one, other)
        for n in range(35):
            one.admit(bytes([n]) * 100_000)
        self.clock.run_for(3.0)
        connect(two, one)
        self.clock.run_for(3.0)
        self.assertEqual(len(two.chain.transaction_hashes()), 35)

    def test_what_was_never_announced_is_not_served_but_is_announced_to_who_joins(self) -> None:
        one = self.node("one")
        hash = one.admit(b"secret")
        spy = Puppet(self.net, "spy", make_status(), {})
        far, near = connect(spy, one)
        pool = far.request(GetMempool())
        asked = far.request(GetTransactions((hash,)))
        self.clock.run_for(0.03)
        self.assertEqual(self.successResultOf(pool), Mempool(()))
        self.assertEqual(self.successResultOf(asked), NotFound((hash,)))
        self.clock.run_for(0.31)
        self.assertEqual(
            [m for m in spy.got if isinstance(m, AnnounceTransactions)], [AnnounceTransactions(((hash, 6),))]
        )
        asked = far.request(GetTransactions((b"x" * 32, hash)))
        self.clock.run_for(0.1)
        self.assertEqual(self.successResultOf(asked), Transactions((b"secret",)))

    def test_the_next_announcer_after_five_seconds(self) -> None:
        one = self.node("one")
        raw = b"x" * 100
        hash = one.chain.transaction_hash(raw)
        silent = Puppet(self.net, "silent", make_status(), {})
        good = Puppet(self.net, "good", make_status(), {GetTransactions: lambda message: Transactions((raw,))})
        ends = [connect(silent, one)[0], connect(good, one)[0]]
        for end in ends:
            end.send(AnnounceTransactions(((hash, 100),)))
        self.clock.run_for(4.0)
        self.assertIsNone(one.chain.transaction(hash))
        self.clock.run_for(2.0)
        self.assertEqual(one.chain.transaction(hash), raw)
        self.assertEqual(one.faults, [])

    def test_faults_of_transactions(self) -> None:
        bad = REJECTED + b"signature"
        hash = self.node("hash").chain.transaction_hash
        for name, announced, reply, penalty in (
            ("other", (hash(b"a"), 1), (b"b",), Penalty.MALICIOUS),
            ("size", (hash(b"a"), 2), (b"a",), Penalty.USELESS),
            ("bad", (hash(bad), len(bad)), (bad,), Penalty.MALICIOUS),
            ("ignored", (hash(IGNORED), len(IGNORED)), (IGNORED,), None),
        ):
            one = self.node(name)
            answers: dict[type[Any], Any] = {GetTransactions: lambda message, r=reply: Transactions(r)}
            puppet = Puppet(self.net, "p", make_status(), answers)
            far, _ = connect(puppet, one)
            far.send(AnnounceTransactions((announced,)))
            self.clock.run_for(1.0)
            self.assertEqual([fault[3] for fault in one.faults], [] if penalty is None else [penalty], name)
            far.send(AnnounceTransactions((announced,)))
            self.clock.run_for(1.0)
            asked = [message for message in puppet.got if isinstance(message, GetTransactions)]
            self.assertEqual(len(asked), 1, name)

    def test_pushed_bad_ones(self) -> None:
        one = self.node("one")
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        far.send(NewTransaction(IGNORED))
        far.send(NewTransaction(IGNORED))
        far.send(NewTransaction(REJECTED))
        self.clock.run_for(1.0)
        self.assertEqual([fault[1] for fault in one.faults], [Reason.MISBEHAVED])

    def test_who_pushes_nothing_of_use_is_useless_after_a_while(self) -> None:
        one = self.node("one")
        far, near = connect(Puppet(self.net, "p", make_status(), {}), one)
        for n in range(VAIN - 1):
            far.send(NewTransaction(IGNORED + b"%d" % n))
        far.send(NewTransaction(b"pay"))
        self.clock.run_for(1.0)
        self.assertEqual(one.faults, [])
        for n in range(5 * VAIN):
            far.send(NewTransaction(IGNORED + b"again%d" % n))
            self.clock.run_for(0.01)
        self.clock.run_for(1.0)
        self.assertEqual([fault[3] for fault in one.faults], [Penalty.USELESS] * 3)  # at 64, 128 and 256

    def test_a_flood_slows_another_peers_by_one_turn(self) -> None:
        one = self.node("one", reactor=self.clock, delay=0.1)
        floods = [connect(Puppet(self.net, f"flood{n}", make_status(), {}), one)[0] for n in range(4)]
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        for far_flood in floods:
            for n in range(1_000):
                far_flood.send(NewTransaction(IGNORED + far_flood.host.name.encode() + b"%d" % n))
        self.clock.run_for(0.05)
        far.send(NewTransaction(b"pay"))
        begun = self.clock.seconds()
        while not one.chain.transaction(one.chain.transaction_hash(b"pay")):
            self.clock.run_for(0.01)
        # 64 at a time: those under way, then ten at most of each of the others; in one queue 1,024 would be ahead
        self.assertLess(self.clock.seconds() - begun, 0.35)

    def test_turned_down_is_fetched_again_when_the_head_changes(self) -> None:
        one = self.node("one")
        hash = one.chain.transaction_hash(IGNORED)
        puppet = Puppet(self.net, "p", make_status(), {GetTransactions: lambda message: Transactions((IGNORED,))})
        far, _ = connect(puppet, one)
        for _ in range(2):
            far.send(AnnounceTransactions(((hash, len(IGNORED)),)))
            self.clock.run_for(1.0)
            one.chain.produce()
        self.assertEqual(len([message for message in puppet.got if isinstance(message, GetTransactions)]), 2)

    def test_included_ones_are_not_fetched(self) -> None:
        one = self.node("one")
        hash = one.admit(b"pay")
        one.chain.produce()
        puppet = Puppet(self.net, "p", make_status(), {})
        far, _ = connect(puppet, one)
        far.send(AnnounceTransactions(((hash, 3),)))
        self.clock.run_for(1.0)
        self.assertEqual([message for message in puppet.got if isinstance(message, GetTransactions)], [])

    def test_what_a_reorg_returns_is_announced_anew_to_all(self) -> None:
        one, two = self.full_mesh(2)
        hash = one.admit(b"pay")
        self.clock.run_for(1.0)
        one.chain.produce()
        self.clock.run_for(1.0)
        self.assertIsNone(two.chain.transaction(hash))
        better = one.chain.make(parent=one.chain.genesis_hash, weight=9)
        one.chain.submit_block(better)
        self.assertIsNotNone(one.chain.transaction(hash))

        def told() -> int:  # by whose beat came first; that both have it is known then
            return sum(len(self.sent(node, AnnounceTransactions)) for node in (one, two))

        before = told()
        self.clock.run_for(1.0)
        self.assertGreater(told(), before)
        self.assertIsNotNone(two.chain.transaction(hash))

    def test_no_transactions_please(self) -> None:
        one, quiet = self.node("one"), self.node("quiet", pool=False, flags=NO_TRANSACTIONS)
        _, far = connect(one, quiet)
        one.admit(b"pay")
        self.clock.run_for(1.0)
        kinds = {type(message) for message in one.links[0].sent}
        self.assertFalse(kinds & {GetMempool, NewTransaction, AnnounceTransactions})
        asked = one.links[0].request(GetTransactions((b"x" * 32,))), one.links[0].request(GetMempool())
        self.clock.run_for(0.1)
        self.assertEqual([self.successResultOf(d) for d in asked], [NotFound((b"x" * 32,)), Mempool(())])
        one.links[0].send(NewTransaction(b"pay"))
        one.links[0].send(AnnounceTransactions(((b"x" * 32, 3),)))
        self.clock.run_for(0.1)
        self.assertEqual(quiet.faults, [])

    def test_none_come_over_a_link_for_blocks_only(self) -> None:
        one = self.node("one")
        far, near = connect(Puppet(self.net, "p", make_status(flags=NO_TRANSACTIONS), {}), one)
        far.send(NewTransaction(b"pay"))
        far.send(AnnounceTransactions(((b"x" * 32, 3),)))
        self.clock.run_for(10.0)
        self.assertEqual((list(one.chain.transaction_hashes()), one.faults), ([], []))
        self.assertFalse([m for m in near.sent if isinstance(m, (GetTransactions, GetMempool))])

    def test_served_in_asked_order_below_a_mebibyte(self) -> None:
        one = self.node("one")
        raws = [bytes([n]) * 100_000 for n in range(12)]
        hashes = tuple(one.admit(raw) for raw in raws)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        self.clock.run_for(1.0)
        asked = far.request(GetTransactions(hashes[::-1]))
        self.clock.run_for(0.1)
        self.assertEqual(self.successResultOf(asked).transactions, tuple(raws[:1:-1]))

    def test_a_flood_of_own_transactions_drops_the_oldest_announcements(self) -> None:
        self.patch(chainp2p.gossip.transactions.announcing, "ANNOUNCED_MAX", 5)
        self.patch(chainp2p.gossip.transactions.announcing, "PUSH_BYTES", 0)
        one, two = self.full_mesh(2)
        hashes = [one.admit(b"pay %d" % n) for n in range(8)]
        one.chain.drop(hashes[7], "expired")
        self.clock.run_for(1.0)
        self.assertEqual([len(message.transactions) for message in self.sent(one, AnnounceTransactions)], [4])
        one.chain.events.publish(TransactionAdded(b"?" * 32, 1, True))

    def test_a_peer_that_leaves_in_the_middle(self) -> None:
        one, two = self.full_mesh(2)
        one.admit(bytes(PUSH_BYTES + 1))
        one.links[0].close()
        self.clock.run_for(1.0)
        connect(one, two)
        self.clock.run_for(1.0)
        self.assertEqual(len(two.chain.transaction_hashes()), 1)


class WhatIsKnown(Base):
    def test_who_was_told_a_moment_ago_may_not_have_it_yet(self) -> None:
        self.patch(chainp2p.gossip.transactions.announcing, "PUSH_BYTES", 0)
        one = self.node("one")
        relay = one.gossip._transactions
        raw = b"x" * 100
        hash = one.chain.transaction_hash(raw)
        speakers = [Puppet(self.net, name, make_status(), {}) for name in ("fetches", "has it", "silent")]
        ends = [connect(speaker, one)[0] for speaker in speakers]
        links = [end.other for end in ends]
        self.assertEqual([relay.lacks(link, hash) for link in links], [True] * 3)
        one.admit(raw)
        self.clock.run_for(0.3)
        self.assertEqual([relay.lacks(link, hash) for link in links], [True] * 3)
        ends[0].request(GetTransactions((hash,)))
        ends[1].send(AnnounceTransactions(((hash, 100),)))
        self.clock.run_for(0.02)
        self.assertEqual([relay.lacks(link, hash) for link in links], [False, False, True])
        self.clock.run_for(1.0)
        self.assertEqual([relay.lacks(link, hash) for link in links], [False] * 3)
        ends[0].close()
        self.assertFalse(relay.lacks(links[0], hash))


class Schedules(Base):
    """Links that come, go and stall, blocks and transactions everywhere: in the end one head and one pool."""

    def test_random_schedules(self) -> None:
        for seed in range(6):
            for delay in (0.0, 0.03):
                self.net = Net(latency=(0.0, 0.01, 0.1)[seed % 3])
                self.clock = self.net.clock
                self.schedule(random.Random(seed), f"{seed} {delay}", delay)
        self.nodes.clear()

    def schedule(self, chance: random.Random, name: str, delay: float) -> None:
        fields: dict[str, Any] = {"reactor": self.clock, "delay": delay} if delay else {}
        nodes = [self.node(f"{name} {n}", **fields) for n in range(4)]
        for _ in range(80):
            one, other = chance.sample(nodes, 2)
            match chance.randrange(8):
                case 0 if all(link.other.host is not other for link in one.links):
                    connect(one, other)
                case 1 if one.links:
                    chance.choice(one.links).close()
                case 2 if one.links:
                    link = chance.choice(one.links)
                    link.stalled = not link.stalled
                case 3 | 4:
                    one.admit(b"%d" % chance.randrange(10**9))
                case _:
                    one.chain.produce(salt=nodes.index(one), weight=chance.randrange(1, 4))
            self.clock.run_for(chance.random() * 0.6)
        for node in nodes:
            for link in tuple(node.links):
                link.close()
        for one, other in zip(nodes, nodes[1:], strict=False):
            connect(one, other)
        self.clock.run_while(lambda: len({node.chain.head.hash for node in nodes}) > 1, 30.0)
        self.assertEqual(len({node.chain.head.hash for node in nodes}), 1, name)
        self.clock.run_for(5.0)
        self.assertEqual(len({tuple(sorted(node.chain.transaction_hashes())) for node in nodes}), 1, name)
        self.assertEqual([node.faults for node in nodes], [[]] * 4, name)
        for node in nodes:
            node.gossip.stop()
            node.sync.stop()


class OfBlocks(Base):
    def test_what_was_announced_is_being_brought_until_it_is_here(self) -> None:
        source = ToyChain()
        raw = source.make()
        hash = source.block_hash(raw)
        for compact in (True, False):
            node = self.node(f"node {compact}", compact=compact)
            far, _ = connect(Puppet(self.net, f"peer {compact}", make_status(), {GetBlocks: not_found}), node)
            self.clock.run_for(0.1)
            self.assertFalse(node.gossip.bringing(hash))
            far.send(AnnounceBlocks(((hash, 1),)))
            self.clock.run_for(0.011)
            self.assertTrue(node.gossip.bringing(hash), compact)
            far.send(NewBlock(raw))
            self.clock.run_for(0.1)
            self.assertEqual(node.chain.head.height, 1)
            self.assertFalse(node.gossip.bringing(hash), compact)

    def test_pushed_to_a_few_and_announced_to_the_rest(self) -> None:
        nodes = self.full_mesh(12, compact=False)
        nodes[0].chain.produce()
        self.clock.run_for(0.011)
        self.assertEqual(len(self.sent(nodes[0], NewBlock)), 4)
        self.assertEqual(len(self.sent(nodes[0], AnnounceBlocks)), 7)
        self.clock.run_for(0.5)
        self.assertEqual({node.chain.head.height for node in nodes}, {1})
        self.assertEqual([node.faults for node in nodes], [[]] * 12)
        self.assertEqual([node.heard for node in nodes], [[]] * 12)

    def test_side_branches_are_relayed_once(self) -> None:
        nodes = self.full_mesh(4)
        for node in nodes[:2]:
            node.chain.produce(salt=nodes.index(node))
        self.clock.run_for(1.0)
        self.assertEqual(len({node.chain.head.hash for node in nodes}), 1)
        losing = max(nodes[0].chain.make(parent=nodes[0].chain.genesis_hash, salt=n)[:1] for n in range(2))
        self.assertTrue(losing)
        for node in nodes:
            for salt in range(2):
                raw = node.chain.make(parent=node.chain.genesis_hash, salt=salt)
                self.assertIsNotNone(self.successResultOf(node.chain.block(node.chain.block_hash(raw))))

    def test_a_line_of_nodes_at_a_quarter_second(self) -> None:
        nodes = [self.node(f"n{n}") for n in range(6)]
        for one, other in zip(nodes, nodes[1:], strict=False):
            connect(one, other)
        for n in range(100):
            nodes[n % 6].chain.produce()
            self.clock.run_for(0.25)
        self.clock.run_for(1.0)
        self.assertEqual(
            {(node.chain.head.height, node.chain.head.hash) for node in nodes}, {(100, nodes[0].chain.head.hash)}
        )

    def test_missing_parents_are_syncs_work(self) -> None:
        one, two = self.full_mesh(2)
        one.gossip.stop()
        for _ in range(5):
            one.chain.produce()
        raw = one.chain.make()
        one.chain.submit_block(raw)
        one.links[0].send(NewBlock(raw))
        self.clock.run_for(1.0)
        self.assertEqual(two.heard, [(one.chain.head.hash, 0)])
        self.assertEqual(two.chain.head, one.chain.head)
        for _ in range(5):
            one.chain.produce()
        one.links[0].send(AnnounceBlocks(((one.chain.head.hash, 11),)))
        self.clock.run_for(1.0)
        self.assertEqual(two.chain.head, one.chain.head)
        one.chain.produce()
        one.chain.produce()
        one.links[0].send(AnnounceBlocks(((two.chain.head.hash, 11), (one.chain.head.hash, 13))))
        self.clock.run_for(1.0)
        self.assertEqual(two.chain.head, one.chain.head)

    def test_sync_is_told_who_has_a_block_whose_header_alone_is_here(self) -> None:
        """It may have been told before that this peer has it not."""
        one, other = self.node("one"), self.node("other")
        raws = [other.chain.produce() for _ in range(3)]
        hashes = [other.chain.block_hash(raw) for raw in raws]
        headers = [self.successResultOf(other.chain.header(hash)) for hash in hashes]
        self.successResultOf(one.chain.add_headers(headers))
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        far.send(AnnounceBlocks(((hashes[1], 2), (hashes[2], 3))))
        self.clock.run_for(1.0)
        self.assertEqual(one.heard, [(hashes[2], 3)])
        one.chain.submit_block(raws[0])
        far.send(AnnounceBlocks(((hashes[0], 1),)))
        self.clock.run_for(1.0)
        self.assertEqual(one.heard, [(hashes[2], 3)])

    def test_orphans_are_connected_when_their_parent_comes(self) -> None:
        one, other = self.node("one"), self.node("other")
        raws = []
        for _ in range(300):
            raws.append(other.chain.produce())
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        for raw in reversed(raws):
            far.send(NewBlock(raw))
            self.clock.run_for(0.02)
        self.clock.run_for(0.1)
        self.assertEqual(one.chain.head, other.chain.head)
        self.assertEqual(one.faults, [])

    def test_sync_is_not_woken_for_each_orphan_of_a_flood(self) -> None:
        one, other = self.node("one"), self.node("other")
        other.chain.produce()
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        for salt in range(1_000):
            far.send(NewBlock(other.chain.make(salt=salt)))
            self.clock.run_for(0.002)
        self.assertLess(len(one.heard), 45)
        self.assertGreater(len(one.heard), 32)

    def test_orphans_whose_ancestors_come_by_sync(self) -> None:
        one, two = self.node("one"), self.node("two")
        raws = [two.chain.produce() for _ in range(40)]
        last = two.chain.make()
        hash = two.chain.block_hash(last)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        far.send(NewBlock(last))
        self.clock.run_for(0.1)
        self.successResultOf(one.chain.submit_blocks(raws, two.chain.head.hash))
        self.clock.run_for(0.1)
        self.assertEqual(one.chain.head.hash, hash)

    def test_a_block_above_missing_bodies_wakes_sync(self) -> None:
        one, two = self.full_mesh(2)
        one.gossip.stop()
        for _ in range(5):
            one.chain.produce()
        two.chain.add_headers(self.successResultOf(one.chain.headers_after(one.chain.genesis_hash, 9)))
        raw = one.chain.make()
        one.chain.submit_block(raw)
        self.clock.run_for(0.0)
        one.links[0].send(NewBlock(raw))
        self.clock.run_for(0.2)
        self.assertEqual(two.chain.head, one.chain.head)

    def test_early_blocks_wait(self) -> None:
        one = self.node("one")
        early = [one.chain.make(time=3_000), one.chain.make(time=2_000)]
        puppet = Puppet(self.net, "p", make_status(), {})
        far, _ = connect(puppet, one)
        for raw in early:
            far.send(NewBlock(raw))
        self.clock.run_for(1.5)
        self.assertEqual(one.chain.head.height, 0)
        self.clock.run_for(0.6)
        self.assertEqual(one.chain.head.hash, one.chain.block_hash(early[1]))
        self.clock.run_for(1.0)
        self.assertEqual(one.faults, [])

    def test_invalid_blocks_by_fault(self) -> None:
        for name, spoil, blamed in (
            ("body", lambda chain: chain.make() + b"x", True),
            ("short", lambda chain: b"x", True),
            ("signer", lambda chain: chain.make(transactions=[FAILS]), False),
        ):
            one = self.node(name)
            far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
            raw = spoil(one.chain)
            far.send(NewBlock(raw))
            far.send(NewBlock(raw))
            self.clock.run_for(1.0)
            self.assertEqual(bool(one.faults), blamed, name)
            self.assertEqual(one.chain.head.height, 0)

    def test_an_announced_block_comes_from_the_next_announcer(self) -> None:
        one = self.node("one")
        raw = one.chain.make()
        hash = one.chain.block_hash(raw)
        good = {GetBlocks: lambda message: Blocks((raw,))}
        forged = {GetBlocks: lambda message: Blocks((raw[:-1] + b"!" + b"?",))}
        short = {GetBlocks: lambda message: Blocks((b"x",))}
        peers = [{}, {GetBlocks: not_found}, forged, short, {GetBlocks: lambda m: Refused(0, 0)}, good]
        for n, answers in enumerate(peers):
            far, _ = connect(Puppet(self.net, str(n), make_status(), answers), one)
            far.send(AnnounceBlocks(((hash, 1),)))
        self.clock.run_for(10.0)
        self.assertEqual(one.chain.head.hash, hash)
        self.assertTrue(all(fault[1] is Reason.MISBEHAVED for fault in one.faults))
        self.assertLessEqual(len(one.faults), 2)

    def test_what_sync_brought_is_announced(self) -> None:
        one, two, three = self.node("one"), self.node("two"), self.node("three")
        for _ in range(300):
            one.chain.produce()
        connect(two, three)
        self.clock.run_for(0.2)
        connect(two, one)
        self.clock.run_for(3.0)
        self.assertEqual(three.chain.head, one.chain.head)
        self.assertLess(len(self.sent(two, AnnounceBlocks)), 20)

    def test_an_equivocating_producer_floods_nobody(self) -> None:
        one, two = self.full_mesh(2)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        for salt in range(50):
            far.send(NewBlock(one.chain.make(parent=one.chain.genesis_hash, salt=salt)))
        self.clock.run_for(1.0)
        self.assertLessEqual(len(self.sent(one, NewBlock)), 8)

    def test_more_blocks_than_are_checked_at_a_time(self) -> None:
        one = self.node("one", reactor=self.clock, delay=0.5)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        for salt in range(20):
            far.send(NewBlock(one.chain.make(salt=salt)))
        self.clock.run_for(0.1)
        self.assertEqual(len(one.heard), 4)
        self.clock.run_for(5.0)

    def test_a_block_whose_sender_leaves_before_its_turn_comes_from_another(self) -> None:
        one = self.node("one", reactor=self.clock, delay=0.5)
        raws = [one.chain.make(salt=salt) for salt in range(12)]
        last = one.chain.block_hash(raws[-1])
        gone, _ = connect(Puppet(self.net, "gone", make_status(), {}), one)
        good = Puppet(self.net, "good", make_status(), {GetBlocks: lambda message: Blocks((raws[-1],))})
        far, _ = connect(good, one)
        for raw in raws:
            gone.send(NewBlock(raw))
        far.send(AnnounceBlocks(((last, 1),)))
        self.clock.run_for(0.1)
        self.assertNotIn(GetBlocks, map(type, good.got))
        gone.close()
        self.clock.run_for(5.0)
        self.assertIn(last, one.chain._bodies)
        self.assertEqual(one.faults, [])

    def test_a_flood_of_announcements_is_looked_up_in_measure(self) -> None:
        one = self.node("one", reactor=self.clock, delay=0.5)
        puppet = Puppet(self.net, "p", make_status(), {})
        far, _ = connect(puppet, one)
        for n in range(40):
            far.send(AnnounceBlocks(((bytes([n]) * 32, 50 + n),)))
        self.clock.run_for(2.0)
        self.assertEqual(len(one.heard), 16)

    def test_splits_heal_to_one_head_and_all_transactions(self) -> None:
        left, right = self.full_mesh(2), [self.node(f"r{n}") for n in range(2)]
        connect(*right)
        for n in range(30):
            left[n % 2].admit(b"left %d" % n)
            left[0].chain.produce(salt=1)
            if n % 2:
                right[0].admit(b"right %d" % n)
                right[1].chain.produce(salt=2)
            self.clock.run_for(0.3)
        for one, other in zip(left, right, strict=True):
            connect(one, other)
        self.clock.run_for(5.0)
        self.assertEqual({node.chain.head.hash for node in self.nodes}, {left[0].chain.head.hash})
        returned = left[0].chain.transaction_hashes()
        self.assertGreater(len(returned), 10)
        right[0].chain.produce()
        self.clock.run_for(1.0)
        self.assertEqual([node.chain.transaction_hashes() for node in self.nodes], [[], [], [], []])

    def test_what_comes_after_a_link_is_gone_is_dropped(self) -> None:
        one, two = self.full_mesh(2)
        near, far = one.links[0], two.links[0]
        raw = one.chain.make()
        near.close()
        for message in (
            NewBlock(raw),
            AnnounceBlocks(((one.chain.block_hash(raw), 1),)),
            NewTransaction(b"pay"),
            AnnounceTransactions(((b"x" * 32, 1),)),
        ):
            two.handlers[type(message)](far, message)
        self.assertIsInstance(two.handlers[GetMempool](far, GetMempool()), Refused)
        self.assertEqual(two.handlers[GetTransactions](far, GetTransactions(())), NotFound(()))
        self.clock.run_for(1.0)
        self.assertEqual((two.chain.head.height, two.chain.transaction_hashes()), (0, []))

    def test_known_blocks_are_not_relayed_again(self) -> None:
        one, two = self.full_mesh(2)
        raw = one.chain.make()
        one.chain.submit_block(raw)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        far.send(NewBlock(raw))
        far.send(AnnounceBlocks(()))
        self.clock.run_for(1.0)
        self.assertEqual(self.sent(one, NewBlock), [])
        self.assertEqual(two.chain.head, one.chain.head)

    def test_stopping_in_the_middle_leaves_nothing(self) -> None:
        one, two = self.full_mesh(2)
        one.admit(bytes(PUSH_BYTES + 1))
        one.links[0].send(NewBlock(one.chain.make(time=9_000)))
        self.clock.run_for(0.02)
        one.chain.submit_block(one.chain.make())
        for node in (one, two):
            node.gossip.stop()
        self.clock.run_for(9.0)
        self.assertEqual((two.chain.head.height, two.chain.transaction_hashes()), (0, []))

    def test_a_simultaneous_local_pool(self) -> None:
        one = self.node("one")
        self.assertEqual(self.successResultOf(one.chain.admit(b"a", True)).outcome, Admission.ADMITTED)
        self.assertEqual(self.successResultOf(one.chain.admit(b"a", True)).outcome, Admission.KNOWN)
