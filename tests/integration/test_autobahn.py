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
#: Milliseconds that kosoku waits at least for an answer or for the other side to close, before it closes by itself
#: (half a second or a whole one): a case that took so long may have met a machine that was late. Where the echo is
#: stopped for seconds now and then, one to three of 247 fail, each after more than this. One that fails sooner saw
#: something wrong.
WAITED = 500
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
#: Id, behaviour, closing behaviour and milliseconds of a case.
Result = tuple[str, str, str, int]


def run(cases: list[str]) -> list[Result]:
    """Results, in a process that has not loaded Autobahn itself, since kosoku wants its validators in pure Python; of
    those cases alone that failed, if any did."""
    command = [sys.executable, "-m", "tests.integration.test_autobahn", *cases]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    return [(id, behavior, close, took) for id, behavior, close, took in json.loads(done.stdout)]


def play(cases: list[str]) -> list[Result]:
    """The same in this process."""
    from kosoku import FailureError, run_fuzzingclient

    command = [sys.executable, "-m", "tests.integration.echo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as echo:
        assert echo.stdout is not None and echo.stdin is not None
        port = int(echo.stdout.readline())
        try:
            results = asyncio.run(asyncio.wait_for(run_fuzzingclient(f"ws://127.0.0.1:{port}/ws", cases), PATIENCE))
        except FailureError as error:
            results = error.results
        finally:
            echo.stdin.close()
    return [(one.case_id, one.behavior.value, one.behavior_close.value, one.duration) for one in results]


def failed(results: list[Result]) -> list[Result]:
    return [one for one in results if one[1] not in GOOD or one[2] not in GOOD]


class AutobahnTests(unittest.TestCase):
    def test_no_case_fails(self) -> None:
        results = run(QUICK)
        bad = failed(results)
        if not bad:
            self.assertGreater(len(results), 200)
        for _ in range(TRIES):
            self.assertEqual([one for one in bad if one[3] < WAITED], [], "these did not wait for anything")
            if bad:
                bad = failed(run([case for case, *_ in bad]))
        self.assertEqual(bad, [])


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
