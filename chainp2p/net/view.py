"""What people see of a peer."""

from attrs import frozen

from chainp2p.net.protocol import PeerProtocol
from chainp2p.peer.book import Known
from chainp2p.peer.handshake import VERSION
from chainp2p.peer.libp2p import libp2p_id
from chainp2p.primitives.secp256k1 import PublicKey

__all__ = ["PeerView", "link_facts", "peer_view"]


@frozen
class PeerView:
    """One ready peer, for RPC.

    :param libp2p_id: empty without a record, as is *enr*.
    :param head: hash of its head at the handshake; *height* and *rank* (32 bytes) likewise.
    :param connected_at: Unix time in seconds.
    :param static: the operator named it: bootstrap, static or added.
    :param role: what the allow-list calls it; may be empty.
    :param clock_offset: seconds by which its clock is ahead of ours; None if it does not tell.
    :param warning: how its consensus settings will differ from ours; may be empty.
    :param purpose: what we opened the link for (:class:`chainp2p.peer.outbound.Purpose`); empty for a caller.
    :param dialled: host and port as they were dialled, a name as a name; None for a caller.
    :param block_only: no transactions go either way.
    :param useless: how useless it has been of late (:meth:`chainp2p.peer.conduct.Conduct.score`).
    """

    peer_id: bytes
    libp2p_id: str
    enr: str
    agent: str
    outbound: bool
    local_address: tuple[str, int]
    remote_address: tuple[str, int]
    version: int
    height: int
    head: bytes
    rank: bytes
    connected_at: float
    static: bool
    trusted: bool
    useless: float
    role: str
    clock_offset: float | None
    warning: str
    purpose: str
    dialled: tuple[str, int] | None
    block_only: bool


def peer_view(
    link: PeerProtocol, known: Known | None, *, useless: float, role: str, clock_offset: float | None
) -> PeerView:
    """Return the view of a ready link."""
    status, enr = link.status, link.enr
    return PeerView(
        peer_id=link.peer_id,
        libp2p_id=libp2p_id(PublicKey(b"\x04" + enr.public).format(compressed=True)) if enr else "",
        enr=enr.text if enr else "",
        agent=status.agent,
        outbound=link.outbound,
        local_address=link.local_address,
        remote_address=link.address,
        version=VERSION,
        height=status.height,
        head=status.head,
        rank=status.rank,
        connected_at=link.connected_at,
        static=known is not None and known.held,
        trusted=known is not None and known.trusted,
        useless=useless,
        role=role,
        clock_offset=clock_offset,
        warning=link.warning or "",
        purpose=link.purpose.value if link.purpose is not None else "",
        dialled=link.dialled,
        block_only=link.block_only,
    )


def link_facts(link: PeerProtocol, now: float) -> dict[str, str | int | float]:
    """Return what is known of a link that ends; *now* by ``reactor.seconds()``."""
    facts: dict[str, str | int | float] = {"open_seconds": round(now - link.opened_at, 3)}
    if link.end is not None and link.end.ready:
        status = link.status
        facts |= {"since": link.connected_at, "agent": status.agent, "height": status.height}
    if link.warning:
        facts["settings"] = link.warning
    if link.purpose is not None:
        facts["purpose"] = link.purpose.value
    if link.dialled is not None and link.dialled[0] != link.address[0]:
        facts["dialled"] = link.dialled[0]
    return facts
