"""The devnet itself: its nodes, and what can be done to them."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence

from chainp2p.cli.client import RpcFailure
from chainp2p.cli.devnet_child import Child
from chainp2p.cli.devnet_plan import LEDGER, MAX_NODES, MAX_NODES_BASED, Folder, Options, choose_ports
from chainp2p.errors import SettingsError, StartupError

__all__ = ["Devnet", "Interrupted", "parse_groups"]

#: Seconds for all nodes to come up; a loaded machine takes a second of processor time for each.
START_LIMIT = 90.0
POLL = 0.1


class Interrupted(Exception):
    """The user stopped the network while it was starting."""


def parse_groups(text: str, known: Sequence[int]) -> list[list[int]]:
    """Read ``1,2 / 3,4``; SettingsError names a node that does not exist or stands on two sides."""
    groups: list[list[int]] = []
    seen: set[int] = set()
    for side in text.split("/"):
        group = []
        for word in side.replace(",", " ").split():
            number = int(word.removeprefix("node")) if word.removeprefix("node").isdigit() else 0
            if number not in known:
                raise SettingsError(f"partition: there is no node {word!r}; there are {', '.join(map(str, known))}")
            if number in seen:
                raise SettingsError(f"partition: node {number} stands twice")
            seen.add(number)
            group.append(number)
        if group:
            groups.append(group)
    if len(groups) < 2:
        raise SettingsError("partition: two sides are expected, as in: partition 1,2 / 3,4")
    return groups


class Devnet:
    """Nodes by number. The verbs may be called from several threads and run one at a time.

    :param say: prints a line for the user.
    :param stopping: set when all of it shall end.
    """

    def __init__(
        self, folder: Folder, options: Options, say: Callable[[str], object], stopping: threading.Event
    ) -> None:
        self.children: dict[int, Child] = {}
        self._folder = folder
        self._options = options
        self._say = say
        self._stopping = stopping
        self._lock = threading.RLock()
        self._taken: set[int] = set()
        self._cuts: set[tuple[int, int]] = set()
        self._enrs: dict[int, str] = {}
        self._reported: set[int] = set()

    def start(self, now: float) -> None:
        """Make the network and wait until every node answers; StartupError says which does not and why."""
        options = self._options
        ledger = options.chain == LEDGER
        kept = self._folder.node_numbers() if options.keep and (self._folder.genesis.exists() or not ledger) else []
        numbers = range(1, max([options.nodes, *kept]) + 1)
        limit = MAX_NODES if options.base_port is None else MAX_NODES_BASED
        if len(numbers) > limit:
            raise SettingsError(f"at most {limit} nodes fit")
        signers = 0 if not ledger else options.nodes if options.signers is None else options.signers
        plans = []
        for number in numbers:
            ports = choose_ports(number, options.base_port, self._taken, self._say)
            plans.append(self._folder.plan(number, ports, seals=not kept and number <= signers))
        if ledger and not kept:
            self._folder.write_genesis(plans[:signers], options.period, now)
        for plan in plans:
            bootstrap = plans[0] if plan is not plans[0] else None
            arguments = plan.arguments(self._folder.genesis, bootstrap, options)
            self.children[plan.number] = Child(plan, arguments)
        for child in self.children.values():
            child.spawn()
        for child in self.children.values():
            self._wait_for(child)
        self._write()

    def _wait_for(self, child: Child) -> None:
        deadline = time.monotonic() + START_LIMIT
        while not self._stopping.is_set():
            facts = child.facts()
            if facts is not None:
                self._enrs[child.plan.number] = facts["enr"]
                self._reported.discard(child.plan.number)
                return
            if time.monotonic() > deadline:
                raise StartupError(f"{child.plan.name} does not answer; its log is {child.log}")
            time.sleep(POLL)
        raise Interrupted

    def entries(self) -> list[dict[str, object]]:
        """The nodes as ``devnet.json`` lists them."""
        return [child.entry(self._enrs.get(number, "")) for number, child in self.children.items()]

    def _write(self) -> None:
        self._folder.write_devnet(self.entries(), self._options.chain)

    def _child(self, text: str) -> Child:
        number = text.removeprefix("node")
        if not number.isdigit() or int(number) not in self.children:
            raise SettingsError(f"there is no node {text!r}; there are {', '.join(map(str, self.children))}")
        return self.children[int(number)]

    def kill(self, text: str) -> str:
        """SIGKILL a node."""
        with self._lock:
            child = self._child(text)
            if not child.running:
                raise SettingsError(f"{child.plan.name} does not run")
            self._reported.add(child.plan.number)
            child.kill()
            self._write()
            return f"{child.plan.name} killed"

    def start_node(self, text: str) -> str:
        """Start a node that does not run, on the data it had."""
        with self._lock:
            child = self._child(text)
            if child.running:
                raise SettingsError(f"{child.plan.name} runs already")
            child.kill()
            child.spawn()
            self._wait_for(child)
            self._write()
            return f"{child.plan.name} started"

    def add(self) -> str:
        """One more node, which follows."""
        with self._lock:
            number = max(self.children) + 1
            limit = MAX_NODES if self._options.base_port is None else MAX_NODES_BASED
            if number > limit:
                raise SettingsError(f"at most {limit} nodes fit")
            ports = choose_ports(number, self._options.base_port, self._taken, self._say)
            plan = self._folder.plan(number, ports, seals=False)
            arguments = plan.arguments(self._folder.genesis, self.children[1].plan, self._options)
            child = Child(plan, arguments)
            child.spawn()
            try:
                self._wait_for(child)
            except StartupError:
                child.kill()
                raise
            self.children[number] = child
            self._write()
            return f"{plan.name} added: {plan.admin_url}"

    def partition(self, text: str) -> str:
        """Cut every link between the groups, both ways."""
        with self._lock:
            groups = parse_groups(text, list(self.children))
            for left, right in itertools.combinations(groups, 2):
                for pair in itertools.product(left, right):
                    self._both_ways("admin_removePeer", pair)
                    self._cuts.add(pair)
            return "parted: " + " / ".join(",".join(map(str, group)) for group in groups)

    def heal(self) -> str:
        """Join what was parted."""
        with self._lock:
            for pair in sorted(self._cuts):
                self._both_ways("admin_addPeer", pair)
            joined, self._cuts = len(self._cuts), set()
            return f"healed: {joined} pairs joined"

    def _both_ways(self, method: str, pair: tuple[int, int]) -> None:
        for one, other in (pair, pair[::-1]):
            if self.children[one].running:
                self.children[one].client.call(method, self.children[other].plan.address)

    def status(self) -> list[dict[str, object]]:
        """State of each node, for ``devnet status``."""
        with self._lock:
            return [self._status_of(child) for child in self.children.values()]

    def _status_of(self, child: Child) -> dict[str, object]:
        state: dict[str, object] = {"name": child.plan.name, "pid": None, "height": None, "head": None, "peers": None}
        if child.running:
            try:
                head = child.client.call("chain_head")
                state |= {
                    "height": head["height"],
                    "head": head["hash"],
                    "peers": len(child.client.call("admin_peers")),
                }
            except RpcFailure as error:
                state["error"] = error.format_message()
            state["pid"] = child.entry("")["pid"]
        return state

    def report_ended(self) -> None:
        """Say which nodes have ended by themselves since the last call."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            for number, child in self.children.items():
                if not child.running and number not in self._reported:
                    self._reported.add(number)
                    self._say(f"{child.plan.name} has ended (exit code {child.exit_code}); its log is {child.log}")
                    self._write()
        finally:
            self._lock.release()

    def stop(self) -> None:
        """Stop all nodes."""
        children = list(self.children.values())
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
