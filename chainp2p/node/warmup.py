"""When a signer that has just started may seal: not before it has seen what its peers have."""

from attrs import define, field

__all__ = ["CLAIM_LIMIT", "WarmUp"]

#: Seconds after which a rank that a peer claims, and that nobody serves, is not waited for any more (chain design,
#: "Sealing safety"): a liar must not silence signers.
CLAIM_LIMIT = 30.0


@define
class WarmUp:
    """Decides once; after that a node seals until it stops.

    * A sole signer without bootstrap or static peers seals at once: there is nobody to ask.
    * With ready peers: once the own rank reaches the highest that they claim. A restarted signer that sealed on its old
      head would sign a block that competes with its own earlier ones.
    * A claim that is not served within :data:`CLAIM_LIMIT` counts no longer.
    * Without a ready peer for *patience* seconds: the whole network may have stopped, somebody must begin.

    Ranks are 32 bytes compared as numbers, times are seconds of one clock.
    """

    patience: float
    alone_since: float
    at_once: bool = False
    _claims: dict[object, tuple[bytes, float]] = field(factory=dict)
    _done: bool = False

    def joined(self, peer: object, rank: bytes, now: float) -> None:
        """A link to *peer* became ready; its ``Status`` claims *rank*."""
        self._claims[peer] = (rank, now)

    def left(self, peer: object, now: float) -> None:
        """The link is gone."""
        if self._claims.pop(peer, None) is not None and not self._claims:
            self.alone_since = now

    def is_over(self, rank: bytes, now: float) -> bool:
        """Tell whether a node whose head has *rank* may seal."""
        if not self._done:
            if self.at_once:
                self._done = True
            elif self._claims:
                self._done = all(
                    claimed <= rank or now >= since + CLAIM_LIMIT for claimed, since in self._claims.values()
                )
            else:
                self._done = now >= self.alone_since + self.patience
        return self._done

    def next_time(self, now: float) -> float:
        """When to ask again, if nothing changes before."""
        if not self._claims:
            return self.alone_since + self.patience
        return min((t for _, since in self._claims.values() if (t := since + CLAIM_LIMIT) > now), default=now)
