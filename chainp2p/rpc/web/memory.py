"""Bounds what requests, and answers that nobody reads, hold in memory, over all connections of a port. Pure.

One request may have 5 MiB, one answer 25 MB, and there may be 1,024 connections: slow bodies from everywhere would hold
5 GB for half a minute, answers that are not read 25 GB. So all together have a bound. Ordinary calls never feel it:
what is above :data:`FREE` counts, so only large ones can be refused while many others are large.
"""

from attrs import define, field

__all__ = ["FREE", "RequestMemory", "Share"]

#: Bytes of one connection that do not count: 64 MiB for 1,024 of them. A large batch of calls has 100 KB.
FREE = 65_536


@define(eq=False)
class RequestMemory:
    """What all connections hold; *limit* in bytes."""

    limit: int
    total: int = field(default=0, init=False)


@define(eq=False)
class Share:
    """What one connection holds."""

    _memory: RequestMemory
    held: int = field(default=0, init=False)

    def take(self, count: int) -> bool:
        """Hold *count* bytes more; False: there is no room, and nothing was taken."""
        if self.held + count <= FREE:
            self.held += count
            return True
        more = self._counted(self.held + count) - self._counted(self.held)
        if more and self._memory.total + more > self._memory.limit:
            return False
        self._hold(self.held + count)
        return True

    def give(self, count: int) -> None:
        """Hold so many bytes less."""
        if count <= self.held <= FREE:
            self.held -= count
            return
        self._hold(max(0, self.held - count))

    def close(self) -> None:
        """Hold nothing."""
        self._hold(0)

    def _hold(self, held: int) -> None:
        self._memory.total += self._counted(held) - self._counted(self.held)
        self.held = held

    def _counted(self, held: int) -> int:
        return max(0, held - FREE)
