"""State sync between hosts with ledgers: from any peers, whatever they do, and whatever happens meanwhile."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.transaction import sign_transaction
from chainp2p.ledger.state import chunks
from chainp2p.sync.service import SyncService
from chainp2p.sync.state import Phase, SyncState
from chainp2p.wire.messages import Blocks, GetBlocks, GetStateChunk, NotFound, Refused, StateChunk, Status
from tests.ledger.network import KEYS, AtOnce, Clock, Disk, genesis_of
from tests.links import Host, Net, connect, make_status

#: 64 periods in ten minutes: a state is kept for others at each 64th height.
PERIOD, GRID = 10_000, 64


class LedgerHost(Host):
    """A host that does nothing but sync, with a ledger."""

    def __init__(self, net: Net, now: Clock, name: str, disk: Any, signer: int | None = None, **settings: bool) -> None:
        self.chain = Ledger(
            genesis_of(1, PERIOD),
            executor=AtOnce(),
            now=now,
            random=random.Random(name),
            open_database=disk,
            signer=None if signer is None else KEYS[signer],
        )
        self.chain.start()
        self.sync = SyncService(
            chain=self.chain,
            reactor=net.clock,
            now=now,
            random=random.Random(name),
            events=self.chain.events,
            **settings,
        )
        super().__init__(net, name, [self.sync], self.said)
        self.sync.start()

    def said(self) -> Status:
        head = self.chain.head
        return make_status(head.hash, head.height, head.rank)


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = Net()
        self.clock = self.net.clock
        self.now = Clock()
        self.hosts: list[LedgerHost] = []
        self.nonce = 0
        self.patch(chunks.make_chunk, "__defaults__", (None, 400))
        self.old = self.host("old", signer=0)

    def host(self, name: str, disk: Any = None, **more: Any) -> LedgerHost:
        host = LedgerHost(self.net, self.now, name, Disk() if disk is None else disk, **more)
        self.hosts.append(host)
        return host

    def grow(self, height: int, pays: int = 1) -> None:
        """Let the old one seal up to *height*, with transfers to new addresses in each block."""
        chain = self.old.chain
        while chain.head.height < height:
            for _ in range(pays):
                raw = sign_transaction(
                    KEYS[5],
                    chain_id=7,
                    nonce=self.nonce,
                    to=self.nonce.to_bytes(20, "big"),
                    value=1,
                    max_fee=10**10,
                    max_priority_fee=1,
                )
                self.successResultOf(chain.admit(raw, True))
                self.nonce += 1
            self.now.now = chain.engine.start_of(chain.head.height + 1)
            self.assertIsNotNone(self.successResultOf(chain.produce(self.now())))

    def copy(self, name: str) -> LedgerHost:
        """A host with the chain of the old one."""
        return self.host(name, self.old.chain._open_database.copy())  # type: ignore[attr-defined]

    def caught_up(self, new: LedgerHost, seconds: float = 60.0) -> list[SyncState]:
        """Run until it has the old one's head; answer what it said meanwhile, each quarter of a second."""
        said = []
        end = self.clock.seconds() + seconds
        while new.chain.head.hash != self.old.chain.head.hash:
            self.assertLess(self.clock.seconds(), end, new.sync.explain())
            self.clock.run_for(0.02)
            said.append(new.sync.explain())
        state = new.chain._core().chain.state
        self.assertEqual(list(state.rows()), list(self.old.chain._core().chain.state.rows()))
        return said

    def asked(self, new: LedgerHost, kind: type[Any]) -> list[Any]:
        return [message for link in new.links for message in link.sent if isinstance(message, kind)]

    def tearDown(self) -> None:
        self.assertEqual(self.clock.failures, 0)
        for host in self.hosts:
            host.sync.stop()
            for link in tuple(host.links):
                link.close()
        self.assertEqual(self.flushLoggedErrors(), [])


