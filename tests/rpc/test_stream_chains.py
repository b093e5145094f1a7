"""The loss-free stream over chains that store: over the ledger and over rules, across restarts and on another node."""

from typing import Any

from chainp2p.chain import storedcore
from chainp2p.ledger import branches
from chainp2p.ledger.chain import Ledger
from chainp2p.rpc.subscriptions.cursor import Cursor
from chainp2p.testing.databases import MemoryDisk
from tests.chain.test_stored import StoredCase
from tests.ledger.network import Disk, Harness, genesis_of, transfer
from tests.ledger.test_statesync import GRID, Base
from tests.rpc.streaming import NaiveClient, Server, Socket


class LedgerStreamTests(Harness):
    def parent(self, hash: str) -> str:
        raise AssertionError("nothing was to be missed")

    def follow(self, client: NaiveClient, ledger: Ledger) -> list[dict[str, Any]]:
        socket = Socket(Server(ledger))
        self.get(socket.ask("chain_subscribe", ["heads"], client.cursor))
        events = socket.results()
        for event in events:
            client.take(event)
        socket.close()
        return events

    def best(self, ledger: Ledger) -> list[str]:
        return ["0x" + hash.hex() for hash in self.chain_of(ledger)]

    def test_blocks_transactions_and_finality_as_they_happen(self) -> None:
        ledger = self.started(genesis_of(1), 0)
        socket = Socket(Server(ledger))
        self.get(socket.ask("chain_subscribe", ["heads", "transactions"]))
        raws = [transfer(5, 0), transfer(5, 1)]
        for raw in raws:
            self.get(ledger.admit(raw, True))
        self.seal(ledger, 3)
        ready, *pending, block, final, one, two = socket.results()
        ids = ["0x" + ledger.transaction_hash(raw).hex() for raw in raws]
        self.assertEqual([(event["type"], event["id"]) for event in pending], [("pending", id) for id in ids])
        self.assertEqual((block["type"], block["transactions"]), ("block", ids))
        raw = self.get(ledger.header(ledger.head.hash))
        self.assertEqual((block["header"], block["hash"]), ("0x" + raw.hex(), "0x" + ledger.head.hash.hex()))
        self.assertEqual((final["type"], final["hash"]), ("finalized", block["hash"]))
        self.assertEqual([event["reason"] for event in (one, two)], ["included"] * 2)

    def test_a_branch_left_long_ago_on_every_node_after_every_restart(self) -> None:
        self.patch(branches, "KEPT_BELOW_FINALIZED", 0)
        genesis, disk = genesis_of(4), Disk()
        signers = [self.started(genesis, index) for index in range(4)]
        ours = self.started(genesis, disk=disk)
        for slot in (4, 8, 12):
            raw = self.seal(signers[0], slot)
            assert raw is not None
            self.feed(ours, raw)
        client = NaiveClient(genesis.hash, self.parent)
        self.follow(client, ours)
        left = self.best(ours)
        self.assertEqual((client.chain, len(left)), (left, 4))
        strangers = self.started(genesis)
        for slot in range(13, 153):
            for index in (1, 2, 3):
                raw = self.seal(signers[index], slot)
                for other in [*signers, ours, strangers] if raw is not None else ():
                    self.feed(other, raw)
        self.assertGreater(ours.finalized.height, 90)
        self.assertIsNone(ours._core().branches.tree.get(bytes.fromhex(left[1][2:])))
        again = self.started(genesis, disk=disk.copy())
        for place in (ours, again, strangers):
            moved = NaiveClient(genesis.hash, self.parent)
            moved.chain, moved.cursor = [*client.chain], client.cursor
            events = self.follow(moved, place)
            seen = None if place is strangers else left[:0:-1]
            self.assertEqual((events[1]["type"], events[1]["left"]), ("rollback", seen))
            self.assertEqual(moved.chain, self.best(ours))
            self.assertEqual(events[-1]["type"], "finalized")

    def test_on_a_node_that_never_saw_the_block(self) -> None:
        genesis = genesis_of(4)
        one, two = self.started(genesis, 0), self.started(genesis, 1)
        for slot in range(1, 12):
            for ledger in (one, two):
                raw = self.seal(ledger, slot)
                for other in (one, two) if raw is not None else ():
                    self.feed(other, raw)
        client = NaiveClient(genesis.hash, self.parent)
        alone = self.seal(one, 12)
        assert alone is not None
        self.follow(client, one)
        self.seal(two, 13)
        events = self.follow(client, two)
        self.assertEqual((events[1]["type"], events[1]["left"]), ("rollback", None))
        self.assertEqual(client.chain, self.best(two))


