"""The experiment of finality: the ledger's own cores under random delays, cuts, and an adversary with some of the keys.

No network and no node: blocks travel with a delay each, or not at all, and whoever lacks a parent gets it from whoever
sent the child. Headers, seals, votes, fork choice, seal records and what an operator does are the production ones.

Where at most (n-1)/3 keys are the adversary's, no two finalized blocks may ever contradict each other, nobody may
report a conflict, and once the cuts are healed all finalize again, while the adversary goes on. Where it has more, two
islands may finalize what contradicts: then whoever is behind reports it, naming two such blocks and none but keys of
the adversary, seals no more, and moves finality no more; when an operator has chosen a side everywhere and the keys are
in honest hands again, all finalize again.
"""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from random import Random

from attrs import define, frozen

from chainp2p.chain.interfaces import HeaderInfo, Invalid
from chainp2p.ledger.consensus.poa import Slots
from chainp2p.ledger.decisions import set_finalized
from chainp2p.ledger.execution import ValueTransfers
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.ledger.formats.block import assemble, decode_block
from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.news import News
from chainp2p.ledger.opening import Opened, open_ledger
from chainp2p.ledger.policy import Policy
from chainp2p.ledger.producing.slots import SlotProducer
from chainp2p.ledger.senders import Prepared
from chainp2p.primitives.secp256k1 import public_key
from chainp2p.testing.adversary import Adversary
from chainp2p.testing.simulator import EPOCH, ledger_genesis

__all__ = ["SETTLED_MAX", "FinalityOutcome", "play_finality"]

#: Seconds between two slots.
PERIOD = 1.0
#: How long the bad times last, in slots, and so many more for each signer; how likely the cut is drawn anew in a slot
#: (divided by the signers at most: a round has to fit in between now and then), a signer sleeps, a block is lost.
BAD_SLOTS, MORE_SLOTS, CUT, CUT_ROUND, SLEEPS, LOST = (15, 30), 5, 0.12, 0.3, 0.1, 0.1
#: One-way delays while times are bad, and afterwards. Periods.
BAD, GOOD = 3.0, 0.4
#: How likely a node tells somebody of its head in a slot, as sync asks now and then.
TOLD = 0.2
#: After the heal all have finalized a block that was sealed after it, within so many slots for each signer.
SETTLED_MAX = 12


