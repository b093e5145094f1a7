"""Finds nodes in signed lists in DNS (EIP-1459) while too few are known."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from chainp2p.discovery.answers import is_local
from chainp2p.discovery.tree import TreeError, TreeUrl
from chainp2p.discovery.treewalk import Forest, Question, TreeWalk
from chainp2p.net.alarm import Alarm
from chainp2p.net.metrics import Metric
from chainp2p.net.resolver import TextResolver, texts_of, why_no_text
from chainp2p.net.store import PeerStore
from chainp2p.peer.enr import Enr

if TYPE_CHECKING:
    import random as random_module

    from twisted.python.failure import Failure

__all__ = ["DnsSeeds"]

#: Seconds between two questions (a list of a hundred nodes in twelve seconds), questions at once, and seconds after
#: which one has failed: two name servers have been asked twice by then.
INTERVAL, QUESTIONS_MAX, DEADLINE = 0.1, 4, 6.0
#: Whether nodes are wanted is looked at again after so many seconds; after fewer while names are asked for, but not
#: for each of them: it may take a pass over a full address book.
LOOK_AGAIN, LOOK_ASKING = 10.0, 1.0
#: Complaints of a list that are logged until its root can be read again, and of all: nobody fills the log.
COMPLAINTS_OF_LIST, COMPLAINTS_MAX = 8, 256


class DnsSeeds:
    """Asks for what :class:`~chainp2p.discovery.treewalk.Forest` says, no faster than name servers like it.

    1. Nothing that goes wrong here stops the node: it is logged with the name and the cause, once until the list can be
       read again.
    2. What is found is hearsay under the domain of the list that the operator named, in the address book as in the
       table; from a public node's list, no private addresses.

    :param resolver: makes what is asked; called once, and only if there is a list.
    :param genesis: hash of the genesis block: records of other networks, or of none, are dropped.
    :param private: whether private addresses are welcome.
    :param wanted: whether nodes are wanted.
    :param found: told of each record of our network, and the domain of the list whose word it is.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        random: "random_module.Random",
        resolver: Callable[[], TextResolver],
        trees: Sequence[TreeUrl],
        store: PeerStore,
        genesis: bytes,
        private: bool,
        wanted: Callable[[], bool],
        found: Callable[[Enr, str], None],
    ) -> None:
        self._reactor = reactor
        self._random = random
        self._make_resolver = resolver
        self._trees = tuple(trees)
        self._store = store
        self._prefix = genesis[:4]
        self._private = private
        self._wanted = wanted
        self._found = found
        self._forest = Forest((), random, {})
        self._resolver: TextResolver
        self._asking: set[Deferred[Any]] = set()
        self._complaints: dict[tuple[str, str], None] = {}
        self._next_at = self._look_at = 0.0
        self._more = False
        self._alarm = Alarm(reactor, self._round)
        self._running = False
        #: Domains of the lists that the operator named whose root could not be had last time, and why.
        self.unreadable: dict[str, str] = {}
        #: What became of the names asked for.
        self.counts: Counter[str] = Counter()

    def start(self, seqs: Mapping[str, int]) -> None:
        """Begin; *seqs* are the numbers of the newest roots that were ever seen, by list."""
        if not self._trees:
            return
        self._running = True
        self._resolver = self._make_resolver()
        self._forest = Forest(self._trees, self._random, seqs)
        self._forest.start(self._reactor.seconds())
        self._alarm = Alarm(self._reactor, self._round)
        self._alarm.by(self._reactor.seconds())

    def stop(self) -> None:
        """Ask no more."""
        self._running = False
        self._alarm.stop()
        for asking in list(self._asking):
            asking.cancel()

    def metrics(self) -> list[Metric]:
        """Return what became of the names asked for."""
        return [("chainp2p_dns_names_total", {"result": result}, count) for result, count in self.counts.items()]

    def _round(self) -> None:
        now = self._reactor.seconds()
        if now < self._next_at:
            self._alarm.by(self._next_at)
            return
        if now >= self._look_at:
            self._look_at = now + LOOK_ASKING
            self._more = self._wanted()
        wanted = self._more
        question = self._forest.poll(wanted, now) if len(self._asking) < QUESTIONS_MAX else None
        if question is not None:
            self._next_at = now + INTERVAL
            self._ask(question)
            self._alarm.by(self._next_at)
            return
        later = now + LOOK_AGAIN
        self._alarm.by(max(now + INTERVAL, later if self._asking else min(self._forest.next_at(wanted), later)))

    def _ask(self, question: Question) -> None:
        asking: Deferred[Any] = maybeDeferred(self._resolver.lookupText, question.domain)
        self._asking.add(asking)
        asking.addTimeout(DEADLINE, self._reactor)
        asking.addCallback(texts_of)
        asking.addCallbacks(self._answered, self._failed, callbackArgs=(question,), errbackArgs=(question,))
        asking.addErrback(lambda failure: self._log.failure("taking an answer of DNS failed", failure))
        asking.addCallback(lambda _: self._settled(asking))

    def _settled(self, asking: "Deferred[Any]") -> None:
        self._asking.discard(asking)
        if self._running:
            self._alarm.by(self._reactor.seconds())

    def _answered(self, texts: list[str], question: Question) -> None:
        if not self._running:
            return
        tree, before = question.tree, question.tree.seq
        try:
            enr = self._forest.answered(question, texts, self._reactor.seconds())
        except TreeError as error:
            self._complain(question, "bad", str(error))
            return
        if question.name is None:
            self._root_taken(tree, before)
        elif enr is None:
            self.counts["entry"] += 1
        elif enr.genesis_prefix != self._prefix:
            self.counts["other_network"] += 1
        elif is_local(enr) and not self._private:
            self.counts["private_address"] += 1
        else:
            self.counts["record"] += 1
            self._found(enr, question.source)

    def _root_taken(self, tree: TreeWalk, before: int) -> None:
        self.counts["root"] += 1
        url = str(tree.url)
        self.unreadable.pop(tree.url.domain, None)
        self._complaints = {key: None for key in self._complaints if key[0] != url}
        if tree.seq > before:
            self._store.save_tree(url, tree.seq)
            self._log.info("list of nodes at {domain}: number {seq}", domain=tree.url.domain, seq=tree.seq)

    def _failed(self, failure: "Failure", question: Question) -> None:
        if not self._running:
            return
        self._forest.failed(question, self._reactor.seconds())
        self._complain(question, "no_answer", why_no_text(failure.value))

    def _complain(self, question: Question, result: str, cause: str) -> None:
        self.counts[result] += 1
        if question.domain == question.source:
            self.unreadable[question.domain] = cause
        key = str(question.tree.url), cause
        of_list = sum(url == key[0] for url, _ in self._complaints)
        if key in self._complaints or of_list >= COMPLAINTS_OF_LIST or len(self._complaints) >= COMPLAINTS_MAX:
            return
        self._complaints[key] = None
        self._log.warn("list of nodes at {name}: {cause}", name=question.domain, cause=cause, tree=key[0])
