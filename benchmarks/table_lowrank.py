"""Headers of low rank from many peers: what they cost a fresh node and one in step, and how good chains fare meanwhile.

    python benchmarks/table_lowrank.py

Each row is a process of its own, on a virtual clock with links in memory (10 ms one way), run with the attackers and
without: the memory is the difference of the two processes' peaks and holds the attackers' own. With toy chains 50 peers
send 200,000 headers each, all different. With the ledger they send what one leaked key of four signers seals in every
slot of its own since genesis, the same from each; 10,000 headers a peer, for each takes a recovered signature. With
proof of work they send as many that cost next to nothing: a quarter of an hour apart, so that their difficulty is soon
1; that of the good chain is 64. All state a rank and a height that they do not have. The good peer arrives last and
claims least. The last rows are what an honest chain costs that is downloaded twice. Exit code 1 if a bound is broken.
"""

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from random import Random

from chainp2p.chain.interfaces import HeaderAdded
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.consensus.poa import SlotEntry, rank_of, seal_header
from chainp2p.ledger.formats.genesis import Genesis
from chainp2p.ledger.formats.header import Header, make_header
from chainp2p.sync.service import SyncService
from chainp2p.sync.serving import HEADERS_MAX
from chainp2p.testing.cheap import CheapHeaders
from chainp2p.testing.toychain import ToyChain
from chainp2p.wire.messages import Blocks, GetBlocks, GetHeaders, Headers, NotFound
from tests.ledger.forge import Forge
from tests.ledger.network import KEYS, TIME, AtOnce, Folder, genesis_of
from tests.ledger.quarry import Quarry, work_genesis
from tests.links import Host, Net, Puppet, connect, make_status, not_found
from tests.sync.test_low_rank import WEIGHT, Toys
from tests.sync.test_service import grow

#: What has to hold: MiB of memory beside what a run without attackers takes; seconds until the good chain is followed.
MEMORY, FOLLOWED = 16, 120.0
PEERS, TOYS, SEALED = 50, 200_000, 10_000
#: The rank that attackers state.
HIGH = b"\xff" * 32
#: Blocks of the good chain.
GOOD_TOYS, GOOD_BLOCKS = 5_000, 2_000
#: Difficulty of good blocks with proof of work, and seconds between those that cost next to nothing.
DIFFICULTY, APART = 64, 900
#: On a node in step a new good block comes so often, in seconds, and so many do.
BLOCK_TIME, NEW_BLOCKS = 1.0, 60
HEADERS = 20_000


class Node(Host):
    """A host that does nothing but sync; nothing that was sent is kept."""

    def __init__(self, net: Net, name: str, chain: Any, status: Any = None) -> None:
        self.chain = chain
        self.sync = SyncService(
            chain=chain, reactor=net.clock, now=net.clock.seconds, random=Random(name), events=chain.events
        )
        super().__init__(net, name, [self.sync], status or self.state)
        self.sync.start()

    def state(self) -> Any:
        head = self.chain.head
        return make_status(head.hash, head.height, head.rank)


def join(one: Host, other: Host) -> Any:
    """Connect two hosts whose links keep no record of what went over them."""
    near, far = connect(one, other)
    near.sent = far.sent = deque(maxlen=0)  # type: ignore[assignment]
    return near


class Served:
    """A good chain of raw headers and blocks from genesis on, grown by the script."""

    def __init__(self, genesis: bytes) -> None:
        self.hashes, self.headers, self.blocks = [genesis], [b""], [b""]
        self.place = {genesis: 0}

    def add(self, hash: bytes, header: bytes, block: bytes) -> None:
        self.place[hash] = len(self.hashes)
        self.hashes.append(hash)
        self.headers.append(header)
        self.blocks.append(block)

    def give_headers(self, message: GetHeaders) -> Any:
        at = self.place.get(message.from_)
        return NotFound(()) if at is None else Headers(tuple(self.headers[at + 1 : at + 1 + message.count]))

    def give_blocks(self, message: GetBlocks) -> Any:
        at = self.place.get(message.from_)
        return NotFound(()) if at is None else Blocks(tuple(self.blocks[at : at + min(message.count, 128)]))


def sealed(forge: Forge, slots: Sequence[int], key: Callable[[int], bytes]) -> Iterator[tuple[Header, SlotEntry]]:
    """Empty headers in a row from genesis on, one in each of these *slots*, sealed by the *key* of its height."""
    parent, entry = forge.root.header, forge.root.entry
    for number, slot in enumerate(slots, 1):
        parent = seal_header(
            make_header(
                parent=parent.hash,
                number=number,
                gas_limit=entry.gas_limit,
                timestamp=forge.slots.timestamp(slot),
                nonce=slot,
                base_fee=forge.slots.base_fee_after(entry),
                state_root=forge.root.header.state_root,
            ),
            key(number),
        )
        entry = forge.slots.entry(parent, entry, number, forge.slots.in_turn(number, slot))
        yield parent, entry


