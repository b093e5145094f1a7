"""Recovering senders: alone, gathered, in chunks, and what fails."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.block import assemble, split
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.senders import CHUNK, Prepared, SenderRecovery
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, AtOnce, genesis_of, transfer


class Later:
    """Jobs wait until they are let go."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Any, Any, Any]] = []

    def run(self, f: Any, /, *args: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.jobs.append((done, f, args))
        return done

    def lane(self, name: str) -> "Later":
        return self

    def go(self) -> None:
        done, f, args = self.jobs.pop(0)
        done.callback(f(*args))


class NoPool:
    def entry(self, hash: bytes) -> None:
        return None


class FullPool:
    """Knows the even ones."""

    def __init__(self, hashes: list[bytes]) -> None:
        self._known = set(hashes[::2])

    def entry(self, hash: bytes) -> Any:
        return SimpleNamespace(sender=ADDRESSES[5], transaction=hash) if hash in self._known else None


class SenderTests(SynchronousTestCase):
    def test_single_ones_gather_while_a_chunk_is_away(self) -> None:
        later = Later()
        recovery = SenderRecovery(later)
        count = CHUNK + 8
        waiting = [recovery.sender(Transaction.decode(transfer(nonce % 3, nonce))) for nonce in range(count)]
        sizes = []
        while later.jobs:
            sizes.append(len(later.jobs[0][2][0]))
            later.go()
        self.assertEqual(sizes, [1, CHUNK, 7])
        self.assertEqual([self.successResultOf(one) for one in waiting], [ADDRESSES[n % 3] for n in range(count)])

    def test_a_job_that_fails_fails_its_own_only(self) -> None:
        later = Later()
        recovery = SenderRecovery(later)
        one = recovery.sender(Transaction.decode(transfer(0, 0)))
        other = recovery.sender(Transaction.decode(transfer(1, 0)))
        later.jobs.pop(0)[0].errback(Failure(KeyError("threads are gone")))
        self.failureResultOf(one, KeyError)
        later.go()
        self.assertEqual(self.successResultOf(other), ADDRESSES[1])

    def test_blocks(self) -> None:
        recovery = SenderRecovery(AtOnce())
        forge = Forge(genesis_of(1))
        raws = [transfer(5, nonce) for nonce in range(40)]
        block = forge.grow(forge.root, 1, transactions=raws)
        odd = assemble(block.header.raw, [*raws[:20], b"\x02\xc0"])
        hashes = [hash for hash, _ in split(block.raw)[1]]

        def look(pool: Any) -> "tuple[Prepared, list[Any]]":
            known = Prepared(splits={block.raw: split(block.raw), odd: split(odd)})
            return known, recovery.look(known, pool)

        known, unknown = look(NoPool())
        self.assertEqual((known.senders, known.decoded, unknown), ({}, {}, [split(block.raw), split(odd)]))
        known, unknown = look(FullPool(hashes))
        self.assertEqual((known.senders, unknown), (dict.fromkeys(hashes[::2], ADDRESSES[5]), [split(block.raw)]))
        self.assertEqual(known.decoded, dict(zip(raws[::2], hashes[::2], strict=True)))
        known, unknown = look(FullPool(hashes + hashes[1:]))
        self.assertEqual((len(known.senders), unknown), (40, []))

        small, broken = forge.root.raw, b"\xc3" + bytes(5000)
        asked: list[list[bytes]] = []

        def acceptable(headers: list[bytes]) -> "Deferred[list[bool]]":
            asked.append(headers)
            return succeed([True, False])

        found = self.successResultOf(
            Deferred.fromCoroutine(recovery.blocks([block.raw, odd, small, broken], NoPool(), acceptable))
        )
        self.assertEqual(asked, [[block.header.raw, block.header.raw]])
        self.assertEqual(found.splits, {block.raw: split(block.raw), odd: split(odd)})
        self.assertEqual(found.senders, dict.fromkeys(hashes, ADDRESSES[5]))
        self.assertEqual(found.decoded, {raw: Transaction.decode(raw) for raw in raws})
        found = self.successResultOf(Deferred.fromCoroutine(recovery.blocks([small], NoPool(), acceptable)))
        self.assertEqual((found, len(asked)), (Prepared(), 1))

    def test_what_does_not_decode_is_left_out(self) -> None:
        recovery, forge = SenderRecovery(AtOnce()), Forge(genesis_of(1))
        raws = [transfer(5, nonce) for nonce in range(20)]
        block = forge.grow(forge.root, 1, transactions=raws)
        found = Prepared()
        odd = assemble(block.header.raw, [*raws, b"\x02\xc0"])
        self.successResultOf(recovery.recover([split(odd)], found))
        self.assertEqual(set(found.decoded), set(raws))
