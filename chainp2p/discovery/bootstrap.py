"""What a node begins with: peers to dial, nodes to ask by datagram, signed lists in DNS."""

from collections.abc import Iterable

from attrs import frozen

from chainp2p.discovery.tree import LINK, TreeError, TreeUrl, parse_tree_url
from chainp2p.errors import SettingsError
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.enr import PREFIX, Enr, EnrError

__all__ = ["Bootstrap", "parse_bootstrap"]


@frozen
class Bootstrap:
    """The bootstrap nodes of the settings, by what can be done with them.

    :param nodes: peers that are dialled and held.
    :param records: nodes that can be asked by datagram; those with a TCP port are among the peers as well.
    :param trees: lists in DNS.
    """

    nodes: tuple[NodeAddress, ...] = ()
    records: tuple[Enr, ...] = ()
    trees: tuple[TreeUrl, ...] = ()


def parse_bootstrap(texts: Iterable[str], discovery: bool = True) -> Bootstrap:
    """Read ``enr:...``, ``PEERID@host:port`` and ``enrtree://KEY@DOMAIN``; SettingsError says what is wrong with one.

    :param discovery: whether nodes can be asked by datagram at all.
    """
    nodes: dict[bytes, NodeAddress] = {}
    records: dict[bytes, Enr] = {}
    trees: dict[TreeUrl, None] = {}
    for text in texts:
        if text.startswith("enrtree:"):
            try:
                trees[parse_tree_url(text)] = None
            except TreeError as error:
                raise SettingsError(f"{text[: len(LINK) + 10]}...: {error}") from None
            continue
        record = _record(text) if discovery and text.startswith(PREFIX) else None
        if record is not None and record.udp_endpoint is not None:
            records[record.peer_id] = record
            if record.tcp_endpoint is None:
                continue
        node = parse_node(text)
        nodes[node.peer_id] = node
    return Bootstrap(tuple(nodes.values()), tuple(records.values()), tuple(trees))


def _record(text: str) -> Enr | None:
    try:
        return Enr.from_text(text)
    except EnrError:
        return None  # parse_node says what is wrong with it
