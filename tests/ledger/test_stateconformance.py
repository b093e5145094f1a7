"""The ledger against the kit for states that are downloaded, and what the kit finds in ledgers that break it."""

from typing import Any

from attrs import evolve
from twisted.internet.defer import succeed

from chainp2p.chain.states import ChunkTaken
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.statedoor import StateDoor
from chainp2p.testing.conformance import Nonconforming
from chainp2p.testing.stateconformance import StateConformance
from tests.ledger.network import Disk
from tests.ledger.test_statesync import GRID, Base


class Conformance(Base):
    def setUp(self) -> None:
        super().setUp()
        self.grow(GRID + 1)
        self.disks: dict[Any, Disk] = {}

    def fresh(self, disk: Disk | None = None) -> Ledger:
        disk = Disk() if disk is None else disk
        ledger = self.started(self.genesis, disk=disk)
        self.disks[ledger] = disk
        self.teach(ledger)
        return ledger

    def kit(self) -> StateConformance:
        return StateConformance(self.old, self.fresh, self.get, lambda one: self.fresh(self.disks[one].copy()))

    def test_the_ledger_conforms(self) -> None:
        self.kit().check()

    def finds(self, text: str) -> None:
        with self.assertRaises(Nonconforming) as caught:
            self.kit().check()
        self.assertIn(text, str(caught.exception))

    def test_it_finds_who_takes_what_is_false(self) -> None:
        honest = StateDoor.take_chunks

        def take(door: StateDoor, chunks: Any) -> Any:
            results = honest(door, chunks)
            return results.addCallback(
                lambda them: [one if isinstance(one, ChunkTaken) else ChunkTaken((), 0, True) for one in them]
            )

        self.patch(StateDoor, "take_chunks", take)
        self.finds("a chunk empty is taken")

    def test_it_finds_who_answers_for_any_root(self) -> None:
        honest = StateDoor.state_chunk
        root = self.goal(self.fresh()).root
        self.patch(StateDoor, "state_chunk", lambda door, _, base, prefix: honest(door, root, base, prefix))
        self.finds("a root that there is not")

    def test_it_finds_who_takes_any_body(self) -> None:
        self.patch(StateDoor, "add_bodies", lambda door, raws: succeed([True] * len(raws)))
        self.finds("rubbish is taken")

    def test_it_finds_who_forgets(self) -> None:
        kit = self.kit()
        kit.reopen = lambda _: self.fresh()
        with self.assertRaisesRegex(
            Nonconforming, r"0 parts are here, though \d+ chunks were kept before it was opened anew"
        ):
            kit.check()

    def test_it_finds_who_says_that_it_has_what_it_asks_for_again(self) -> None:
        kit, honest = self.kit(), StateDoor.begin_state

        def reopen(_: Any) -> Any:
            self.patch(
                StateDoor,
                "begin_state",
                lambda door, goal: honest(door, goal).addCallback(lambda begun: evolve(begun, here=(b"\0",))),
            )
            return self.fresh()

        kit.reopen = reopen
        with self.assertRaisesRegex(Nonconforming, "after it was opened anew .* are asked for again"):
            kit.check()
