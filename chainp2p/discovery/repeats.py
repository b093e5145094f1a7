"""How often each packet has been read, so that copies of one are not worth more than the packet itself."""

from hashlib import sha256

__all__ = ["REPEATS_MAX", "Repeats"]

#: Packets that are remembered, some 150 bytes each; the one that came first goes first. A single address needs five
#: minutes of its full rate to push one out.
REPEATS_MAX = 16_384
_DIGEST = 12


class Repeats:
    """Counts packets by key and nonce, which are the same for copies only.

    Sessions have no sequence numbers, so whoever has seen a request can send it again, with the sender's address on
    it; a FINDNODE of 100 bytes would bring 5,000 to that address each time.

    Cost: O(1).
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def count(self, key: bytes, nonce: bytes) -> int:
        """Count a packet that was read with *key*, and return how often it has come."""
        # keys are not kept for longer than their sessions
        packet = sha256(key + nonce).digest()[:_DIGEST]
        times = self._counts[packet] = self._counts.get(packet, 0) + 1
        if len(self._counts) > REPEATS_MAX:
            del self._counts[next(iter(self._counts))]
        return times
