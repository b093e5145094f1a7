"""``admin_doctor`` and ``admin_reload``."""

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.namespaces import METHOD_NOT_FOUND, RpcError
from chainp2p.node.facts import Finding, Severity
from chainp2p.rpc.methods.doctor import doctor_methods


class DoctorMethods(SynchronousTestCase):
    def methods(self, findings=None, reload=None):
        return {method.name: method.handler for method in doctor_methods(findings, reload)}

    def test_what_is_found(self) -> None:
        async def findings():
            return [Finding("wrong_clock", Severity.WARNING, "late", "set it", {"offset": 9.0})]

        answer = self.successResultOf(ensureDeferred(self.methods(findings)["doctor"]()))
        self.assertEqual(
            answer,
            [
                {
                    "code": "wrong_clock",
                    "severity": "warning",
                    "text": "late",
                    "remedy": "set it",
                    "evidence": {"offset": 9.0},
                }
            ],
        )

    def test_the_list_is_read_again(self) -> None:
        async def reload():
            return 4

        async def unreadable():
            raise SettingsError("line 2")

        self.assertEqual(self.successResultOf(ensureDeferred(self.methods(None, reload)["reload"]())), 4)
        failure = self.failureResultOf(ensureDeferred(self.methods(None, unreadable)["reload"]()), RpcError)
        self.assertIn("the former list stays in force: line 2", str(failure.value))

    def test_where_nothing_runs(self) -> None:
        for name in ("doctor", "reload"):
            failure = self.failureResultOf(ensureDeferred(self.methods()[name]()), RpcError)
            self.assertEqual(failure.value.code, METHOD_NOT_FOUND)
