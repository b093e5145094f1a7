"""Whether changes outrun the lines: goals that pass without progress."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.sync.states.race import GOALS_LOST, Outrun, StateRace


class Race(SynchronousTestCase):
    def passes(self, *missing: float | None) -> StateRace:
        race = StateRace()
        for number, bytes in enumerate(missing):
            race.passed(bytes, 100 * number, 10.0 * number)
        return race

    def test_less_each_time_is_progress(self) -> None:
        self.assertEqual(self.passes(1_000, 890, 790, 700).lost, 0)

    def test_the_least_of_all_counts_not_the_last(self) -> None:
        """What swings about one level gets nowhere."""
        self.assertEqual(self.passes(1_000, 1_500, 1_000, 1_500, 950).lost, 4)

    def test_slow_progress_counts_when_it_has_come_to_a_tenth(self) -> None:
        self.assertEqual(self.passes(1_000, 960, 920).lost, 2)
        self.assertEqual(self.passes(1_000, 960, 920, 880).lost, 0)

    def test_progress_ends_it(self) -> None:
        self.assertEqual(self.passes(1_000, 1_000, 1_000, 1_000, 500, 500).lost, 1)

    def test_nobody_can_tell(self) -> None:
        """Where nothing came whole it is not known how much is missing."""
        race = self.passes(None, None)
        self.assertEqual((race.lost, race.rate(100, 50.0)), (2, 0.0))
        race.passed(1_000, 0, 50.0)
        self.assertEqual(race.lost, 0)

    def test_the_rate_is_that_since_the_last_progress(self) -> None:
        race = self.passes(1_000, 500, 500, 500)
        self.assertEqual(race.rate(400, 40.0), (400 - 100) / 30)
        self.assertEqual(race.rate(100, 10.0), 0.0)

    def test_words(self) -> None:
        text = Outrun(GOALS_LOST, 1234.5, 0.987).text()
        self.assertIn("1,234 accounts change a second, 0.99 are fetched, and 3 states", text)
