"""Feeds a node of Node Discovery v5.1 with bad datagrams, offline, and prints what they did to it.

    nice python benchmarks/fuzz_discovery.py --cases 1000000 --seed 1

Nothing may be raised, no container may pass its bound, no stranger may get more bytes than were sent in its name, and
what honest nodes ask is answered all the while in the sessions that they began with. Exit code 1 otherwise, with the
seed and the case, which repeat it.
"""

import argparse
import sys
import time
import traceback
from pathlib import Path

from chainp2p.testing.footprint import BOUNDS
from chainp2p.testing.fuzzing import DiscoveryFuzz


def resident() -> int:
    """Return the resident memory of this process in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def main() -> int:
    """Play the cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fuzz = DiscoveryFuzz(options.seed)
    fuzz.start()
    start, step = time.process_time(), max(1, options.cases // 10)
    first = resident()
    at = 0
    print(f"{'case':>10}{'a second':>10}{'RSS KiB':>10}{'table':>8}{'sessions':>10}{'verified':>10}", flush=True)

    def shown(case: int) -> None:
        nonlocal at
        at = case
        if not (case + 1) % step:
            seconds = time.process_time() - start
            cells = len(fuzz.core.table), len(fuzz.core.conversations.sessions), fuzz.largest["verified"]
            row = f"{case + 1:>10}{(case + 1) / seconds:>10.0f}{resident():>10}"
            print(row + f"{cells[0]:>8}{cells[1]:>10}{cells[2]:>10}", flush=True)

    try:
        result = fuzz.run(options.cases, shown)
    except Exception:
        traceback.print_exc()
        print(f"seed {options.seed}, case {at + 1}: the node did not stand it", file=sys.stderr)
        return 1
    seconds = time.process_time() - start
    print(f"\n{result.cases} cases in {seconds:.0f} CPU seconds; RSS {first} KiB before, {resident()} KiB after")
    print(f"{result.asked} rounds of honest questions answered, no session of theirs has ended")
    count, sent, got = result.strangers
    print(f"{count} strangers: {sent} bytes in their names, {got} to them ({got / sent:.2f})")
    for title, numbers in (("cases", result.kinds), ("dropped", result.dropped)):
        print(f"\n{title}: " + ", ".join(f"{name} {number}" for name, number in sorted(numbers.items())))
    print("\nlargest (bound): " + ", ".join(f"{name} {size} ({BOUNDS[name]})" for name, size in result.largest.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
