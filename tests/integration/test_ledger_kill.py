"""A process that writes a ledger is killed at random moments; what it leaves needs no repair."""

import pathlib
import random
import signal
import subprocess
import sys

import pytest

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES
from chainp2p.ledger.formats.header import Header
from tests.ledger.network import TIME, Folder, Harness, genesis_of

ROOT = pathlib.Path(__file__).parents[2]

#: What the killed process does: it seals as fast as it can and prints each head after it was connected.
CHILD = """
import itertools, pathlib, sys
from tests.ledger.network import Folder, Harness, TIME, genesis_of, transfer

class Writer(Harness):
    def write(self, folder):
        self.setUp()
        genesis = genesis_of(2, 250)
        ledger = self.make(genesis, 0, disk=Folder(folder))
        self.clock.now = TIME + 10**7 + 10**5 * int(sys.argv[2])
        self.get(ledger.start())
        first = ledger.engine.slot_at(self.clock.now) // 2 * 2 + 2
        for slot in itertools.count(first, 2):
            nonce = ledger.pool.pending_nonce(bytes.fromhex(sys.argv[3]))
            self.get(ledger.admit(transfer(5, nonce), True))
            assert self.seal(ledger, slot) is not None
            print(ledger.head.height, ledger.head.hash.hex(), flush=True)

Writer("setUp").write(pathlib.Path(sys.argv[1]))
"""


@pytest.mark.integration
class KillTests(Harness):
    def test_kill_9_while_it_writes(self) -> None:
        chance = random.Random(9)
        folder = pathlib.Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        genesis = genesis_of(2, 250)
        self.clock.now = TIME + 10**8
        for run in range(4):
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(folder), str(run), DEV_ADDRESSES[5].hex()],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randint(1, 60))]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
            child.wait()
            child.stdout.close()
            height, head = next(line for line in reversed(lines) if line.endswith("\n")).split()
            ledger = self.make(genesis, 0, disk=Folder(folder))
            self.get(ledger.start())
            # at most the block in progress came after what was printed
            self.assertIn(ledger.head.height - int(height), (0, 1))
            self.assertEqual(self.get(ledger.hash_at(int(height))).hex(), head)
            state = self.get(ledger.reader.state(ledger.head.hash))
            raw = self.get(ledger.header(ledger.head.hash))
            header = Header.decode(raw)
            self.assertEqual(state.root, header.state_root)
            record = ledger._core().record
            self.assertGreaterEqual(record.highest, header.nonce)
            self.assertIsNotNone(self.get(ledger.block(ledger.head.hash)))
            self.get(ledger.stop())
