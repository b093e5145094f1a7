"""Nodes that tell untruths about blocks, or nothing, and pools in which short ids collide."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.gossip import mesh
from chainp2p.gossip.blocks import compact, spreading
from chainp2p.peer.link import Link
from chainp2p.testing.machines import Machine
from chainp2p.wire.messages import SHORT_ID, CompactBlock

__all__ = ["colliding", "flooding", "invent", "keep_silent", "plainly_meshed"]


def _forms(machine: Machine) -> Any:
    assert machine.node is not None
    return machine.node.gossip._blocks.spreading.forms


def keep_silent(machine: Machine) -> None:
    """Push and announce, and answer nothing."""
    forms = _forms(machine)

    async def nothing(hash: bytes) -> None:
        await Deferred()

    forms._form = nothing
    machine.chain.blocks_from = lambda hash, count, max_bytes: Deferred()


def invent(machine: Machine) -> None:
    """Push short ids of nothing for each block, and answer with the block's transactions: a story with two ends."""
    forms = _forms(machine)
    push, pass_on = forms.push, forms.pass_on

    def tell(header: bytes, count: int, links: Sequence[Link]) -> list[Link]:
        wanting = [link for link in links if forms._peers[link].wants]
        shorts = [sha256(machine.key.peer_id + n.to_bytes(4, "big")).digest()[:SHORT_ID] for n in range(count)]
        for link in wanting:
            link.send(CompactBlock(header, b"".join(shorts), (), 1))
        return wanting

    def pushed(header: HeaderInfo, raw: bytes, lacked: Collection[int], links: Sequence[Link]) -> list[Link]:
        head, transactions = machine.chain.split(raw)
        told = tell(head, len(transactions), links) if transactions else []
        return list(push(header, raw, lacked, [link for link in links if link not in told]))

    def passed_on(hash: bytes, made: compact.Draft, links: Sequence[Link]) -> list[Link]:
        pass_on(hash, made, [])
        return tell(made.header, len(made.slots), links)

    forms.push, forms.pass_on = pushed, passed_on


@contextmanager
def flooding() -> Iterator[None]:
    """Let nodes that know no compact forms push whole blocks to all neighbours."""
    least = spreading.PUSHED_LEAST
    spreading.PUSHED_LEAST = 1_000_000
    try:
        yield
    finally:
        spreading.PUSHED_LEAST = least


@contextmanager
def plainly_meshed() -> Iterator[None]:
    """Let meshes have the degree of gossipsub's (8, 6 to 12), and nobody say what need not be sent."""
    before = mesh.DEGREE, mesh.LOW, spreading.WORTH_A_WORD
    mesh.DEGREE, mesh.LOW, spreading.WORTH_A_WORD = 8, 6, 1 << 40
    try:
        yield
    finally:
        mesh.DEGREE, mesh.LOW, spreading.WORTH_A_WORD = before


@contextmanager
def colliding() -> Iterator[None]:
    """Let one id in 32 have one of eight short ids only."""
    short = compact._short

    def crowded(key: bytes, id: bytes) -> bytes:
        return id[:1] * SHORT_ID if id[0] < 8 else short(key, id)

    compact._short = crowded
    try:
        yield
    finally:
        compact._short = short
