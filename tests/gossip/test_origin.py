"""What spies learn: own transactions leave like relayed ones, whatever spies ask. And what the operator learns."""

from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.gossip.transactions.why import TransactionAnswer, TransactionState
from chainp2p.testing.toychain import IGNORED
from chainp2p.wire.messages import (
    AnnounceTransactions,
    GetMempool,
    GetTransactions,
    Mempool,
    NewTransaction,
    NotFound,
    Transactions,
)
from tests.gossip.test_service import INTERVAL, Base, Node
from tests.links import MemoryLink, Puppet, connect, make_status

#: By then everybody was told, whatever chance said.
ALL_TOLD = 3 * INTERVAL + 0.05


class Spied(Base):
    def spy(self, node: Node, name: str = "spy") -> tuple[MemoryLink, Puppet]:
        """A spy that dials *node*."""
        spy = Puppet(self.net, name, make_status(), {})
        far, _ = connect(spy, node)
        self.clock.run_for(0.05)
        return far, spy

    def asked(self, link: MemoryLink, message: Any) -> Any:
        answer = link.request(message)
        self.clock.run_for(0.021)
        return self.successResultOf(answer)

    def hand_in(self, own: bool, raw: bytes) -> tuple[Node, MemoryLink, Puppet, bytes]:
        """A node that has just got *raw*, from its user or from a peer; linked to a spy, and to one it dialled."""
        node = self.node(f"node {own}")
        source = Puppet(self.net, f"source {own}", make_status(), {})
        connect(node, Puppet(self.net, f"other {own}", make_status(), {}))
        near, _ = connect(source, node)
        far, spy = self.spy(node, f"spy {own}")
        if own:
            node.admit(raw)
        else:
            near.send(NewTransaction(raw))
            self.clock.run_for(0.011)
        hash = node.chain.transaction_hash(raw)
        self.assertIsNotNone(node.chain.transaction(hash))
        return node, far, spy, hash

    def test_asking_shows_neither_own_nor_relayed_ones_before_they_are_told(self) -> None:
        for own in (True, False):
            node, far, spy, hash = self.hand_in(own, b"pay %d" % own)
            self.assertEqual(self.asked(far, GetTransactions((hash,))), NotFound((hash,)), own)
            self.assertEqual(self.asked(far, GetMempool()), Mempool(()), own)
            self.clock.run_for(ALL_TOLD)
            told = [message for message in spy.got if isinstance(message, AnnounceTransactions | NewTransaction)]
            self.assertEqual(told, [AnnounceTransactions(((hash, 5),))], own)
            self.assertEqual(self.asked(far, GetTransactions((hash,))), Transactions((b"pay %d" % own,)), own)
            # who comes now gets it with the pool, from either
            late, _ = self.spy(node, f"late {own}")
            self.assertEqual(self.asked(late, GetMempool()), Mempool((hash,)), own)

    def test_who_joins_just_then_is_told_on_the_beat_from_either(self) -> None:
        for own in (True, False):
            node, _, _, hash = self.hand_in(own, b"pay %d" % own)
            late, spy = self.spy(node, f"late {own}")
            self.assertEqual(self.asked(late, GetMempool()), Mempool(()), own)
            self.clock.run_for(ALL_TOLD)
            told = [message for message in spy.got if isinstance(message, AnnounceTransactions)]
            self.assertEqual(told, [AnnounceTransactions(((hash, 5),))], own)

    def test_many_links_of_a_spy_are_told_at_the_same_moment(self) -> None:
        node = self.node("node")
        spies = [self.spy(node, f"spy{n}")[1] for n in range(6)]
        times: list[list[float]] = [[] for _ in spies]
        for n, spy in enumerate(spies):
            spy.handlers._answers[AnnounceTransactions] = lambda _, n=n: times[n].append(self.clock.seconds())
        for n in range(20):
            node.admit(b"pay %d" % n)
            self.clock.run_for(0.1)
        self.clock.run_for(ALL_TOLD)
        self.assertGreater(len(times[0]), 3)
        self.assertEqual(times, [times[0]] * 6)

    def test_the_order_of_an_announcement_says_nothing_of_when(self) -> None:
        node = self.node("node")
        far, spy = self.spy(node)
        hashes = [node.admit(b"pay %d" % n) for n in range(30)]
        self.clock.run_for(ALL_TOLD)
        (message,) = (message for message in spy.got if isinstance(message, AnnounceTransactions))
        self.assertEqual([hash for hash, _ in message.transactions], sorted(hashes))
        late, _ = self.spy(node, "late")
        self.assertEqual(self.asked(late, GetMempool()), Mempool(tuple(sorted(hashes))))

    def test_what_is_not_served_is_announced_nevertheless(self) -> None:
        """A question for something too new is no way to keep it from oneself, nor from others."""
        node = self.node("node")
        far, spy = self.spy(node)
        hash = node.admit(b"pay")
        self.asked(far, GetTransactions((hash,)))
        self.clock.run_for(ALL_TOLD)
        self.assertTrue([message for message in spy.got if isinstance(message, AnnounceTransactions)])