@frozen(kw_only=True)
class FinalityOutcome:
    """How it went.

    :param settled: slots from the heal (or, where a conflict was found, from the operator's choice) until everybody had
        finalized a block sealed after it; None: not within the bound.
    :param moved: whether anything was finalized while times were bad.
    :param conflicting: whether two nodes finalized what contradicts.
    :param reported: nodes that reported a conflict.
    """

    seed: int
    n: int
    faulty: int
    settled: int | None
    moved: bool
    conflicting: bool
    reported: int
    faults: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether what must come out came out."""
        return not self.faults


@define(eq=False)
class _Node:
    name: str
    opened: Opened
    seen: set[bytes]
    finals: list[HeaderInfo]

    @property
    def head(self) -> bytes:
        return self.opened.core.chain.head.info.hash

    @property
    def conflict(self) -> bool:
        return self.opened.core.branches.conflict is not None


def play_finality(seed: int, beyond: bool = False, n: int | None = None, faulty: int | None = None) -> FinalityOutcome:
    """Play one seed, with so many signers and keys in the adversary's hands, or numbers that the seed decides.

    :param beyond: it has more than (n-1)/3 of them.
    """
    chance = Random(f"{seed}/finality/{beyond}")
    n = chance.randint(1, 7) if n is None else n
    most = (n - 1) // 3
    if faulty is None:
        faulty = chance.randint(most + 1, n) if beyond else most if chance.random() < 0.7 else chance.randint(0, most)
    world = _World(chance, n, set(chance.sample(range(n), faulty)))
    try:
        return world.play(seed, beyond)
    finally:
        for node in world.nodes:
            node.opened.close()


class _World:
    """Everybody, and the blocks under way."""

    def __init__(self, chance: Random, n: int, stolen: set[int]) -> None:
        self.chance, self.n, self.slot, self.now = chance, n, 0, EPOCH
        self.genesis: Genesis = ledger_genesis(n, PERIOD)
        self.slots = Slots(self.genesis)
        root = self.genesis.header
        self.headers: dict[bytes, Header] = {root.hash: root}
        self.stolen = {address_of(public_key(DEV_KEYS[index])) for index in stolen}
        self.adversary = Adversary(self.genesis, {index: DEV_KEYS[index] for index in stolen}, n, self.headers, chance)
        honest = [index for index in range(n) if index not in stolen]
        self.signers = {index: self._node(f"signer{index}", DEV_KEYS[index]) for index in honest}
        watchers = [self._node(f"watcher{number}", None) for number in range(1 if len(honest) > 1 else 2)]
        self.nodes = [*self.signers.values(), *watchers]
        self.side = dict.fromkeys((node.name for node in self.nodes), 0)
        self.faults: list[str] = []
        self.reported: set[str] = set()
        self._mail: list[tuple[float, int, _Node, bytes]] = []
        self._order = 0
        self._delay, self._lost, self._sleeps = BAD, LOST, SLEEPS
        self._reformed = False

    def _node(self, name: str, key: bytes | None) -> _Node:
        databases = iter((sqlite3.connect(":memory:"), sqlite3.connect(":memory:")))
        producer = None if key is None else SlotProducer(self.slots, key, sole_start=False)
        opened = open_ledger(
            self.genesis, self.slots, ValueTransfers(), producer, Policy(), lambda _: next(databases), self.now
        )
        return _Node(name, opened, {self.genesis.hash}, [opened.news.finalized])

    # -- the course of things

    def play(self, seed: int, beyond: bool) -> FinalityOutcome:
        """Bad times, the heal, and what comes of it."""
        chance = self.chance
        for _ in range(chance.randint(*BAD_SLOTS) + MORE_SLOTS * self.n):
            if chance.random() < min(CUT, CUT_ROUND / self.n):
                sides = chance.choice((2, 2, 3))
                self.side = {node.name: chance.randrange(sides) for node in self.nodes}
            self._step()
        moved = any(len(node.finals) > 1 for node in self.nodes)
        self.side = dict.fromkeys(self.side, 0)
        self._delay, self._lost, self._sleeps = GOOD, 0.0, 0.0
        settled: int | None = None
        if beyond:
            for _ in range(4 * self.n):
                self._step()
        else:
            settled = self._settle()
        conflicting = self._conflicting()
        if conflicting and not beyond:
            self.faults.append("two finalized blocks contradict each other")
        if self.reported and not beyond:
            self.faults.append(f"a conflict is reported by {', '.join(sorted(self.reported))}")
        if beyond:
            self._check_reports()
        if self.reported:
            self._operate()
            settled = self._settle()
        if settled is None and (not beyond or self.reported):
            self.faults.append("not everybody finalizes again")
        return FinalityOutcome(
            seed=seed,
            n=self.n,
            faulty=len(self.stolen),
            settled=settled,
            moved=moved,
            conflicting=conflicting,
            reported=len(self.reported),
            faults=tuple(self.faults),
        )

    def _step(self) -> None:
        """Let one slot begin, and what arrives before it arrive."""
        self.slot += 1
        start = self.slots.start_of(self.slot)
        while self._mail and self._mail[0][0] <= start:
            self.now, _, node, hash = heapq.heappop(self._mail)
            self._receive(node, hash)
        self.now = start
        index = self.slot % self.n
        if index in self.signers and self.chance.random() >= self._sleeps:
            self._seal(self.signers[index])
        if self._reformed:
            self._seal_honestly(index)
        else:
            self._harm()
        for node in self.nodes:
            if self.chance.random() < TOLD:
                self._send(node, node.head, [self.chance.choice(self.nodes)])

    def _settle(self) -> int | None:
        """Go on until everybody has finalized a block sealed from now on; return after how many slots."""
        since = self.slot
        for count in range(1, SETTLED_MAX * self.n + 1):
            self._step()
            for node in self.nodes:
                if node.conflict and self._reformed:  # more branches than one may be as high: each is chosen against
                    self._choose(node, node.finals[-1].hash)
            if all(self.headers[node.finals[-1].hash].nonce > since for node in self.nodes):
                return count
        return None

    # -- blocks

    def _seal(self, node: _Node) -> None:
        maker = node.opened.maker
        assert maker is not None
        conflict = node.conflict
        made = maker.make(self.now, [])
        if isinstance(made, str):
            return
        if conflict:
            self.faults.append(f"{node.name} seals in spite of a conflict")
        hash = made.news.head.hash
        self.headers[hash] = decode_block(made.raw).header
        node.seen.add(hash)
        self._note(node, made.news)
        self._send(node, hash, self.nodes)

    def _harm(self) -> None:
        sides = sorted(set(self.side.values()))
        members = [[node for node in self.nodes if self.side[node.name] == side] for side in sides]
        for side, hash in self.adversary.act(self.slot, [[node.head for node in some] for some in members]):
            some = members[side % len(members)]
            for node in self.chance.sample(some, self.chance.randint(1, len(some))):
                self._post(node, hash)

    def _seal_honestly(self, index: int) -> None:
        """The keys are in good hands again: one block a slot, admitting all that was sealed before."""
        if index in self.adversary.keys:
            parent = self.chance.choice(self.nodes).head
            if self.headers[parent].nonce < self.slot:
                hash = self.adversary.seal(self.slot, parent, self._reformed_base(parent, index))
                for node in self.nodes:
                    self._post(node, hash)

    def _reformed_base(self, parent: bytes, index: int) -> int:
        ancestors = {hash for hash, _ in self._walk(parent)}
        own = [
            header.nonce
            for hash, header in self.headers.items()
            if header.nonce % self.n == index and header.nonce < self.slot and hash not in ancestors
        ]
        return max(own, default=0)

    def _send(self, source: _Node, hash: bytes, targets: Iterable[_Node]) -> None:
        for node in targets:
            if node is not source and self.side[node.name] == self.side[source.name]:
                self._post(node, hash)

    def _post(self, node: _Node, hash: bytes) -> None:
        if hash not in node.seen and self.chance.random() >= self._lost:
            self._order += 1
            arrival = self.now + self.chance.random() * self._delay * PERIOD
            heapq.heappush(self._mail, (arrival, self._order, node, hash))

    def _receive(self, node: _Node, hash: bytes) -> None:
        if hash in node.seen:
            return
        line = [below for below, _ in self._walk(hash, node.seen)][::-1]
        self._submit(node, line)
        node.seen.update(line)
        self._fetch(node)
        self._send(node, hash, self.nodes)

    def _fetch(self, node: _Node) -> None:
        """Bring the bodies that a node lacks of the best branch."""
        missing = node.opened.core.missing(1_000)
        if missing:
            self._submit(node, [info.hash for info in missing])

    def _submit(self, node: _Node, line: list[bytes]) -> None:
        raws = [assemble(self.headers[hash].raw, ()) for hash in line]
        verdicts, news = node.opened.core.submit(raws, self.now, Prepared())
        for verdict in verdicts:
            if isinstance(verdict, Invalid) and not self._reformed:  # later it may be of the branch that was given up
                self.faults.append(f"{node.name} refuses a block: {verdict.reason}")
        self._note(node, news)

    def _note(self, node: _Node, news: News) -> None:
        if node.name in self.reported and news.finalized != node.finals[-1] and not self._reformed:
            self.faults.append(f"{node.name} moves finality in spite of a conflict")
        if news.new_conflict is not None:
            self.reported.add(node.name)
        if news.finalized != node.finals[-1]:
            if not self._descends(news.finalized.hash, node.finals[-1].hash):
                self.faults.append(f"{node.name} leaves a finalized block")
            node.finals.append(news.finalized)
        for evidence in news.evidence:
            if evidence.signer not in self.stolen:
                self.faults.append(f"{node.name} blames an honest signer for two seals")

    # -- the truth

    def _walk(
        self, hash: bytes, until: "set[bytes] | frozenset[bytes]" = frozenset()
    ) -> Iterator[tuple[bytes, Header]]:
        """A block and its ancestors, down to genesis or to one of *until*, which is left out."""
        while hash not in until:
            header = self.headers[hash]
            yield hash, header
            if not header.number:
                return
            hash = header.parent

    def _descends(self, hash: bytes, ancestor: bytes) -> bool:
        height = self.headers[ancestor].number
        return any(below == ancestor for below, header in self._walk(hash) if header.number == height)

    def _conflicting(self) -> bool:
        finals = sorted(
            {info.hash for node in self.nodes for info in node.finals}, key=lambda one: self.headers[one].number
        )
        return any(not self._descends(above, below) for below, above in zip(finals, finals[1:], strict=False))

    def _check_reports(self) -> None:
        """Whoever has finalized the lower of two blocks that contradict has to know; what it says has to be true."""
        for node in self.nodes:
            own = node.finals[-1].hash
            for other in self.nodes:
                final = other.finals[-1].hash
                behind = self.headers[own].nonce <= self.headers[final].nonce
                if behind and not self._descends(final, own) and not node.conflict:
                    self.faults.append(f"{node.name} does not report that {other.name} finalized another block")
            conflict = node.opened.core.branches.conflict
            if conflict is None:
                continue
            ours, theirs = conflict.ours.hash, conflict.theirs.hash
            if ours != own or self._descends(theirs, own) or self._descends(own, theirs):
                self.faults.append(f"{node.name} names blocks that do not contradict")
            blamed = set(conflict.signers)
            if not blamed <= self.stolen:
                self.faults.append(f"{node.name} blames honest signers for the conflict")
            if 3 * len(blamed) < self.n:
                self.faults.append(f"{node.name} blames {len(blamed)} of {self.n}, less than a third")

    # -- the operator

    def _operate(self) -> None:
        """Choose the highest finalized block everywhere, and take the keys from the adversary."""
        self._reformed = True
        chosen = max((node.finals[-1] for node in self.nodes), key=lambda info: self.headers[info.hash].nonce).hash
        for node in self.nodes:
            self._receive(node, chosen)
            own = node.finals[-1].hash
            self._choose(node, own if self._descends(own, chosen) else chosen)

    def _choose(self, node: _Node, hash: bytes) -> None:
        reason, news = node.opened.core.decide(set_finalized, hash)
        if reason:
            self.faults.append(f"{node.name} cannot choose: {reason}")
        node.finals[:] = [news.finalized]
        self._fetch(node)
