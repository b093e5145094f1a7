"""What the network counts and holds, as (name, labels, value) in the manner of Prometheus."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from chainp2p.net.asking import WAITING_LIMIT as ASKING_LIMIT
from chainp2p.net.protocol import UNHANDLED_LIMIT, PeerProtocol
from chainp2p.net.serving import WAITING_LIMIT
from chainp2p.peer.budget import ReceiveBudget
from chainp2p.wire.sending import CONTROL_LIMIT, QUEUE_LIMIT

__all__ = ["Metric", "network_metrics"]

#: Name, labels, value.
Metric: TypeAlias = tuple[str, Mapping[str, str], float]

#: Bytes that each queue of a link is bound to; those of the send queue without one of their own share its limit, which
#: one reply may pass. Partial messages are bound by the largest of each class.
BOUNDS: Mapping[str, int] = {
    "turn": UNHANDLED_LIMIT,
    "handlers": UNHANDLED_LIMIT,
    "asked": WAITING_LIMIT,
    "asking": ASKING_LIMIT,
    "send_control": CONTROL_LIMIT,
    "send": QUEUE_LIMIT,
}


def network_metrics(
    links: Iterable[PeerProtocol], budget: ReceiveBudget[Any], counters: Mapping[str, int]
) -> list[Metric]:
    """Return the metrics of *links* and of what was counted since the start.

    Of each queue: the bytes in all links, the most in one link, and the bound of one link.
    """
    totals: Counter[str] = Counter()
    highest: dict[str, int] = {}
    directions = Counter({"inbound": 0, "outbound": 0})
    counted = Counter(counters)
    for link in links:
        directions["outbound" if link.outbound else "inbound"] += 1
        counted["over_quota"] += link.quota.over
        counted["send_dropped"] += link.dropped
        for name, size in link.queued().items():
            totals[name] += size
            highest[name] = max(highest.get(name, 0), size)
    return [
        *(("chainp2p_links", {"direction": name}, count) for name, count in directions.items()),
        *(("chainp2p_queue_bytes", {"queue": name}, size) for name, size in totals.items()),
        *(("chainp2p_queue_highest_bytes", {"queue": name}, size) for name, size in highest.items()),
        *(("chainp2p_queue_limit_bytes", {"queue": name}, size) for name, size in BOUNDS.items()),
        ("chainp2p_held_bytes", {}, budget.total),
        ("chainp2p_held_limit_bytes", {}, budget.limit),
        *((f"chainp2p_{name}_total", {}, count) for name, count in sorted(counted.items())),
    ]
