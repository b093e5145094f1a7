"""What people are shown of discovery: its table, bucket by bucket, and what it does."""

from collections.abc import Mapping

from attrs import frozen

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.table import log_distance
from chainp2p.net.datagram import DiscoveryShell
from chainp2p.net.metrics import Metric

__all__ = ["BucketView", "DiscoveryView", "NodeView", "discovery_metrics", "discovery_view"]


@frozen
class BucketView:
    """How many nodes are at one distance from ours (16: so near, or nearer): those in the bucket, those of them that
    have answered, and those that wait for a place.
    """

    distance: int
    entries: int
    live: int
    replacements: int


@frozen
class NodeView:
    """A node that has answered; *ago*: seconds since it last did. *ours*: whether its record names our network."""

    peer_id: bytes
    distance: int
    address: tuple[str, int]
    ago: float
    ours: bool


@frozen(kw_only=True)
class DiscoveryView:
    """Discovery at one moment.

    :param lookups: those under way.
    :param votes: IP version -> (our address as others see it, voices), most voices first.
    :param dropped: packets and requests that came to nothing since the start, by cause.
    """

    buckets: tuple[BucketView, ...] = ()
    live: tuple[NodeView, ...] = ()
    sessions: int = 0
    lookups: int = 0
    votes: Mapping[int, list[tuple[str, int]]]
    dropped: Mapping[str, int]


def _dropped(core: Discv5) -> dict[str, int]:
    return {**core.conversations.dropped, "too many of one address": core.limits.refused}


def discovery_view(
    core: Discv5, own_id: bytes, genesis: bytes, votes: Mapping[int, list[tuple[str, int]]], now: float
) -> DiscoveryView:
    """Return what is shown of *core*, buckets and nodes by distance, the nearest first."""
    table, waiting = core.table, core.table.waiting()
    sizes = table.sizes()
    nodes = [
        NodeView(
            one.enr.peer_id,
            log_distance(own_id, one.enr.peer_id),
            (one.ip, one.port),
            now - (one.checked_at if one.checked_at is not None else now),
            one.enr.genesis_prefix == genesis[:4],
        )
        for one in table.live
    ]
    return DiscoveryView(
        buckets=tuple(
            BucketView(distance, *sizes.get(distance, (0, 0)), waiting.get(distance, 0))
            for distance in sorted(sizes.keys() | waiting.keys())
        ),
        live=tuple(sorted(nodes, key=lambda node: (node.distance, node.peer_id))),
        sessions=len(core.conversations.sessions),
        lookups=core.looking,
        votes=votes,
        dropped=_dropped(core),
    )


def discovery_metrics(shell: DiscoveryShell, seeking: int) -> list[Metric]:
    """Return what is counted and held.

    :param seeking: random lookups since the start, for want of somebody to dial.
    """
    core = shell.core
    live, entries, waiting = len(core.table.live), len(core.table), sum(core.table.waiting().values())
    return [
        ("chainp2p_discovery_packets_total", {"direction": "inbound"}, shell.received),
        ("chainp2p_discovery_packets_total", {"direction": "outbound"}, shell.sent),
        *(
            ("chainp2p_discovery_dropped_total", {"cause": cause}, count)
            for cause, count in sorted(_dropped(core).items())
        ),
        ("chainp2p_discovery_nodes", {"state": "live"}, live),
        ("chainp2p_discovery_nodes", {"state": "unproven"}, entries - live),
        ("chainp2p_discovery_nodes", {"state": "replacement"}, waiting),
        ("chainp2p_discovery_sessions", {}, len(core.conversations.sessions)),
        ("chainp2p_discovery_lookups", {}, core.looking),
        ("chainp2p_discovery_seeking_total", {}, seeking),
    ]