class Download(Base):
    def test_a_fresh_node_begins_at_a_state(self) -> None:
        self.grow(GRID + 9)
        new = self.host("new", states=True)
        connect(new, self.old)
        said = self.caught_up(new)
        fetched = self.asked(new, GetBlocks)
        self.assertEqual(fetched[0].from_, self.successResultOf(self.old.chain.hash_at(GRID)))
        self.assertIsNone(self.successResultOf(new.chain.block(self.successResultOf(new.chain.hash_at(GRID - 1)))))
        states = [one for one in said if one.phase is Phase.STATE]
        self.assertTrue(states)
        self.assertIn("of the keys", states[-1].text)
        shares = [one.state.share for one in states if one.state is not None]
        self.assertEqual(shares, sorted(shares))
        self.assertGreater(states[-1].state.entries, 50)  # type: ignore[union-attr]
        self.assertIn("state", [wait.what for one in states for wait in one.waits])
        self.assertEqual([host.faults for host in self.hosts], [[], []])

    def test_without_the_setting_blocks_are_the_way(self) -> None:
        self.grow(GRID + 2)
        new = self.host("new")
        connect(new, self.old)
        self.caught_up(new)
        self.assertEqual(self.asked(new, GetStateChunk), [])
        self.assertIsNotNone(self.successResultOf(new.chain.block(self.successResultOf(new.chain.hash_at(1)))))

    def test_a_chain_too_short_to_have_one(self) -> None:
        self.grow(GRID - 1)
        new = self.host("new", states=True)
        connect(new, self.old)
        self.caught_up(new)
        self.assertEqual(self.asked(new, GetStateChunk), [])

    def test_from_many(self) -> None:
        self.grow(GRID + 3, pays=5)
        new = self.host("new", states=True)
        for name in "abc":
            connect(new, self.copy(name))
        connect(new, self.old)
        self.caught_up(new)
        served = [sum(isinstance(m, StateChunk) for m in link.other.sent) for link in new.links]
        self.assertTrue(all(served), served)

    def test_liars_are_left_at_their_first_chunk(self) -> None:
        self.grow(GRID + 3, pays=5)
        new = self.host("new", states=True)
        liars = [self.copy(name) for name in "ab"]
        for liar in liars:
            honest = liar.handlers[GetStateChunk]

            async def lie(link: Any, message: GetStateChunk, honest: Any = honest) -> Any:
                reply = await honest(link, message)
                return StateChunk(reply.chunk[:-1] + bytes((reply.chunk[-1] ^ 1,)))

            liar.handlers[GetStateChunk] = lie
            connect(new, liar)
        for honest in (self.old, *(self.copy(name) for name in "cd")):
            connect(new, honest)
        self.caught_up(new)
        self.assertLessEqual({fault[0] for fault in new.faults}, {liar.peer_id for liar in liars})
        self.assertEqual({fault[1] for fault in new.faults}, {Reason.MISBEHAVED})
        self.assertEqual(len(new.faults), len({fault[0] for fault in new.faults}))

    def test_silence_refusals_and_lacks_are_nobodys_fault(self) -> None:
        self.grow(GRID + 3)
        new = self.host("new", states=True)
        answers: list[Any] = [NotFound((bytes(32),)), Refused(2, 0), Refused(0, 500), None]
        for index, answer in enumerate(answers):
            peer = self.copy(str(index))
            if answer is None:
                connect(new, peer)[0].other.stalled = True
                continue
            peer.handlers[GetStateChunk] = lambda link, message, answer=answer: answer
            connect(new, peer)
        connect(new, self.old)
        self.caught_up(new, 300.0)
        self.assertEqual(new.faults, [])


