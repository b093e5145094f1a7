"""What one peer knows of our transactions, and what it is still to be told."""

from collections.abc import Collection, Iterable
from itertools import takewhile

from attrs import Factory, define

from chainp2p.gossip.seen import RollingSeen

__all__ = ["ANNOUNCED_MAX", "Told"]

#: Announcements in one message, and waiting for one peer (wire design, tag 18); ids remembered of it.
ANNOUNCED_MAX = 5_000
#: Who was told of a transaction is taken to have it after this (seconds): a fetch takes two ways, and a little more.
FETCHED_AFTER = 1.0


@define(eq=False)
class Told:
    """
    :param known: it has these, or was told of them.
    :param anew: to be announced to it at its next beat though it has them, for they came again.
    :param lately: what it was told of lately, and when.
    :param fetching: those of them that it may not have yet.
    """

    known: RollingSeen = Factory(lambda: RollingSeen(ANNOUNCED_MAX))
    anew: set[bytes] = Factory(set)
    lately: dict[bytes, float] = Factory(dict)
    fetching: set[bytes] = Factory(set)

    def lacking(self, news: Iterable[bytes]) -> list[bytes]:
        """Return what it is to be told of *news*; what has come anew is news once."""
        if not self.anew:
            return self.known.without(news)
        anew, self.anew = self.anew, set()
        return [hash for hash in news if hash in anew or hash not in self.known]

    def has(self, hashes: Collection[bytes]) -> None:
        """It has told us of them, or fetched them."""
        self.known.update(hashes)
        self.anew.difference_update(hashes)
        self.fetching.difference_update(hashes)

    def tell(self, hashes: Collection[bytes], now: float, whole: bool) -> None:
        """It is told of them now, or sent the *whole* of them."""
        self.known.update(hashes)
        self.lately.update(dict.fromkeys(hashes, now))
        if not whole:
            self.fetching.update(hashes)

    def lacks(self, hash: bytes, now: float) -> bool:
        """Whether it is not known to have it: neither told of it long enough ago, nor has it told."""
        told = self.lately.get(hash, now - FETCHED_AFTER) if hash in self.fetching else now - FETCHED_AFTER
        return now - told < FETCHED_AFTER or hash not in self.known

    def trim(self, now: float, seconds: float) -> None:
        """Forget when it was told of what it was told of *seconds* ago, once it has had the time to fetch it."""
        latest = now - max(seconds, FETCHED_AFTER)
        old = [hash for hash, _ in takewhile(lambda item: item[1] <= latest, self.lately.items())]
        for hash in old:
            del self.lately[hash]
        self.fetching.difference_update(old)
