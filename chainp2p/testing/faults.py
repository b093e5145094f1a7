"""Faults that can be planted in a simulated network: bad luck, bad settings, and bad peers.

Each is an injection from outside, by what the simulator offers in public, and the codes by which a node should name it.
:func:`~chainp2p.testing.planting.plant` plants some of them and asks.
"""

from chainp2p.testing.misfortunes import MISFORTUNES
from chainp2p.testing.planting import Fault
from chainp2p.testing.rogues import ROGUES

__all__ = ["FAULTS"]

FAULTS: tuple[Fault, ...] = (*MISFORTUNES, *ROGUES)
