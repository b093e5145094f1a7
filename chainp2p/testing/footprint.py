"""What the containers of a discovery node hold, and what they may hold at most."""

from collections.abc import Mapping

from chainp2p.discovery.answers import VERIFIED_MAX
from chainp2p.discovery.challenges import CHALLENGES_MAX
from chainp2p.discovery.conversations import CALLS_MAX
from chainp2p.discovery.discv5 import LOOKUPS_MAX, Discv5
from chainp2p.discovery.limits import ADDRESSES_MAX, Limits
from chainp2p.discovery.repeats import REPEATS_MAX
from chainp2p.discovery.sessions import SESSIONS_MAX
from chainp2p.discovery.table import BUCKET_SIZE, NEAREST, REPLACEMENTS

__all__ = ["BOUNDS", "sizes"]

#: The most that each container of a node may hold.
BOUNDS: Mapping[str, int] = {
    "sessions": SESSIONS_MAX,
    "sessions of addresses": SESSIONS_MAX,
    "challenges": CHALLENGES_MAX,
    "calls": CALLS_MAX,
    "nonces": CALLS_MAX,
    "repeats": REPEATS_MAX,
    "causes": 32,
    "addresses": ADDRESSES_MAX,
    "verified": VERIFIED_MAX,
    "table": (257 - NEAREST) * BUCKET_SIZE,
    "replacements": (257 - NEAREST) * REPLACEMENTS,
    "lookups": LOOKUPS_MAX,
    "checking": CALLS_MAX,
    "updating": CALLS_MAX,
    "untold": (257 - NEAREST) * BUCKET_SIZE,
}


def sizes(core: Discv5, limits: Limits) -> dict[str, int]:
    """Return how much each container of a node holds."""
    conversations, table = core.conversations, core.table
    return {
        "sessions": len(conversations.sessions),
        "sessions of addresses": sum(len(here) for here in conversations.sessions._of.values()),
        "challenges": len(conversations.challenges),
        "calls": len(conversations.calls),
        "nonces": len(conversations.calls._by_nonce),
        "repeats": len(conversations.repeats),
        "causes": len(conversations.dropped),
        "addresses": len(limits._full_at),
        "verified": len(core._reader._verified._verified),
        "table": len(table),
        "replacements": sum(len(bucket.waiting) for bucket in table._buckets.values()),
        "lookups": len(core._lookups),
        "checking": len(core._checking),
        "updating": len(core._updating),
        "untold": len(core._news),
    }
