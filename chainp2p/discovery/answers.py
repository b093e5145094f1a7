"""Records in answers: which may be told to whom, which are believed, and how they fit into packets."""

from collections.abc import Callable, Iterable, Sequence

from chainp2p.discovery.messages import Nodes
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.discovery.table import BUCKET_SIZE, log_distance
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.peer.votes import is_private

__all__ = ["RecordReader", "names_private", "nodes_of"]

#: Bytes of records in one NODES: what is left of 1,280 by the headers, the tag, an id of 8 bytes and the lists.
RECORDS_BYTES = 1_280 - 16 - 23 - 32 - 16 - 24
#: Records that are kept as verified.
VERIFIED_MAX = 4_096


def _addresses(enr: Enr) -> list[str]:
    return [endpoint[0] for endpoint in enr.udp_endpoints if endpoint is not None]


def names_private(enr: Enr) -> bool:
    """Whether an address of a record means something in its own network only."""
    return any(map(is_private, _addresses(enr)))


def is_local(enr: Enr) -> bool:
    """Whether a node can be reached in its own network only; not so where its record names no address."""
    addresses = _addresses(enr)
    return bool(addresses) and all(map(is_private, addresses))


def nodes_of(request_id: bytes, records: Iterable[bytes]) -> list[Nodes]:
    """Return the NODES that carry these records, each small enough for a packet; one without any if there are none."""
    parts: list[list[bytes]] = [[]]
    room = RECORDS_BYTES
    for raw in records:
        if len(raw) > room:
            parts.append([])
            room = RECORDS_BYTES
        parts[-1].append(raw)
        room -= len(raw)
    return [Nodes(request_id, len(parts), tuple(part)) for part in parts]


class RecordReader:
    """Takes the good records out of an answer, each node once.

    A record is good if its distance was asked for, its signature holds, its node is welcome and, from a public node,
    its address is public.

    :param private: whether private addresses are welcome from anybody.
    :param welcome: whether a node may have a place with us (allow-list).
    :param verified: reads records; nodes in one process may share one.
    """

    def __init__(
        self, private: bool, welcome: Callable[[bytes], bool], verified: VerifiedRecords | None = None
    ) -> None:
        self._private = private
        self._welcome = welcome
        self._verified = verified if verified is not None else VerifiedRecords(VERIFIED_MAX)

    def read(self, raws: Sequence[bytes], asked: Enr, distances: Sequence[int]) -> list[Enr]:
        """Return the good ones of what *asked* answered to a question for these distances."""
        local = self._private or is_local(asked)
        found: dict[bytes, Enr] = {}
        for raw in raws[: 2 * BUCKET_SIZE]:
            try:
                enr = self._verified.decode(raw)
            except EnrError:
                continue
            if log_distance(asked.peer_id, enr.peer_id) not in distances or not self._welcome(enr.peer_id):
                continue
            if names_private(enr) and not local:
                continue
            if enr.peer_id not in found and len(found) < BUCKET_SIZE:
                found[enr.peer_id] = enr
        return list(found.values())
