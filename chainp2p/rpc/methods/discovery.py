"""What ``admin_nodeInfo`` says of discovery."""

from typing import Any, Protocol

__all__ = ["DiscoverySource", "discovery_info"]


class DiscoverySource(Protocol):
    """What is asked of discovery."""

    def view(self) -> Any:
        """Answer what people are shown; None where it is switched off."""
        ...


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def discovery_info(view: Any) -> dict[str, Any]:
    """Write the view as JSON; ``nodes`` is how many nodes are live, ``ago`` the seconds since one last answered."""
    if view is None:
        return {"enabled": False, "nodes": 0}
    return {
        "enabled": True,
        "nodes": len(view.live),
        "buckets": [
            {"distance": one.distance, "entries": one.entries, "live": one.live, "replacements": one.replacements}
            for one in view.buckets
        ],
        "live": [
            {
                "id": one.peer_id.hex(),
                "distance": one.distance,
                "address": _address(*one.address),
                "ago": round(one.ago, 1),
                "ourNetwork": one.ours,
            }
            for one in view.live
        ],
        "sessions": view.sessions,
        "lookups": view.lookups,
        "votes": {
            f"ip{version}": [{"address": address, "voices": voices} for address, voices in tally]
            for version, tally in sorted(view.votes.items())
        },
        "dropped": dict(sorted(view.dropped.items())),
    }
