"""How long the interpreter may keep all else waiting: for a process of our own, not for one in which we are a guest."""

import gc
import sys

__all__ = ["shorten_pauses"]

#: How long a thread may keep the interpreter while the reactor waits for it (seconds; Python's own is 0.005). Requests
#: that read the database made others late: the p99 of a peer's pings rose by 82 % while blocks were asked for at ten
#: times the quota, and does not rise at all with this.
SWITCH_INTERVAL = 0.0005
#: How many more objects there are before the young, the middle and all of them are looked through for cycles (Python's
#: own: 700, 10, 10). Looking through all takes a tenth of a second with a chain in memory, and nothing else runs
#: meanwhile: while 100,000 transactions were downloaded, the p99 of answers was 128 and 130 ms, and 22 to 41 ms with
#: these numbers; with 50,000 young ones, which take 15 to 55 ms to look through, it was 51 ms. Memory was the same, for
#: the ledger's values hold no cycles.
COLLECT_AFTER = (15_000, 60, 50)


def shorten_pauses() -> None:
    """Set this process so."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.set_threshold(*COLLECT_AFTER)
