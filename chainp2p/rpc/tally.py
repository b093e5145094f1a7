"""What one port has done, in the manner of Prometheus: counted here, written by whoever is asked for it. Pure.

A histogram of latencies also counts the calls, so there is no other counter of them. Names of methods come from the
registry, never from callers: a label that strangers choose would grow without bound.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TypeAlias

from attrs import Factory, define, field

__all__ = ["BUCKETS", "Latencies", "Metric", "Tally"]

#: Name, labels, value.
Metric: TypeAlias = tuple[str, Mapping[str, str], float]

#: Upper ends (seconds): a trivial call takes 0.1 ms, a large batch or proof some 100 ms, the deadline is 30 s.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


@define(eq=False)
class Latencies:
    """A histogram."""

    counts: list[int] = Factory(lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """One took so long, or each of several."""
        self.counts[bisect_left(BUCKETS, seconds)] += times
        self.total += seconds * times

    def metrics(self, name: str, labels: Mapping[str, str]) -> Iterator[Metric]:
        """The samples of the histogram *name*."""
        ends = (*(f"{bound:g}" for bound in BUCKETS), "+Inf")
        for end, count in zip(ends, accumulate(self.counts), strict=True):
            yield f"{name}_bucket", {**labels, "le": end}, count
        yield f"{name}_count", labels, sum(self.counts)
        yield f"{name}_sum", labels, self.total


@define(eq=False)
class Tally:
    """See the module. *port* is the label that tells this port from the other."""

    port: str = "rpc"
    in_flight: int = field(default=0, init=False)  #: messages that are being answered
    paused: int = field(default=0, init=False)  #: messages that had to wait for their sender's debts
    events: int = field(default=0, init=False)  #: of subscriptions, sent or waiting
    dropped: int = field(default=0, init=False)  #: events that found a ring full
    turned_away: int = field(default=0, init=False)  #: connections above the limits
    stalled: int = field(default=0, init=False)  #: WebSockets that were aborted because they took nothing
    latencies: dict[str, Latencies] = field(factory=dict, init=False)
    errors: Counter[tuple[str, int]] = field(factory=Counter, init=False)
    received: Counter[str] = field(factory=Counter, init=False)  #: bytes of requests, by transport
    sent: Counter[str] = field(factory=Counter, init=False)  #: bytes of answers and events, by transport
    replies: Counter[int] = field(factory=Counter, init=False)  #: what HTTP refused, by status

    def called(self, method: str, seconds: float, error: int | None, times: int = 1) -> None:
        """A call has ended, or several alike; *error*: its code."""
        found = self.latencies.get(method)
        if found is None:
            found = self.latencies[method] = Latencies()
        found.add(seconds, times)
        if error is not None:
            self.errors[method, error] += times

    def metrics(self) -> Iterator[Metric]:
        """All of it."""
        port = {"port": self.port}
        yield "chainp2p_rpc_in_flight", port, self.in_flight
        yield "chainp2p_rpc_paused_total", port, self.paused
        yield "chainp2p_rpc_events_total", port, self.events
        yield "chainp2p_rpc_events_dropped_total", port, self.dropped
        yield "chainp2p_rpc_turned_away_total", port, self.turned_away
        yield "chainp2p_rpc_stalled_total", port, self.stalled
        for name, counter in (("received", self.received), ("sent", self.sent)):
            for transport in ("http", "websocket"):
                yield f"chainp2p_rpc_{name}_bytes_total", {**port, "transport": transport}, counter[transport]
        for status, count in sorted(self.replies.items()):
            yield "chainp2p_rpc_http_refused_total", {**port, "status": str(status)}, count
        for (method, code), count in sorted(self.errors.items()):
            yield "chainp2p_rpc_errors_total", {**port, "method": method, "code": str(code)}, count
        for method, latencies in sorted(self.latencies.items()):
            yield from latencies.metrics("chainp2p_rpc_call_seconds", {**port, "method": method})
