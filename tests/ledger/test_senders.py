"""Recovering senders: alone, gathered, in chunks, and what fails."""

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.block import assemble, split
from chainp2p.ledger.formats.transaction import Transaction
from chainp2p.ledger.recovering import NOBODY, Signed, pack, recover_packed, unpack
from chainp2p.ledger.senders import PROCESS_CHUNK, WORTH_A_PROCESS, Prepared, SenderRecovery
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, AtOnce, genesis_of, transfer


class Away:
    """A process that answers when it is told to."""

    def __init__(self) -> None:
        self.tasks: list[tuple[bytes, Deferred[bytes | None]]] = []

    def ask(self, task: bytes, within: float) -> "Deferred[bytes | None]":
        assert all(done.called for _, done in self.tasks), "one task at a time"
        self.tasks.append((task, Deferred()))
        return self.tasks[-1][1]

    def go(self, fails: bool = False) -> None:
        task, done = self.tasks[-1]
        done.callback(None if fails else list(recover_packed(task))[-1])


class Cores(AtOnce):
    """Threads run at once, and there are cores for some processes."""

    def __init__(self, spare: int) -> None:
        self.spare_cores = spare
        self.processes: list[Away] = []
        self.in_threads = 0

    def run(self, f: Any, /, *args: Any) -> "Deferred[Any]":
        self.in_threads += 1
        return super().run(f, *args)

    def process(self, name: str, work: Any) -> Any:
        assert work is recover_packed
        self.processes.append(Away())
        return self.processes[-1]


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


class ProcessTests(SynchronousTestCase):
    def setUp(self) -> None:
        forge = Forge(genesis_of(1))
        self.raws = [transfer(number % 3, number // 3) for number in range(WORTH_A_PROCESS)]
        header = forge.grow(forge.root, 1).header.raw
        half = len(self.raws) // 2
        self.splits = [split(assemble(header, part)) for part in (self.raws[:half], self.raws[half:])]
        self.senders = {Transaction.decode(raw).hash: ADDRESSES[n % 3] for n, raw in enumerate(self.raws)}

    def test_many_are_recovered_in_processes_one_chunk_at_a_time(self) -> None:
        cores, known = Cores(2), Prepared()
        done = SenderRecovery(cores).recover(self.splits, known)
        one, other = cores.processes
        chunks = WORTH_A_PROCESS // PROCESS_CHUNK
        self.assertEqual((len(one.tasks), len(other.tasks)), (1, 1))
        for _ in range(chunks - 2):
            self.assertNoResult(done)
            other.go()
        self.assertEqual((len(one.tasks), len(other.tasks)), (1, chunks - 1))
        one.go()
        other.go()
        self.successResultOf(done)
        self.assertEqual((known, cores.in_threads), (Prepared(senders=self.senders), 0))

    def test_one_that_fails_is_not_asked_again_and_threads_do_its_work(self) -> None:
        cores, known = Cores(1), Prepared()
        recovery = SenderRecovery(cores)
        done = recovery.recover(self.splits, known)
        (one,) = cores.processes
        one.go()
        one.go(fails=True)
        self.successResultOf(done)
        self.assertEqual((known.senders, cores.in_threads), (self.senders, WORTH_A_PROCESS // PROCESS_CHUNK - 1))
        known = Prepared()
        self.successResultOf(recovery.recover(self.splits, known))
        self.assertEqual((known.senders, len(one.tasks), len(cores.processes)), (self.senders, 2, 1))

    def test_a_few_are_not_worth_a_process(self) -> None:
        cores, known = Cores(1), Prepared()
        self.successResultOf(SenderRecovery(cores).recover(self.splits[:1], known))
        self.assertEqual((len(known.senders), cores.processes), (WORTH_A_PROCESS // 2, []))

    def test_processes_start_when_headers_are_expected(self) -> None:
        cores = Cores(2)
        recovery = SenderRecovery(cores)
        recovery.expect(self.raws[1:])
        self.assertEqual(cores.processes, [])
        for _ in range(2):
            recovery.expect(self.raws)
        self.assertEqual([len(one.tasks) for one in cores.processes], [1, 1])
        known = Prepared()
        done = recovery.recover(self.splits, known)
        while known.senders != self.senders:
            for one in cores.processes:
                one.go()
        self.successResultOf(done)

    def test_what_has_no_sender_is_left_to_whoever_connects_the_block(self) -> None:
        good = self.raws[0]
        lengthened = good[:1] + b"\xf8" + bytes((good[2] + 1,)) + good[3:] + b"\0"
        steps = list(recover_packed(pack(Signed.TRANSACTIONS, [good, b"", lengthened, good])))
        self.assertEqual(steps[:-1], [None] * 4)
        assert steps[-1] is not None
        self.assertEqual(unpack(steps[-1]), [ADDRESSES[0], NOBODY, NOBODY, ADDRESSES[0]])
        cores, known = Cores(1), Prepared()
        odd = [*self.raws[:-1], b"\x02\xc0"]
        done = SenderRecovery(cores).recover([split(assemble(self.splits[0][0], odd))], known)
        for _ in range(WORTH_A_PROCESS // PROCESS_CHUNK):
            cores.processes[0].go()
        self.successResultOf(done)
        expected = {
            hash: sender for hash, sender in self.senders.items() if hash != Transaction.decode(self.raws[-1]).hash
        }
        self.assertEqual(known.senders, expected)

    def test_headers(self) -> None:
        forge, count = Forge(genesis_of(2)), WORTH_A_PROCESS + PROCESS_CHUNK
        line = forge.line(forge.root, range(1, count))
        raws = [made.header.raw for made in (*line, forge.grow(line[-1], count, seal=False))]
        sealers = {made.header.raw: made.header.miner for made in line}
        cores = Cores(1)
        recovery = SenderRecovery(cores)
        for fails in (False, True):
            parts = recovery.sealers(raws)
            self.assertEqual([raw for part, _ in parts for raw in part], raws)
            for chunk in range(WORTH_A_PROCESS // PROCESS_CHUNK):
                self.assertNoResult(parts[0][1])
                cores.processes[0].go(fails=fails and chunk == 3)
            found = self.successResultOf(parts[0][1])
            if not fails:
                self.assertNoResult(parts[1][1])  # the first part need not wait for it
                cores.processes[0].go()
            found |= self.successResultOf(parts[1][1])
            self.assertEqual(found, dict(list(sealers.items())[: 3 * PROCESS_CHUNK]) if fails else sealers)
        [(part, few)] = recovery.sealers(raws[: WORTH_A_PROCESS - 1])
        self.assertEqual((part, self.successResultOf(few)), (raws[: WORTH_A_PROCESS - 1], {}))
