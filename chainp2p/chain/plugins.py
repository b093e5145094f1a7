"""The lazy line of a Twisted plug-in file that offers a chain: its module is loaded when the chain is asked for."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from attrs import define
from zope.interface import implementer

from chainp2p.chain.interfaces import IChainPlugin
from chainp2p.namespaces import Namespace

__all__ = ["ChainMaker"]


@implementer(IChainPlugin)
@define
class ChainMaker:
    """Stands for the :class:`IChainPlugin` class *attribute* of *module* until somebody uses it."""

    name: str
    module: str
    attribute: str

    def _plugin(self) -> Any:
        return getattr(import_module(self.module), self.attribute)()

    def make(self, settings: Any, executor: Any, clock: Any, random: Any, open_database: Any) -> object:
        """Build the chain."""
        chain: object = self._plugin().make(settings, executor, clock, random, open_database)
        return chain

    def namespaces(self, chain: object) -> Sequence[Namespace]:
        """The RPC methods that *chain* adds."""
        namespaces: Sequence[Namespace] = self._plugin().namespaces(chain)
        return namespaces
