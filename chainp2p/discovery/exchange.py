"""Peer exchange without a transport: who may ask how often, what is answered, and how many records are taken."""

from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from chainp2p.peer.enr import Enr
from chainp2p.peer.rate import Rate

__all__ = ["ANSWER_LIMIT", "Allowance", "Answers", "AskGate", "ExchangeRules", "of_network", "rules_for"]

#: Records in one ``Peers`` (wire design, tag 11).
ANSWER_LIMIT = 100
#: A peer that asks on its own interval may look a little early here, by the jitter of the network.
EARLY_FACTOR = 0.8


@frozen
class ExchangeRules:
    """The peer-exchange rows of the table in the wire design; times in seconds, rates in records.

    :param full_for: how long an answer of 100 records is given again, so that asking often does not map the network.
    :param short_for: the same for a shorter answer; 0: every answer is fresh.
    :param taken: records taken from a peer.
    """

    interval: float
    full_for: float
    short_for: float
    taken: Rate


def rules_for(interval: float, public: bool) -> ExchangeRules:
    """Return the rules of a public network, or of a small one."""
    if public:
        return ExchangeRules(interval, full_for=86_400.0, short_for=60.0, taken=Rate(0.1, 100.0))
    return ExchangeRules(interval, full_for=0.0, short_for=0.0, taken=Rate(10.0, 1_000.0))


@define
class Allowance:
    """How many records of one peer are taken. Cost: O(1)."""

    rate: Rate
    _full_at: float = field(init=False, default=float("-inf"))

    def take(self, wanted: int, now: float) -> int:
        """Return how many of *wanted* records may be taken now."""
        taken = min(wanted, int(self.rate.left(self._full_at, now)))
        self._full_at = self.rate.spent(self._full_at, taken, now)
        return taken


@define
class AskGate:
    """One question an *interval*; what comes earlier is told how long to wait. Cost: O(1)."""

    interval: float
    _last: float | None = field(init=False, default=None)

    def wait(self, now: float) -> float:
        """Return 0 and count the question, or the seconds until one is welcome."""
        if self._last is not None and now - self._last < self.interval * EARLY_FACTOR:
            return self.interval - max(0.0, now - self._last)
        self._last = now
        return 0.0


class Answers:
    """What ``GetPeers`` is answered with.

    1. A public node gives the same hundred records for a day: whoever asks a thousand times learns no more than who
       asks once, and cannot see links come and go (bitcoin, `GetAddr` cache).
    2. An answer that is not full yet is kept for a minute only, so that a young network grows.
    3. Small networks always get a fresh one: there, finding each other fast matters and nothing is hidden.
    """

    def __init__(self, rules: ExchangeRules, choose: Callable[[Sequence[bytes], int], list[bytes]]) -> None:
        self._rules = rules
        self._choose = choose
        self._cached: tuple[bytes, ...] = ()
        self._until = 0.0

    def answer(self, records: Callable[[], Sequence[bytes]], now: float) -> tuple[bytes, ...]:
        """Return at most 100 records; *records* answers all that may be relayed."""
        if now < self._until:
            return self._cached
        known = list(records())
        self._cached = tuple(known if len(known) <= ANSWER_LIMIT else self._choose(known, ANSWER_LIMIT))
        full = len(self._cached) == ANSWER_LIMIT
        self._until = now + (self._rules.full_for if full else self._rules.short_for)
        return self._cached


def of_network(enr: Enr, genesis: bytes) -> bool:
    """Whether a record belongs to this network; one that names none does not."""
    return enr.genesis_prefix == genesis[:4]
