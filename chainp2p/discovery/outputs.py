"""What discovery says to the world: datagrams to send, and what it has learnt."""

from typing import Any

from attrs import frozen

from chainp2p.discovery.events import Datagram
from chainp2p.discovery.sessions import Peer
from chainp2p.peer.enr import Enr

__all__ = ["Found", "Live", "Output", "OwnSeen", "TalkAsked", "Talked", "Voted"]


@frozen
class Live:
    """A node of our network has answered us at the address of its record."""

    enr: Enr


@frozen
class Voted:
    """The node at *source* sees us at *ip* and *port*."""

    peer_id: bytes
    source: str
    ip: str
    port: int


@frozen
class OwnSeen:
    """Somebody has a record of ours with this number, which is higher than that of the one we have."""

    seq: int


@frozen
class Found:
    """A lookup is over; *records*: the closest that answered. *rounds*: the longest chain of questions."""

    handle: Any
    records: tuple[Enr, ...]
    rounds: int


@frozen
class Talked:
    """The answer to a request of another protocol; None: there was none."""

    handle: Any
    response: bytes | None


@frozen
class TalkAsked:
    """A node asks something of another protocol."""

    peer: Peer
    id: bytes
    protocol: bytes
    request: bytes


Output = Datagram | Live | Voted | OwnSeen | Found | Talked | TalkAsked
