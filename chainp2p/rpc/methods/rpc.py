"""``rpc``: what there is to call."""

from collections.abc import Sequence

from chainp2p.namespaces import Method, Namespace
from chainp2p.rpc.openrpc import discover

__all__ = ["rpc_namespace"]


def rpc_namespace(namespaces: Sequence[Namespace], version: str) -> Namespace:
    """Describe *namespaces* and itself."""
    methods = (
        Method(
            "modules",
            lambda: {one.name: "1.0" for one in (*namespaces, itself)},
            result={"type": "object", "additionalProperties": {"const": "1.0"}},
            doc="Namespaces of this port, with their versions.",
        ),
        Method(
            "discover",
            lambda: discover((*namespaces, itself), version),
            result={"type": "object"},
            doc="OpenRPC description of this port; ``rpc.discover`` is the same.",
            cost=20,
        ),
    )
    itself = Namespace("rpc", methods)
    return itself
