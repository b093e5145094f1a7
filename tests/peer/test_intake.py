"""Callers at the door: rates, places, and who makes way for whom."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.intake import (
    IN_FLIGHT,
    KEPT_FREE,
    KNOWN_INTERVAL,
    REMEMBERED,
    SUBNET,
    Caller,
    Intake,
    Taken,
    Turned,
)

REDIAL = 30.0
#: What is left to strangers.
STRANGERS = IN_FLIGHT - KEPT_FREE


def public(number: int) -> str:
    """An address in a netgroup of its own, for up to 20,000 numbers."""
    return f"{20 + number // 256}.{number % 256}.0.1"


class RateTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.intake = Intake(Random(1), REDIAL)

    def rule(self, ip: str, now: float, **facts: bool) -> str:
        answer = self.intake.offer(ip, now, **facts)
        return answer.rule if isinstance(answer, Turned) else ""

    def test_one_in_ten_seconds_an_address(self) -> None:
        self.assertEqual(self.rule("8.8.8.8", 0.0), "")
        for now in (0.0, 5.0, 9.99):
            self.assertEqual(self.rule("8.8.8.8", now), "address_rate")
        # the ones that were turned away have not moved the end of the wait
        self.assertEqual(self.rule("8.8.8.8", 10.0), "")
        self.assertEqual(self.rule("8.8.8.9", 10.0), "")

    def test_an_address_of_the_book_may_come_back_at_once(self) -> None:
        self.assertEqual(self.rule("8.8.8.8", 0.0), "")
        self.assertEqual(self.rule("8.8.8.8", KNOWN_INTERVAL, known=True), "")
        self.assertEqual(self.rule("8.8.8.8", KNOWN_INTERVAL + 0.5, known=True), "address_rate")
        self.assertEqual(self.rule("8.8.8.8", KNOWN_INTERVAL + 0.5, named=True), "")

    def test_small_networks_dial_again_sooner(self) -> None:
        self.intake = Intake(Random(1), 1.0)
        self.assertEqual(self.rule("10.0.0.1", 0.0), "")
        self.assertEqual(self.rule("10.0.0.1", 0.3), "address_rate")
        self.assertEqual(self.rule("10.0.0.1", 0.34), "")
        self.assertEqual(self.rule("10.0.0.1", 0.75, known=True), "")

    def test_a_slash_64_is_an_address_and_a_slash_48_a_subnet(self) -> None:
        self.assertEqual(self.rule("2001:db8:1:1::1", 0.0), "")
        self.assertEqual(self.rule("2001:db8:1:1:ffff::2", 1.0), "address_rate")
        rules = [self.rule(f"2001:db8:1:{number:x}::1", 1.0) for number in range(2, 80)]
        self.assertEqual(rules, [""] * int(SUBNET.burst) + ["subnet_rate"] * 14)
        self.assertEqual(self.rule("2001:db8:2:1::1", 1.0), "")

    def test_sixty_four_a_second_a_subnet(self) -> None:
        rules = [self.rule(f"8.8.8.{number}", 0.0) for number in range(100)]
        self.assertEqual(rules, [""] * 64 + ["subnet_rate"] * 36)
        # who was turned away may try again at once; the subnet earns one place each 64th of a second
        rules = [self.rule(f"8.8.8.{number}", 0.25) for number in range(64, 100)]
        self.assertEqual(rules, [""] * 16 + ["subnet_rate"] * 20)
        self.assertEqual(self.rule("8.8.9.1", 0.25), "")

    def test_loopback(self) -> None:
        self.assertEqual({self.rule("127.0.0.1", 0.0) for _ in range(200)}, {""})
        self.assertEqual({self.rule("::1", 0.0) for _ in range(20)}, {""})
        self.intake = Intake(Random(1), REDIAL, loopback_exempt=False)
        self.assertEqual([self.rule("127.0.0.1", 0.0) for _ in range(2)], ["", "address_rate"])

    def test_memory_is_bounded(self) -> None:
        for number in range(2 * REMEMBERED):
            self.intake.offer(public(number), number / 1000)
        self.assertEqual((len(self.intake._called), len(self.intake._full_at)), (REMEMBERED, REMEMBERED))
        self.assertLessEqual(len(self.intake), IN_FLIGHT)


class PlaceTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.intake = Intake(Random(1), REDIAL)

    def take(self, ip: str, now: float = 0.0, **facts: bool) -> Taken:
        answer = self.intake.offer(ip, now, **facts)
        assert isinstance(answer, Taken)
        return answer

    def test_a_crowd_replaces_itself(self) -> None:
        quiet = [self.take(public(number)).caller for number in range(20)]
        for number in range(300):
            taken = self.take(f"99.1.{number % 200}.{number // 200 + 1}", number / 64)
            if number < STRANGERS - 20:
                self.assertIsNone(taken.instead)
            else:
                assert taken.instead is not None
                self.assertEqual(taken.instead.group, "99.1.0.0/16")
        self.assertEqual(len(self.intake), STRANGERS)
        for caller in quiet:
            self.intake.done(caller)
        self.assertEqual(len(self.intake), STRANGERS - 20)

    def test_places_for_known_addresses(self) -> None:
        for number in range(STRANGERS):
            self.assertIsNone(self.take(public(number)).instead)
        known = [self.take(f"200.1.{number}.1", known=True) for number in range(KEPT_FREE)]
        self.assertEqual([taken.instead for taken in known], [None] * KEPT_FREE)
        self.assertEqual(len(self.intake), IN_FLIGHT)
        # now one takes the place of a stranger, and strangers only ever those of strangers
        taken = self.take("201.1.1.1", named=True)
        assert taken.instead is not None
        self.assertFalse(taken.instead.known)
        for number in range(300, 500):
            instead = self.take(public(number)).instead
            assert instead is not None
            self.assertFalse(instead.known)
        self.assertEqual(len(self.intake), IN_FLIGHT)

    def test_known_ones_among_themselves(self) -> None:
        for number in range(IN_FLIGHT + 5):
            taken = self.take(public(number), known=True)
            self.assertEqual(taken.instead is not None, number >= IN_FLIGHT)
        self.assertEqual(len(self.intake), IN_FLIGHT)

    def test_an_honest_caller_is_hit_seldom(self) -> None:
        """64 netgroups call without end; one honest caller needs a second for its handshake."""
        hits = 0
        for run in range(50):
            self.intake = Intake(Random(run), REDIAL)
            for number in range(STRANGERS):
                self.intake.offer(f"60.{number % 64}.{number}.1", 0.0)
            honest = self.take("8.8.8.8").caller
            for number in range(64):
                answer = self.intake.offer(f"60.{number}.200.1", 0.5)
                hits += isinstance(answer, Taken) and answer.instead is honest
        self.assertLessEqual(hits, 2)

    def test_done_twice_is_done(self) -> None:
        taken = self.take("8.8.8.8")
        self.intake.done(taken.caller)
        self.intake.done(taken.caller)
        self.assertEqual(len(self.intake), 0)

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(
        st.lists(
            st.tuples(st.integers(0, 400), st.booleans(), st.booleans(), st.floats(0, 0.2), st.integers(0, 3)),
            max_size=400,
        )
    )
    def test_what_always_holds(self, calls: list[tuple[int, bool, bool, float, int]]) -> None:
        intake, now = Intake(Random(1), REDIAL), 0.0
        here: list[Caller] = []
        for number, known, named, pause, leave in calls:
            now += pause
            answer = intake.offer(
                f"70.{number % 9}.{number}.1" if number < 256 else public(number), now, named=named, known=known
            )
            if isinstance(answer, Taken):
                if answer.instead is not None:
                    here.remove(answer.instead)
                    assert known or named or not answer.instead.known
                here.append(answer.caller)
            if not leave and here:
                intake.done(here.pop(0))
            assert len(intake) == len(here) <= IN_FLIGHT
            assert sum(not caller.known for caller in here) <= IN_FLIGHT
            strangers = [caller for caller in here if not caller.known]
            if isinstance(answer, Taken) and not (known or named):
                assert len(strangers) <= STRANGERS
