"""The events of the loss-free stream as text, written once for all who get them. Pure but for reading blocks."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.rpc.core import dumps, render_notification_frame
from chainp2p.rpc.values import hex_bytes

__all__ = [
    "HEAD",
    "BlockTexts",
    "Event",
    "Place",
    "block_members",
    "gap",
    "heads_gap",
    "point",
    "ready",
    "rollback",
    "tail",
]

#: What stands before the subscription's id, in all notifications of the stream.
HEAD = render_notification_frame("chain", b"")[0]
#: Blocks whose events are kept for others who follow, and their bytes: those who come back after the same
#: interruption ask for the same blocks.
_KEPT, _KEPT_BYTES = 256, 4 << 20


@frozen
class Place:
    """A block of a chain, with the text of its cursor."""

    height: int
    hash: bytes
    cursor: bytes


def point(place: HeaderInfo | Place) -> dict[str, Any]:
    """Write where a chain is."""
    return {"hash": hex_bytes(place.hash), "height": place.height}


def tail(kind: str, cursor: bytes, members: bytes) -> bytes:
    """Return what stands after the subscription's id; *members*: the event's own, a JSON object that is not empty."""
    result = b'{"type":"%b","cursor":"%b",%b' % (kind.encode("ascii"), cursor, members[1:])
    return render_notification_frame("chain", result)[1]


@define(eq=False)
class Event:
    """An event that carries the last cursor of each who gets it."""

    kind: str
    members: bytes
    _tails: dict[bytes, bytes] = field(factory=dict, init=False)

    def tail(self, cursor: bytes) -> bytes:
        """What stands after the subscription's id; joined once for all with the same cursor."""
        if cursor not in self._tails:
            self._tails[cursor] = tail(self.kind, cursor, self.members)
        return self._tails[cursor]


def ready(cursor: bytes, head: HeaderInfo, oldest: int) -> bytes:
    """The first event: where the node is, and the first height of which it has the body."""
    return tail("ready", cursor, dumps({"head": point(head), "oldest": oldest}))


def rollback(to: Place, left: Sequence[bytes] | None) -> bytes:
    """All above *to* was left; *left*: newest first, None: all that the client has."""
    hashes = None if left is None else [hex_bytes(hash) for hash in left]
    return tail("rollback", to.cursor, dumps({"to": point(to), "left": hashes}))


def _gap(topic: str, reason: str, first: int | None, to: Any, lost: int | None, resume: bytes) -> bytes:
    resumed = resume.decode("ascii")
    return dumps({"topic": topic, "reason": reason, "from": first, "to": to, "lost": lost, "resume": resumed})


def heads_gap(reason: str, first: int, to: Place, resume: bytes) -> bytes:
    """The blocks from height *first* on, up to *to*, are missing; at the cursor *resume* they are not yet."""
    lost = max(0, to.height - first + 1)
    return tail("gap", to.cursor, _gap("heads", reason, first, point(to), lost, resume))


def gap(topic: str, reason: str, cursor: bytes, lost: int | None, resume: bytes) -> bytes:
    """Events that are not about heads are missing; *lost*: how many, None: unknown."""
    return tail("gap", cursor, _gap(topic, reason, None, None, lost, resume))


def block_members(
    height: int, hash: bytes, parent: bytes, header: bytes, transactions: Sequence[tuple[bytes, bytes]]
) -> dict[str, Any]:
    """The members of ``block``, which ``chain_getBlock`` answers too."""
    return {
        "hash": hex_bytes(hash),
        "height": height,
        "parent": hex_bytes(parent),
        "header": hex_bytes(header),
        "transactions": [hex_bytes(id) for id, _ in transactions],
    }


class BlockTexts:
    """Reads blocks and writes their events; those that were written last are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    async def read(self, chain: Any, place: Place, parent: bytes) -> bytes | None:
        """The event of the block at *place*, whose parent's hash is *parent*; None: *chain* does not have its body."""
        if place.hash not in self._kept:
            raw = await chain.block(place.hash)
            if raw is None:
                return None
            if place.hash not in self._kept:  # nobody else was quicker
                self._keep(place.hash, _write(place, parent, *chain.split(raw)))
        self._kept.move_to_end(place.hash)
        return self._kept[place.hash]

    def _keep(self, hash: bytes, text: bytes) -> None:
        self._kept[hash] = text
        self._bytes += len(text)
        while len(self._kept) > 1 and (len(self._kept) > _KEPT or self._bytes > _KEPT_BYTES):
            self._bytes -= len(self._kept.popitem(last=False)[1])


def _write(place: Place, parent: bytes, header: bytes, transactions: Sequence[tuple[bytes, bytes]]) -> bytes:
    members = block_members(place.height, place.hash, parent, header, transactions)
    return tail("block", place.cursor, dumps(members))
