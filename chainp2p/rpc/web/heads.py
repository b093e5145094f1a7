"""Remembers heads of HTTP requests that were read and let in as calls. Pure.

A client says the same again with each request, but for the length of the body: what begins with the same bytes needs no
reading and no judging again. Only a head is kept that has the same meaning every time: a plain POST with its length,
on a connection that stays, to a port without tokens, for these age.
"""

from attrs import field, frozen

from chainp2p.rpc.web.door import Go

__all__ = ["Heads", "KnownHead"]

#: Heads of a port: clients of ten kinds with bodies of a hundred lengths; more are forgotten, all at once, which costs
#: each a second reading.
HEADS = 1_024
#: Bytes of the longest that is kept, so that all together have a megabyte: browsers' have 700.
LONGEST = 1_024

_END = b"\r\n\r\n"


@frozen
class KnownHead:
    """What a head says: *length* of the body; the door's decision, and its *fields* of the answer as bytes."""

    length: int
    go: Go
    fields: bytes


@frozen
class Heads:
    """The heads that a port knows."""

    _known: dict[bytes, KnownHead] = field(factory=dict, init=False)

    def find(self, data: bytes) -> tuple[int, KnownHead] | None:
        """Where the body begins in *data*, and what stands before it; None unless *data* is one whole request."""
        start = data.find(_END) + len(_END)
        known = self._known.get(data[:start])
        return None if known is None or len(data) != start + known.length else (start, known)

    def learn(self, data: bytes, known: KnownHead) -> None:
        """*data* begins with a head that was read: it is *known*."""
        end = data.find(_END)
        if not 0 < end <= LONGEST - len(_END):
            return
        if len(self._known) >= HEADS:
            self._known.clear()
        self._known[data[: end + len(_END)]] = known
