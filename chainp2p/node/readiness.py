"""What ``/readyz`` looks at: peers, progress, and the chain's own agreement with itself."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chainp2p.node.health import BEHIND_BLOCKS

if TYPE_CHECKING:
    from chainp2p.node.running import Running

__all__ = ["Check", "readiness_checks"]

Check = Callable[[], "tuple[str, str] | None"]


def readiness_checks(running: "Running") -> Sequence[Check]:
    """Return the checks of a node that runs; each answers (name, text) of what is wrong, or None."""
    chain, network, sync = running.chain, running.network, running.sync
    asked = running.settings.rpc.min_peers
    min_peers = 1 if asked is None else asked

    def peers() -> tuple[str, str] | None:
        count = len(network.links())
        return ("peers", f"peers: {count} connected, {min_peers} are needed") if count < min_peers else None

    def phase() -> tuple[str, str] | None:
        return ("phase", f"phase: {sync.explain().text}") if sync.syncing else None

    def behind() -> tuple[str, str] | None:
        blocks = chain.best_header.height - chain.head.height
        return ("behind", f"behind: {blocks} blocks below the best known header") if blocks > BEHIND_BLOCKS else None

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

    return (peers, phase, behind, conflict)
