"""``admin_why`` over a stand-in: how peers and addresses are named, and what an answer looks like."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.transactions.provenance import Happening, Stage
from chainp2p.gossip.transactions.why import TransactionAnswer, TransactionState
from chainp2p.namespaces import Namespace, RpcError
from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.why import Answer, State
from chainp2p.rpc.core import dumps
from chainp2p.rpc.methods.why import HISTORY, why_method
from chainp2p.rpc.registry import Registry

KEY = NodeKey(bytes([7]) * 32)
CAUSE = Cause(9.0, CauseKind.DIAL_FAILED, "refused", None, ("::1", 5), "nobody", {"by": "peer"}, KEY.peer_id, 3, 1.0)
BARE = Cause(8.0, CauseKind.BANNED, "ban_by_operator", KEY.peer_id, ("", 0), "")


@define
class Explainer:
    asked: list[Any] = field(factory=list)
    known: list[bytes] = field(factory=list)
    history: tuple[Cause, ...] = (CAUSE, BARE)

    @property
    def explainer(self) -> "Explainer":
        return self

    def why(self, kind: str, subject: bytes) -> Answer:
        self.asked.append((kind, subject))
        return Answer(subject.hex(), State.AWAY, "refused", "peer x: refused", {"when": 9.0}, self.history)

    def why_address(self, host: str, port: int | None) -> Answer:
        self.asked.append((host, port))
        return Answer(host, State.UNKNOWN, "unknown", "nothing")

    def find(self, prefix: str) -> list[bytes]:
        self.asked.append(prefix)
        return self.known


class WhyTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.explainer = Explainer(known=[KEY.peer_id])
        self.found: TransactionAnswer | None = None
        self.registry = Registry([Namespace("admin", (why_method(self.explainer, self.transaction),))])

    async def transaction(self, hash: bytes) -> TransactionAnswer | None:
        self.explainer.asked.append(hash)
        return self.found

    async def ask(self, *params: Any) -> Any:
        result = self.registry.invoke("admin_why", list(params))
        return await result if hasattr(result, "__await__") else result

    def why(self, *params: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.successResultOf(Deferred.fromCoroutine(self.ask(*params)))
        dumps(found)
        return found

    def refused(self, *params: Any) -> tuple[int, str]:
        error = self.failureResultOf(Deferred.fromCoroutine(self.ask(*params)), RpcError).value
        return error.code, error.message

    def test_the_shape_of_an_answer(self) -> None:
        answer = self.why("peer", KEY.peer_id.hex())
        self.assertEqual(
            {name: answer[name] for name in ("subject", "state", "code", "line", "evidence")},
            {
                "subject": KEY.peer_id.hex(),
                "state": "away",
                "code": "refused",
                "line": "peer x: refused",
                "evidence": {"when": 9.0},
            },
        )
        dial, ban = answer["history"]
        self.assertEqual(
            dial,
            {
                "when": 9.0,
                "since": 1.0,
                "count": 3,
                "kind": "dial_failed",
                "code": "refused",
                "id": None,
                "meant": KEY.peer_id.hex(),
                "address": "[::1]:5",
                "text": "nobody",
                "evidence": {"by": "peer"},
            },
        )
        self.assertEqual((ban["id"], ban["address"], ban["since"]), (KEY.peer_id.hex(), None, 8.0))

    def test_transactions(self) -> None:
        happened = (
            Happening(9.0, Stage.REFUSED, "pool_full", KEY.peer_id, "transaction underpriced", 2, 8.0),
            Happening(8.0, Stage.SUBMITTED, "", None, "", 1, 8.0),
        )
        state = TransactionState.REFUSED
        self.found = TransactionAnswer("ab" * 32, state, "pool_full", "transaction x", {"has_it": 3}, happened)
        for name in ("ab" * 32, "0x" + "AB" * 32):
            answer = self.why("tx", name)
            self.assertEqual(self.explainer.asked.pop(), b"\xab" * 32)
        head = [answer[name] for name in ("subject", "state", "code", "line", "evidence")]
        self.assertEqual(head, ["ab" * 32, "refused", "pool_full", "transaction x", {"has_it": 3}])
        refused, handed_in = answer["history"]
        self.assertEqual((refused["kind"], refused["id"], refused["count"]), ("refused", KEY.peer_id.hex(), 2))
        self.assertEqual((handed_in["id"], handed_in["address"], handed_in["meant"]), (None, None, None))
        self.found = None
        self.assertEqual(self.refused("tx", "ab" * 32)[0], -32601)

    def test_the_history_is_bounded(self) -> None:
        self.explainer.history = (CAUSE,) * (HISTORY + 5)
        self.assertEqual(len(self.why("peer", KEY.peer_id.hex())["history"]), HISTORY)

    def test_whoever_names_a_peer(self) -> None:
        enr = make_enr(KEY, 1, node_pairs(bytes(32), 1, "127.0.0.1", 30303)).text
        for name in (KEY.peer_id.hex(), "0x" + KEY.peer_id.hex(), f"{KEY.peer_id.hex()}@host:1", enr):
            self.why("ban", name)
            self.assertEqual(self.explainer.asked.pop(), ("ban", KEY.peer_id))

    def test_the_first_digits_of_an_id(self) -> None:
        for name in ("ABCD1234", "0xabcd1234"):
            self.why("peer", name)
            self.assertEqual(self.explainer.asked, ["abcd1234", ("peer", KEY.peer_id)])
            self.explainer.asked.clear()
        for known, words in (([], "no peer"), ([KEY.peer_id, bytes(32)], "more than one peer")):
            self.explainer.known = known
            code, text = self.refused("peer", "abcd1234")
            self.assertEqual(code, -32602)
            self.assertIn(words, text)

    def test_addresses(self) -> None:
        for name, asked in [
            ("10.0.0.7", ("10.0.0.7", None)),
            ("10.0.0.7:30303", ("10.0.0.7", 30303)),
            ("::1", ("::1", None)),
            ("[::1]:5", ("::1", 5)),
        ]:
            self.why("peer", name)
            self.assertEqual(self.explainer.asked.pop(), asked)
        code, text = self.refused("tx", "x")
        self.assertEqual(code, -32602)
        self.assertIn("'x': peer id or", text)
        self.assertIn("for tx the hash of a transaction", text)
        self.assertIn("never of addresses", self.refused("ban", "10.0.0.7")[1])

    def test_what_is_wrong_is_said(self) -> None:
        for params, words in [
            (("sync", "x"), "admin_explainSync"),
            (("block", KEY.peer_id.hex()), "one of peer, ban, tx"),
            (("tx", "abcd1234"), "all 64 digits of its hash"),
            (("tx", "10.0.0.7"), "all 64 digits of its hash"),
            (("peer", "abc"), "PEERID"),
            (("peer", "host.example:5"), "PEERID"),
            (("peer", 7), "string"),
        ]:
            code, text = self.refused(*params)
            self.assertEqual(code, -32602)
            self.assertIn(words, text)
