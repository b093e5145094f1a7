"""Autobahn's cases, families 1 to 10 (there is no 8), against the RPC server's WebSockets; ``kosoku`` runs them."""

import asyncio
import json
import subprocess
import sys
import unittest
from collections import Counter

from tests.integration.processes import ROOT

#: Seconds for all cases of one run on a busy machine.
PATIENCE = 300.0
#: Family 9 measures, by messages of 16 MiB and 262,144 fragments: ``python -m tests.integration.test_autobahn`` has it.
FAMILIES = (1, 2, 3, 4, 5, 6, 7, 9, 10)
QUICK = [f"{family}.*" for family in FAMILIES if family != 9]
TRIES = 2
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def run(cases: list[str]) -> list[tuple[str, str, str]]:
    """Id, behaviour and closing behaviour of each case; in a process that has not loaded Autobahn itself, since kosoku
    wants its validators in pure Python."""
    command = [sys.executable, "-m", "tests.integration.test_autobahn", *cases]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    return [(id, behavior, close) for id, behavior, close in json.loads(done.stdout)]


def play(cases: list[str]) -> list[tuple[str, str, str]]:
    """The same in this process."""
    from kosoku import run_fuzzingclient

    command = [sys.executable, "-m", "tests.integration.echo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as echo:
        assert echo.stdout is not None and echo.stdin is not None
        port = int(echo.stdout.readline())
        try:
            results = asyncio.run(asyncio.wait_for(run_fuzzingclient(f"ws://127.0.0.1:{port}/ws", cases), PATIENCE))
        finally:
            echo.stdin.close()
    return [(one.case_id, one.behavior.value, one.behavior_close.value) for one in results]


def failed(results: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [one for one in results if one[1] not in GOOD or one[2] not in GOOD]


class AutobahnTests(unittest.TestCase):
    def test_no_case_fails(self) -> None:
        results = run(QUICK)
        self.assertGreater(len(results), 200)
        bad = failed(results)
        # both sides wait a second for the other to close: what a busy machine made late is tried alone
        for _ in range(TRIES):
            if bad:
                bad = failed(run([case for case, *_ in bad]))
        self.assertEqual(bad, [], Counter(one[1] for one in results))


def main() -> None:
    """All families, 9 with them: a table of how many were what, and those that are not as they should be.

    With words, these cases only, and as JSON.
    """
    if sys.argv[1:]:
        print(json.dumps(play(sys.argv[1:])))
        return
    results = play([f"{family}.*" for family in FAMILIES])
    for family in FAMILIES:
        mine = [one for one in results if one[0].split(".")[0] == str(family)]
        print(family, dict(Counter(one[1] for one in mine)), "closing", dict(Counter(one[2] for one in mine)))
    print("not good:", failed(results) or "none")


if __name__ == "__main__":
    main()
