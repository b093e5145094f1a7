"""How much of each message a peer may send, and what it costs to send more."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.peer.rate import Rate
from chainp2p.wire.codec import Codec
from chainp2p.wire.messages import (
    AnnounceBlocks,
    AnnounceTransactions,
    CompactBlock,
    DoNotSend,
    GetBlocks,
    GetBlockTransactions,
    GetCompactBlock,
    GetHeaders,
    GetMempool,
    GetPeers,
    GetStateChunk,
    GetTransactions,
    Graft,
    Message,
    NewBlock,
    NewTransaction,
    PeerRecord,
    Ping,
    Prune,
    PushBlocks,
)
from chainp2p.wire.schema import Kind

__all__ = ["FACTOR", "REPORT_EVERY", "LinkQuota", "Quota", "quotas_of"]

#: Who sends this many times what is meant is no honest peer in a hurry: the link ends.
FACTOR = 10.0
#: A peer that stays above its quota is counted as useless once in this many seconds, not for each message.
REPORT_EVERY = 60.0
#: Served at most for one request (wire design, tags 3 and 8): asking for more costs no more.
_BLOCKS, _HEADERS = 128, 2_000
#: Bytes that count as one unit where a message is paid by its size.
_PIECE = 4 * 1024


@frozen
class Quota(Rate):
    """What one peer may send of one message; no message costs more than the burst.

    :param cost: units of (message, its bytes).
    """

    cost: Callable[[Any, int], float]


def _one(message: Message, size: int) -> float:
    return 1.0


def _by_size(message: Message, size: int) -> float:
    return 1.0 + size / _PIECE


#: Each is several times what an honest peer sends at full speed, so that only floods meet it.
_CORE: dict[type[Message], Quota] = {
    # Sent once in 30 s of silence, and once for each second link to the same peer.
    Ping: Quota(1.0, 8.0, _one),
    # A full answer has 2 MiB and 128 blocks. Download has 3 open; 60 MB/s or 3,800 blocks/s are beyond what a node can
    # check. A request for one block, as gossip sends for each block announced (20/s at most), costs half of that: 60/s.
    GetBlocks: Quota(30 * 256.0, 120 * 256.0, lambda message, _: 128.0 + min(message.count, _BLOCKS)),
    # 2,000 headers an answer, one open: 40,000/s are as many seals as two cores can check. A small one costs a third.
    GetHeaders: Quota(20 * 3_000.0, 100 * 3_000.0, lambda message, _: 1_000.0 + min(message.count, _HEADERS)),
    # 100 transactions in flight, asked for as they are announced, every 0.1 s: 7,700/s or 30 MB/s, 147/s one by one.
    GetTransactions: Quota(30 * 320.0, 120 * 320.0, lambda message, _: 64.0 + len(message.hashes)),
    # Once a link; the pool itself allows no more.
    GetMempool: Quota(1.0, 4.0, _one),
    # Every 5 s in a small network, and all of 90 s at once after a stall; discovery itself allows no more.
    GetPeers: Quota(1.0, 24.0, _one),
    # A block every 250 ms (20 a second on demand) of up to 2 MiB, and as many again in a reorganisation.
    NewBlock: Quota(4_096.0, 32_768.0, _by_size),
    # What a node can check is below 4,000/s; with one other node all of it comes over one link.
    NewTransaction: Quota(4_000.0, 20_000.0, _by_size),
    # The same transactions, every 0.1 s at most; a reorganisation announces a pool of 50,000 anew.
    AnnounceTransactions: Quota(8_000.0, 60_000.0, lambda message, _: 20.0 + len(message.transactions)),
    # One for each new head, 20 a second at most, and all of 90 s at once after a stall.
    AnnounceBlocks: Quota(256.0, 12_288.0, lambda message, _: 4.0 + len(message.blocks)),
    # As whole blocks, which they stand for; the largest has 112 KiB.
    CompactBlock: Quota(1_024.0, 8_192.0, _by_size),
    # One for each block that is pushed or announced, 20 a second at most; an answer has up to 112 KiB, or 2 MiB.
    GetCompactBlock: Quota(60.0, 600.0, _one),
    GetBlockTransactions: Quota(60.0, 600.0, _one),
    # Two for each block at most: one peer begins to push, another ends.
    PushBlocks: Quota(40.0, 400.0, _one),
    # Once in 50 s, and an answer to each; the mesh itself blames who asks too often.
    Graft: Quota(0.5, 16.0, _one),
    Prune: Quota(0.5, 16.0, _one),
    # One for each block, as it is announced.
    DoNotSend: Quota(256.0, 12_288.0, lambda message, _: 4.0 + len(message.hashes)),
    # 4 open, one served at a time; an answer has up to 1 MiB, and takes a server some 50 ms to make.
    GetStateChunk: Quota(60.0, 240.0, _one),
    # On change, at most once a minute.
    PeerRecord: Quota(0.5, 8.0, _one),
}
#: A message of an embedding chain.
_FOREIGN = Quota(2_000.0, 16_000.0, _by_size)
#: Messages that are not known here: a later version sends hardly any, for it sees by our features that we do not know
#: them. The largest has 4 MiB.
_UNKNOWN = Quota(100.0, 1_100.0, _by_size)


def quotas_of(codec: Codec) -> dict[type[Message], Quota]:
    """Return the quota of each request and notification that *codec* knows, and of unknown messages (``Message``).

    The greeting is a table of its own, and what a reply may be is known from its request.
    """
    specs = codec.registry.by_tag.values()
    sent = [spec.cls for spec in specs if spec.kind is not Kind.REPLY and spec.name not in _GREETING]
    return {Message: _UNKNOWN, **{cls: _CORE.get(cls, _FOREIGN) for cls in sent}}


_GREETING = frozenset({"Hello", "Ack", "Status", "Disconnect"})


class _Tab:
    """What a peer has spent of one quota, as the times at which all of it will have come back."""

    __slots__ = ("arrived", "reported", "served")

    def __init__(self, now: float) -> None:
        self.served = now
        self.arrived = now
        self.reported = now - REPORT_EVERY


class LinkQuota:
    """The quotas of one link: a token bucket for each message.

    1. A message within its quota is served. One above it is not, and costs nothing of the quota: who waits as long as
       it is told is served again.
    2. All that arrives is counted at a tenth: when that is above the quota, :data:`FACTOR` times too much has come, and
       the link ends.

    A message that a peer never sends takes no memory.

    :param quotas: of messages that are not in it, there may be any number.
    """

    __slots__ = ("_quotas", "_tabs", "over")

    def __init__(self, quotas: Mapping[type[Message], Quota]) -> None:
        self._quotas = quotas
        self._tabs: dict[type[Message], _Tab] = {}
        #: Messages that were above their quota so far.
        self.over = 0

    def charge(self, kind: type[Message], message: Message | None, size: int, now: float) -> float:
        """Answer 0.0 if the message may be served, else after how many seconds it might be; PeerFault ends the link."""
        quota = self._quotas.get(kind)
        if quota is None:
            return 0.0
        tab = self._tabs.get(kind)
        if tab is None:
            tab = self._tabs[kind] = _Tab(now)
        units = quota.cost(message, size)
        tab.arrived = quota.spent(tab.arrived, units / FACTOR, now)
        if quota.over(tab.arrived, now):
            name = kind.__name__ if kind is not Message else "unknown messages"
            detail = f"{name}: {FACTOR:g} times more than {quota.burst:g} at once and {quota.rate:g} a second"
            raise PeerFault(Reason.MISBEHAVED, detail, Penalty.USELESS, "message_quota")
        full_at = quota.spent(tab.served, units, now)
        wait = quota.over(full_at, now)
        if wait:
            self.over += 1
            return wait
        tab.served = full_at
        return 0.0

    def first(self, kind: type[Message], now: float) -> bool:
        """Whether being above this quota is to be reported: once in :data:`REPORT_EVERY` seconds."""
        tab = self._tabs[kind]
        if now - tab.reported < REPORT_EVERY:
            return False
        tab.reported = now
        return True
