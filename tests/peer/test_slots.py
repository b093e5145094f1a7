"""Slots for anybody, for peers that are behind and for those never seen."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.eviction import Candidate
from chainp2p.peer.slots import BEHIND_TIME, FRESH_TIME, Seat, Slots, outbound_slots

SECRET = b"secret"


def seat(key: object, since: float = 0.0, group: str = "1.1.0.0/16", behind: bool = False, fresh: bool = False) -> Seat:
    return Seat(Candidate(key, group, since), behind, fresh)


class SharesTest(SynchronousTestCase):
    def test_of_so_many_peers(self) -> None:
        self.assertEqual(Slots.of(80, 16), Slots(64, 4, 4))
        self.assertEqual(Slots.of(80, 0), Slots(64, 4, 4))
        self.assertEqual(Slots.of(80, 30), Slots(50, 3, 3))  # held peers may be more than 16
        self.assertEqual(Slots.of(32, 0), Slots(16, 1, 1))
        self.assertEqual(Slots.of(20, 9), Slots(11, 1, 1))
        self.assertEqual(Slots.of(4, 0), Slots(4, 1, 0))
        self.assertEqual(Slots.of(3, 1), Slots(2, 0, 0))
        self.assertEqual(Slots.of(3, 5), Slots(0, 0, 0))
        self.assertEqual(Slots.of(80, 16).general, 56)

    def test_outbound(self) -> None:
        self.assertEqual([outbound_slots(most) for most in (80, 48, 46, 20, 4, 3, 1)], [16, 16, 16, 7, 2, 1, 1])


class JudgeTest(SynchronousTestCase):
    slots = Slots(16, 1, 1)

    def rule(self, seats: list[Seat], newcomer: Seat, now: float = 100.0) -> str:
        verdict = self.slots.judge(seats, newcomer, now, SECRET)
        return verdict.rule if verdict is not None else ""

    def ordinary(self, count: int) -> list[Seat]:
        return [seat(number, number) for number in range(count)]

    def test_general_slots(self) -> None:
        self.assertEqual(self.rule(self.ordinary(13), seat("new", 99)), "")
        self.assertEqual(self.rule(self.ordinary(14), seat("new", 99)), "inbound_full")
        self.assertEqual(self.rule(self.ordinary(14), seat("new", 99, "2.2.0.0/16")), "evicted_youngest_of_group")

    def test_reserved_slots(self) -> None:
        full = self.ordinary(14)
        self.assertEqual(self.rule(full, seat("new", 99, behind=True)), "")
        self.assertEqual(self.rule(full, seat("new", 99, fresh=True)), "")
        behind = [*full, seat("behind", 50, behind=True)]
        self.assertEqual(self.rule(behind, seat("new", 99, behind=True)), "inbound_full")
        self.assertEqual(self.rule(behind, seat("new", 99, fresh=True)), "")
        self.assertEqual(self.rule(behind, seat("new", 99, behind=True, fresh=True)), "")
        both = [*behind, seat("fresh", 60, fresh=True)]
        self.assertEqual(self.rule(both, seat("new", 99, behind=True, fresh=True)), "inbound_full")
        self.assertEqual(self.rule(both, seat("new", 99, fresh=True)), "inbound_full")

    def test_nobody_is_new_for_ever(self) -> None:
        full = [*self.ordinary(13), seat("fresh", 60, fresh=True)]
        self.assertEqual(self.rule(full, seat("new", 99)), "")
        later = 60 + FRESH_TIME
        self.assertEqual(self.rule(full, seat("new", later), later), "inbound_full")
        self.assertEqual(self.rule(full, seat("new", later, fresh=True), later), "")
        # one more that is new no more, and the slots of all are taken: the next new one gets its slot, another goes
        full.append(seat("fresh too", 61, fresh=True))
        self.assertEqual(self.rule(full, seat("new", later + 1, fresh=True), later + 1), "evicted_youngest_of_group")

    def test_nobody_is_behind_for_ever(self) -> None:
        full = [*self.ordinary(14), seat("behind", 50, behind=True)]
        later = 50 + BEHIND_TIME
        self.assertEqual(self.rule(full, seat("new", later - 1, behind=True), later - 1), "inbound_full")
        # the slot is for the next one, and one of those with general slots goes
        self.assertEqual(self.rule(full, seat("new", later, behind=True), later), "evicted_youngest_of_group")
        self.assertEqual(self.rule(full, seat("new", later), later), "inbound_full")

    def test_never_more_than_there_are(self) -> None:
        """Ever new keys of one group come for hours."""
        self.slots = Slots(64, 4, 4)
        here: list[Seat] = []
        for now in range(0, 20_000, 20):
            newcomer = seat(now, now, fresh=True, behind=now % 40 == 0)
            verdict = self.slots.judge(here, newcomer, now, SECRET)
            if verdict is None or verdict.victim is not None:
                here = [one for one in here if verdict is None or one.candidate is not verdict.victim] + [newcomer]
            self.assertLessEqual(len(here), 64)
        # of those who came from behind two still count as that, and two of their slots are free
        self.assertEqual(len(here), 56 + 4 + 2)

    def test_holders_of_reserved_slots_are_not_evicted(self) -> None:
        self.slots = Slots(64, 4, 4)
        full = self.ordinary(56) + [seat(f"behind {n}", 80 + n, behind=True) for n in range(4)]
        full += [seat(f"fresh {n}", 90 + n, fresh=True) for n in range(4)]
        verdict = self.slots.judge(full, seat("new", 99, "2.2.0.0/16"), 100.0, SECRET)
        assert verdict is not None and verdict.victim is not None
        self.assertEqual(verdict.victim.key, 55)