class Fixed:
    """Headers on genesis, made once and sent by all."""

    def __init__(self, genesis: bytes, headers: Sequence[Header]) -> None:
        self._genesis = genesis
        self._raws, self._hashes = [header.raw for header in headers], [header.hash for header in headers]

    def start(self) -> tuple[bytes, object]:
        return self._genesis, 0

    def below(self, hash: bytes) -> list[bytes] | None:
        return [] if hash == self._genesis else None

    def next(self, place: Any) -> tuple[bytes, bytes, object]:
        return self._raws[place], self._hashes[place], place + 1


def toys(net: Net) -> tuple[ToyChain, Served, Any, int]:
    """A fresh chain, the good one, how it grows, and the forgers."""
    good = ToyChain()
    served = Served(good.genesis_hash)

    def more(count: int) -> None:
        for raw in grow(good, count, weight=WEIGHT):
            served.add(good.block_hash(raw), good.split(raw)[0], raw)

    more(GOOD_TOYS)
    served.rank = lambda: good.head.rank  # type: ignore[attr-defined]
    chain = ToyChain()
    return chain, served, more, [Toys(chain, number + 1) for number in range(PEERS)]  # type: ignore[return-value]


def ledger(net: Net, folder: Path, genesis: Genesis) -> Ledger:
    chain = Ledger(
        genesis,
        executor=AtOnce(),
        now=lambda: TIME + 10**7 + net.clock.seconds(),
        random=Random(1),
        open_database=Folder(folder),
    )
    chain.start()
    return chain


def works(net: Net, folder: Path) -> tuple[Ledger, Served, Any, Any]:
    """A fresh ledger with proof of work, the good chain, how it grows, and who mines cheaply."""
    genesis = work_genesis(difficulty=DIFFICULTY)
    quarry = Quarry(genesis)
    served = Served(genesis.hash)
    tip = [quarry.root]

    def more(count: int) -> None:
        for _ in range(count):
            tip[0] = quarry.grow(tip[0])
            served.add(tip[0].hash, tip[0].header.raw, tip[0].raw)

    more(GOOD_BLOCKS)
    served.rank = lambda: tip[0].entry.total.to_bytes(32, "big")  # type: ignore[attr-defined]
    return ledger(net, folder, genesis), served, more, [Fixed(genesis.hash, list(quarry.cheap(SEALED, APART)))] * PEERS


def signed(net: Net, folder: Path) -> tuple[Ledger, Served, Any, Any]:
    """A fresh ledger with signers, the good chain, how it grows, and who has the leaked key."""
    genesis = genesis_of(4)
    forge = Forge(genesis)
    served = Served(genesis.hash)
    tip = [forge.root]

    def more(count: int) -> None:
        for _ in range(count):
            tip[0] = forge.grow(tip[0], tip[0].entry.slot + 1)
            served.add(tip[0].hash, tip[0].header.raw, tip[0].raw)

    more(GOOD_BLOCKS)
    served.rank = lambda: rank_of(tip[0].entry, tip[0].header.number)  # type: ignore[attr-defined]
    headers = [header for header, _ in sealed(forge, range(4, 4 * SEALED + 1, 4), lambda _: KEYS[0])]
    return ledger(net, folder, genesis), served, more, [Fixed(genesis.hash, headers)] * PEERS


def size(folder: Path) -> int:
    """Bytes of the databases, with what waits in their logs moved into them."""
    for file in folder.glob("*.sqlite"):
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    return sum(file.stat().st_size for file in folder.iterdir() if not file.name.endswith("-shm"))