class BegunAtAStateTests(Base):
    """A node that downloaded the state of a block has no bodies below it."""

    def test_what_lies_below_is_a_gap_for_who_follows_and_for_who_comes(self) -> None:
        self.grow(10)
        early = Socket(Server(self.old))
        self.get(early.ask("chain_subscribe", ["heads"]))
        cursor = early.results()[0]["cursor"]
        self.grow(GRID + 5)
        new = self.started(self.genesis)
        server = Server(new)
        led = Socket(server)
        self.get(led.ask("chain_subscribe", ["heads"]))
        self.assertEqual(led.results()[0]["oldest"], 0)
        self.teach(new)
        goal = self.goal(new)
        self.fetch(new, goal)
        self.assertEqual(self.adopt(new, goal), "")
        for height in range(GRID + 1, GRID + 6):
            self.feed(new, self.get(self.old.block(self.get(self.old.hash_at(height)))))
        gap, *events = led.results()
        self.assertEqual(
            (gap["reason"], gap["from"], gap["to"]["height"], gap["lost"]), ("pruned", 1, GRID - 1, GRID - 1)
        )
        self.assertEqual(events[0]["parent"], gap["to"]["hash"])
        heights = [one["height"] for one in events if one["type"] == "block"]
        self.assertEqual(heights, list(range(GRID, GRID + 6)))
        self.assertEqual((events[-1]["type"], events[-1]["height"]), ("finalized", GRID + 5))
        comes = Socket(server)
        self.get(comes.ask("chain_subscribe", ["heads"], cursor))
        ready, gap, *events = comes.results()
        self.assertEqual((ready["oldest"], gap["from"], gap["lost"], gap["resume"]), (GRID, 11, GRID - 11, cursor))
        self.assertEqual([one["height"] for one in events if one["type"] == "block"], heights)
        # a client finds what lies between by headers
        hash = gap["to"]["hash"]
        for height in range(GRID - 1, 10, -1):
            header = self.get(comes.ask("chain_getHeader", hash))
            self.assertEqual(header["height"], height)
            hash = header["parent"]
        self.assertEqual(bytes.fromhex(hash[2:]), Cursor.decode(cursor).hash)


class RulesStreamTests(StoredCase):
    def follow(self, client: NaiveClient, server: Server) -> list[dict[str, Any]]:
        socket = Socket(server)
        self.wait(socket.ask("chain_subscribe", ["heads", "transactions"], client.cursor))
        events: list[dict[str, Any]] = []
        for _ in range(20):
            self.clock.run_for(0.01)
            events += socket.results()
        for event in events:
            if event.get("topic") != "transactions":
                client.take(event)
        socket.close()
        return events

    def best(self) -> list[str]:
        heights = range(self.chain.head.height + 1)
        return ["0x" + self.wait(self.chain.hash_at(height)).hex() for height in heights]

    def test_hashes_in_one_look(self) -> None:
        raws = self.make(4)
        self.wait(self.chain.submit_blocks(raws, b""))
        hashes = [self.wait(self.chain.hash_at(height)) for height in range(5)]
        for hash in hashes:
            found = self.wait(self.chain.hashes_at(hash, [4, 1, 9]))
            self.assertEqual(found, {4: hashes[4], 1: hashes[1]})
        self.assertIsNone(self.wait(self.chain.hashes_at(b"?" * 32, [1])))
        many = self.wait(self.chain.hashes_at(hashes[0], range(5_000)))
        self.assertEqual([many[height] for height in range(5)], hashes)
        other = self.make(6, seed=3)
        self.wait(self.chain.submit_blocks(other, b""))
        self.assertIsNone(self.wait(self.chain.hashes_at(hashes[2], [1])))

    def test_a_reorganisation_and_a_restart_while_nobody_listens(self) -> None:
        self.patch(storedcore, "REORG_LIMIT", 3)
        self.patch(storedcore, "KEPT_BELOW_FINALIZED", 1)

        def parent(hash: str) -> str:
            raise AssertionError("nothing was to be missed")

        client = NaiveClient(self.chain.genesis_hash, parent)
        self.wait(self.chain.submit_blocks(self.make(2, b"apples 1 x"), b""))
        server = Server(self.chain)
        self.assertEqual(self.follow(client, server)[-1]["type"], "finalized")
        left = self.best()
        self.assertEqual(client.chain, left)
        self.wait(self.chain.submit_blocks(self.make(12, seed=3), b""))
        self.assertEqual(self.chain.finalized.height, 9)
        self.wait(self.chain.stop())
        self.chain = self.open()
        events = self.follow(client, Server(self.chain))
        self.assertEqual(events[2]["left"], left[:0:-1])
        self.assertEqual((client.chain, Cursor.decode(client.cursor).height), (self.best(), 12))
        elsewhere = self.open(disk=MemoryDisk())
        events = self.follow(client, Server(elsewhere))
        self.assertEqual((events[2]["type"], events[2]["to"]["height"], len(client.chain)), ("rollback", 0, 1))
