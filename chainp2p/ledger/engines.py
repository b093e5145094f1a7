"""Which engine a genesis file chooses."""

from typing import Any

from chainp2p.ledger.consensus import Engine
from chainp2p.ledger.genesis import Genesis, Pow
from chainp2p.ledger.poa import Slots
from chainp2p.ledger.pow import Work

__all__ = ["engine_of"]


def engine_of(genesis: Genesis) -> Engine[Any]:
    """The rules of that network's headers."""
    return Work(genesis) if isinstance(genesis.consensus, Pow) else Slots(genesis)
