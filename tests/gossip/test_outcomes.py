"""What each message of gossip comes to for who sent it: credit, nothing, a small fault, or the end of the link."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from chainp2p.errors import Penalty
from chainp2p.gossip.transactions.relay import VAIN
from chainp2p.peer.link import Credit
from chainp2p.testing.toychain import FAILS, IGNORED, REJECTED
from chainp2p.wire.messages import (
    AnnounceBlocks,
    AnnounceTransactions,
    Blocks,
    BlockTransactions,
    CompactBlock,
    FoundCompactBlock,
    GetBlocks,
    GetBlockTransactions,
    GetCompactBlock,
    GetTransactions,
    NewBlock,
    NewTransaction,
    NotFound,
    PushBlocks,
    Transactions,
)
from tests.gossip.blocks.test_rebuilding import LARGE, CompactBase, Speaker
from tests.gossip.test_service import Node
from tests.links import connect

MALICIOUS, USELESS = Penalty.MALICIOUS, Penalty.USELESS
HASH = b"\7" * 32


@frozen
class Case:
    """What a peer sends to a node, what it answers, and what it gets for that.

    :param sends: of (node, chain of its own that begins like the node's).
    :param answers: of the same two.
    """

    name: str
    sends: Callable[[Node, Any], list[Any]]
    faults: tuple[Penalty, ...] = ()
    credits: tuple[Credit, ...] = ()
    answers: Callable[[Node, Any], dict[type[Any], Any]] = lambda node, chain: {}


def announced(raw: bytes, size: int | None = None) -> Callable[[Node, Any], list[Any]]:
    return lambda node, chain: [
        AnnounceTransactions(((chain.transaction_hash(raw), len(raw) if size is None else size),))
    ]


def served(*raws: bytes) -> Callable[[Node, Any], dict[type[Any], Any]]:
    return lambda node, chain: {GetTransactions: lambda message: Transactions(raws) if raws else NotFound(())}


def form(chain: Any, raw: bytes, whole: tuple[tuple[int, bytes], ...] = (), **changes: Any) -> CompactBlock:
    header, _ = chain.split(raw)
    fields = {"header": header, "short_ids": b"", "prefilled": whole, "checked": 1, **changes}
    return CompactBlock(**fields)


def asked(kind: type[Any], reply: Callable[[Any], Any]) -> Callable[[Node, Any], dict[type[Any], Any]]:
    return lambda node, chain: {kind: lambda message: reply(chain)}


def block(chain: Any, **fields: Any) -> bytes:
    raw: bytes = chain.make(**fields)
    return raw


def forged(chain: Any, **fields: Any) -> bytes:
    return block(chain, **fields) + b"more"


def orphan(chain: Any) -> bytes:
    chain.produce()
    return block(chain)


def above_the_failed(node: Node, chain: Any) -> list[Any]:
    """A block that fails, told by the node's own producer, and one on it by the peer."""
    failed = chain.make(transactions=[FAILS])
    node.chain._submit(failed)
    chain._fails = lambda one: False
    chain._submit(failed)
    return [form(chain, chain.make()), NewBlock(chain.make())]


TABLE = [
    Case("a new transaction", lambda node, chain: [NewTransaction(b"pay")], credits=(Credit.TRANSACTION,)),
    Case("one that is here", lambda node, chain: [NewTransaction(node.chain._pool[node.admit(b"pay")])]),
    Case("one that the pool ignores", lambda node, chain: [NewTransaction(IGNORED)]),
    Case(
        "one of use among those",
        lambda node, chain: [
            NewTransaction(IGNORED + b"%d" % n if n != VAIN // 2 else b"pay") for n in range(VAIN + VAIN // 2)
        ],
        credits=(Credit.TRANSACTION,),
    ),
    Case(
        "many that it ignores",
        lambda node, chain: [NewTransaction(IGNORED + b"%d" % n) for n in range(VAIN)],
        (USELESS,),
    ),
    Case("one that it rejects", lambda node, chain: [NewTransaction(REJECTED)], (MALICIOUS,)),
    Case("an announced transaction", announced(b"pay"), (), (Credit.TRANSACTION,), served(b"pay")),
    Case("one of another size", announced(b"pay", 4), (USELESS,), (Credit.TRANSACTION,), served(b"pay")),
    Case("another one", announced(b"pay"), (MALICIOUS,), (), served(b"other")),
    Case("one that it does not have", announced(b"pay"), (), (), served()),
    Case(
        "many that it does not have",
        lambda node, chain: [AnnounceTransactions(tuple((bytes([n]) * 32, 100) for n in range(VAIN)))],
        (USELESS,),
        (),
        served(),
    ),
    Case("an announced one that is rejected", announced(REJECTED), (MALICIOUS,), (), served(REJECTED)),
    Case("an announced one that is ignored", announced(IGNORED), (), (), served(IGNORED)),
    Case("no transactions", lambda node, chain: [AnnounceTransactions(())]),
    Case("a new block", lambda node, chain: [NewBlock(block(chain))], credits=(Credit.BLOCK,)),
    Case("the same again", lambda node, chain: [NewBlock(block(chain))] * 2, credits=(Credit.BLOCK,)),
    Case(
        "a side branch",
        lambda node, chain: [NewBlock(block(chain, salt=1)), NewBlock(block(chain, salt=2))],
        credits=(Credit.BLOCK,) * 2,
    ),
    Case("an orphan", lambda node, chain: [NewBlock(orphan(chain))]),
    Case("an early block", lambda node, chain: [NewBlock(block(chain, time=10**9))]),
    Case("a body that does not match", lambda node, chain: [NewBlock(forged(chain))], (MALICIOUS,)),
    Case("a block that fails", lambda node, chain: [NewBlock(block(chain, transactions=[FAILS]))]),
    Case("blocks above one that failed", above_the_failed),
    Case("no block", lambda node, chain: [NewBlock(b"no block")], (MALICIOUS,)),
    Case(
        "an announced block",
        lambda node, chain: [AnnounceBlocks(((chain.block_hash(block(chain)), 1),))],
        credits=(Credit.BLOCK,),
        answers=lambda node, chain: {
            GetCompactBlock: not_found,
            GetBlocks: lambda message: Blocks((block(chain),)),
        },
    ),
    Case(
        "another block",
        lambda node, chain: [AnnounceBlocks(((HASH, 1),))],
        (MALICIOUS,),
        answers=lambda node, chain: {GetCompactBlock: not_found, GetBlocks: lambda message: Blocks((block(chain),))},
    ),
    Case(
        "a block that it does not have",
        lambda node, chain: [AnnounceBlocks(((HASH, 1),))],
        answers=lambda node, chain: {GetCompactBlock: not_found, GetBlocks: not_found},
    ),
    Case(
        "another compact form",
        lambda node, chain: [AnnounceBlocks(((HASH, 1),))],
        (MALICIOUS,),
        answers=asked(GetCompactBlock, lambda chain: FoundCompactBlock(chain.split(block(chain))[0], b"", ())),
    ),
    Case("a compact form", lambda node, chain: [form(chain, block(chain))], credits=(Credit.BLOCK,)),
    Case(
        "one of a bad header",
        lambda node, chain: [form(chain, block(chain, weight=0))],
        (MALICIOUS,),
    ),
    Case("one of no header", lambda node, chain: [CompactBlock(b"x", b"", (), 1)], (MALICIOUS,)),
    Case("one of an orphan", lambda node, chain: [form(chain, orphan(chain))]),
    Case("one of an early block", lambda node, chain: [form(chain, block(chain, time=10**9))]),
    Case(
        "one with a position twice",
        lambda node, chain: [form(chain, block(chain, transactions=LARGE), whole=((1, b"a"), (1, b"b")))],
        (MALICIOUS,),
    ),
    Case(
        "other transactions than its short ids say",
        lambda node, chain: [form(chain, block(chain, transactions=LARGE[:1]), short_ids=b"\1" * 6)],
        (MALICIOUS,),
        answers=lambda node, chain: {
            GetBlockTransactions: lambda message: BlockTransactions(message.hash, (b"another",))
        },
    ),
    Case(
        "more transactions than asked for",
        lambda node, chain: [form(chain, block(chain, transactions=LARGE[:1]), short_ids=b"\1" * 6)],
        (MALICIOUS,),
        answers=lambda node, chain: {
            GetBlockTransactions: lambda message: BlockTransactions(message.hash, (b"a", b"b"))
        },
    ),
    Case(
        "no transactions for a form that it passed on unseen",
        lambda node, chain: [form(chain, block(chain, transactions=LARGE[:1]), short_ids=b"\1" * 6, checked=0)],
        answers=lambda node, chain: {
            GetBlockTransactions: lambda message: BlockTransactions(message.hash, (b"another",))
        },
    ),
    Case("pushes are wanted, and not", lambda node, chain: [PushBlocks(1), PushBlocks(1), PushBlocks(0)]),
]


def not_found(message: Any) -> NotFound:
    return NotFound(())


class OutcomeTests(CompactBase):
    def test_each(self) -> None:
        for case in TABLE:
            with self.subTest(case.name):
                node = self.node(case.name)
                chain = self.node(f"{case.name}, its own").chain
                puppet = Speaker(self.net, "peer", case.answers(node, chain))
                far, near = connect(puppet, node)
                for message in case.sends(node, chain):
                    far.send(message)
                self.clock.run_for(10.0)
                self.assertEqual(tuple(fault[2] for fault in near.faults), case.faults, (case.name, near.faults))
                self.assertEqual(tuple(near.credits), case.credits, case.name)
                self.assertEqual(far.open, MALICIOUS not in case.faults, case.name)
