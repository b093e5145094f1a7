"""The loss-free stream, rule by rule, over a toy chain."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.errors import Ours, Reason
from chainp2p.events import EventBus
from chainp2p.peer.link import PeerJoined, PeerLeft
from chainp2p.rpc.subscriptions.cursor import Cursor
from chainp2p.testing.toychain import ToyChain
from tests.rpc.streaming import LateChain, NaiveClient, Server, Socket, raised


def text(hash: bytes) -> str:
    return "0x" + hash.hex()


class StreamHarness(SynchronousTestCase):
    finality: int | None = None

    def setUp(self) -> None:
        self.chain = ToyChain(finality=self.finality)
        self.server = Server(self.chain)
        self.raws: list[bytes] = []

    def extend(self, count: int = 1, **fields: Any) -> list[str]:
        """Blocks on the head; their hashes."""
        hashes = []
        for _ in range(count):
            self.submit(self.chain.make(salt=len(self.raws), **fields))
            hashes.append(text(self.chain.head.hash))
        return hashes

    def submit(self, raw: bytes) -> None:
        self.raws.append(raw)
        self.successResultOf(self.chain.submit_block(raw))

    def fork(self, depth: int, count: int = 1) -> list[str]:
        """Leave the *depth* highest blocks for a branch of *count*; its hashes."""
        parent = self.successResultOf(self.chain.hash_at(self.chain.head.height - depth))
        hashes = []
        for weight in [1] * (count - 1) + [depth + 100]:
            raw = self.chain.make(parent=parent, weight=weight, salt=len(self.raws))
            self.submit(raw)
            parent = self.chain.block_hash(raw)
            hashes.append(text(parent))
        assert self.chain.head.hash == parent
        return hashes

    def best(self) -> list[str]:
        heights = range(self.chain.head.height + 1)
        return [text(self.successResultOf(self.chain.hash_at(height))) for height in heights]

    def socket(self, **limits: int) -> Socket:
        return Socket(self.server, **limits)

    def subscribe(self, *params: Any, **limits: int) -> Socket:
        socket = self.socket(**limits)
        id = self.successResultOf(socket.ask("chain_subscribe", *params))
        self.assertRegex(id, "^0x[1-9a-f][0-9a-f]{31}$")
        return socket

    def refused(self, *params: Any) -> tuple[int, str]:
        code, message = raised(self.successResultOf(self.socket().ask("chain_subscribe", *params)))
        return code, message

    def parent(self, hash: str) -> str:
        """The parent of a block."""
        block = self.successResultOf(self.socket().ask("chain_getBlock", hash))
        parent: str = block["parent"]
        return parent

    def point(self, height: int) -> dict[str, Any]:
        return {"hash": self.best()[height], "height": height}


class Beginning(StreamHarness):
    def test_ready_comes_first_and_names_the_head(self) -> None:
        self.extend(5)
        (ready,) = self.subscribe(["heads"]).results()
        self.assertEqual(list(ready), ["type", "cursor", "head", "oldest"])
        self.assertEqual((ready["type"], ready["head"], ready["oldest"]), ("ready", self.point(5), 0))
        self.assertEqual(Cursor.decode(ready["cursor"]).hash, self.chain.head.hash)

    def test_from_the_head_on(self) -> None:
        self.extend(2)
        socket = self.subscribe(["heads"])
        (ready,) = socket.results()
        self.submit(self.chain.make(transactions=[b"a", b"b"]))
        (block,) = socket.results()
        raw = self.raws[-1]
        header, transactions = self.chain.split(raw)
        self.assertEqual(
            {key: block[key] for key in block if key != "cursor"},
            {
                "type": "block",
                "hash": text(self.chain.head.hash),
                "parent": ready["head"]["hash"],
                "height": 3,
                "header": text(header),
                "transactions": [text(id) for id, _ in transactions],
            },
        )
        asked = self.successResultOf(self.socket().ask("chain_getBlock", block["hash"]))
        self.assertEqual(asked, {key: block[key] for key in block if key not in ("type", "cursor")})

    def test_a_cursor_names_the_ancestors_of_its_block(self) -> None:
        socket = self.subscribe(["heads"])
        self.extend(70)
        best = self.best()
        for block in socket.results()[1:]:
            cursor = Cursor.decode(block["cursor"])
            self.assertEqual((cursor.height, text(cursor.hash)), (block["height"], block["hash"]))
            for height, part in cursor.ancestors.items():
                self.assertEqual(best[height][:18], text(part))

    def test_a_rollback_may_be_the_first(self) -> None:
        self.extend(3)
        socket = self.subscribe(["heads"])
        socket.results()
        new = self.fork(2, 2)
        self.assertEqual([one["type"] for one in socket.results()], ["rollback", "block", "block"])
        self.assertEqual(self.best()[-2:], new)

    def test_all_subscriptions_of_a_connection_have_their_own_id(self) -> None:
        socket = self.socket()
        ids = [self.successResultOf(socket.ask("chain_subscribe", ["heads"])) for _ in range(3)]
        self.extend()
        got = socket.read()
        self.assertEqual([one["subscription"] for one in got], ids + ids)
        self.assertTrue(self.successResultOf(socket.ask("chain_unsubscribe", ids[1])))
        refusal = self.successResultOf(socket.ask("chain_unsubscribe", ids[1]))
        self.assertEqual(raised(refusal), (-32000, "subscription not found"))
        self.extend()
        self.assertEqual([one["subscription"] for one in socket.read()], [ids[0], ids[2]])

    def test_at_most_64_on_a_connection(self) -> None:
        socket = self.socket()
        answers = [self.successResultOf(socket.ask("chain_subscribe", ["heads"])) for _ in range(65)]
        self.assertEqual((len(set(answers[:64])), raised(answers[64])[0]), (64, -32000))
        self.assertEqual(len(self.server.streams), 64)
        socket.close()
        self.assertEqual(len(self.server.streams), 0)

    def test_who_has_gone_leaves_nothing_behind(self) -> None:
        self.extend()
        for topics in (["heads"], ["transactions"], ["heads", "transactions"]):
            socket = self.subscribe(topics)
            self.extend()
            socket.close()
            self.extend()
        self.assertEqual(len(self.server.streams), 0)
        self.assertEqual([some for some in self.chain.events._subscribers.values() if some], [])


class Refusing(StreamHarness):
    def test_topics(self) -> None:
        for topics in (None, "heads", {}, [], 5, ["blocks"], ["heads", 7], ["heads", None], [["heads"]]):
            self.assertEqual(self.refused(topics)[0], -32602, topics)
        self.assertIn("heads, transactions, peers", self.refused(["blocks"])[1])
        self.assertIn("admin port only", self.refused(["peers"])[1])
        self.assertEqual(self.refused()[0], -32602)
        self.assertEqual(self.refused(["heads"], None, 1)[0], -32602)

    def test_malformed_cursors(self) -> None:
        good = self.subscribe(["heads"]).results()[0]["cursor"]
        for cursor in ("", "x", 5, {}, [], good[:-1], good + "A", "=" + good[1:], good[:-1] + "/"):
            self.assertEqual(self.refused(["heads"], cursor)[0], -32602, cursor)
        self.extend(2)
        moved = Cursor(2, self.chain.genesis_hash, Cursor.decode(good).ancestors).encode().decode()
        self.assertEqual(self.refused(["heads"], moved)[0], -32602)

    def test_cursors_of_other_networks(self) -> None:
        self.extend(5)
        alien = {height: bytes([7]) * 32 for height in range(5_000)}
        for height in (0, 1, 3, 300):
            cursor = Cursor.of(height, b"?" * 32, alien).encode().decode()
            self.assertEqual(self.refused(["heads"], cursor)[0], -32020)

    def test_only_over_a_connection(self) -> None:
        for method in ("chain_subscribe", "chain_unsubscribe"):
            with self.assertRaises(Exception) as caught:
                self.server.registry.invoke(method, [["heads"]], False)
            self.assertEqual(raised(caught.exception), (-32601, "notifications not supported"))

    def test_without_a_pool_there_are_no_transactions(self) -> None:
        class NoPool(ToyChain):
            pass

        from zope.interface import implementer_only

        from chainp2p.chain.interfaces import IChain

        implementer_only(IChain)(NoPool)
        self.server = Server(NoPool())
        self.assertEqual(self.refused(["heads", "transactions"])[0], -32602)
        self.assertEqual(len(self.subscribe(["heads"]).results()), 1)


class Resuming(StreamHarness):
    def cursor(self) -> str:
        cursor: str = self.subscribe(["heads"]).results()[0]["cursor"]
        return cursor

    def test_all_blocks_since_then_and_then_live(self) -> None:
        self.extend(3)
        cursor = self.cursor()
        new = self.extend(200)
        socket = self.subscribe(["heads"], cursor)
        new += self.extend(2)
        ready, *blocks = socket.results()
        self.assertEqual((ready["cursor"], ready["head"]["height"]), (cursor, 203))
        self.assertEqual([one["hash"] for one in blocks if one["type"] == "block"], new)
        self.assertEqual(blocks[0]["parent"], self.best()[3])

    def test_it_is_told_back_as_it_was_given(self) -> None:
        self.extend(3)
        raw = urlsafe_b64decode(self.cursor())
        for rest in (bytes(40), bytes(range(40))):
            given = urlsafe_b64encode(raw[:56] + rest).decode()
            self.assertEqual(self.subscribe(["heads"], given).results()[0]["cursor"], given)

    def test_null_is_no_cursor(self) -> None:
        self.extend(3)
        self.assertEqual(self.subscribe(["heads"], None).results()[0]["head"]["height"], 3)

    def test_a_block_that_was_left(self) -> None:
        self.extend(5)
        left, cursor = self.best()[:2:-1], self.cursor()
        new = self.fork(3, 2)
        ready, rollback, *blocks = self.subscribe(["heads"], cursor).results()
        self.assertEqual((ready["cursor"], ready["head"]), (cursor, self.point(4)))
        self.assertEqual((rollback["to"], rollback["left"]), (self.point(2), left))
        self.assertEqual(Cursor.decode(rollback["cursor"]).height, 2)
        self.assertEqual([one["hash"] for one in blocks if one["type"] == "block"], new)
        self.assertEqual(blocks[0]["parent"], rollback["to"]["hash"])

    def test_a_block_that_this_node_never_saw(self) -> None:
        raws = self.raws
        self.extend(20)
        other = Server(self.chain)
        self.fork(2, 4)
        socket = Socket(other)
        self.successResultOf(socket.ask("chain_subscribe", ["heads"]))
        (ready,) = socket.results()  # of a branch that only the other one knows
        self.chain = ToyChain()
        self.server = Server(self.chain)
        for raw in raws[:20]:
            self.submit(raw)
        first, rollback, *blocks = self.subscribe(["heads"], ready["cursor"]).results()
        self.assertEqual(first["cursor"], ready["cursor"])
        # 4 below the head of 22 is the common ancestor at 18
        self.assertEqual((rollback["to"], rollback["left"]), (self.point(18), None))
        self.assertEqual([one["hash"] for one in blocks if one["type"] == "block"], self.best()[19:])

    def test_the_highest_ancestor_that_is_named_may_be_lower_than_the_common_one(self) -> None:
        self.extend(20)
        cursor = Cursor.of(14, b"?" * 32, {13: b"?" * 32, 10: self.hash(10), 0: b"?" * 32})
        _, rollback, *blocks = self.subscribe(["heads"], cursor.encode().decode()).results()
        self.assertEqual((rollback["to"], rollback["left"]), (self.point(10), None))
        self.assertEqual(blocks[0]["height"], 11)

    def hash(self, height: int) -> bytes:
        hash = self.successResultOf(self.chain.hash_at(height))
        assert hash is not None
        return hash

    def test_an_ancestor_that_leaves_the_chain_while_it_is_looked_at(self) -> None:
        self.extend(20)
        cursor = Cursor.of(14, b"?" * 32, {at: self.hash(at) for at in (13, 10, 0)}).encode().decode()
        hashes_at = self.chain.hashes_at

        def moves(hash: bytes, heights: Any) -> Any:
            self.patch(self.chain, "hashes_at", hashes_at)
            self.fork(8, 2)
            return hashes_at(hash, heights)

        self.patch(self.chain, "hashes_at", moves)
        _, rollback, *_ = self.subscribe(["heads"], cursor).results()
        self.assertEqual(rollback["to"], self.point(10))

    def test_a_node_that_is_behind(self) -> None:
        raws = [*self.raws]
        self.extend(10)
        cursor = self.cursor()
        raws = [*self.raws]
        self.chain = ToyChain()
        self.server = Server(self.chain)
        for raw in raws[:8]:
            self.submit(raw)
        socket = self.subscribe(["heads"], cursor)
        for raw in raws[8:]:
            self.submit(raw)
        client = NaiveClient(self.chain.genesis_hash, self.parent)
        client.chain, client.cursor = [*self.best()], cursor
        events = socket.results()
        for event in events:
            client.take(event)
        self.assertEqual(client.chain, self.best())
        # its only ancestors that are named and here: 6 (4 below)
        self.assertEqual((events[1]["type"], events[1]["to"]["height"]), ("rollback", 6))

    def test_headers_that_are_ahead_of_their_bodies(self) -> None:
        self.extend(5)
        cursor, raws = self.cursor(), [*self.raws]
        self.chain = ToyChain()
        self.server = Server(self.chain)
        for raw in raws[:3]:
            self.submit(raw)
        self.successResultOf(self.chain.add_headers([self.chain.split(raw)[0] for raw in raws]))
        _, rollback, final = self.subscribe(["heads"], cursor).results()
        self.assertEqual((rollback["to"], len(rollback["left"])), (self.point(3), 2))
        self.assertEqual((final["type"], final["height"]), ("finalized", 0))

    def test_live_topics_tell_that_something_is_missing(self) -> None:
        self.extend(2)
        cursor = self.cursor()
        ready, live, *rest = self.subscribe(["transactions", "heads"], cursor).results()
        self.assertEqual(ready["type"], "ready")
        self.assertEqual(
            live,
            {
                "type": "gap",
                "cursor": cursor,
                "topic": "transactions",
                "reason": "live",
                "from": None,
                "to": None,
                "lost": None,
                "resume": cursor,
            },
        )
        self.assertEqual(len(self.subscribe(["transactions"]).results()), 1)


class Pruned(StreamHarness):
    def forget(self, heights: Iterable[int]) -> None:
        """Bodies are gone, after a restart."""
        for height in heights:
            del self.chain._bodies[bytes.fromhex(self.best()[height][2:])]
        self.server = Server(self.chain)

    def test_missing_bodies_are_told(self) -> None:
        self.extend(3)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(40)
        self.forget(range(31))
        ready, gap, *blocks = self.subscribe(["heads"], cursor).results()
        self.assertEqual(ready["oldest"], 31)
        self.assertEqual(
            {**gap, "cursor": Cursor.decode(gap["cursor"]).height},
            {
                "type": "gap",
                "cursor": 30,
                "topic": "heads",
                "reason": "pruned",
                "from": 4,
                "to": self.point(30),
                "lost": 27,
                "resume": cursor,
            },
        )
        self.assertEqual((blocks[0]["height"], blocks[0]["parent"]), (31, gap["to"]["hash"]))
        self.assertEqual([one["height"] for one in blocks if one["type"] == "block"], list(range(31, 44)))

    def test_after_a_rollback_too(self) -> None:
        self.extend(10)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.fork(5, 8)
        self.forget((6, 7))
        _, rollback, gap, block, *_ = self.subscribe(["heads"], cursor).results()
        self.assertEqual((rollback["to"]["height"], gap["from"], gap["to"]["height"]), (5, 6, 7))
        self.assertEqual((gap["resume"], block["height"]), (rollback["cursor"], 8))

    def test_a_head_without_its_body_is_a_failure_of_ours(self) -> None:
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(3)
        self.forget([3])
        socket = self.subscribe(["heads"], cursor)
        self.assertEqual([one["type"] for one in socket.results()], ["ready", "block", "block"])
        self.assertTrue(socket.failed)
        (error,) = self.flushLoggedErrors(Ours)
        self.assertIn("the body of block 3", str(error.value))

    def test_a_chain_that_moves_while_bodies_are_looked_for(self) -> None:
        self.extend(2)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(10)
        self.server = Server(self.chain)
        gone = {bytes.fromhex(hash[2:]) for hash in self.best()[3:6]}
        block, hash_at = self.chain.block, self.chain.hash_at
        self.patch(self.chain, "block", lambda hash: succeed(None) if hash in gone else block(hash))
        moved: list[int] = []

        def hash_at_moves(height: int) -> Any:
            if height == 7 and not moved:
                moved.append(height)
                self.fork(11, 4)
            return hash_at(height)

        self.patch(self.chain, "hash_at", hash_at_moves)
        _, rollback, *blocks = self.subscribe(["heads"], cursor).results()
        self.assertEqual((moved, rollback["to"]["height"], len(rollback["left"])), ([7], 1, 1))
        self.assertEqual([one["hash"] for one in blocks if one["type"] == "block"], self.best()[2:])

    def test_the_oldest(self) -> None:
        self.assertEqual(self.subscribe(["heads"]).results()[0]["oldest"], 0)
        self.extend(1)
        self.assertEqual(self.subscribe(["heads"]).results()[0]["oldest"], 0)
        self.extend(20)
        self.forget([0])
        self.assertEqual(self.subscribe(["heads"]).results()[0]["oldest"], 1)

    def test_a_rollback_deeper_than_headers_are_kept(self) -> None:
        from chainp2p.rpc.subscriptions import follower

        self.patch(follower, "HEADERS_KEPT", 6)
        self.extend(10)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.fork(6, 2)
        self.assertEqual(len(self.subscribe(["heads"], cursor).results()[1]["left"]), 6)
        self.extend(1)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(6)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.fork(7, 2)
        _, gap, block, *_ = self.subscribe(["heads"], cursor).results()
        self.assertEqual(
            (gap["type"], gap["reason"], gap["from"], gap["to"], gap["lost"]), ("gap", "pruned", 7, self.point(6), 0)
        )
        self.assertEqual(block["parent"], gap["to"]["hash"])

    def test_a_branch_whose_headers_are_forgotten(self) -> None:
        self.extend(5)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        gone = bytes.fromhex(self.best()[4][2:])
        self.fork(3, 4)
        del self.chain._tree._nodes[gone]
        _, gap, *blocks = self.subscribe(["heads"], cursor).results()
        self.assertEqual((gap["reason"], gap["from"], gap["to"]), ("pruned", 1, self.point(0)))
        self.assertEqual([one["hash"] for one in blocks if one["type"] == "block"], self.best()[1:])


class Finality(StreamHarness):
    finality = 3

    def test_it_follows_its_block(self) -> None:
        self.extend(10)
        socket = self.subscribe(["heads"])
        self.assertEqual(len(socket.results()), 1)
        self.extend(2)
        events = socket.results()
        self.assertEqual(
            [(one["type"], one["height"]) for one in events],
            [*zip(["block", "finalized"] * 2, [11, 8, 12, 9], strict=True)],
        )
        final = events[3]
        self.assertEqual((final["hash"], final["cursor"]), (self.best()[9], events[2]["cursor"]))
        self.assertEqual(list(final), ["type", "cursor", "hash", "height"])

    def test_after_a_resume_the_current_one_is_told_once_caught_up(self) -> None:
        self.extend(4)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(100)
        events = self.subscribe(["heads"], cursor).results()
        self.assertEqual([one["type"] for one in events], ["ready", *["block"] * 100, "finalized"])
        self.assertEqual(events[-1]["height"], 101)
        (ready, final) = self.subscribe(["heads"], events[-1]["cursor"]).results()
        self.assertEqual((final["type"], final["height"], final["cursor"]), ("finalized", 101, ready["cursor"]))

    def test_never_before_its_block_though_the_chain_says_it_first(self) -> None:
        socket = self.subscribe(["heads"])
        client = NaiveClient(self.chain.genesis_hash, self.parent)
        for depth in (0, 2, 1, 3, 0, 3, 2):
            self.extend(4)
            self.fork(depth, depth + 1)
        for event in socket.results():
            client.take(event)
        self.assertEqual(client.chain, self.best())


class OtherTopics(StreamHarness):
    def test_transactions(self) -> None:
        self.extend(1)
        socket = self.subscribe(["transactions"])
        (ready,) = socket.results()
        self.successResultOf(self.chain.admit(b"one", True))
        self.successResultOf(self.chain.admit(b"two", True))
        id = self.chain.transaction_hash
        self.chain.drop(id(b"two"), "expired")
        self.chain.produce()
        self.assertEqual(
            socket.results(),
            [
                {"type": "pending", "cursor": ready["cursor"], "id": text(id(b"one"))},
                {"type": "pending", "cursor": ready["cursor"], "id": text(id(b"two"))},
                {"type": "dropped", "cursor": ready["cursor"], "id": text(id(b"two")), "reason": "expired"},
                {"type": "dropped", "cursor": ready["cursor"], "id": text(id(b"one")), "reason": "included"},
            ],
        )

    def test_they_carry_the_last_cursor_of_the_heads(self) -> None:
        socket = self.subscribe(["transactions", "heads"])
        self.extend(2)
        self.successResultOf(self.chain.admit(b"one", True))
        *_, block, pending = socket.results()
        self.assertEqual((pending["type"], pending["cursor"]), ("pending", block["cursor"]))

    def test_peers_on_the_admin_port(self) -> None:
        events = EventBus()
        self.server = Server(self.chain, events)
        socket = self.subscribe(["peers"])
        other = self.subscribe(["heads"])
        events.publish(PeerJoined(b"\1" * 32, ("127.0.0.1", 1), True))
        events.publish(PeerLeft(b"\1" * 32, ("127.0.0.1", 1), Reason.SHUTDOWN, "", False))
        ready, joined, left = socket.results()
        id = "0x" + "01" * 32
        self.assertEqual(
            joined, {"type": "peer", "cursor": ready["cursor"], "id": id, "state": "joined", "reason": None}
        )
        self.assertEqual((left["state"], left["reason"]), ("left", "shutdown"))
        self.assertEqual(len(other.results()), 1)
        live = self.subscribe(["peers"], ready["cursor"]).results()[1]
        self.assertEqual((live["topic"], live["reason"]), ("peers", "live"))


class SlowReaders(StreamHarness):
    finality = 3

    def live(self, topics: list[str], **limits: int) -> Socket:
        """One that has caught up, and whose transport takes one event from now on."""
        socket = self.subscribe(topics, **limits)
        self.assertEqual([one["type"] for one in socket.results()], ["ready"])
        socket.room = 100
        return socket

    def test_a_gap_when_drained(self) -> None:
        self.extend(10)
        socket = self.live(["heads", "transactions"], ring_events=4)
        new = self.extend(8)
        for raw in (b"one", b"two", b"three"):
            self.successResultOf(self.chain.admit(raw, True))
        got = socket.results()
        self.assertEqual([one["type"] for one in got[:5]], ["block", *["finalized", "block"] * 2])
        last = got[4]["cursor"]
        gap, other, *rest = got[5:]
        self.assertEqual(
            {**gap, "cursor": Cursor.decode(gap["cursor"]).height},
            {
                "type": "gap",
                "cursor": 18,
                "topic": "heads",
                "reason": "slow",
                "from": 14,
                "to": self.point(18),
                "lost": 5,
                "resume": last,
            },
        )
        self.assertEqual((other["topic"], other["lost"], other["from"], other["to"]), ("transactions", 3, None, None))
        self.assertEqual((other["cursor"], other["resume"], rest[0]["cursor"]), (gap["cursor"], last, gap["cursor"]))
        self.assertEqual([(one["type"], one["height"]) for one in rest], [("finalized", 15)])
        (after,) = self.extend(1)
        block, _ = socket.results()
        self.assertEqual((block["hash"], block["parent"]), (after, gap["to"]["hash"]))
        resumed = self.subscribe(["heads"], last).results()
        self.assertEqual([one["hash"] for one in resumed if one["type"] == "block"], [*new[3:], after])

    def test_the_gap_begins_where_a_missed_rollback_led(self) -> None:
        self.extend(10)
        socket = self.live(["heads"], ring_events=4)
        self.extend(3)
        self.fork(2, 1)
        *sent, gap, final = socket.results()
        self.assertEqual((sent[-1]["type"], sent[-1]["height"]), ("block", 13))
        self.assertEqual((gap["from"], gap["to"], gap["lost"]), (12, self.point(12), 1))
        self.assertEqual(gap["resume"], sent[-1]["cursor"])
        self.assertEqual((final["type"], final["height"]), ("finalized", 10))
        resumed = self.subscribe(["heads"], gap["resume"]).results()
        self.assertEqual([one["type"] for one in resumed], ["ready", "rollback", "block", "finalized"])

    def test_a_reader_who_comes_back_in_the_middle_of_many(self) -> None:
        self.extend(10)
        socket = self.live(["heads"], ring_events=1)
        client = NaiveClient(self.chain.genesis_hash, self.parent)
        client.chain, client.cursor = self.best(), self.subscribe(["heads"]).results()[0]["cursor"]
        gaps = 0
        for turn in range(200):
            self.extend(1)
            if turn % 7 == 0:
                self.fork(turn % 4, turn % 4 + 1)
            for event in socket.results(turn % 5):
                client.take(event)
                gaps += event["type"] == "gap"
        for event in socket.results():
            client.take(event)
        self.assertEqual(client.chain, self.best())
        self.assertGreater(gaps, 5)

    def test_only_finality_was_missed(self) -> None:
        self.extend(10)
        socket = self.live(["heads", "transactions"], ring_events=1)
        self.successResultOf(self.chain.admit(b"one", True))
        self.extend(1, transactions=[])
        pending, block, final = socket.results()
        self.assertEqual((block["height"], final["type"], final["height"]), (11, "finalized", 8))

    def test_an_empty_ring_takes_an_event_of_any_size(self) -> None:
        socket = self.live(["heads"], ring_bytes=1_000)
        self.extend(1)
        self.extend(1, transactions=[b"%d" % index for index in range(100)])
        self.extend(1)
        _, block, gap, *_ = socket.results()
        self.assertEqual((len(block["transactions"]), gap["from"]), (100, 3))

    def test_others_are_not_held_up(self) -> None:
        frozen = self.live(["heads"], ring_events=2)
        swift = self.subscribe(["heads"])
        new = self.extend(50)
        self.assertEqual([one["hash"] for one in swift.results() if one["type"] == "block"], new)
        self.assertLess(len(frozen.unread) + frozen.outbox._events, 5)

    def test_catching_up_waits_for_the_reader_and_skips_nothing(self) -> None:
        self.extend(3)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        new = self.extend(300)
        socket = self.subscribe(["heads", "transactions"], cursor, room=1_000, ring_events=4)
        client = NaiveClient(self.chain.genesis_hash, self.parent)
        client.chain, client.cursor = self.best()[:4], cursor
        missed = 0
        for turn in range(2_000):
            for event in socket.results(1):
                if event["type"] == "pending" or event.get("topic") == "transactions":
                    missed += event.get("lost") or 1
                else:
                    client.take(event)
            self.assertLess(len(socket.unread), 10)
            self.assertLessEqual(socket.outbox._events, 4)
            if turn % 10 == 0 and turn < 200:
                self.successResultOf(self.chain.admit(b"%d" % turn, True))
            if turn == 100:
                new += self.extend(5)
            if turn == 150:
                self.fork(3, 4)
        self.assertEqual(client.chain, self.best())
        self.assertEqual(missed, 21)  # 20, and one gap of what was before

    def test_the_frozen_of_one_connection_take_turns(self) -> None:
        self.extend(3)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(30)
        socket = self.socket(room=100)
        ids = [self.successResultOf(socket.ask("chain_subscribe", ["heads"], cursor)) for _ in range(3)]
        got = [one["subscription"] for one in socket.read(30)]
        self.assertEqual(set(got), set(ids))
        self.assertGreater(min(got.count(id) for id in ids), 5)

    def test_ready_is_never_dropped(self) -> None:
        socket = self.live(["heads"], ring_events=3)
        self.extend(1)
        other = self.successResultOf(socket.ask("chain_subscribe", ["heads", "transactions"]))
        self.successResultOf(self.chain.admit(b"one", True))  # there would be room for it
        self.extend(3)
        got = [one["result"] for one in socket.read() if one["subscription"] == other]
        self.assertEqual(got[0]["type"], "ready")
        blocks = [one["height"] for one in got if one["type"] == "block"]
        self.assertEqual((got[0]["head"]["height"], blocks), (1, [2, 3, 4]))
        (gap,) = (one for one in got if one["type"] == "gap")
        self.assertEqual((gap["topic"], gap["lost"], got[1]), ("transactions", 1, gap))


class Waiting(StreamHarness):
    """What a subscriber waits for comes when it cannot be taken."""

    def setUp(self) -> None:
        super().setUp()
        first = self.subscribe(["heads"])
        self.cursor = first.results()[0]["cursor"]
        first.close()
        self.extend(3)
        self.waiting: list[Any] = []
        self.block = self.chain.block
        self.server = Server(self.chain)

    def late(self, hash: bytes) -> Any:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, hash))
        return done

    def answer(self) -> None:
        for done, hash in self.waiting:
            self.block(hash).chainDeferred(done)
        self.waiting.clear()

    def begun(self) -> Socket:
        socket = self.socket(room=100, ring_events=1)
        self.successResultOf(socket.ask("chain_subscribe", ["heads", "transactions"], self.cursor))
        self.patch(self.chain, "block", self.late)
        socket.room = 1 << 20
        self.assertEqual([one["type"] for one in socket.results()], ["ready", "gap"])
        self.assertEqual(len(self.waiting), 1)
        return socket

    def test_it_has_left(self) -> None:
        socket = self.begun()
        socket.close()
        self.answer()
        self.assertEqual((socket.results(), len(self.server.streams)), ([], 0))

    def test_the_chain_is_closed_after_it_has_left(self) -> None:
        led = self.subscribe(["heads"])
        socket = self.begun()
        self.extend(1)
        self.assertEqual(len(self.waiting), 2)
        led.close()
        socket.close()
        for done, _ in self.waiting:
            done.errback(RuntimeError("it has been stopped"))
        self.assertEqual((socket.failed, led.failed, len(self.server.streams)), (False, False, 0))

    def test_its_socket_is_full(self) -> None:
        socket = self.begun()
        socket.room = 10
        self.successResultOf(self.chain.admit(b"one", True))
        self.successResultOf(self.chain.admit(b"two", True))
        self.answer()
        self.assertEqual((len(socket.unread), socket.outbox._events), (1, 1))
        socket.room = 1 << 20
        self.patch(self.chain, "block", self.block)
        got = socket.results()
        self.assertEqual([one.get("height") for one in got], [None, None, 1, 2, 3, 0])


class Lagging(StreamHarness):
    """What is read is ahead of what the chain says of itself, and so may be one subscriber of another."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.late = LateChain(self.chain, self.clock, 1.0)
        self.server = Server(self.late)

    def blocks(self, socket: Socket) -> list[str]:
        return [one["hash"] for one in socket.results() if one["type"] == "block"]

    def test_who_is_ahead_of_the_others_is_told_nothing_twice(self) -> None:
        first = self.subscribe(["heads"])
        cursor = first.results()[0]["cursor"]
        new = self.extend(3)
        self.late.head = HeaderInfo(b"?" * 32, b"?" * 32, 3, bytes(32))  # whatever it is, it is not where they are
        ahead = self.subscribe(["heads"], cursor)
        self.assertEqual(self.blocks(ahead), new)
        self.clock.advance(1)
        new += self.extend(2)
        self.clock.advance(1)
        self.assertEqual((self.blocks(first), self.blocks(ahead)), (new, new[3:]))

    def test_who_is_behind_the_others_is_told_what_it_lacks(self) -> None:
        first = self.subscribe(["heads"])
        (left,) = self.extend(1)
        self.clock.advance(0.5)
        new = self.fork(1, 2)
        self.clock.advance(0.5)  # that the first block was left is not said yet, but it is read
        self.assertEqual(self.blocks(first), new)
        self.assertEqual(text(self.late.head.hash), left)
        cursor = Cursor.of(1, self.late.head.hash, {0: self.chain.genesis_hash})
        second = self.subscribe(["heads"], cursor.encode().decode())
        self.assertEqual([one["type"] for one in second.results()], ["ready", "finalized"])
        self.clock.advance(0.5)
        rollback, *blocks = second.results()
        self.assertEqual((rollback["left"], [one["hash"] for one in blocks]), ([left], new))
        new = self.extend(2)
        self.clock.advance(1)
        self.assertEqual((self.blocks(first), self.blocks(second)), (new, new))

    def test_finality_of_a_branch_that_was_left_is_not_told(self) -> None:
        self.extend(4)
        self.clock.advance(1)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(2)
        self.clock.advance(1)
        ours = self.successResultOf(self.chain.locate(bytes.fromhex(self.best()[5][2:])))
        assert ours is not None
        self.late.finalized = ours
        new = self.fork(2, 3)  # read already, not said yet
        events = self.subscribe(["heads"], cursor).results()[1:]
        self.assertEqual([one["hash"] for one in events], new)
        self.late.finalized = HeaderInfo(b"?" * 32, b"?" * 32, 9, bytes(32))  # above what is connected
        self.clock.advance(0.5)
        again = self.subscribe(["heads"], cursor).results()[1:]
        self.assertEqual([one["type"] for one in again], ["block"] * 3)

    def test_what_happens_while_the_answer_is_on_its_way(self) -> None:
        self.chain = ToyChain(reactor=self.clock, delay=0.1)
        self.late = LateChain(self.chain, self.clock, 1.0)
        self.server = Server(self.late)
        socket = self.socket()
        socket.ask("chain_subscribe", ["heads"])
        self.clock.pump([0.1] * 20)
        self.assertEqual([one["type"] for one in socket.results()], ["ready"])
        genesis = self.chain.genesis_hash
        self.chain._submit(self.chain.make())
        self.clock.advance(0.25)
        parent = self.chain.make(parent=genesis, salt=1, weight=5)
        self.chain._submit(parent)
        self.clock.advance(0.75)  # the first block is told of, the second is read: that takes 0.2 s
        self.clock.pump([0.01] * 22)
        self.assertEqual(len(self.blocks(socket)), 1)
        self.late._lag = 0.05  # there was no third one; the answer takes 0.08 s more
        self.chain._submit(self.chain.make(parent=self.chain.block_hash(parent), salt=2))
        self.clock.pump([0.01] * 100)
        self.assertEqual(self.blocks(socket), [text(self.chain.head.hash)])


