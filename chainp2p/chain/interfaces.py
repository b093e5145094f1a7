"""All that the network ever asks of a blockchain.

Ids are 32-byte hashes; raw headers, blocks and transactions are opaque bytes. Everything that may touch a disk or
cost time answers a ``Deferred``; what is an attribute is in memory. All calls are made on the reactor thread.

It is one long module on purpose: who writes a chain reads here, from top to bottom, all that it may be asked, and
nothing but declarations is in it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from chainp2p.chain.executor import Executor
from chainp2p.namespaces import Namespace

#: Headers are found by hash at least so far below the head, those of left branches too: whoever follows the chain is
#: told how to get from there to the head.
HEADERS_KEPT = 10_000


@frozen
class HeaderInfo:
    """What the network knows of a header; *rank* is 32 bytes compared as a big-endian number, higher wins."""

    hash: bytes
    parent: bytes
    height: int
    rank: bytes


class Fault(Enum):
    """Who is to blame for an invalid block."""

    SENDER = "sender"  #: the body does not match its header, or the bytes are malformed: whoever sent them
    SIGNER = "signer"  #: header and seal are good but execution fails: whoever produced it, no peer


@frozen
class Connected:
    """The block is on the best chain now; *change* tells what that did to it."""

    header: HeaderInfo
    change: "HeadChanged"


@frozen
class Stored:
    """The block is kept on a side branch, or waits for earlier bodies of its branch."""

    header: HeaderInfo


@frozen
class AlreadyKnown:
    header: HeaderInfo


@frozen
class ParentMissing:
    hash: bytes
    parent: bytes


@frozen
class Invalid:
    hash: bytes
    reason: str
    fault: Fault


@frozen
class NotYet:
    """A block from the future; worth another try at *when* (Unix time in seconds). No fault."""

    hash: bytes
    when: float


Verdict: TypeAlias = Connected | Stored | AlreadyKnown | ParentMissing | Invalid | NotYet


@frozen
class HeadersRejected(Exception):
    """``check_headers`` or ``add_headers`` met a bad header.

    :param index: position of the first bad header; those before it were good (and stored, by ``add_headers``).
    :param when: set when it is merely too early (Unix time in seconds): no fault.
    :param condemned: it descends from a block that failed: its signer's fault, not that of whoever passes it on.
    """

    index: int
    reason: str
    when: float | None = None
    parent_missing: bool = False
    condemned: bool = False


@frozen
class HeadChanged:
    """The best connected head moved: one event for a whole reorg.

    :param left: blocks that left the best chain, newest first.
    :param entered: blocks that joined it, oldest first.
    """

    head: HeaderInfo
    left: tuple[HeaderInfo, ...]
    entered: tuple[HeaderInfo, ...]


@frozen
class FinalizedChanged:
    """Finality moved, or an operator settled a conflict by confirming where it is."""

    header: HeaderInfo


@frozen
class HeaderAdded:
    """A new header that passed its checks is in the tree (its body may be missing)."""

    header: HeaderInfo


@frozen
class BlockProduced:
    """This node sealed a block; it is connected already."""

    header: HeaderInfo
    raw: bytes


@frozen
class FailedBlock:
    """A block whose header is good broke a rule when it was connected, and its branch was left: no peer's fault.

    :param signer: who made it, as the chain names its producers; None: the chain does not tell.
    """

    header: HeaderInfo
    signer: bytes | None
    reason: str


@frozen
class FinalityConflict:
    """Two justified blocks contradict each other: at least a third of the signers is faulty."""

    ours: HeaderInfo
    theirs: HeaderInfo
    signers: tuple[bytes, ...]


@frozen
class RefusedBranch:
    """A branch that wins over the head and is not followed, since too many blocks would be undone for it.

    :param ancestor: where it parts from the head's chain; None, like *depth*: too far down to be known.
    :param depth: how many blocks would be undone.
    """

    tip: HeaderInfo
    head: HeaderInfo
    ancestor: HeaderInfo | None
    depth: int | None


class IChain(Interface):
    """A blockchain: header tree, block store, fork choice, execution."""

    genesis_hash = Attribute("bytes: identity of the network")
    events = Attribute(
        "EventBus: HeadChanged, FinalizedChanged, HeaderAdded, BlockProduced, FinalityConflict, FailedBlock"
    )
    head = Attribute("HeaderInfo: best connected block")
    best_header = Attribute("HeaderInfo: highest-ranked valid header, body or not")
    finalized = Attribute("HeaderInfo: never below genesis")

    def start() -> "Deferred[None]":
        """Open the database; fails with StartupError. Until it fires no other method may be called."""

    def stop() -> "Deferred[None]":
        """Finish what is queued, commit and close."""

    def settings_hashes() -> "Sequence[tuple[int, bytes]]":
        """(activation height, hash of the consensus settings up to it), at most 16, for ``Status.settings``."""

    def header(hash: bytes) -> "Deferred[bytes | None]":
        """The raw header of any known block."""

    def block(hash: bytes) -> "Deferred[bytes | None]":
        """The raw block, if its body is stored."""

    def locate(hash: bytes) -> "Deferred[HeaderInfo | None]":
        """What is known of a hash; of blocks that were left too, for :data:`HEADERS_KEPT` blocks at least."""

    def hash_at(height: int) -> "Deferred[bytes | None]":
        """Hash at *height* of the best connected chain."""

    def hashes_at(hash: bytes, heights: "Iterable[int]") -> "Deferred[dict[int, bytes] | None]":
        """Height -> hash of the best connected chain at *heights*, those it has; None: *hash* is not on it.

        One look: all of them are ancestors of one head, and *hash* is or is below it."""

    def headers_after(hash: bytes, count: int) -> "Deferred[list[bytes] | None]":
        """At most *count* raw headers that follow *hash* on the best connected chain; None: not on it."""

    def blocks_from(hash: bytes, count: int, max_bytes: int) -> "Deferred[list[bytes] | None]":
        """Block *hash* and those after it on the best connected chain, cut before *max_bytes* but never below one;
        a side-branch block alone; None: no such body."""

    def header_at(height: int) -> "Deferred[HeaderInfo | None]":
        """The header at *height* on the branch of ``best_header`` (for stepping back to a common ancestor)."""

    def missing(limit: int) -> "Deferred[list[HeaderInfo]]":
        """Headers without a stored body on the path from the best connected chain to ``best_header``, oldest first."""

    def check_headers(raws: "Sequence[bytes]") -> "Deferred[list[HeaderInfo]]":
        """Check consecutive headers against the tree, storing nothing; fails with HeadersRejected."""

    def add_headers(raws: "Sequence[bytes]") -> "Deferred[list[HeaderInfo]]":
        """Check and store consecutive headers; known ones are fine; fails with HeadersRejected."""

    def submit_block(raw: bytes) -> "Deferred[Verdict]":
        """Check, store and, where its branch is the best, connect a block."""

    def submit_blocks(raws: "Sequence[bytes]", header_tip: bytes) -> "Deferred[list[Verdict]]":
        """The same in bulk for blocks below the known header *header_tip*."""

    def split(raw: bytes) -> "tuple[bytes, tuple[tuple[bytes, bytes], ...]]":
        """Return (raw header, ((transaction id, raw transaction), ...)); ValueError if malformed."""

    def assemble(header: bytes, transactions: "Sequence[bytes]") -> bytes:
        """The inverse of ``split``."""

    def block_hash(raw: bytes) -> bytes:
        """Hash of a raw block or of a raw header; ValueError if malformed."""


class IHeaderRuns(Interface):
    """Optional: headers without number are checked batch after batch, and none of them is kept.

    A chain without it stores headers of whatever rank as they come.
    """

    def check_run(raws: "Sequence[bytes]", after: Any) -> "Deferred[tuple[list[HeaderInfo], Any]]":
        """Check consecutive headers, storing nothing; fails with HeadersRejected.

        What is costly may be looked at in samples: ``add_headers`` checks all. The first follows the last header of the
        call that answered *after*, or, if that is None, a known header. What is answered beside the headers stands for
        the last of them: of constant size, holding none of the others.
        """


class IReorgs(Interface):
    """Optional: a chain whose operator decides what it does not decide itself. Each method fires with the reason why
    that cannot be, or with an empty text."""

    refused = Attribute(
        "Sequence[RefusedBranch]: branches that would win but are too deep; none where depth is no limit"
    )

    def accept_reorg(hash: bytes) -> "Deferred[str]":
        """Follow the refused branch that block *hash* is on, once."""

    def set_finalized(hash: bytes) -> "Deferred[str]":
        """Put finality at block *hash*."""

    def invalidate_block(hash: bytes) -> "Deferred[str]":
        """Treat a block, and what descends from it, as if it had failed."""

    def reconsider_block(hash: bytes) -> "Deferred[str]":
        """Give a block that failed, its ancestors and its descendants another try."""


class IBodyCheck(Interface):
    """Optional: a chain that can tell quickly whether a body is the one that its header commits to.

    Blocks that were rebuilt from a compact form are relayed then before they are executed; those of other chains on the
    chain's verdict, since nobody must be sent what somebody made up.
    """

    def body_matches(raw: bytes) -> "Deferred[bool]":
        """Whether the body of a raw block matches its header; nothing is stored."""


class Admission(Enum):
    """What the pool did with a transaction."""

    ADMITTED = "admitted"  #: relay it
    KNOWN = "known"
    IGNORED = "ignored"  #: no room, no funds, nonce too low: nobody's fault
    REJECTED = "rejected"  #: malformed or badly signed: the sender's fault


@frozen
class AdmissionResult:
    outcome: Admission
    hash: bytes
    reason: str = ""  #: for people; geth's text where the chain is Ethereum-like


@frozen
class TransactionAdded:
    hash: bytes
    size: int
    local: bool


@frozen
class TransactionDropped:
    hash: bytes
    reason: str


@frozen
class TransactionRefused:
    """The pool did not let it in."""

    hash: bytes
    reason: str
    local: bool


@frozen
class TransactionStanding:
    """Where a transaction stands that is in the pool or on the best chain.

    :param code: in a word; :param text: in words: which block it is in, or why it is in none yet.
    :param evidence: the figures behind that.
    """

    included: bool
    code: str
    text: str
    evidence: Mapping[str, str | int | float]


class ITransactionPool(Interface):
    """Optional: a chain that has a pool of pending transactions; publishes TransactionAdded, Dropped and Refused on
    ``events``."""

    def admit(raw: bytes, local: bool) -> "Deferred[AdmissionResult]":
        """Check a transaction and keep it if it may be included some day."""

    def transaction(hash: bytes) -> "bytes | None":
        """Raw bytes of a pooled transaction."""

    def transaction_hashes() -> "list[bytes]":
        """All pooled ids, executable ones first."""

    def transaction_hash(raw: bytes) -> bytes:
        """The id of a raw transaction, without checking it."""

    def precedence(hash: bytes) -> "Any":
        """What pooled transactions are sorted by where peers are told of them: one that needs another has more than
        that; and when they came must not show in it. The id itself will do where none needs another."""


class IExplainsTransactions(Interface):
    """Optional: a pool that can say why a transaction is in no block yet."""

    def explain_transaction(hash: bytes) -> "Deferred[TransactionStanding | None]":
        """Where it stands; None: it is neither in the pool nor on the best chain."""

    def reason_code(reason: str) -> str:
        """The reason why one was refused or dropped, in a word."""


class IGaps(Interface):
    """Optional: a pool that keeps transactions which no block can take before others have come."""

    def waits(hash: bytes) -> bool:
        """Whether a pooled transaction is one of these."""

    def give_up(hash: bytes) -> None:
        """Drop it: whoever brought it has brought too many."""


class IBlockProducer(Interface):
    """Optional: a chain that can produce blocks on this node."""

    def can_produce() -> bool:
        """Whether a key is configured and nothing (such as a finality conflict) forbids it."""

    def sole_producer() -> bool:
        """Whether no one else can produce on this network."""

    def next_time(now: float) -> "float | None":
        """When (Unix seconds) to call ``produce`` next; None: not before the head or the pool changes."""

    def warm_up_seconds() -> float:
        """How long a node without ready peers waits after a start before it produces: max(10 s, 2n periods)."""

    def produce(now: float) -> "Deferred[bytes | None]":
        """Produce, connect and publish BlockProduced if it is our turn; None if it is not."""

    def abandon() -> None:
        """Let a ``produce`` that searches for a block end soon, with None."""


class IStorageWatch(Interface):
    """A chain that tells when the disk does not take what it has to store (full, read-only, failing).

    Calls that had to store something fail with ``StorageError`` then, and have done nothing.
    """

    storage_error = Attribute("str: why the last write failed, with file and remedy; empty since one succeeded")

    def store_again() -> "Deferred[None]":
        """Try whether the disk takes something now; fires when that has been tried."""


class IChainPlugin(IPlugin):
    """How ``node/`` finds a chain by name (a Twisted plug-in)."""

    name = Attribute("str: the value of --chain")

    def make(
        settings: object,
        executor: Executor,
        clock: object,
        random: object,
        open_database: "Callable[[str], Any]",
    ) -> object:
        """Build the IChain. *clock* answers Unix time in seconds; ``open_database(name)`` answers a new
        ``sqlite3.Connection`` to that file of the data directory, in the calling thread. SettingsError if unfit."""

    def namespaces(chain: object) -> "Sequence[Namespace]":
        """The RPC methods it adds."""
