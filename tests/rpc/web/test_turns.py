"""A chain that is read a few times at once."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.turns import READS, ChainInTurns
from chainp2p.testing.toychain import ToyChain


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.chain = ToyChain()
        self.asked: list[tuple[bytes, Deferred[Any]]] = []
        self.patch(self.chain, "block", self.block)
        self.turns = ChainInTurns(self.chain)

    def block(self, hash: bytes) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.asked.append((hash, done))
        return done

    def test_what_it_answers_is_the_chains(self) -> None:
        chain, genesis = self.chain, self.chain.genesis_hash
        self.assertEqual((self.turns.head, self.turns.genesis_hash), (chain.head, genesis))
        self.assertEqual(self.successResultOf(self.turns.hash_at(0)), genesis)
        self.assertEqual(self.successResultOf(self.turns.locate(genesis)), chain.head)
        self.assertEqual(self.successResultOf(self.turns.hashes_at(genesis, [0, 1])), {0: genesis})
        self.assertEqual(self.turns.split(chain.make()), chain.split(chain.make()))

    def test_only_a_few_reads_at_a_time_in_order(self) -> None:
        reads = [self.turns.block(b"%d" % index) for index in range(3 * READS)]
        self.assertEqual(len(self.asked), READS)
        for index, read in enumerate(reads):
            self.asked[index][1].callback(index)
            self.assertEqual(self.successResultOf(read), index)
            self.assertEqual(len(self.asked), min(len(reads), READS + index + 1))
        self.assertEqual([hash for hash, _ in self.asked], [b"%d" % index for index in range(3 * READS)])

    def test_who_gives_up_makes_room(self) -> None:
        reads = [self.turns.block(b"%d" % index) for index in range(READS + 2)]
        for read in (reads[READS], reads[0]):
            read.cancel()
            self.failureResultOf(read, CancelledError)
        self.assertEqual([hash for hash, _ in self.asked][-1], b"%d" % (READS + 1))

    def test_a_read_that_fails_makes_room(self) -> None:
        reads = [self.turns.block(b"%d" % index) for index in range(READS + 1)]
        self.asked[0][1].errback(OSError())
        self.failureResultOf(reads[0], OSError)
        self.assertEqual(len(self.asked), READS + 1)
