"""Downloads among peers that stall and lie, and networks in which everything goes wrong: nothing sticks, and what nodes
say of themselves is true. ``benchmarks/table_sync.py`` and ``sweep_sync.py`` are the large ones.
"""

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.sync.headers.fetch import HeaderFetch
from chainp2p.sync.service import SyncService
from chainp2p.sync.state import Phase, SyncState
from chainp2p.testing.downloads import download, long_chain
from chainp2p.testing.troubles import play_troubles


class DownloadTests(SynchronousTestCase):
    def test_five_of_sixteen_stall_one_lies_and_some_are_slow(self) -> None:
        outcome = download(1, long_chain(1_000, 25_000))
        # the ideal is under three seconds: half a second of dialling and the first answers weigh in it
        self.assertLess(outcome.ratio, 1.8)
        self.assertEqual((outcome.ended, outcome.banned, outcome.caught), (0, 0, 1))
        self.assertLess(outcome.wasted, 0.2)


class TroubleTests(SynchronousTestCase):
    def test_nothing_sticks(self) -> None:
        for seed in range(1, 5):
            outcome = play_troubles(seed, blows=6)
            self.assertTrue(outcome.good, outcome)
        self.assertTrue(play_troubles(5, nodes=2).good)

    def faults(self, change: Any) -> str:
        """What the witness finds if nodes say something else than they do."""
        explain = SyncService.explain
        self.patch(SyncService, "explain", lambda sync: change(explain(sync)))
        faults = play_troubles(4, nodes=4, blows=6).faults
        self.patch(SyncService, "explain", explain)
        return "\n".join(faults)

    def test_the_witness_finds_what_is_false(self) -> None:
        def waits(**fields: Any) -> Any:
            def change(state: SyncState) -> SyncState:
                return evolve(state, waits=tuple(evolve(wait, **fields) for wait in state.waits))

            return change

        self.assertIn("who is asked is not here", self.faults(waits(what="blocks", peer=bytes(32))))
        self.assertIn("nothing of the kind is asked", self.faults(waits(what="headers", hash=bytes(32))))
        self.assertIn("later than that of the request", self.faults(waits(left=64.0)))
        self.assertIn("the deadline is none", self.faults(waits(left=None)))
        self.assertIn("it says nothing", self.faults(lambda state: evolve(state, text="")))

    def test_the_witness_finds_who_does_nothing(self) -> None:
        async def nothing(_: Any) -> bool:
            return False

        async def rest(_: Any) -> float:
            return 1.0

        self.patch(SyncService, "_round", nothing)
        self.patch(HeaderFetch, "look", lambda fetch: None)
        self.patch(SyncService, "explain", lambda sync: SyncState(Phase.FOLLOWING, 0, 0, 0, None, "in step"))
        faults = "\n".join(play_troubles(4, nodes=3, blows=2).faults)
        self.assertIn("it does nothing about a better chain: in step", faults)
        self.assertIn("no progress for 60 s", faults)
