"""What a node takes from the world: reactor, clock, chance, threads, disk, TLS; the simulator hands over its own."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from chainp2p.net.port_mapping import Router
from chainp2p.net.resolver import SystemResolver, TextResolver
from chainp2p.node.home import DirectoryHome, Home
from chainp2p.node.router import MachineRouter
from chainp2p.node.slow import slow
from chainp2p.node.threads import OwnedExecutor, ThreadExecutor
from chainp2p.peer.key import NodeKey

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Platform", "production_platform"]

#: Recovering senders is what the pool is for; more threads than cores gain nothing.
_POOL_THREADS_MAX = 8
#: Recovering takes less than connecting does: three processes keep any lane busy.
_SPARE_CORES_MAX = 3


@frozen(kw_only=True)
class Platform:
    """The outside of a node. Factories are called at each start, so that a node can be started again.

    :param now: answers Unix time in seconds.
    :param entropy: answers that many unpredictable bytes, for keys.
    :param executor: makes the node's threads.
    :param home: opens and locks the data directory; StartupError if it is in use.
    :param security: makes the transport security of a node key (a ``chainp2p.net.security.Security``).
    :param router: makes what asks the box that leads out; None: no port is ever mapped.
    :param resolver: makes what looks up TXT records: anything with the ``lookupText`` of Twisted's ``IResolver``.
    :param set_log_level: takes a level and a module's name; None: the log is not the node's.
    """

    reactor: Any
    now: Callable[[], float]
    random: "random_module.Random"
    entropy: Callable[[int], bytes]
    executor: Callable[[], OwnedExecutor]
    home: Callable[[Path], Home]
    security: Callable[[NodeKey], Any]
    router: Callable[[], Router] | None = None
    resolver: Callable[[], TextResolver]
    set_log_level: Callable[[str, str], None] | None = None


def production_platform(
    reactor: Any,
    latency: float = 0.0,
    loss: float = 0.0,
    set_log_level: Callable[[str, str], None] | None = None,
) -> Platform:
    """Threads, files, TLS and the clock of this machine.

    :param latency: seconds that writes to peers wait, for experiments.
    :param loss: share of them (0 to 1) that wait as if a segment had been lost.
    :param set_log_level: see :class:`Platform`.
    """
    import os
    import random
    import time

    from chainp2p.net.security import TlsSecurity

    chance = random.SystemRandom()
    cores = os.cpu_count() or 1

    def security(key: NodeKey) -> Any:
        return TlsSecurity(key, time.time, int.from_bytes(os.urandom(8), "big"), reactor)  # noqa: TID251

    return Platform(
        reactor=reactor,
        now=time.time,  # noqa: TID251
        random=chance,
        entropy=os.urandom,  # noqa: TID251
        executor=lambda: ThreadExecutor(reactor, min(cores, _POOL_THREADS_MAX), min(cores - 1, _SPARE_CORES_MAX)),
        home=DirectoryHome,
        security=slow(security, reactor, chance, latency, loss),
        router=lambda: MachineRouter(reactor),
        resolver=lambda: SystemResolver(reactor),
        set_log_level=set_log_level,
    )