class Asked(Base):
    def why(self, node: Node, hash: bytes) -> TransactionAnswer:
        answer = self.successResultOf(Deferred.fromCoroutine(node.gossip.why_transaction(hash)))
        assert answer is not None
        return answer

    def test_from_announcement_to_block_and_back(self) -> None:
        one, two = self.full_mesh(2)
        hash = two.admit(b"pay")  # two has dialled one, and pushes by the toss of a coin
        mine = self.why(two, hash)
        self.assertEqual(
            (mine.state, mine.code, mine.evidence["source"]), (TransactionState.PENDING, "waiting", "submitted")
        )
        self.clock.run_for(1.0)
        theirs = self.why(one, hash)
        self.assertEqual(theirs.state, TransactionState.PENDING)
        self.assertIn(theirs.evidence["source"], ("pushed", "fetched"))
        self.assertEqual(theirs.evidence["source_peer"], two.peer_id.hex())
        self.assertEqual(self.why(two, hash).evidence["has_it_peers"], one.peer_id.hex()[:8])
        one.chain.produce()
        self.clock.run_for(1.0)
        # a toy chain does not say in which block
        self.assertEqual([stage.stage.value for stage in self.why(one, hash).history][:2], ["included", "admitted"])
        one.chain.submit_block(one.chain.make(parent=one.chain.genesis_hash, weight=9))
        self.assertEqual(self.why(one, hash).history[0].stage.value, "returned")
        one.chain.drop(hash, "expired")
        answer = self.why(one, hash)
        self.assertEqual((answer.state, answer.code), (TransactionState.DROPPED, "expired"))

    def test_refused(self) -> None:
        one = self.node("one")
        near, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        hash = one.chain.transaction_hash(IGNORED)
        near.send(NewTransaction(IGNORED))
        self.clock.run_for(0.1)
        answer = self.why(one, hash)
        self.assertEqual((answer.state, answer.code), (TransactionState.REFUSED, "ignored"))
        self.assertEqual(answer.evidence["source_peer"], near.host.peer_id.hex())
        own = IGNORED + b"own"
        hash = one.admit(own)
        answer = self.why(one, hash)
        self.assertEqual((answer.code, answer.evidence["source"]), ("ignored", "submitted"))

    def test_on_its_way(self) -> None:
        one = self.node("one")
        near, _ = connect(Puppet(self.net, "silent", make_status(), {}), one)
        hash = b"h" * 32
        self.assertEqual(self.why(one, hash).code, "unknown")
        near.send(AnnounceTransactions(((hash, 9),)))
        self.clock.run_for(1.0)
        answer = self.why(one, hash)
        self.assertEqual((answer.code, answer.evidence["asked"]), ("asked_for", near.host.peer_id.hex()))
        self.clock.run_for(5.0)
        self.assertEqual(self.why(one, hash).code, "not_delivered")

    def test_without_a_pool(self) -> None:
        one = self.node("one", pool=False)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(one.gossip.why_transaction(bytes(32)))))
        self.assertIsNone(one.gossip.figures()["transactions"])
        self.assertFalse([name for name, _, _ in one.gossip.metrics() if "compact_" in name])


class Counted(Base):
    def test_copies_and_announcements(self) -> None:
        nodes = self.full_mesh(6)
        for n in range(30):
            nodes[n % 6].admit(b"pay %d" % n)
            self.clock.run_for(0.1)
        self.clock.run_for(1.0)
        nodes[0].chain.produce()
        self.clock.run_for(1.0)
        figures = [node.gossip.figures() for node in nodes]
        for one in figures:
            spread = one["transactions"]
            self.assertEqual((spread["first"]["own"], spread["came"], spread["refused"]), (5, 25, 0))
            self.assertGreaterEqual(sum(spread["copies"].values()), 25)
            self.assertLess(spread["delayMean"], 1.0)
        sent = sum(sum(one["transactions"]["sent"].values()) for one in figures)
        self.assertEqual(sent, sum(sum(one["transactions"]["copies"].values()) for one in figures))
        told = sum(one["transactions"]["announcementsTold"] for one in figures)
        self.assertEqual(told, sum(one["transactions"]["announcementsHeard"] for one in figures))
        self.assertEqual(figures[0]["blocks"]["first"], {"own": 1})
        self.assertEqual([one["blocks"]["came"] for one in figures[1:]], [1] * 5)
        self.assertEqual(sum(one["compact"]["free"] + one["compact"]["fetched"] for one in figures), 5)
        names = {name for name, _, _ in nodes[0].gossip.metrics()}
        self.assertIn("chainp2p_compact_blocks_total", names)
