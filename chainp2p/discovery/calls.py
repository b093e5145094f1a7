"""Requests of ours that have no answer yet."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from attrs import define, field

from chainp2p.discovery.messages import Request
from chainp2p.discovery.offers import Offer
from chainp2p.discovery.sessions import Peer
from chainp2p.peer.enr import Enr

__all__ = ["Call", "Calls", "Stage"]


class Stage(Enum):
    """How far a request has come."""

    WAITING = "waiting"  #: for the handshake of another one
    KNOCKING = "knocking"  #: as a packet that cannot be read
    SENT = "sent"  #: under the keys of a session
    SHAKING = "shaking"  #: in a handshake


@define(eq=False)
class Call:
    """A request of ours until it is answered.

    :param data: what has gone out for it and is sent again when there is no answer.
    :param nonce: the one that a challenge has to name.
    :param sends: how often it has gone out anew.
    :param offers: its handshakes, by the challenge that each answers.
    :param parts: the records of each NODES so far.
    """

    peer: Peer
    enr: Enr
    message: Request
    handle: Any
    deadline: float
    stage: Stage = Stage.WAITING
    data: tuple[bytes, ...] = ()
    nonce: bytes = b""
    tries: int = 0
    sends: int = 0
    offers: dict[bytes, Offer] = field(factory=dict)
    parts: list[tuple[bytes, ...]] = field(factory=list)

    @property
    def opening(self) -> bool:
        """Whether a session may come out of it."""
        return self.stage in (Stage.KNOCKING, Stage.SHAKING)

    @property
    def records(self) -> tuple[bytes, ...]:
        """The records of all NODES together."""
        return tuple(raw for part in self.parts for raw in part)


class Calls:
    """All of them, by node and id and by nonce."""

    def __init__(self) -> None:
        self._calls: dict[Peer, dict[bytes, Call]] = {}
        self._by_nonce: dict[bytes, Call] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Call]:
        for calls in self._calls.values():
            yield from calls.values()

    def __contains__(self, call: Call) -> bool:
        return self.get(call.peer, call.message.id) is call

    def add(self, call: Call) -> None:
        """Remember a request; its id is new to this node."""
        self._calls.setdefault(call.peer, {})[call.message.id] = call
        self._count += 1

    def get(self, peer: Peer, id: bytes) -> Call | None:
        """Return the request that an answer with this id is for."""
        return self._calls.get(peer, {}).get(id)

    def of(self, peer: Peer) -> list[Call]:
        """Return all to one node, in the order in which they were made."""
        return list(self._calls.get(peer, {}).values())

    def challenged(self, nonce: bytes) -> Call | None:
        """Return the request that went out with this nonce."""
        return self._by_nonce.get(nonce)

    def named(self, call: Call, nonce: bytes) -> None:
        """A request has gone out with this nonce; empty: no challenge for it counts any more."""
        self._by_nonce.pop(call.nonce, None)
        call.nonce = nonce
        if nonce:
            self._by_nonce[nonce] = call

    def remove(self, call: Call) -> None:
        """Forget a request."""
        self.named(call, b"")
        calls = self._calls[call.peer]
        del calls[call.message.id]
        self._count -= 1
        if not calls:
            del self._calls[call.peer]

    def clear(self) -> list[Call]:
        """Forget all, and return them."""
        calls = list(self)
        self._calls.clear()
        self._by_nonce.clear()
        self._count = 0
        return calls
