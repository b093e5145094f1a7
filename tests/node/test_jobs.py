"""Exports and imports of a running node, as RPC asks for them."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as Reactor
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.namespaces import Namespace, RpcError
from chainp2p.node.jobs import JOBS_MAX, JobRefused, Jobs, rate_and_eta
from chainp2p.rpc.methods.jobs import job_methods
from chainp2p.rpc.registry import Registry
from chainp2p.testing.executor import SimExecutor
from tests.ledger.network import Clock, Harness, genesis_of
from tests.ledger.network import transfer as signed


class JobsTests(Harness):
    """The jobs take their time: each step of a file is a turn of the clock."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.reactor = Reactor()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.genesis = genesis_of(1)
        self.chain = self.make(self.genesis, signer=0)
        self.get(self.chain.start())
        for nonce in range(5):
            self.clock.now += 1
            self.get(self.chain.admit(signed(1, nonce), True))
            assert self.get(self.chain.produce(self.clock.now)) is not None
        self.jobs = self.jobs_of(self.chain)

    def jobs_of(self, chain: Any, folder: Path | None = None) -> Jobs:
        executor = SimExecutor(self.reactor, cost=0.5)
        return Jobs(chain, executor, folder or self.folder, self.reactor.seconds)

    def job(self, id: str, jobs: "Jobs | None" = None) -> dict[str, Any]:
        found = (jobs or self.jobs).job(id)
        assert found is not None
        return found

    def until_done(self, id: str, jobs: "Jobs | None" = None) -> dict[str, Any]:
        for _ in range(100):
            if self.job(id, jobs)["state"] != "running":
                break
            self.reactor.advance(0.5)
        return self.job(id, jobs)

    def test_there_and_back(self) -> None:
        id = self.jobs.export("all.blocks")
        self.assertEqual(id, "export-1")
        self.assertEqual(self.job(id)["state"], "running")
        found = self.until_done(id)
        seconds = found.pop("seconds")
        self.assertGreaterEqual(seconds, 1.0)
        self.assertEqual(found.pop("blocksPerSecond"), round(5 / seconds, 1))
        self.assertEqual(
            found,
            {
                "id": "export-1",
                "kind": "export",
                "file": "all.blocks",
                "state": "done",
                "error": None,
                "first": 1,
                "last": 5,
                "done": 5,
                "total": 5,
                "skipped": 0,
                "eta": None,
                "connected": None,
            },
        )
        self.assertTrue((self.folder / "export" / "all.blocks").is_file())
        target = self.make(self.genesis)
        self.get(target.start())
        jobs = self.jobs_of(target)
        id = jobs.restore("all.blocks")
        found = self.until_done(id, jobs)
        self.assertEqual((id, found["state"], found["connected"]), ("import-1", "done", True))
        self.assertEqual(target.head, self.chain.head)

    def test_names_stay_inside_the_folder(self) -> None:
        (self.folder / "secret").write_bytes(b"x")
        (self.folder / "export").mkdir()
        (self.folder / "export" / "link").symlink_to(self.folder / "secret")
        for name in (
            "../secret",
            "/etc/passwd",
            "a/b",
            "..",
            ".",
            "",
            ".hidden",
            "a\0b",
            "a" * 129,
            "a\n",
            "x.new",
            "ä",
        ):
            self.assertRaises(JobRefused, self.jobs.export, name)
            self.assertRaises(JobRefused, self.jobs.restore, name)
        self.assertRaisesRegex(JobRefused, "no such file", self.jobs.restore, "link")
        self.assertRaisesRegex(JobRefused, "there already", self.jobs.export, "link")

    def test_one_at_a_time(self) -> None:
        id = self.jobs.export("one")
        self.assertRaisesRegex(JobRefused, "export-1 is running: one at a time", self.jobs.export, "two")
        self.until_done(id)
        self.assertRaisesRegex(JobRefused, "one: the file is there already", self.jobs.export, "one")
        self.assertEqual(self.jobs.export("two"), "export-2")

    def test_a_failure_is_told(self) -> None:
        (self.folder / "export").mkdir()
        (self.folder / "export" / "junk").write_bytes(b"junk")
        found = self.until_done(self.jobs.restore("junk"))
        self.assertEqual(found["state"], "failed")
        self.assertIn("ends early, at byte 4", found["error"])
        self.assertEqual(self.jobs.export("next"), "export-2")

    def test_an_error_of_ours_is_a_failure_too(self) -> None:
        self.patch(self.chain, "hash_at", lambda height: 1 / 0)
        found = self.until_done(self.jobs.export("one"))
        self.assertEqual((found["state"], found["error"]), ("failed", "ZeroDivisionError: division by zero"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_job_is_cancelled(self) -> None:
        id = self.jobs.export("one")
        self.assertTrue(self.jobs.cancel(id))
        found = self.until_done(id)
        self.assertEqual((found["state"], found["error"]), ("stopped", "stopped at block 1"))
        self.assertEqual(list((self.folder / "export").iterdir()), [])
        self.assertFalse(self.jobs.cancel(id))
        self.assertFalse(self.jobs.cancel("export-9"))

    def test_stopping_waits_for_the_job_to_let_go(self) -> None:
        id = self.jobs.export("one")
        done = Deferred.fromCoroutine(self.jobs.stop())
        self.assertNoResult(done)
        self.until_done(id)
        self.successResultOf(done)
        self.successResultOf(Deferred.fromCoroutine(self.jobs.stop()))

    def test_a_chain_that_was_closed_below_it_is_no_news(self) -> None:
        self.patch(self.chain, "headers_after", lambda *_: 1 / 0)
        id = self.jobs.export("one")
        self.jobs._running.transfer._go_on = lambda: None
        self.jobs.cancel(id)
        self.assertEqual(self.until_done(id)["state"], "failed")

    def test_the_newest_are_remembered(self) -> None:
        for index in range(JOBS_MAX + 3):
            self.until_done(self.jobs.export(f"file{index}"))
        self.assertIsNone(self.jobs.job("export-3"))
        self.assertEqual(self.job("export-4")["state"], "done")

    def test_without_a_folder_there_is_no_job(self) -> None:
        jobs = Jobs(self.chain, SimExecutor(self.reactor), None, self.reactor.seconds)
        self.assertRaisesRegex(JobRefused, "no data directory", jobs.export, "one")


class RateTests(SynchronousTestCase):
    def test_rate_and_time_left(self) -> None:
        self.assertEqual(rate_and_eta(0, 10, 0.0), (0.0, None))
        self.assertEqual(rate_and_eta(0, 10, 5.0), (0.0, None))
        self.assertEqual(rate_and_eta(5, 10, 2.0), (2.5, 2.0))
        self.assertEqual(rate_and_eta(10, 10, 2.0), (5.0, 0.0))


class MethodsTests(SynchronousTestCase):
    class Fake:
        def __init__(self) -> None:
            self.asked: list[Any] = []

        def export(self, name: str, first: int = 1, last: int = 0) -> str:
            if name == "no":
                raise JobRefused("no such name")
            if name == "full":
                raise OSError(28, "No space left on device")
            self.asked.append((name, first, last))
            return "export-1"

        def restore(self, name: str) -> str:
            self.asked.append(name)
            return "import-1"

        def job(self, id: str) -> Any:
            return {"id": id} if id == "export-1" else None

        def cancel(self, id: str) -> bool:
            return id == "export-1"

    def setUp(self) -> None:
        self.fake = self.Fake()
        self.registry = Registry([Namespace("admin", job_methods(self.fake))])

    def refused(self, method: str, *params: Any) -> str:
        return self.assertRaises(RpcError, self.registry.invoke, method, params).message

    def test_calls(self) -> None:
        invoke = self.registry.invoke
        self.assertEqual(invoke("admin_exportChain", ["a"]), "export-1")
        self.assertEqual(invoke("admin_exportChain", ["a", 3, 5]), "export-1")
        self.assertEqual(invoke("admin_importChain", ["b"]), "import-1")
        self.assertEqual(self.fake.asked, [("a", 1, 0), ("a", 3, 5), "b"])
        self.assertEqual(invoke("admin_job", ["export-1"]), {"id": "export-1"})
        self.assertIs(invoke("admin_cancelJob", ["export-1"]), True)

    def test_refusals(self) -> None:
        self.assertEqual(self.refused("admin_exportChain", "no"), "no such name")
        self.assertIn("No space left", self.refused("admin_exportChain", "full"))
        self.assertEqual(self.refused("admin_job", "x"), "there is no job 'x'")
        for height in (-1, "1", True, 2**64, 1.5):
            self.assertIn("a height is expected", self.refused("admin_exportChain", "a", height))
        self.assertIn("invalid argument 0", self.refused("admin_importChain", 5))
        registry = Registry([Namespace("admin", job_methods(None))])
        error = self.assertRaises(RpcError, registry.invoke, "admin_job", ["export-1"])
        self.assertEqual(error.code, -32601)
