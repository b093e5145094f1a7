"""``@chainsafe/discv5`` against nodes of ours, over real UDP on loopback; left out where node and npm are not."""

import random
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor  # noqa: TID251
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.table import log_distance
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.net.talking import TalkHandler
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from tests.integration.javascript import JavascriptNodes, discv5_folder
from tests.integration.processes import Daemon, call, scratch
from tests.integration.test_abuse import QUIET

GENESIS = b"\x11" * 32
SEED = 5
#: Nodes of the mixed network, and lookups of each of ours of which one may miss a node.
THEIRS, OURS, LOOKUPS, EXACT = 20, 5, 20, 19
CLOSEST, KNOWN = 16, 20
#: What is dropped because it comes after its time, or twice.
LATE = {
    "answer to nothing",
    "challenge for another",
    "challenge for nothing",
    "handshake for nothing",
    "late",
    "repeated",
}
#: Seconds for what takes a fraction of one, on a machine that does much else.
PATIENCE = 30.0


class Ours:
    """A node of ours on a socket, with a record that a test can change."""

    def __init__(self, key: NodeKey, chance: random.Random) -> None:
        self.key = key
        self.votes: list[tuple[Any, ...]] = []
        core = Discv5(key, lambda: self.enr, chance, genesis=GENESIS, private=True)
        self.talk: dict[bytes, TalkHandler] = {}
        self.shell = DiscoveryShell(
            reactor, core, live=lambda enr: None, voted=lambda *vote: self.votes.append(vote), talk=self.talk
        )
        self.shell.listen([("127.0.0.1", 0)])
        self.port = self.shell.addresses[0][1]
        self.change(1)

    def change(self, seq: int) -> None:
        """Sign the record anew."""
        self.enr = make_enr(self.key, seq, node_pairs(GENESIS, 1, "127.0.0.1", udp=self.port))

    @property
    def table(self) -> dict[bytes, int]:
        """Live nodes, with the numbers of their records."""
        return {entry.enr.peer_id: entry.enr.seq for entry in self.shell.core.table.live}