class Failing(StreamHarness):
    def test_a_chain_that_cannot_be_read_ends_the_connection(self) -> None:
        self.extend(3)
        cursor = self.subscribe(["heads"]).results()[0]["cursor"]
        self.extend(3)

        def broken(hash: bytes) -> None:
            raise OSError("the disk is gone")

        socket = self.socket()
        asked = socket.ask("chain_subscribe", ["heads"], cursor)
        self.successResultOf(asked)
        self.server.streams._texts._kept.clear()
        self.assertFalse(socket.failed)
        socket = self.socket(room=100)
        self.successResultOf(socket.ask("chain_subscribe", ["heads"], cursor))
        self.patch(self.chain, "block", broken)
        self.server.streams._texts._kept.clear()
        socket.read()
        self.assertTrue(socket.failed)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_those_who_are_led_go_on_with_the_next_event(self) -> None:
        socket = self.subscribe(["heads"])
        block = self.chain.block
        self.patch(self.chain, "block", lambda hash: 1 / 0)
        self.extend(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.patch(self.chain, "block", block)
        self.extend(1)
        self.assertEqual([one["type"] for one in socket.results()], ["ready", "block", "block"])


class Heads(SynchronousTestCase):
    def test_a_head_that_never_stands_still(self) -> None:
        chain = ToyChain()
        server = Server(chain)

        class Restless(ToyChain):
            @property
            def head(self) -> HeaderInfo:
                return HeaderInfo(b"?" * 32, b"!" * 32, 5, bytes(32))

        server = Server(Restless())
        result = self.successResultOf(Socket(server).ask("chain_subscribe", ["heads"]))
        self.assertEqual(raised(result)[0], -32000)


class Measured(StreamHarness):
    def test_how_far_the_last_is_behind_and_what_waits(self) -> None:
        def metrics() -> dict[str, float]:
            return {name.removeprefix("chainp2p_rpc_"): value for name, _, value in self.server.hub.metrics()}

        self.subscribe(["heads"])
        self.subscribe(["transactions"], room=0)
        slow = self.subscribe(["heads"], room=0)
        self.extend(3)
        self.assertEqual(metrics()["stream_lag_highest_blocks"], 3)
        self.assertEqual(metrics()["subscriptions"], 3)
        slow.results()
        self.assertEqual((metrics()["stream_lag_highest_blocks"], metrics()["waiting_bytes"]), (0, 0))
        self.extend(2)
        self.assertGreater(metrics()["stream_lag_highest_blocks"] + metrics()["waiting_bytes"], 0)
        slow.close()
        self.assertEqual((metrics()["stream_lag_highest_blocks"], metrics()["subscriptions"]), (0, 2))
