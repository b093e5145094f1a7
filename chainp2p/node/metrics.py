"""``/metrics``: everything that the node counts and holds, in the text format of Prometheus.

Each part answers samples, (name, labels, value), when it is asked; nothing is kept here but what happened to the chain.
The registry is the node's own, so that two nodes of one process, or a host with metrics of its own, do not mix.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from chainp2p.chain.interfaces import BlockProduced, FailedBlock, HeadChanged, TransactionAdded, TransactionDropped
from chainp2p.node.metric_help import HELP
from chainp2p.node.parts import Parts
from chainp2p.rpc.tally import Metric

__all__ = ["NodeMetrics", "families"]

_HISTOGRAM_ENDS = ("_bucket", "_count", "_sum")


def families(samples: Iterable[Metric]) -> Iterable[Family]:
    """Group samples by what they measure. Samples of one name and labels (two endpoints of a port, say) are one: their
    sum, or the highest where the name says so."""
    values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, labels, value in samples:
        found = values.setdefault(name, {})
        key = tuple(labels.items())
        held = found.get(key)
        if held is not None:
            value = max(held, value) if "_highest_" in name else held + value
        found[key] = value
    grouped: dict[str, Family] = {}
    for name, found in values.items():
        base, kind = _kind(name, values)
        family = grouped.get(base)
        if family is None:
            family = grouped[base] = Family(base, HELP.get(base, ""), kind)
        for key, value in found.items():
            family.add_sample(name, dict(key), value)
    return grouped.values()


def _kind(name: str, names: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the family, and its type."""
    if name.endswith("_total"):
        return name.removesuffix("_total"), "counter"
    base = next((name.removesuffix(end) for end in _HISTOGRAM_ENDS if name.endswith(end)), "")
    return (base, "histogram") if f"{base}_bucket" in names else (name, "gauge")


class NodeMetrics(Collector):
    """See the module.

    :param more: what else answers samples: health, ports.
    """

    def __init__(self, parts: Parts, version: str, more: Iterable[Callable[[], Iterable[Metric]]]) -> None:
        self._parts = parts
        self._version = version
        self._more = tuple(more)
        self._happened: Counter[str] = Counter()
        self._unsubscribe = [parts.events.subscribe(kind, count) for kind, count in self._counted()]
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self)

    def _counted(self) -> Iterator[tuple[type[Any], Callable[[Any], None]]]:
        yield HeadChanged, self._moved
        yield BlockProduced, lambda _: self._count("blocks_produced")
        yield FailedBlock, lambda _: self._count("blocks_failed")
        yield TransactionAdded, lambda _: self._count("transactions_added")
        yield TransactionDropped, lambda _: self._count("transactions_dropped")

    def close(self) -> None:
        """Count no more."""
        while self._unsubscribe:
            self._unsubscribe.pop()()

    def _count(self, what: str, by: int = 1) -> None:
        self._happened[what] += by

    def _moved(self, event: HeadChanged) -> None:
        self._count("blocks_connected", len(event.entered))
        if event.left:
            self._count("reorgs")
            self._count("blocks_left", len(event.left))

    def render(self) -> str:
        """Return the text."""
        return generate_latest(self._registry).decode("utf-8")

    def collect(self) -> Iterable[Family]:
        """As the registry asks for it."""
        return families(self._samples())

    def _samples(self) -> Iterator[Metric]:
        parts = self._parts
        yield "chainp2p_info", {"version": self._version, "peer_id": parts.network.enr.peer_id.hex()}, 1
        yield from parts.network.metrics()
        yield from parts.gossip.metrics()
        yield from self._chain()
        yield from self._sync()
        for source in self._more:
            yield from source()

    def _chain(self) -> Iterator[Metric]:
        chain = self._parts.chain
        heights = {"head": chain.head, "best_header": chain.best_header, "finalized": chain.finalized}
        if getattr(chain, "safe", None) is not None:
            heights["safe"] = chain.safe
        for name, info in heights.items():
            yield "chainp2p_chain_height", {"of": name}, info.height
        yield "chainp2p_chain_finality_conflict", {}, getattr(chain, "conflict", None) is not None
        yield "chainp2p_chain_storage_waits", {}, bool(getattr(chain, "storage_error", ""))
        for name in (
            *("blocks_connected", "blocks_left", "reorgs", "blocks_produced", "blocks_failed"),
            *("transactions_added", "transactions_dropped"),
        ):
            yield f"chainp2p_chain_{name}_total", {}, self._happened[name]
        pool = getattr(chain, "pool", None)
        if pool is not None:
            stats = pool.stats()
            yield "chainp2p_pool_transactions", {"state": "pending"}, stats.pending
            yield "chainp2p_pool_transactions", {"state": "queued"}, stats.queued
            yield "chainp2p_pool_bytes", {}, stats.bytes

    def _sync(self) -> Iterator[Metric]:
        state = self._parts.sync.explain()
        for phase in type(state.phase):
            yield "chainp2p_sync_phase", {"phase": phase.value}, phase is state.phase
        yield "chainp2p_sync_height", {"of": "current"}, state.current
        yield "chainp2p_sync_height", {"of": "highest"}, state.highest
        yield "chainp2p_sync_blocks_per_second", {}, state.rate or 0
        yield "chainp2p_sync_waits", {}, len(state.waits)