class Goals(Base):
    def test_a_kill_resumes(self) -> None:
        self.grow(GRID + 3, pays=5)
        disk = Disk()
        new = self.host("new", disk, states=True)
        connect(new, self.old)
        while new.sync.explain().state is None or new.sync.explain().state.chunks < 20:  # type: ignore[union-attr]
            self.clock.run_for(0.01)
        first = len(self.asked(new, GetStateChunk))
        new.sync.stop()
        again = self.host("again", disk.copy(), states=True)
        connect(again, self.old)
        self.caught_up(again)
        fresh = self.host("fresh", states=True)
        connect(fresh, self.old)
        self.caught_up(fresh)
        alone = len(self.asked(fresh, GetStateChunk))
        self.assertLess(len(self.asked(again, GetStateChunk)), alone)
        self.assertLess(first + len(self.asked(again, GetStateChunk)), alone + 30)

    def test_what_was_begun_is_forgotten_without_the_setting(self) -> None:
        self.grow(GRID + 3, pays=5)
        disk = Disk()
        new = self.host("new", disk, states=True)
        connect(new, self.old)
        while new.sync.explain().state is None:
            self.clock.run_for(0.01)
        self.clock.run_for(0.1)
        new.sync.stop()
        again = self.host("again", disk.copy())
        connect(again, self.old)
        self.caught_up(again)
        tables = (
            again.chain._core().store.execute("SELECT name FROM sqlite_master WHERE name LIKE 'staged%'").fetchall()
        )
        self.assertEqual(tables, [])

    def test_it_turns_to_a_newer_state_when_nobody_has_the_old_one(self) -> None:
        self.grow(GRID + 3, pays=5)
        new = self.host("new", states=True)
        near, far = connect(new, self.old)
        while new.sync.explain().state is None or new.sync.explain().state.chunks < 20:  # type: ignore[union-attr]
            self.clock.run_for(0.01)
        before: Any = new.sync.explain().state
        far.stalled = near.stalled = True
        self.grow(4 * GRID + 3, pays=1)
        near.close()
        connect(new, self.old)
        said = self.caught_up(new)
        states = [before, *(one.state for one in said if one.state is not None)]
        self.assertEqual((states[0].height, states[-1].height), (GRID, 4 * GRID))
        shares = [state.share for state in states]
        self.assertEqual(shares, sorted(shares))

    def test_when_nobody_ever_serves_it_blocks_are_the_way(self) -> None:
        self.grow(GRID + 3)
        new = self.host("new", states=True)
        self.old.handlers[GetStateChunk] = lambda link, message: NotFound((message.root,))
        connect(new, self.old)
        self.clock.run_for(100.0)
        self.assertIn("no peer has it", new.sync.explain().text)
        self.assertEqual(new.sync.explain().waits[0].what, "peers")
        self.caught_up(new, 400.0)


class Afterwards(Base):
    def filled(self, host: LedgerHost) -> list[int]:
        """Heights whose blocks are here."""
        chain = host.chain
        hashes = [self.successResultOf(chain.hash_at(height)) for height in range(chain.head.height + 1)]
        return [height for height, hash in enumerate(hashes) if self.successResultOf(chain.block(hash)) is not None]

    def test_older_blocks_come_in_the_background(self) -> None:
        self.grow(3 * GRID + 3)
        new = self.host("new", states=True, backfill=True)
        connect(new, self.old)
        self.caught_up(new)
        self.assertLess(len(self.filled(new)), GRID)
        self.clock.run_for(30.0)
        self.assertEqual(self.filled(new), list(range(3 * GRID + 4)))
        self.assertEqual(new.faults, [])
        last = self.host("last")
        connect(last, new)
        self.caught_up(last)

    def test_not_without_the_setting(self) -> None:
        self.grow(GRID + 3)
        new = self.host("new", states=True)
        connect(new, self.old)
        self.caught_up(new)
        self.clock.run_for(30.0)
        self.assertEqual(self.filled(new), [0, *range(GRID, GRID + 4)])

    def test_who_sends_another_block_is_left_and_who_has_none_is_not(self) -> None:
        self.grow(GRID + 3)
        new = self.host("new", states=True, backfill=True)
        connect(new, self.old)
        self.caught_up(new)
        pruned = self.host("pruned", states=True)
        connect(pruned, self.old)
        self.caught_up(pruned)
        for link in tuple(new.links):
            link.close()
        connect(new, pruned)
        self.clock.run_for(20.0)
        self.assertEqual((self.filled(new), new.faults), ([0, *range(GRID, GRID + 4)], []))
        liar = self.copy("liar")
        low = self.successResultOf(liar.chain.block(self.successResultOf(liar.chain.hash_at(2))))
        liar.handlers[GetBlocks] = lambda link, message: Blocks((low,))
        connect(new, liar)
        self.clock.run_for(20.0)
        self.assertEqual([fault[0] for fault in new.faults], [liar.peer_id])
        connect(new, self.old)
        self.clock.run_for(30.0)
        self.assertEqual(self.filled(new), list(range(GRID + 4)))
