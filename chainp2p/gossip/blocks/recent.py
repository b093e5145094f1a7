"""The last blocks, taken apart: what they are served from in compact form."""

from chainp2p.gossip.blocks.compact import Form

__all__ = ["RecentBlocks"]

#: Blocks are asked for while they spread, which takes a few seconds; of 250 ms there are so many in two.
KEPT, KEPT_BYTES = 8, 16 * 1024 * 1024


class RecentBlocks:
    """Keeps the last :data:`KEPT` blocks, less if they have more than :data:`KEPT_BYTES` together, but always one."""

    def __init__(self) -> None:
        self._forms: dict[bytes, Form] = {}

    def __contains__(self, hash: bytes) -> bool:
        return hash in self._forms

    def keep(self, hash: bytes, form: Form) -> None:
        """Add a block."""
        self._forms[hash] = form
        total = sum(one.size for one in self._forms.values())
        while len(self._forms) > 1 and (len(self._forms) > KEPT or total > KEPT_BYTES):
            total -= self._forms.pop(next(iter(self._forms))).size

    def get(self, hash: bytes) -> Form | None:
        """Return a block."""
        return self._forms.get(hash)

    def drop(self, hash: bytes) -> None:
        """Forget one that turned out to be invalid."""
        self._forms.pop(hash, None)
