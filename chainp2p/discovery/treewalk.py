"""Walks through signed lists of nodes in DNS as a value that is polled: which name of whose list to ask for next."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING

from attrs import define

from chainp2p.discovery.tree import Branch, TreeError, TreeUrl, read_entry, read_root
from chainp2p.peer.enr import Enr

if TYPE_CHECKING:
    import random as random_module

__all__ = ["Forest", "Question", "TreeWalk"]

#: Roots are looked at again after so many seconds (EIP-1459's example gives a root a minute to live; go-ethereum,
#: ``p2p/dnsdisc/client.go``, ``RecheckInterval``), and then a walk begins anew.
RECHECK = 1_800.0
#: Share by which that varies, so that the nodes of a network do not ask in step.
JITTER = 0.25
#: A list that cannot be read is tried again after so many seconds, twice as many each time, up to :data:`RECHECK`.
RETRY = 30.0
#: Names of one walk that may fail in a row before its root is asked for again: it may have changed in the meantime
#: (go-ethereum, ``rootRecheckFailCount``).
FAILURES_MAX = 5
#: Times that a name without an answer is asked for.
TRIES = 2
#: Branches above an entry; those of thirteen children, as trees are made, would hold 800 million.
DEPTH_MAX = 8
#: Of one list, with those that it links to, in one walk: names asked for, records believed, names that wait, lists.
NAMES_MAX, RECORDS_MAX, WAITING_MAX, TREES_MAX = 1_000, 200, 1_000, 8
#: Names that one list may be ahead of another that still has some: who answers quickest does not get all the places.
LEAD = 16
#: Lists whose numbers are remembered, those that are linked to included.
NUMBERS_MAX = 256


@define
class _Name:
    hash: str
    depth: int
    link: bool  #: below the link root
    tries: int = 0


@define(eq=False)
class Question:
    """A name to ask for. *source* is the domain of the list that the operator named, whose word the answer is."""

    source: str
    tree: "TreeWalk"
    name: _Name | None  #: None: the root
    round: int

    @property
    def domain(self) -> str:
        """The name to look up."""
        return self.tree.url.domain if self.name is None else f"{self.name.hash}.{self.tree.url.domain}"


class TreeWalk:
    """One list.

    1. The root first. Its number never goes back, over restarts either: an old list may name nodes that are not their
       owner's any more.
    2. Then the links, which are few, then the records in random order: whoever begins does not begin as all others do.
    3. Each name is asked for once in a walk, so that no circle of branches is endless; an entry that its name does not
       promise is passed over.

    :param seq: the number of the newest root that was ever seen.
    """

    def __init__(self, url: TreeUrl, random: "random_module.Random", seq: int = 0) -> None:
        self.url = url
        self.seq = seq
        self.failures = 0
        self.not_before = 0.0
        self.round = 0
        self._random = random
        self._bad = 0
        self._root_due = True
        self._links: list[_Name] = []
        self._records: list[_Name] = []
        self._seen: set[str] = set()

    def restart(self) -> None:
        """Begin again at the root."""
        self.round += 1
        self._bad = 0
        self._root_due = True
        self._links.clear()
        self._records.clear()
        self._seen.clear()

    def has_next(self, wanted: bool, now: float) -> bool:
        """Tell whether there is something to ask for now; below the root only if records are *wanted*."""
        return now >= self.not_before and (self._root_due or (wanted and self.has_names))

    @property
    def has_names(self) -> bool:
        """Whether there is something below the root that has not been asked for."""
        return bool(self._links or self._records)

    def retry_at(self, wanted: bool) -> float:
        """Return when :meth:`has_next` may hold."""
        return self.not_before if self._root_due or (wanted and self.has_names) else inf

    def next(self, source: str) -> Question:
        """Return what to ask for; it counts as asked."""
        if self._root_due:
            self._root_due = False
            return Question(source, self, None, self.round)
        names = self._links or self._records
        place = self._random.randrange(len(names))
        names[place], names[-1] = names[-1], names[place]
        name = names.pop()
        name.tries += 1
        return Question(source, self, name, self.round)

    def answered(self, question: Question, texts: Iterable[str], now: float) -> Enr | TreeUrl | None:
        """Take the texts that stand under a name; TreeError says what is wrong with them."""
        if question.round != self.round:
            return None
        try:
            found = self._take(question.name, texts)
        except TreeError:
            self._failed(question, now, again=False)
            raise
        self._bad = 0
        if question.name is not None:
            self.failures = 0
        return found

    def _take(self, name: _Name | None, texts: Iterable[str]) -> Enr | TreeUrl | None:
        if name is None:
            root = read_root(self.url, texts)
            if root.seq < self.seq:
                raise TreeError(f"the root is older than one seen before: number {root.seq} after {self.seq}")
            self.seq = root.seq
            self._hear(root.link_root, 0, True)
            self._hear(root.enr_root, 0, False)
            return None
        entry = read_entry(name.hash, texts)
        if isinstance(entry, Branch):
            if name.depth >= DEPTH_MAX and entry.children:
                raise TreeError(f"more than {DEPTH_MAX} branches above an entry")
            for child in entry.children:
                self._hear(child, name.depth + 1, name.link)
            return None
        if isinstance(entry, Enr) is name.link:
            raise TreeError("a record among the links" if name.link else "a link among the records")
        return entry

    def _hear(self, hash: str, depth: int, link: bool) -> None:
        if hash in self._seen or len(self._seen) >= WAITING_MAX:
            return
        self._seen.add(hash)
        (self._links if link else self._records).append(_Name(hash, depth, link))

    def failed(self, question: Question, now: float) -> None:
        """Nobody answered, or with an error."""
        if question.round == self.round:
            self._failed(question, now, again=True)

    def _failed(self, question: Question, now: float, again: bool) -> None:
        name = question.name
        self._bad += 1
        if name is not None and self._bad < FAILURES_MAX:
            if again and name.tries < TRIES:
                (self._links if name.link else self._records).append(name)
            return
        self.failures += 1
        self.not_before = now + min(RETRY * 2.0 ** min(self.failures - 1, 30), RECHECK)
        self.restart()


@define(eq=False)
class _Source:
    """A list that the operator named, and those that it leads to."""

    trees: list[TreeWalk]
    asked: int = 0
    done: int = 0
    records: int = 0

    def able(self, wanted: bool, now: float) -> list[TreeWalk]:
        """Return those of its lists that have something to ask for now."""
        wanted = wanted and self.records < RECORDS_MAX
        return [] if self.asked >= NAMES_MAX else [tree for tree in self.trees if tree.has_next(wanted, now)]

    def next_at(self, wanted: bool) -> float:
        """Return when there may be something to ask for."""
        wanted = wanted and self.records < RECORDS_MAX
        return inf if self.asked >= NAMES_MAX else min(tree.retry_at(wanted) for tree in self.trees)


class Forest:
    """Several lists, asked in turn.

    1. Roots are asked for at the start and every :data:`RECHECK` seconds, what is below only while nodes are wanted.
    2. The list that has been asked least is asked next, and none gets further than :data:`LEAD` names ahead of another
       that still has some: no single list fills what is to be filled.
    3. A list that another one links to counts as that one's word, so that nobody multiplies by links. Circles of links
       end: each list is walked once.
    4. Names, records, lists and what waits are bounded for each list that the operator named.

    Cost: a pass over the lists each time that it is polled.

    :param seqs: list -> number of the newest root seen, of an earlier run.
    """

    def __init__(self, urls: Iterable[TreeUrl], random: "random_module.Random", seqs: Mapping[str, int]) -> None:
        self._random = random
        self.seqs: dict[str, int] = dict(list(seqs.items())[-NUMBERS_MAX:])
        self._sources = [_Source([self._walk(url)]) for url in dict.fromkeys(urls)]
        self._restart_at = 0.0

    def _walk(self, url: TreeUrl) -> TreeWalk:
        return TreeWalk(url, self._random, self.seqs.get(str(url), 0))

    def start(self, now: float) -> None:
        """Begin at the roots that the operator named."""
        for source in self._sources:
            del source.trees[1:]
            source.asked = source.done = source.records = 0
            source.trees[0].restart()
        self._restart_at = now + RECHECK * self._random.uniform(1 - JITTER, 1 + JITTER)

    def next_at(self, wanted: bool) -> float:
        """Return when :meth:`poll` may have something that it has not now."""
        return min([self._restart_at, *(source.next_at(wanted) for source in self._sources)])

    def poll(self, wanted: bool, now: float) -> Question | None:
        """Return what to ask for now, None if nothing is to be."""
        if now >= self._restart_at:
            self.start(now)
        able = {source: trees for source in self._sources if (trees := source.able(wanted, now))}
        if not able:
            return None
        source = min(able, key=lambda one: (one.asked, self._random.random()))
        behind = min(one.done for one in self._sources if one in able or one.asked > one.done)
        if source.asked - behind >= LEAD:
            return None
        source.asked += 1
        return self._random.choice(able[source]).next(source.trees[0].url.domain)

    def answered(self, question: Question, texts: Iterable[str], now: float) -> Enr | None:
        """Take an answer, and return the record if it is one; TreeError says what is wrong with it."""
        source = self._settle(question)
        found = question.tree.answered(question, texts, now)
        if question.name is None:
            self._remember(question.tree)
        if isinstance(found, TreeUrl):
            self._follow(source, found)
            return None
        if found is not None and source is not None:
            source.records += 1
        return found

    def failed(self, question: Question, now: float) -> None:
        """Nobody answered, or with an error."""
        self._settle(question)
        question.tree.failed(question, now)

    def _settle(self, question: Question) -> _Source | None:
        source = next((one for one in self._sources if question.tree in one.trees), None)
        if source is not None:
            source.done = min(source.done + 1, source.asked)
        return source

    def _remember(self, tree: TreeWalk) -> None:
        self.seqs.pop(str(tree.url), None)
        self.seqs[str(tree.url)] = tree.seq
        if len(self.seqs) > NUMBERS_MAX:
            del self.seqs[next(iter(self.seqs))]

    def _follow(self, source: _Source | None, url: TreeUrl) -> None:
        known = any(tree.url == url for one in self._sources for tree in one.trees)
        if source is not None and not known and len(source.trees) < TREES_MAX:
            source.trees.append(self._walk(url))
