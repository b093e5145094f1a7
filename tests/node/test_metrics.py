"""Grouping samples into what Prometheus reads."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.metric_help import HELP, render_metrics
from chainp2p.node.metrics import families
from chainp2p.rpc.tally import Metric, Tally


class _Fixed:
    def __init__(self, samples: list[Metric]) -> None:
        self._samples = samples

    def collect(self):
        return families(self._samples)


class Families(SynchronousTestCase):
    def written(self, samples: list[Metric]):
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Fixed(samples))  # type: ignore[arg-type]
        return {one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())}

    def test_types_follow_from_names(self) -> None:
        tally = Tally()
        tally.called("eth_chainId", 0.003, -32000)
        found = self.written([*tally.metrics(), ("chainp2p_ready", {}, True)])
        self.assertEqual(found["chainp2p_rpc_call_seconds"].type, "histogram")
        self.assertEqual(found["chainp2p_rpc_errors"].type, "counter")
        self.assertEqual((found["chainp2p_ready"].type, found["chainp2p_ready"].samples[0].value), ("gauge", 1.0))
        self.assertEqual(found["chainp2p_ready"].documentation, HELP["chainp2p_ready"])
        self.assertTrue(all(one.documentation for one in found.values()))

    def test_a_gauge_may_be_called_as_a_part_of_a_histogram(self) -> None:
        self.assertEqual(self.written([("x_count", {}, 3)])["x_count"].type, "gauge")

    def test_two_endpoints_of_a_port_are_one(self) -> None:
        one, other = Tally(), Tally()
        one.called("a", 0.1, None)
        other.called("a", 0.2, None)
        highest = "chainp2p_rpc_waiting_highest_bytes"
        found = self.written([*one.metrics(), *other.metrics(), (highest, {}, 7), (highest, {}, 5)])
        samples = {sample.name: sample.value for sample in found["chainp2p_rpc_call_seconds"].samples}
        self.assertEqual(samples["chainp2p_rpc_call_seconds_count"], 2)
        self.assertAlmostEqual(samples["chainp2p_rpc_call_seconds_sum"], 0.3)
        self.assertEqual([sample.value for sample in found[highest].samples], [7])

    def test_the_reference_has_them_all(self) -> None:
        page = render_metrics()
        self.assertTrue(all(f"``{name}``" in page for name in HELP))
