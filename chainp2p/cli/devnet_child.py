"""One node of a devnet as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from chainp2p.cli.client import NodeClient
from chainp2p.cli.devnet_plan import HOST, NodePlan
from chainp2p.errors import StartupError
from chainp2p.node.home import NODE_FILE

__all__ = ["Child"]

#: Seconds that a node may take to stop by itself: it promises 5.
STOP_LIMIT = 6.0
#: Lines of its log that are shown when a node does not start.
LOG_TAIL = 8


class Child:
    """Spawns, kills and asks one node.

    The node holds the reading end of a pipe: when the supervisor is gone, however it went, the node stops.
    """

    def __init__(self, plan: NodePlan, arguments: list[str]) -> None:
        self.plan = plan
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self.client = NodeClient(plan.admin_url, timeout=5.0)

    @property
    def log(self) -> Path:
        return self.plan.folder / "node.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process is not None else None

    def spawn(self) -> None:
        """Start the process; :meth:`facts` tells when it is up."""
        reading, self._lifeline = os.pipe()
        # an unclean end leaves the file of the process before
        (self.plan.folder / NODE_FILE).unlink(missing_ok=True)
        command = [sys.executable, "-m", "twisted", "--log-format=text", "chainp2p", *self._arguments]
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, "--lifeline", str(reading)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(reading,),
                    # Ctrl-C in the terminal is for the supervisor, which stops its nodes in order
                    start_new_session=True,
                )
        finally:
            os.close(reading)

    def facts(self) -> dict[str, Any] | None:
        """What the node says of itself once it is up; StartupError with the end of its log if it has ended."""
        if not self.running:
            raise StartupError(f"{self.plan.name} ended with exit code {self.exit_code}: {self._log_tail()}")
        try:
            facts: dict[str, Any] = json.loads((self.plan.folder / NODE_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return facts if self._process is not None and facts.get("pid") == self._process.pid else None

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text("utf-8", "replace").splitlines()
        except OSError:
            return "no log"
        errors = [line for line in lines if line.startswith("chainp2p: ")]
        return errors[-1] if errors else " | ".join(lines[-LOG_TAIL:])

    def entry(self, enr: str) -> dict[str, object]:
        """The node as ``devnet.json`` lists it."""
        peers, rpc, admin = self.plan.ports
        return {
            "name": self.plan.name,
            "pid": self._process.pid if self._process is not None and self.running else None,
            "peerId": self.plan.key.peer_id.hex(),
            "enr": enr,
            "p2p": f"{HOST}:{peers}",
            "discovery": f"{HOST}:{peers}",
            "rpc": f"http://{HOST}:{rpc}",
            "ws": f"ws://{HOST}:{rpc}/ws",
            "admin": f"http://{HOST}:{admin}",
            "dataDir": str(self.plan.folder),
        }

    def kill(self) -> None:
        """End the process without a chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._cut()

    def terminate(self) -> None:
        """Ask it to stop; :meth:`wait` sees to it."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for the end, and enforce it."""
        if self._process is not None:
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._cut()

    def _cut(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
