"""The ledger on real threads and files: writers, readers and admissions at once."""

import os
import pathlib
import random
import signal
import time
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from chainp2p.chain.interfaces import Admission, Connected, HeadChanged
from chainp2p.ledger.chain import Ledger
from chainp2p.node.children import ChildProcess
from chainp2p.node.threads import ThreadExecutor
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, KEYS, TIME, Folder, genesis_of, transfer


@pytest.mark.integration
class ThreadTests(TestCase):
    def ledger(self, forge: Forge, executor: ThreadExecutor, signer: bytes | None = None) -> Ledger:
        folder = pathlib.Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        return Ledger(
            forge.genesis,
            executor=executor,
            now=lambda: TIME + 100.0,
            random=random.Random(1),
            open_database=Folder(folder),
            signer=signer,
        )

    def test_blocks_reads_and_admissions_at_once(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.live())

    async def live(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        forge = Forge(genesis_of(2))
        line = [forge.root]
        for slot in range(1, 40):
            raws = [transfer(5, nonce) for nonce in range((slot - 1) * 20, slot * 20)]
            line.append(forge.grow(line[-1], slot, transactions=raws))
        side = forge.line(line[30], range(41, 42))
        executor = ThreadExecutor(reactor, 2)
        ledger = self.ledger(forge, executor, signer=KEYS[0])
        await ledger.start()
        heads: list[HeadChanged] = []
        ledger.events.subscribe(HeadChanged, heads.append)
        admissions = [ledger.admit(transfer(6, nonce), True) for nonce in range(16)]
        await ledger.add_headers([made.header.raw for made in line[1:]])
        bulk = ledger.submit_blocks([made.raw for made in line[1:20]], line[-1].hash)
        single = [ledger.submit_block(made.raw) for made in line[20:]]
        reads = [ledger.reader.account(ADDRESSES[5], forge.genesis.hash) for _ in range(20)]
        reads += [ledger.blocks_from(forge.genesis.hash, 50, 1 << 20) for _ in range(20)]
        verdicts = await bulk + await gatherResults(single)
        self.assertEqual({type(verdict) for verdict in verdicts}, {Connected})
        await gatherResults(reads)
        outcomes = await gatherResults(admissions)
        self.assertEqual({outcome.outcome for outcome in outcomes}, {Admission.ADMITTED})
        self.assertEqual(ledger.head.height, 39)
        await gatherResults([ledger.submit_block(made.raw) for made in side])
        # the main branch is final far above where the other parts from it
        self.assertEqual(ledger.head.hash, line[-1].hash)
        raw = await ledger.produce(TIME + 102.0)
        self.assertEqual(len(ledger.split(raw)[1]), 16)
        self.assertEqual([change.head.height for change in heads], sorted(change.head.height for change in heads))
        state = await ledger.reader.state(line[-1].hash)
        self.assertEqual(state.root, line[-1].state.root)
        started = time.monotonic()
        await ledger.stop()
        await executor.stop()
        self.assertLess(time.monotonic() - started, 10)

    def test_senders_are_recovered_in_a_process_and_without_it_when_it_is_killed(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.killed())

    async def killed(self) -> None:
        from twisted.internet import reactor  # noqa: TID251

        forge = Forge(genesis_of(1))
        line = [forge.root]
        for slot in range(1, 17):
            raws = [transfer(5, nonce) for nonce in range((slot - 1) * 150, slot * 150)]
            line.append(forge.grow(line[-1], slot, transactions=raws))
        children: list[ChildProcess] = []

        class Watched(ThreadExecutor):
            def process(self, name: str, work: Any) -> ChildProcess:
                children.append(super().process(name, work))
                return children[-1]

        executor = Watched(reactor, 2, spare_cores=1)
        ledger = self.ledger(forge, executor)
        await ledger.start()
        await ledger.add_headers([made.header.raw for made in line[1:]])
        verdicts = await ledger.submit_blocks([made.raw for made in line[1:9]], line[-1].hash)
        (child,) = children
        assert child.pid is not None
        rest = ledger.submit_blocks([made.raw for made in line[9:]], line[-1].hash)
        os.kill(child.pid, signal.SIGKILL)
        verdicts += await rest
        self.assertEqual({type(verdict) for verdict in verdicts}, {Connected})
        state = await ledger.reader.state(line[-1].hash)
        self.assertEqual((ledger.head.hash, state.root), (line[-1].hash, line[-1].state.root))
        await ledger.stop()
        await executor.stop()
        self.assertIsNone(child.pid)
