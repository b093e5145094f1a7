"""Records whose signatures are known to be good."""

from chainp2p.peer.enr import Enr

__all__ = ["VerifiedRecords"]


class VerifiedRecords:
    """Reads records; the same bytes are verified once, for every answer repeats them and a signature costs 0.1 ms.

    :param limit: how many are kept; the one that was seen longest ago goes first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._verified: dict[bytes, Enr] = {}

    def decode(self, raw: bytes) -> Enr:
        """Read and verify a record; EnrError says what is wrong with it."""
        enr = self._verified.pop(raw, None) or Enr.decode(raw)
        self._verified[raw] = enr
        if len(self._verified) > self._limit:
            del self._verified[next(iter(self._verified))]
        return enr