async def eventually(look: Callable[[], Any], what: str) -> Any:
    """What *look* answers as soon as it is true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if isinstance(found, Deferred):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await deferLater(reactor, 0.05, lambda: None)


folder = discv5_folder()


class Interoperation(TestCase):
    timeout = 120
    skip = None if folder else "@chainsafe/discv5 is not to be had"

    def setUp(self) -> None:
        print(f"seed {SEED}")
        self.chance, self.targets = random.Random(SEED), random.Random(SEED)
        assert folder is not None
        self.js = JavascriptNodes(reactor, folder)
        self.addCleanup(self.js.stop)

    def key(self) -> NodeKey:
        return NodeKey.generate(self.chance.randbytes)

    def ours(self) -> Ours:
        made = Ours(self.key(), self.chance)
        self.addCleanup(lambda: Deferred.fromCoroutine(made.shell.stop()))
        return made

    async def theirs(self, count: int = 1) -> list[Enr]:
        keys = [self.key().private.hex() for _ in range(count)]
        return [Enr.from_text(text) for text in await self.js.ask("start", keys=keys)]

    def check_no_fault(self, *ours: Ours) -> None:
        """Nothing of theirs was unreadable; on a busy machine something may be late."""
        for node in ours:
            self.assertLessEqual(set(node.shell.core.conversations.dropped), LATE)


class PairTests(Interoperation):
    async def test_they_begin(self) -> None:
        ours = self.ours()
        ours.talk[b"echo"] = lambda node_id, request: node_id[:2] + request
        (theirs,) = await self.theirs()
        ask = lambda verb, **fields: self.js.ask(verb, node=0, enr=ours.enr.text, **fields)  # noqa: E731
        pong = await ask("ping")
        self.assertEqual(pong, {"seq": 1, "ip": "127.0.0.1", "port": theirs.udp})
        self.assertEqual(await ask("talk", protocol="echo", request="0102"), theirs.peer_id[:2].hex() + "0102")
        self.assertEqual(await ask("talk", protocol="nobody", request="01"), "")
        self.assertEqual(await ask("findNode", distances=[0]), [ours.enr.text])
        await eventually(lambda: theirs.peer_id in ours.table, "their node live in our table")
        distance = log_distance(ours.key.peer_id, theirs.peer_id)
        self.assertEqual(await ask("findNode", distances=[distance, 0]), [ours.enr.text, theirs.text])
        self.assertEqual(await self.js.ask("table", node=0), {ours.key.peer_id.hex(): 1})
        self.check_no_fault(ours)

    async def test_we_begin(self) -> None:
        ours = self.ours()
        (theirs,) = await self.theirs()
        self.assertEqual(await ours.shell.talk(theirs, b"any", b"\1\2"), b"any:\1\2")
        self.assertEqual(await ours.shell.talk(theirs, b"other", bytes(700)), b"other:" + bytes(700))
        self.assertEqual(await self.js.ask("table", node=0), {ours.key.peer_id.hex(): 1})
        ours.shell.start([theirs])
        await eventually(lambda: theirs.peer_id in ours.table, "PONG")
        self.assertEqual(ours.votes[0][0], theirs.peer_id)
        asked = await self.js.ask("asked", node=0)
        self.assertGreaterEqual(asked["1"], 1)
        self.assertGreaterEqual(asked["5"], 2)  # what was late is asked again
        self.check_no_fault(ours)

    async def test_both_begin_at_once(self) -> None:
        """They forget the keys of one handshake for those of the other, so one of their requests may go unheard."""
        ours = [self.ours() for _ in range(4)]
        theirs = await self.theirs(4)

        async def talk(number: int, enr: Enr, tries: int) -> str:
            try:
                answer: str = await self.js.ask("talk", node=number, enr=enr.text, protocol="x", request="")
            except AssertionError:
                if not tries:
                    raise
                return await talk(number, enr, tries - 1)
            return answer

        pairs = [(node, number, enr) for node in ours for number, enr in enumerate(theirs)]
        hearing = [
            (Deferred.fromCoroutine(talk(number, node.enr, 1)), node.shell.talk(enr, b"y", b""))
            for node, number, enr in pairs
        ]
        for they, we in hearing:
            self.assertEqual((await they, await we), ("", b"y:"))

    async def test_records_that_change(self) -> None:
        ours = self.ours()
        (theirs,) = await self.theirs()
        ours.shell.start([theirs])
        await eventually(lambda: ours.table == {theirs.peer_id: theirs.seq}, "theirs in our table")
        newer = Enr.from_text(await self.js.ask("change", node=0, name="x", value="01"))
        self.assertEqual(newer.seq, theirs.seq + 1)
        await self.js.ask("ping", node=0, enr=ours.enr.text)
        await eventually(lambda: ours.table == {theirs.peer_id: newer.seq}, "their new record with us, by PING")
        self.assertEqual(ours.shell.core.table.live[0].enr.pairs[b"x"], b"\1")
        ours.change(7)
        self.assertEqual((await self.js.ask("ping", node=0, enr=ours.enr.text))["seq"], 7)
        table = {ours.key.peer_id.hex(): 7}

        async def their_table() -> bool:
            return await self.js.ask("table", node=0) == table

        await eventually(lambda: Deferred.fromCoroutine(their_table()), "our new record with them, by PONG")
        self.check_no_fault(ours)

    async def test_records_that_had_changed_before(self) -> None:
        ours = self.ours()
        (theirs,) = await self.theirs()
        await self.js.ask("know", node=0, enr=ours.enr.text)
        ours.change(3)
        newest = Enr.from_text(await self.js.ask("change", node=0, name="x", value="02"))
        ours.shell.start([theirs])
        await eventually(lambda: ours.table == {theirs.peer_id: newest.seq}, "their new record with us, by PONG")
        self.assertEqual(await self.js.ask("table", node=0), {ours.key.peer_id.hex(): 3})
        self.check_no_fault(ours)


class MixedNetworkTests(Interoperation):
    async def test_all_find_all(self) -> None:
        """Ours are told of one node of theirs, which knows some, who know some."""
        theirs = await self.theirs(THEIRS)
        await self.acquaint(theirs)
        ours = [self.ours() for _ in range(OURS)]
        for node in ours:
            node.shell.start([theirs[0]])
        await eventually(
            lambda: Deferred.fromCoroutine(self.look_around(ours)), f"{KNOWN} nodes live in each table of ours"
        )
        ids = [enr.peer_id for enr in theirs] + [node.key.peer_id for node in ours]
        print("theirs:", *(one.hex() for one in ids[:THEIRS]), "ours:", *(one.hex() for one in ids[THEIRS:]), sep="\n")
        for node in ours:
            exact = [await self.is_exact(node, ids) for _ in range(LOOKUPS)]
            print(f"{node.key.peer_id.hex()[:8]} knows {len(node.table)}: {sum(exact)} of {LOOKUPS} lookups exact")
            self.assertGreaterEqual(sum(exact), EXACT)
        await self.check_that_theirs_know(ours)
        self.check_no_fault(*ours)

    async def acquaint(self, theirs: list[Enr]) -> None:
        """Let each of theirs ping three that came before it."""
        for number in range(1, THEIRS):
            for other in self.chance.sample(range(number), min(3, number)):
                await self.js.ask("ping", node=number, enr=theirs[other].text)

    async def look_around(self, ours: list[Ours]) -> bool:
        """Let those that know too few look for more, as a node does that has too few to dial."""
        few = [node for node in ours if len(node.table) < KNOWN]
        for node in few:
            await node.shell.lookup(self.chance.randbytes(32))
        return not few

    async def is_exact(self, node: Ours, ids: list[bytes]) -> bool:
        target = self.targets.randbytes(32)
        print(f"{node.key.peer_id.hex()[:8]} looks for {target.hex()}")
        wanted = int.from_bytes(target, "big")
        others = [one for one in ids if one != node.key.peer_id]
        truth = sorted(others, key=lambda one: int.from_bytes(one, "big") ^ wanted)[:CLOSEST]
        return [enr.peer_id for enr in await node.shell.lookup(target)] == truth

    async def check_that_theirs_know(self, ours: list[Ours]) -> None:
        """Each of ours is in most of their tables."""
        tables = [await self.js.ask("table", node=number) for number in range(THEIRS)]
        for node in ours:
            self.assertGreater(sum(node.key.peer_id.hex() in table for table in tables), THEIRS // 2)


class DaemonTests(Interoperation):
    async def test_a_daemon_among_them(self) -> None:
        theirs = await self.theirs(6)
        data = scratch(self)
        words = (*QUIET, "--admin-auth", "none", "--profile", "private", "--bootstrap", theirs[0].text)
        first, facts = await self.daemon(*words, data=data)
        ours = Enr.from_text(facts["enr"])
        await self.sees(0, ours)
        for number in range(1, 6):
            pong = await self.js.ask("ping", node=number, enr=ours.text)
            self.assertEqual(pong, {"seq": ours.seq, "ip": "127.0.0.1", "port": theirs[number].udp})
        await eventually(lambda: self.nodes_of(facts, 6), "all six live in the daemon's table")
        self.assertEqual(await self.js.ask("talk", node=2, enr=ours.text, protocol="any", request="01"), "")
        distances = sorted({log_distance(ours.peer_id, enr.peer_id) for enr in theirs})
        told = await self.js.ask("findNode", node=3, enr=ours.text, distances=distances)
        self.assertEqual(sorted(told), sorted(enr.text for enr in theirs))
        # it knows the daemon only
        self.assertIn(theirs[5].peer_id.hex(), await self.js.ask("lookup", node=4, target=theirs[5].peer_id.hex()))
        await deferToThread(first.stop)
        _, facts = await self.daemon(*words, data=data)
        again = Enr.from_text(facts["enr"])
        self.assertEqual((again.peer_id, again.seq), (ours.peer_id, ours.seq + 1))
        await self.sees(0, again)

    async def daemon(self, *words: str, data: Any) -> tuple[Daemon, dict[str, Any]]:
        daemon = Daemon(self, *words, data=data)
        return daemon, await deferToThread(daemon.facts)

    async def sees(self, number: int, enr: Enr) -> None:
        async def look() -> bool:
            table: dict[str, int] = await self.js.ask("table", node=number)
            return table.get(enr.peer_id.hex()) == enr.seq

        await eventually(lambda: Deferred.fromCoroutine(look()), f"record {enr.seq} with node {number} of theirs")

    def nodes_of(self, facts: dict[str, Any], count: int) -> "Deferred[bool]":
        info = deferToThread(call, facts["admin"], "admin_nodeInfo")
        return info.addCallback(lambda info: info["discovery"]["nodes"] == count)
