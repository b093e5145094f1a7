"""Whether a state changes faster than it is fetched: then one goal after the other passes, and none is ever reached."""

from attrs import frozen

__all__ = ["GOALS_LOST", "Outrun", "StateRace"]

#: So many goals in a row have to pass without progress before it is said: some half an hour, so that one bad stretch,
#: or the first goal, which begins with nothing, does not count.
GOALS_LOST = 3
#: It is progress when so much less is missing at the end of a goal than at that of any before. A tenth is seen above
#: what differs from goal to goal; who gets on more slowly needs more than thirty goals.
PROGRESS = 0.1


@frozen
class Outrun:
    """Changes outrun the lines.

    :param goals: so many have passed since there was progress.
    :param changed: accounts that change a second, each once a goal; *fetched*: that come.
    """

    goals: int
    changed: float
    fetched: float

    def text(self) -> str:
        """Say it in words, and what helps."""
        changed, fetched = (f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}" for rate in (self.changed, self.fetched))
        return (
            f"changes outrun the lines: {changed} accounts change a second, {fetched} are fetched, and {self.goals} "
            "states have passed without progress; more peers, faster lines or sync.mode = full will do"
        )


class StateRace:
    """See the module. What is missing counts in bytes: accounts differ little in size."""

    def __init__(self) -> None:
        #: Goals in a row that passed without progress.
        self.lost = 0
        self._least: float | None = None
        self._began: tuple[float, int] | None = None

    def passed(self, missing: float | None, kept: int, now: float) -> None:
        """A goal is served no more, with so many bytes of it missing (None: unknown), and so many kept since ever."""
        if missing is not None and (self._least is None or missing < (1 - PROGRESS) * self._least):
            self._least, self.lost, self._began = missing, 0, (now, kept)
        else:
            self.lost += 1

    def rate(self, kept: int, now: float) -> float:
        """Bytes that came a second since the last progress."""
        if self._began is None:
            return 0.0
        since, before = self._began
        return (kept - before) / (now - since) if now > since else 0.0
