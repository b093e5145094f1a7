"""Whether what sync says of itself is true: somebody who sees all machines compares it with what they do."""

from collections.abc import Callable, Collection
from typing import Any

from attrs import define, field

from chainp2p.chain.tree import better
from chainp2p.sync.state import Phase, SyncState, Waiting
from chainp2p.testing.machines import Machine
from chainp2p.testing.simulator import Simulation
from chainp2p.wire.messages import GetBlocks, GetHeaders

__all__ = ["Witness"]

#: No machine may be without progress for so long while a peer that it is linked with could serve it. Seconds.
STUCK_AFTER = 60.0
#: Nor do nothing about it for so long: an announcement may be lost, and is made up for by asking now and then. Seconds.
IDLE_FOR = 20.0
#: What it says nobody has, nobody has had for so long: "I don't have it" holds for a while. Seconds.
LACKED_FOR = 5.0
#: What it awaits may have come by another way a short while ago. Seconds.
STALE_FOR = 3.0
#: No answer is waited for longer. Seconds.
DEADLINE_MAX = 64.0
_ROUNDING = 1e-3


@define
class _Seen:
    """What one machine was seen to do; times are when it began.

    :param false_since: what was false, and of which block: of another one each second it may be for a moment each.
    """

    head: bytes = b""
    progress: float = 0.0
    better: float | None = None
    idle: float | None = None
    false_since: dict[tuple[str, bytes], float] = field(factory=dict)


@define
class Witness:
    """Looks at all running machines of a simulation with toy chains.

    1. Object: a block that is said to be awaited is one whose header is known and whose body is missing.
    2. Peer: who is said to be asked is linked, and a request for just that is open on the link.
    3. Deadline: what is said to happen otherwise happens when that request ends at the latest, within a minute or so.
    4. Nobody is said to have a block that a linked peer has had for a while.
    5. What the chain is said to check is what it was given and has not judged.
    6. Nobody says that there is nothing to do, nor comes to a stand, while a linked peer could serve what is better.

    :param serves: whether a machine answers others' questions now.
    :param judging: the blocks that its chain was given and has not judged.
    :param looks: how often something was said of a wait.
    """

    simulation: Simulation
    serves: Callable[[Machine], bool]
    judging: Callable[[Machine], Collection[bytes]]
    looks: int = 0
    longest: float = 0.0
    faults: list[str] = field(factory=list)
    _seen: dict[str, _Seen] = field(factory=dict)

    def look(self) -> None:
        """Look at everybody once."""
        for machine in self.simulation.running:
            self._look(machine)

    def restarted(self, machine: Machine) -> None:
        """What it did before does not count."""
        self._seen.pop(machine.name, None)

    def _look(self, machine: Machine) -> None:
        now = self.simulation.clock.seconds()
        seen = self._seen.setdefault(machine.name, _Seen(progress=now))
        assert machine.node is not None
        state: SyncState = machine.node.sync.explain()
        links: dict[bytes, list[Any]] = {}
        for link in machine.node.network._roster.open:  # two, for a moment, where both sides dialled
            links.setdefault(link.peer_id, []).append(link)
        before, seen.false_since = seen.false_since, {}
        for wait in state.waits:
            self.looks += 1
            problem, allowed = self._false(machine, wait, links, now)
            if problem:
                key = problem, wait.hash
                seen.false_since[key] = before.get(key, now)
                if now - seen.false_since[key] >= allowed:
                    self._fault(machine, now, f"{problem}: {wait}")
        if not state.text:
            self._fault(machine, now, "it says nothing")
        self._progress(machine, seen, state, links, now)

    def _progress(
        self, machine: Machine, seen: _Seen, state: SyncState, links: dict[bytes, list[Any]], now: float
    ) -> None:
        if machine.head.hash != seen.head:
            seen.head, seen.progress, seen.better, seen.idle = machine.head.hash, now, None, None
        if not self._could_serve(machine, links):
            seen.better = seen.idle = None
            return
        seen.better = now if seen.better is None else seen.better
        stuck = now - max(seen.better, seen.progress)
        self.longest = max(self.longest, stuck)
        if stuck >= STUCK_AFTER:
            self._fault(machine, now, f"no progress for {stuck:.0f} s: {state.text}")
        idle = state.phase in (Phase.IDLE, Phase.FOLLOWING)
        seen.idle = (now if seen.idle is None else seen.idle) if idle else None
        if seen.idle is not None and now - seen.idle >= IDLE_FOR:
            self._fault(machine, now, f"it does nothing about a better chain: {state.text}")

    def _could_serve(self, machine: Machine, links: dict[bytes, list[Any]]) -> bool:
        return any(better(other.head, machine.head) for other in self._servers(machine, links))

    def _servers(self, machine: Machine, links: dict[bytes, list[Any]]) -> list[Machine]:
        passes = self.simulation.network.passes
        return [
            other
            for other in self.simulation.running
            if other.key.peer_id in links and self.serves(other) and passes(machine.host, other.host)
        ]

    def _false(self, machine: Machine, wait: Waiting, links: dict[bytes, list[Any]], now: float) -> tuple[str, float]:
        """What is false about *wait*, and for how long it may be; empty: it is true."""
        tree = machine.chain._tree
        node = tree.get(wait.hash)
        if wait.what in ("blocks", "peers") and (node is None or node.body or node.info.height != wait.height):
            return "the block is not missing", STALE_FOR
        if wait.what == "peers":
            others = [other.chain._tree.get(wait.hash) for other in self._servers(machine, links)]
            return ("a peer has it" if any(one is not None and one.body for one in others) else ""), LACKED_FOR
        if wait.what == "chain":
            return ("" if wait.hash in self.judging(machine) else "the chain does not check that"), 0.0
        if wait.what == "time":
            return "", 0.0
        ours = links.get(wait.peer or b"")
        if ours is None:
            return "who is asked is not here", 0.0
        open = [asked for link in ours for asked in link._asking._requests._live]
        live = [asked for asked in open if self._covers(asked.request, wait, tree)]
        if not live:
            return "nothing of the kind is asked", 0.0
        if wait.left is None or not 0 <= wait.left <= DEADLINE_MAX + _ROUNDING:
            return "the deadline is none", 0.0
        if now + wait.left > max(asked.deadline for asked in live) + _ROUNDING:
            return "the deadline is later than that of the request", 0.0
        return "", 0.0

    @staticmethod
    def _covers(request: Any, wait: Waiting, tree: Any) -> bool:
        if wait.what == "headers":
            return isinstance(request, GetHeaders) and request.from_ == wait.hash
        first = tree.get(request.from_) if isinstance(request, GetBlocks) else None
        return first is not None and first.info.height <= wait.height < first.info.height + request.count

    def _fault(self, machine: Machine, now: float, what: str) -> None:
        self.faults.append(f"seed {self.simulation.seed}, at {now:.1f} s, {machine.name}: {what}")
