"""A state that is being downloaded: which parts of it are here, proved for which root, and what has to be asked for.

Pure but for the rows, which the caller writes in one transaction with each call. Rules:

1. What has to be asked for is found from the root down: a chunk either brings all accounts of its prefix, or names the
   subtrees below it by their hashes. A subtree with the hash of what is here need not be asked for.
2. So going on after a stop, and turning to another root when the old one is served no more, are the same: begin at the
   root, and compare. Of a part that differs the changes are asked for (its old root is the *base*).
3. When nothing is open any more, the parts are joined to one trie; only if it has the root that was aimed at are they
   the state.
"""

from collections.abc import Iterable, Iterator

from attrs import frozen

from chainp2p.ledger.state.accounts import State
from chainp2p.ledger.state.chunks import Split, read_chunk
from chainp2p.ledger.state.staged import StagedRows
from chainp2p.ledger.state.subtree import Subtree, join
from chainp2p.ledger.state.trie import HashedTrie

__all__ = ["Open", "StateDownload", "Taken"]


@frozen
class Open:
    """A prefix to ask for; *base*: a root whose accounts below it are here, or empty."""

    prefix: str
    base: bytes


@frozen
class Taken:
    """What a chunk was.

    :param whole: it held all accounts of its prefix.
    :param open: what to ask for in its place, where it did not: what it names and is not here.
    """

    whole: bool
    open: tuple[Open, ...] = ()


@frozen
class _Part:
    subtree: Subtree
    root: bytes


class StateDownload:
    """See the module.

    :ivar root: of the state that is aimed at.
    :ivar entries: accounts that are here, of whatever root.
    """

    def __init__(self, rows: StagedRows, root: bytes) -> None:
        """Take up what is stored."""
        self._rows = rows
        self.root = root
        rows.create()
        self._parts: dict[str, _Part] = {}
        self.entries = rows.count()
        for prefix, base in rows.parts():
            self._parts[prefix] = _Part(Subtree.build(prefix, list(rows.accounts(prefix))), base)

    @property
    def here(self) -> Iterable[str]:
        """The prefixes of which all is here, of whatever root."""
        return self._parts

    def begin(self, root: bytes) -> Open:
        """Aim at *root* from now on; answer what to ask for first."""
        self.root = root
        return self._open("")

    def take(self, prefix: str, raw: bytes) -> Taken:
        """Check and keep a chunk. Raises ChunkError, nothing done."""
        part = self._over(prefix)
        if part is not None and part.root == self.root:
            return Taken(False)
        have = None if part is None else part.subtree.at(prefix)
        result = read_chunk(self.root, prefix, raw, have)
        assert part is None or part.subtree.prefix == prefix, "asked for below a part"
        if isinstance(result, Split):
            return Taken(False, tuple(self._split(prefix, part, result)))
        self._keep(prefix, part, result)
        return Taken(True)

    def state(self) -> State | None:
        """The whole state; None: the parts are not that."""
        trie = HashedTrie(join([part.subtree for _, part in sorted(self._parts.items())]))
        whole = trie.root == self.root and all(part.root == self.root for part in self._parts.values())
        return State(trie) if whole else None

    # -- parts

    def _over(self, prefix: str) -> _Part | None:
        """The part that *prefix* is, or is in."""
        return next((part for at in range(len(prefix) + 1) if (part := self._parts.get(prefix[:at])) is not None), None)

    def _under(self, prefix: str) -> list[str]:
        """The parts below *prefix*, itself included."""
        return sorted(other for other in self._parts if other.startswith(prefix))

    def _open(self, prefix: str) -> Open:
        part = self._parts.get(prefix)
        return Open(prefix, b"" if part is None else part.root)

    def _put(self, subtree: Subtree, root: bytes) -> None:
        self._parts[subtree.prefix] = _Part(subtree, root)
        self._rows.put_part(subtree.prefix, root)

    def _forget(self, prefixes: Iterable[str]) -> None:
        gone = list(prefixes)
        self._rows.drop_parts(gone)
        for prefix in gone:
            del self._parts[prefix]

    def _keep(self, prefix: str, part: _Part | None, subtree: Subtree) -> None:
        """All that is below *prefix* has come."""
        if part is None:
            rows = list(subtree.rows())
            gone = self._under(prefix)
            self.entries += len(rows) - sum(map(self._count, gone))
            if gone:
                self._rows.clear(prefix)
                self._forget(gone)
            self._rows.write(rows)
        else:
            changes = list(part.subtree.changes_to(subtree))
            removed = [bytes.fromhex(key) for key, value in changes if value is None]
            written = [(bytes.fromhex(key), value) for key, value in changes if value is not None]
            self.entries += self._count(subtree) - self._count(prefix)
            self._rows.write(written, removed)
        self._put(subtree, self.root)

    def _split(self, prefix: str, part: _Part | None, split: Split) -> list[Open]:
        """*prefix* is too much for one chunk: go on with its children, but for those that are here."""
        references = dict(split.children)
        if part is not None:
            self._divide(part, split)
        under = self._under(prefix)
        strangers = [other for other in under if not any(other.startswith(child) for child in references)]
        for other in strangers:  # what was there is there no more
            self.entries -= self._count(other)
            self._rows.clear(other)
        self._forget(strangers)
        found = []
        for child, reference in split.children:
            part = self._parts.get(child)
            if part is not None and part.subtree.reference == reference:
                self._put(part.subtree, self.root)
            else:
                found.append(self._open(child))
        return found

    def _divide(self, part: _Part, split: Split) -> None:
        """Make a part for each child, and for each way that leaves the one to them."""
        old = part.subtree
        self._forget([old.prefix])
        for below in _cover(old.prefix, split.at):
            subtree = old.at(below)
            if subtree.node is not None:
                self._put(subtree, part.root)

    def _count(self, part: "str | Subtree") -> int:
        subtree = self._parts[part].subtree if isinstance(part, str) else part
        return sum(1 for _ in subtree.rows())


def _cover(prefix: str, at: str) -> Iterator[str]:
    """Prefixes one nibble beyond those from *prefix* to *at*, which have between them all that is below *prefix*."""
    for depth in range(len(prefix), len(at) + 1):
        for digit in "0123456789abcdef":
            below = at[:depth] + digit
            if depth == len(at) or below != at[: depth + 1]:
                yield below
