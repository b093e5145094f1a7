"""The command group: help, errors, exit codes."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.cli.main import cli
from tests.cli.command import run


class MainTests(SynchronousTestCase):
    def test_every_command_helps_with_examples(self) -> None:
        for name in cli.list_commands(None):
            outcome = run(name, "--help")
            self.assertEqual((outcome.code, outcome.err), (0, ""), name)
            self.assertIn(f"chainp2p {name}", outcome.out)
            self.assertIn("Example", outcome.out, name)

    def test_verbs_and_subcommands_help_with_examples(self) -> None:
        for words in (
            *(("devnet", verb) for verb in ("kill", "start", "partition", "heal", "add", "status")),
            ("key", "new"),
            ("key", "show"),
            ("genesis", "check"),
        ):
            outcome = run(*words, "--help")
            self.assertEqual(outcome.code, 0)
            self.assertIn("Example", outcome.out, words)

    def test_the_group_lists_its_commands(self) -> None:
        outcome = run("--help")
        self.assertEqual(outcome.code, 0)
        for name in cli.list_commands(None):
            self.assertIn(f"  {name}", outcome.out)

    def test_an_error_is_one_line_on_stderr(self) -> None:
        for words, code, text in (
            (["nonsense"], 2, "No such command 'nonsense'"),
            (["status", "--nonsense"], 2, "--nonsense"),
            (["enr", "enr:x"], 2, "record"),
            (["genesis", "check", "/none/such.json"], 2, "/none/such.json: No such file"),
            (["status", "--data-dir", "/none/such"], 1, "no node runs in /none/such"),
            (["devnet", "kill", "2", "--data-dir", "/none/such"], 1, "no devnet runs in /none/such"),
            (["devnet", "-n", "2", "--signers", "3"], 2, "--signers"),
            (["config", "--profile", "pubic"], 2, "node.profile"),
        ):
            outcome = run(*words)
            self.assertEqual((outcome.code, outcome.out, outcome.err.count("\n")), (code, "", 1), words)
            self.assertTrue(outcome.err.startswith("chainp2p: "), outcome.err)
            self.assertIn(text, outcome.err)
