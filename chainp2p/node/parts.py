"""What a node is made of once it is built, for those that look at the whole."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from chainp2p.events import EventBus
from chainp2p.gossip.service import GossipService
from chainp2p.net.network import Network
from chainp2p.net.port_mapping import PortMapping
from chainp2p.node.allowlist import AllowList
from chainp2p.node.jobs import Jobs
from chainp2p.settings import Settings
from chainp2p.sync.service import SyncService

__all__ = ["Parts"]


@frozen(kw_only=True)
class Parts:
    """The parts of a node.

    :param mapping: None: the settings want no port mapped.
    :param now: answers Unix time in seconds.
    """

    settings: Settings
    chain: Any
    events: EventBus
    network: Network
    sync: SyncService
    gossip: GossipService
    allow_list: AllowList
    mapping: PortMapping | None
    jobs: Jobs
    now: Callable[[], float]
