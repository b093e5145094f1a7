"""Proofs of accounts at every height around a reorganisation, on both nodes, read by the ``trie`` package."""

import rlp
from trie import HexaryTrie
from twisted.internet.defer import Deferred

from chainp2p.ethapi.eth import eth_namespace
from chainp2p.ledger.chain import Ledger
from chainp2p.namespaces import RpcError
from chainp2p.primitives.keccak import keccak256
from chainp2p.rpc.registry import Registry
from tests.ethapi.common import ACCOUNTS
from tests.ledger.forge import Forge, Made
from tests.ledger.network import Disk, Harness, genesis_of, transfer

NOBODY = "0x" + "ab" * 20


class ProofTests(Harness):
    def setUp(self) -> None:
        super().setUp()
        self.clock.now += 1_000
        self.forge = Forge(genesis_of(4))
        self.common = self.grow(self.forge.root, range(1, 4), 5)
        self.ours = self.grow(self.common[-1], (5, 7, 9), 6)
        self.theirs = self.grow(self.common[-1], (6, 8, 10, 12), 7)

    def grow(self, parent: Made, slots: "range | tuple[int, ...]", user: int) -> list[Made]:
        """A block in each slot that votes for itself alone, with a transfer or two of *user*."""
        line = []
        for number, slot in enumerate(slots):
            raws = [transfer(user, 2 * number + more, to=user + 1, value=slot) for more in range(2)]
            parent = self.forge.grow(parent, slot, slot - 1, raws)
            line.append(parent)
        return line

    def fed(self, line: list[Made], disk: Disk | None = None) -> Ledger:
        ledger = self.started(self.forge.genesis, disk=disk)
        for made in line:
            self.feed(ledger, made.raw)
        return ledger

    def check(self, ledger: Ledger, line: list[Made]) -> None:
        """At each height, by number and by hash, what is proven is what the forge came to."""
        self.assertEqual(ledger.head.hash, line[-1].hash)
        registry = Registry([eth_namespace(ledger, b"seed")])
        for height, made in enumerate((self.forge.root, *line)):
            for block in (hex(height), {"blockHash": "0x" + made.hash.hex()}):
                for account in (*ACCOUNTS[4:9], NOBODY):
                    answer = self.get(Deferred.fromCoroutine(registry.invoke("eth_getProof", [account, [], block])))
                    address = bytes.fromhex(account[2:])
                    nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in answer["accountProof"]]
                    raw = HexaryTrie.get_from_proof(made.header.state_root, keccak256(address), nodes)
                    nonce, balance = (int.from_bytes(field) for field in rlp.decode(raw)[:2]) if raw else (0, 0)
                    self.assertEqual((int(answer["nonce"], 16), int(answer["balance"], 16)), (nonce, balance))
                    expected = made.state.account(address)
                    self.assertEqual((nonce, balance), (expected.nonce, expected.balance))

    def refused(self, ledger: Ledger, made: Made) -> str:
        registry = Registry([eth_namespace(ledger, b"seed")])
        block = {"blockHash": "0x" + made.hash.hex()}
        asked = Deferred.fromCoroutine(registry.invoke("eth_getProof", [ACCOUNTS[5], [], block]))
        message: str = self.failureResultOf(asked, RpcError).value.message
        return message

    def test_before_and_after_it_and_after_a_restart(self) -> None:
        disk = Disk()
        one = self.fed([*self.common, *self.ours], disk)
        other = self.fed([*self.common, *self.theirs])
        self.check(one, [*self.common, *self.ours])
        self.check(other, [*self.common, *self.theirs])
        for made in self.theirs:
            self.feed(one, made.raw)
        for made in self.ours:
            self.feed(other, made.raw)
        again = self.started(self.forge.genesis, disk=disk.copy())
        for ledger in (one, other, again):
            self.check(ledger, [*self.common, *self.theirs])
            for made in self.ours:
                self.assertTrue(self.refused(ledger, made))
