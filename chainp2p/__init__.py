"""chainp2p: a production peer-to-peer node for blockchains, on Twisted.

The names below are loaded on first use (:pep:`562`), so that ``import chainp2p.wire`` loads no Twisted.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainp2p.node.node import Node
    from chainp2p.settings import Settings

__all__ = ["Node", "Settings", "__version__"]

__version__ = "0.1.0"

_HOMES = {"Node": "chainp2p.node.node", "Settings": "chainp2p.settings"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
