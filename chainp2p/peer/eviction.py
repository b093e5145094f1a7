"""Who goes when all inbound slots are taken and one more peer has come."""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from attrs import frozen

__all__ = ["Candidate", "Verdict", "choose_victim"]

#: How many of 64 slots each rule protects (Bitcoin Core, ``node/eviction.cpp``).
BY_NETGROUP, BY_PING, BY_TRANSACTIONS, BY_BLOCKS, OF_SLOTS = 4, 8, 4, 4, 64
#: Two small faults of late (:meth:`chainp2p.peer.conduct.Conduct.score`): the first to go of those without protection.
USELESS_SCORE = 1.0


@frozen
class Candidate:
    """An inbound peer as eviction sees it; times in seconds on any one clock.

    :param key: what the caller knows it by.
    :param group: its netgroup.
    :param since: when it came.
    :param ping: the shortest round trip that was measured (seconds).
    :param transaction_at: when it last brought a new and valid transaction; *block_at* likewise.
    :param useless: its score of uselessness.
    :param last_choice: its address gets a slot only where nobody else wants it.
    """

    key: Any
    group: str
    since: float
    ping: float | None = None
    transaction_at: float | None = None
    block_at: float | None = None
    useless: float = 0.0
    last_choice: bool = False


@frozen
class Verdict:
    """*victim* goes, by *rule*; None: the newcomer does."""

    victim: Candidate | None
    rule: str
    text: str


def choose_victim(peers: Sequence[Candidate], newcomer: Candidate | None, slots: int, secret: bytes) -> Verdict:
    """Say who has to go, one of *peers* or *newcomer*.

    After Bitcoin Core's ``SelectNodeToEvict``: each rule protects the few that are best by something that an attacker
    cannot easily be best at, and what is left loses the youngest of its largest group.

    1. Addresses of last choice go before all others.
    2. Protected are, in this order: 4 by netgroup in an order that only *secret* knows, 8 with the shortest round trip,
       the last 4 to bring a new transaction, the last 4 to bring a new block (all of 64 slots, in proportion of
       others), and of those left the half that came first.
    3. Of the others the useless go first, then the youngest of the largest netgroup. The newcomer counts: if its own
       group is the largest, it is the youngest of it, and goes. So one group never grows at the cost of others, and in
       a network of one group those who are here stay.

    Cost: O(n log n).

    :param newcomer: None if it has a slot that is not theirs: then it stays, unless all of them are protected.
    :param slots: inbound slots in all.
    :param secret: orders the netgroups; nobody else may know it.
    """
    last = [peer for peer in peers if peer.last_choice]
    if newcomer is not None and newcomer.last_choice:
        return Verdict(None, "inbound_last_choice", "its address is last choice, and all slots are taken")
    if last:
        return Verdict(_youngest(last), "evicted_last_choice", "its address is last choice, and another peer came")

    def protect(left: list[Candidate], most: int, worth: Callable[[Candidate], Any]) -> list[Candidate]:
        """Take away the *most* (of 64) of greatest worth; None is worth nothing."""
        count = max(1, most * slots // OF_SLOTS)
        ranked = sorted((peer for peer in left if worth(peer) is not None), key=worth, reverse=True)
        safe = {id(peer) for peer in ranked[:count]}
        return [peer for peer in left if id(peer) not in safe]

    left = list(peers)
    left = protect(left, BY_NETGROUP, lambda peer: blake2b(peer.group.encode(), key=secret, digest_size=8).digest())
    left = protect(left, BY_PING, lambda peer: None if peer.ping is None else -peer.ping)
    left = protect(left, BY_TRANSACTIONS, lambda peer: peer.transaction_at)
    left = protect(left, BY_BLOCKS, lambda peer: peer.block_at)
    left = sorted(left, key=lambda peer: peer.since)[(len(left) + 1) // 2 :]
    if not left:
        return Verdict(None, "inbound_full", f"{slots} slots are taken, by peers with better claims")
    useless = [peer for peer in left if peer.useless >= USELESS_SCORE]
    if useless:
        return Verdict(max(useless, key=lambda peer: peer.useless), "evicted_useless", "the most useless of late")
    counts = Counter(peer.group for peer in left)
    if newcomer is not None:
        counts[newcomer.group] += 1
    most = max(counts.values())
    if newcomer is not None and counts[newcomer.group] == most > 1:
        return Verdict(
            None, "inbound_full", f"{slots} slots are taken, and its group {newcomer.group} has most of them"
        )
    victim = _youngest([peer for peer in left if counts[peer.group] == most])
    return Verdict(victim, "evicted_youngest_of_group", f"the youngest of {victim.group}, which has most slots")


def _youngest(peers: Sequence[Candidate]) -> Candidate:
    return max(peers, key=lambda peer: peer.since)
