"""``net``: the network and how many are on it."""

from collections.abc import Callable

from chainp2p.namespaces import Method, Namespace
from chainp2p.rpc.values import BOOLEAN, QUANTITY, STRING

__all__ = ["net_namespace"]


def net_namespace(network_id: int, peer_count: Callable[[], int], listening: Callable[[], bool]) -> Namespace:
    """:param network_id: the chain id where there is one."""
    return Namespace(
        "net",
        (
            Method("version", lambda: str(network_id), result=STRING, doc="Network id, in decimal.", reads=True),
            Method(
                "listening", lambda: bool(listening()), result=BOOLEAN, doc="Whether peers may connect.", reads=True
            ),
            Method("peerCount", lambda: hex(peer_count()), result=QUANTITY, doc="Connected peers.", reads=True),
        ),
    )
