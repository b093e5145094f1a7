"""What ``/readyz`` looks at: peers, progress, and the chain's own agreement with itself."""

from collections.abc import Callable, Sequence

from attrs import define

from chainp2p.node.parts import Parts
from chainp2p.node.storage import StorageCheck

__all__ = ["Check", "Lag", "readiness_checks"]

Check = Callable[[], "tuple[str, str] | None"]

#: The head may be so many blocks behind the best known header, or, where blocks are quick, for so many seconds.
BEHIND_BLOCKS, BEHIND_SECONDS = 8, 30.0


@define
class Lag:
    """How long the head has been more than :data:`BEHIND_BLOCKS` behind; at the start: for ever."""

    close_at: float = float("-inf")

    def exceeded(self, blocks: int, now: float) -> bool:
        """Tell whether being *blocks* behind at *now* (seconds) is too much."""
        if blocks <= BEHIND_BLOCKS:
            self.close_at = now
        return now - self.close_at > BEHIND_SECONDS


def readiness_checks(parts: Parts) -> Sequence[Check]:
    """Return the checks of a node that runs; each answers (name, text) of what is wrong, or None."""
    chain, network, sync = parts.chain, parts.network, parts.sync
    asked = parts.settings.rpc.min_peers
    min_peers = 1 if asked is None else asked

    def peers() -> tuple[str, str] | None:
        count = len(network.links())
        return ("peers", f"peers: {count} connected, {min_peers} are needed") if count < min_peers else None

    def phase() -> tuple[str, str] | None:
        return ("phase", f"phase: {sync.explain().text}") if sync.syncing else None

    lag = Lag()

    def behind() -> tuple[str, str] | None:
        blocks = chain.best_header.height - chain.head.height
        exceeded = lag.exceeded(blocks, parts.now())
        return ("behind", f"behind: {blocks} blocks below the best known header") if exceeded else None

    def conflict() -> tuple[str, str] | None:
        found = getattr(chain, "conflict", None)
        if found is None:
            return None
        signers = ", ".join("0x" + signer.hex() for signer in found.signers)
        return (
            "finality_conflict",
            f"finality_conflict: ours {found.ours.height} 0x{found.ours.hash.hex()}, "
            f"theirs {found.theirs.height} 0x{found.theirs.hash.hex()}, signers {signers}",
        )

    return (peers, phase, behind, conflict, StorageCheck(chain, parts.now))
