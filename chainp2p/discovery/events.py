"""What conversations say: datagrams to send, and what came of what was asked."""

from typing import Any

from attrs import frozen

from chainp2p.discovery.messages import Request, Response
from chainp2p.discovery.sessions import Peer
from chainp2p.peer.enr import Enr

__all__ = ["Answered", "Asked", "Datagram", "Established", "Event", "Unanswered"]


@frozen
class Datagram:
    """Bytes to send."""

    data: bytes
    address: tuple[str, int]


@frozen
class Asked:
    """A node sends a request."""

    peer: Peer
    enr: Enr
    request: Request


@frozen
class Answered:
    """A request of ours is answered; *nodes*: the raw records of all NODES together."""

    handle: Any
    response: Response
    nodes: tuple[bytes, ...] = ()


@frozen
class Unanswered:
    """A request of ours got no answer in time."""

    handle: Any


@frozen
class Established:
    """A node has proven its id at this endpoint."""

    peer: Peer
    enr: Enr


Event = Datagram | Asked | Answered | Unanswered | Established