def play(kind: str, in_step: bool, attacked: bool) -> dict[str, Any]:
    """One process's row."""
    net = Net()
    net.tasks = deque(maxlen=1)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = {"toy": lambda net, _: toys(net), "ledger": signed, "pow": works}[kind]
        chain, served, more, forgers = make(net, folder)
        count = TOYS if kind == "toy" else SEALED
        node = Node(net, "node", chain)
        sent, added = [0], []
        chain.events.subscribe(HeaderAdded, lambda event: added.append(event.header.hash))

        def status() -> Any:
            return make_status(served.hashes[-1], len(served.hashes) - 1, served.rank())  # type: ignore[attr-defined]

        good = Puppet(net, "good", status(), {GetHeaders: served.give_headers, GetBlocks: served.give_blocks})
        good.status = status

        def there() -> bool:
            return bool(chain.head.hash == served.hashes[-1])

        def known() -> bool:
            return bool(chain.best_header.hash == served.hashes[-1])

        link = None
        if in_step:
            link = join(node, good)
            assert net.clock.run_while(lambda: not there(), 600.0)
        before, base = size(folder), resident()
        began, cpu = net.clock.seconds(), time.process_time()

        def sending(headers: int) -> None:
            sent[0] += headers

        for number, forger in enumerate(forgers if attacked else ()):
            cheap = CheapHeaders(forger, count, sent=sending)
            claim = make_status(bytes([number + 1]) * 32, 10**9, HIGH)
            join(node, Puppet(net, f"bad{number}", claim, {GetHeaders: cheap.answer, GetBlocks: not_found}))
        followed = connected = 0.0
        if in_step:
            assert link is not None
            for _ in range(NEW_BLOCKS):
                more(1)
                node.sync.heard(link, served.hashes[-1], len(served.hashes) - 1)
                came = net.clock.seconds()
                assert net.clock.run_while(lambda: not known(), 600.0), node.sync.explain()
                followed = max(followed, net.clock.seconds() - came)
                assert net.clock.run_while(lambda: not there(), 600.0), node.sync.explain()
                connected = max(connected, net.clock.seconds() - came)
                net.clock.run_for(max(0.0, came + BLOCK_TIME - net.clock.seconds()))
        else:
            join(node, good)
            assert net.clock.run_while(lambda: chain.best_header.hash != served.hashes[-1], 3_600.0), (
                node.sync.explain()
            )
            followed = net.clock.seconds() - began
        of_cpu = time.process_time() - cpu
        if attacked:
            net.clock.run_while(lambda: sent[0] < count * len(forgers), 3_600.0)
        net.clock.run_while(lambda: not there(), 600.0)
        strange = len(set(added) - set(served.hashes))
        assert there()
        return {
            "sent": sent[0],
            "followed": followed,
            "connected": connected,
            "cpu": of_cpu,
            "all": time.process_time() - cpu,
            "strange": strange,
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "base": base,
            "disk": size(folder) - before,
            "faults": len(node.faults),
            "links": len(node.links),
        }


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def honest(twice: bool) -> dict[str, Any]:
    """The headers of a long good chain, downloaded from one peer into an empty ledger."""
    net = Net()
    with tempfile.TemporaryDirectory() as name:
        genesis = genesis_of(4)
        forge = Forge(genesis)
        served = Served(genesis.hash)
        headers = list(sealed(forge, range(1, HEADERS + 1), lambda number: KEYS[number % 4]))
        for header, _ in headers:
            served.add(header.hash, header.raw, b"")
        header, entry = headers[-1]
        chain = Ledger(
            genesis,
            executor=AtOnce(),
            now=lambda: TIME + 10**7,
            random=Random(1),
            open_database=Folder(Path(name)),
        )
        chain.start()
        status = make_status(header.hash, HEADERS, rank_of(entry, HEADERS) if twice else bytes(32))
        peer = Puppet(net, "good", status, {GetHeaders: served.give_headers, GetBlocks: not_found})
        node = Node(net, "node", chain)
        link = join(node, peer)
        if not twice:
            node.sync.heard(link, header.hash, HEADERS)
        cpu = time.process_time()
        assert net.clock.run_while(lambda: chain.best_header.height < HEADERS, 600.0)
        return {"cpu": time.process_time() - cpu, "seconds": net.clock.seconds(), "messages": HEADERS / HEADERS_MAX}


def row(*arguments: str) -> dict[str, Any]:
    """Run one row in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--row", *arguments], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--kinds", nargs="+", default=["toy", "ledger", "pow", "honest"])
    options = parser.parse_args()
    if options.row:
        kind, *flags = options.row
        print(json.dumps(honest("twice" in flags) if kind == "honest" else play(kind, "step" in flags, "bad" in flags)))
        return 0
    broken = []
    print(
        f"{'chain':7} {'node':8} {'headers sent':>13} {'memory':>9} {'headers kept':>13} {'disk':>9} "
        f"{'good chain after':>17} {'CPU a header':>13}"
    )
    for kind in [one for one in ("toy", "ledger", "pow") if one in options.kinds]:
        for state in ("fresh", "step"):
            without, attacked = row(kind, state), row(kind, state, "bad")
            memory, disk = attacked["rss"] - without["rss"], attacked["disk"] - without["disk"]
            each = (attacked["all"] - without["all"]) / attacked["sent"] * 1e6
            print(
                f"{kind:7} {state:8} {attacked['sent']:13,} {memory:5.1f} MiB {attacked['strange']:13,} "
                f"{disk:7,} B {attacked['followed']:15.2f} s {each:10.1f} us",
                flush=True,
            )
            print(
                f"{'':16} without attackers {without['followed']:.2f} s; CPU until then {attacked['cpu']:.1f} s and "
                f"{without['cpu']:.1f} s; {attacked['links']} links stand, {attacked['faults']} faults; "
                f"a new block connected after {attacked['connected']:.2f} s at most"
            )
            if memory > MEMORY or attacked["strange"] or disk > 0 or attacked["followed"] > FOLLOWED:
                broken.append(f"{kind} {state}")
    if "honest" in options.kinds:
        once, twice = row("honest"), row("honest", "twice")
        print(
            f"\n{HEADERS:,} good headers of the ledger: stored as they come {once['cpu']:.1f} s of CPU, in two passes "
            f"{twice['cpu']:.1f} s ({twice['cpu'] / once['cpu']:.2f} times); on the clock {once['seconds']:.2f} s and "
            f"{twice['seconds']:.2f} s"
        )
    for name in broken:
        print(f"BROKEN: {name}")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
