"""The test kit: production code on a virtual clock, over a network in memory, from one seed.

For tests of a protocol: :class:`HeapClock`, :class:`MemoryNetwork` with :class:`Weather`, :class:`SimExecutor`,
:class:`MemoryDisk` and :class:`PlainSecurity` are what a node takes from the world. For tests of a whole network, of
the reference chain or of yours: :class:`Simulation`. For networks described in a file: :func:`find_scenario` and
:func:`play`, which ``chainp2p sim`` uses. For many nodes that do nothing but find each other by datagram:
:class:`DiscoveryNetwork`.

The names are loaded on first use (:pep:`562`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainp2p.testing.clock import HeapClock
    from chainp2p.testing.databases import MemoryDisk
    from chainp2p.testing.discovery import DiscoveryNetwork
    from chainp2p.testing.executor import SimExecutor
    from chainp2p.testing.hosts import MemoryHost
    from chainp2p.testing.machines import ChainParts, Machine
    from chainp2p.testing.network import MemoryNetwork, Weather
    from chainp2p.testing.playing import Outcome, play
    from chainp2p.testing.scenario import Scenario, find_scenario, parse_scenario, shipped
    from chainp2p.testing.security import PlainSecurity
    from chainp2p.testing.simulator import Simulation, SimulationError, ledger_chain, ledger_genesis

__all__ = [
    "ChainParts",
    "DiscoveryNetwork",
    "HeapClock",
    "Machine",
    "MemoryDisk",
    "MemoryHost",
    "MemoryNetwork",
    "Outcome",
    "PlainSecurity",
    "Scenario",
    "SimExecutor",
    "Simulation",
    "SimulationError",
    "Weather",
    "find_scenario",
    "ledger_chain",
    "ledger_genesis",
    "parse_scenario",
    "play",
    "shipped",
]

_HOMES = {
    "clock": ("HeapClock",),
    "databases": ("MemoryDisk",),
    "discovery": ("DiscoveryNetwork",),
    "executor": ("SimExecutor",),
    "machines": ("ChainParts", "Machine"),
    "hosts": ("MemoryHost",),
    "network": ("MemoryNetwork", "Weather"),
    "playing": ("Outcome", "play"),
    "scenario": ("Scenario", "find_scenario", "parse_scenario", "shipped"),
    "security": ("PlainSecurity",),
    "simulator": ("Simulation", "SimulationError", "ledger_chain", "ledger_genesis"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
