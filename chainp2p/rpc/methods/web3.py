"""``web3``: who answers, and a hash."""

from chainp2p.namespaces import Method, Namespace, Param
from chainp2p.primitives.keccak import keccak256
from chainp2p.rpc.values import DATA, STRING, data

__all__ = ["web3_namespace"]


def web3_namespace(client_version: str) -> Namespace:
    """:param client_version: such as ``chainp2p/0.1.0/linux/python3.12``."""
    return Namespace(
        "web3",
        (
            Method(
                "clientVersion", lambda: client_version, result=STRING, doc="Name and version of this node.", reads=True
            ),
            Method(
                "sha3",
                lambda value: "0x" + keccak256(value).hex(),
                (Param("data", data, schema=DATA),),
                result=DATA,
                doc="Keccak-256 of the data.",
            ),
        ),
    )
