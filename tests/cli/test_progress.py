"""Bars and lines of what sync says of itself."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli.progress import bar, object_of, ways

SYNC = {"phase": "state", "current": 0, "highest": 4_000, "headers": 4_000, "rate": None, "eta": 12.3, "state": None}
STATE = {"height": 3_584, "share": 0.5, "entries": 1_000, "chunks": 20}


class ProgressTests(SynchronousTestCase):
    def test_a_bar_is_full_only_at_the_end(self) -> None:
        self.assertEqual(bar(99_999, 100_000, "w"), f"[{'#' * 29}.] w, 99.9%")
        self.assertEqual(bar(3, 3, "w"), f"[{'#' * 30}] w, 100.0%")
        self.assertEqual(bar(0, 0, "w"), f"[{'.' * 30}] w, 0.0%")
        self.assertEqual(bar(5, 3, "w"), f"[{'#' * 30}] w, 100.0%")

    def test_each_phase_has_its_bar(self) -> None:
        names = [name for name, _ in ways({**SYNC, "state": STATE})]
        self.assertEqual(names, ["headers", "state", "blocks", "eta"])
        lines = dict(ways({**SYNC, "state": STATE}))
        half = f"[{'#' * 15}{'.' * 15}]"
        self.assertEqual(lines["state"], f"{half} of block 3584, 1000 accounts in 20 chunks, 50.0%")
        self.assertEqual(lines["eta"], "12 s for the state")
        lines = dict(ways({**SYNC, "phase": "headers", "headers": 2_000, "eta": None}))
        self.assertEqual(lines["headers"], f"{half} 2000 of 4000, 50.0%")
        self.assertNotIn("eta", lines)

    def test_what_is_awaited(self) -> None:
        wait = {"what": "headers", "height": 0, "count": 0, "hash": "0x" + "ab" * 32}
        self.assertEqual(object_of(wait), "headers after abababab")
        self.assertEqual(object_of({**wait, "what": "blocks", "height": 7, "count": 3}), "blocks from 7 (3)")

    def test_nothing_is_behind(self) -> None:
        self.assertEqual(ways({**SYNC, "phase": "following"}), [])
        self.assertEqual(ways({**SYNC, "current": 4_000}), [])
