"""Which engine a genesis file chooses."""

from typing import Any

from chainp2p.ledger.consensus.engine import Engine
from chainp2p.ledger.consensus.poa import Slots
from chainp2p.ledger.consensus.pow import Work
from chainp2p.ledger.formats.genesis import Genesis, Pow

__all__ = ["engine_of"]


def engine_of(genesis: Genesis) -> Engine[Any]:
    """The rules of that network's headers."""
    return Work(genesis) if isinstance(genesis.consensus, Pow) else Slots(genesis)
