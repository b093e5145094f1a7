"""Clients of the loss-free stream against real nodes: many that are torn off and come back, and one that freezes.

All run in one loop on a thread of its own. Each is a naive client that complains about any event that does not fit, and
keeps nothing but its chain and the last cursor.
"""

import asyncio
import contextlib
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.integration.processes import call
from tests.rpc.streaming import NaiveClient

__all__ = ["FROZEN_BLOCKS", "Followers", "best_chain"]

#: Subscriptions of the one that freezes: so much is sent to it that the kernel's buffers are soon full.
FROZEN_SUBSCRIPTIONS = 63
#: Bytes that its kernel keeps for it.
FROZEN_BUFFER = 4_096
#: Blocks of which that is more than the kernel keeps for the node (4 MiB here), with what it counts for small pieces.
FROZEN_BLOCKS = 40
#: Seconds without any event after which a client tries another node: a partition does not end connections.
PATIENCE = 60.0
#: Headers of one batch.
_BATCH = 200


def best_chain(url: str, height: int) -> list[str]:
    """The hashes of a node's best chain up to *height*."""
    import urllib.request

    hashes: list[str] = []
    while len(hashes) <= height:
        heights = range(len(hashes), min(height, len(hashes) + _BATCH - 1) + 1)
        calls = [{"jsonrpc": "2.0", "id": at, "method": "chain_getHeader", "params": [at]} for at in heights]
        request = urllib.request.Request(url, json.dumps(calls).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            hashes += [answer["result"]["hash"] for answer in json.load(response)]
    return hashes


class Follower:
    """One client: follows any of the nodes until it is told to end.

    :param urls: where nodes can be reached now.
    """

    def __init__(self, number: int, genesis: bytes, urls: Callable[[], Sequence[str]], counts: Counter[str]) -> None:
        self.number = number
        self.client = NaiveClient(genesis, self._no_parent)
        self.socket: Any = None
        self.frozen = False
        self._urls = urls
        self._random = random.Random(number)
        self._counts = counts
        self._last = ""

    def _no_parent(self, hash: str) -> str:
        raise AssertionError("it begins again at the cursor instead")

    async def run(self) -> None:
        while True:
            url = self._random.choice(self._urls())
            self._counts["moves"] += bool(self._last) and url != self._last
            self._last = url
            try:
                await self._follow(url)
            except (OSError, WebSocketException, TimeoutError):
                self._counts["broken"] += 1
            await asyncio.sleep(self._random.uniform(0.1, 0.5))

    async def _follow(self, url: str) -> None:
        async with connect(url, max_size=None, open_timeout=10, ping_interval=None) as opened:
            self.socket = opened
            await self._begin(opened)
            while True:
                async with asyncio.timeout(PATIENCE):
                    message = json.loads(await opened.recv())
                if self._take(message["params"]["result"]):
                    return

    async def _begin(self, opened: Any) -> None:
        call = {"jsonrpc": "2.0", "id": 1, "method": "chain_subscribe", "params": [["heads"], self.client.cursor]}
        await opened.send(json.dumps(call))
        async with asyncio.timeout(PATIENCE):
            answer = json.loads(await opened.recv())
        assert "result" in answer, answer

    def _take(self, event: dict[str, Any]) -> bool:
        """Process an event; True: something is missing, it is to be asked for again."""
        self._counts[event["type"]] += 1
        if event["type"] == "gap":
            assert (event["reason"], event["resume"]) == ("slow", self.client.cursor), event
            return True
        self.client.take(event)
        return False

    def tear(self) -> None:
        """End the connection without a word."""
        if self.socket is not None and self.socket.transport is not None:
            self.socket.transport.abort()
            self._counts["torn"] += 1


class Frozen(Follower):
    """One that at times does not read; it stays on its node, and begins again on the same connection."""

    #: What it was told when it read again.
    gaps: list[dict[str, Any]]
    thaw: asyncio.Event

    async def _follow(self, url: str) -> None:
        self.gaps = getattr(self, "gaps", [])
        self.thaw = asyncio.Event()
        self.thaw.set()
        parts = urlsplit(url)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FROZEN_BUFFER)
        sock.connect((parts.hostname, parts.port))
        async with connect(url, sock=sock, max_size=None, max_queue=2, open_timeout=10, ping_interval=None) as opened:
            self.socket = opened
            ids = [await self._subscribe(opened, ["heads"], self.client.cursor) for _ in range(FROZEN_SUBSCRIPTIONS)]
            while True:
                await self.thaw.wait()
                async with asyncio.timeout(PATIENCE):
                    message = json.loads(await opened.recv())
                if message.get("params", {}).get("subscription") == ids[-1] and self._take(message["params"]["result"]):
                    self.gaps.append(message["params"]["result"])
                    # the others have done their work: with them a slow machine may again read less than is sent
                    for id in ids:
                        await self._end(opened, id)
                    ids = [await self._subscribe(opened, ["heads"], self.client.cursor)]

    async def _subscribe(self, opened: Any, *params: Any) -> str:
        result: str = await self._ask(opened, "chain_subscribe", *params)
        return result

    async def _end(self, opened: Any, id: str) -> None:
        await self._ask(opened, "chain_unsubscribe", id)

    async def _ask(self, opened: Any, method: str, *params: Any) -> Any:
        """Ask; what comes before the answer is of subscriptions that nobody looks at."""
        await opened.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
        while True:
            async with asyncio.timeout(PATIENCE):
                message = json.loads(await opened.recv())
            if "id" in message:
                return message["result"]


class Followers:
    """So many clients, and a frozen one on the first node; a context manager that runs them.

    :ivar counts: what they met.
    """

    def __init__(self, count: int, genesis: str, urls: Callable[[], Sequence[str]]) -> None:
        raw = bytes.fromhex(genesis[2:])
        self.counts: Counter[str] = Counter()
        self.all = [Follower(number, raw, urls, self.counts) for number in range(count)]
        self.frozen = Frozen(count, raw, lambda: urls()[:1], self.counts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None
        self.frozen_for = 0.0  #: seconds, once that is over
        self._tasks: list[asyncio.Task[None]] = []

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._all())

    async def _all(self) -> None:
        self._tasks = [asyncio.ensure_future(one.run()) for one in [*self.all, self.frozen]]
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            with contextlib.suppress(asyncio.CancelledError):
                self.error = self.error or task.exception()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __enter__(self) -> "Followers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])
        self._thread.join(30)

    def check(self) -> None:
        """Raise what a client complained about."""
        if self.error is not None:
            raise self.error

    def tear(self, numbers: Sequence[int]) -> None:
        """End the connections of some."""
        for number in numbers:
            self._loop.call_soon_threadsafe(self.all[number].tear)

    def freeze(self, seconds: float) -> None:
        """Let the frozen one not read for so long, and for so many blocks that they do not fit anywhere."""
        asyncio.run_coroutine_threadsafe(self._freeze(seconds), self._loop)

    async def _freeze(self, seconds: float) -> None:
        begun, height, thaw = self._loop.time(), self.height, self.frozen.thaw
        thaw.clear()
        while self._loop.time() < begun + seconds or self.height < height + FROZEN_BLOCKS:
            await asyncio.sleep(0.1)
        thaw.set()
        self.frozen_for = self._loop.time() - begun

    def ready(self) -> bool:
        """Whether the frozen one follows, and has blocks."""
        self.check()
        return len(self.frozen.client.chain) > 5 and all(len(one.client.chain) > 5 for one in self.all)

    @property
    def height(self) -> int:
        """Of the highest block that any of them has."""
        self.check()
        return max(len(one.client.chain) for one in self.all) - 1

    def have(self, height: int, hash: str) -> bool:
        """Whether all clients have this block on their chains."""
        self.check()
        chains = [one.client.chain for one in [*self.all, self.frozen]]
        return all(len(chain) > height and chain[height] == hash for chain in chains)

    def agree_with(self, url: str) -> Callable[[], int]:
        """A look whether all clients have exactly the chain of a node; its height, 0 if not (yet)."""
        target: list[Any] = [None]

        def look() -> int:
            if target[0] is None or call(url, "chain_getHeader", target[0]["height"])["hash"] != target[0]["hash"]:
                target[0] = call(url, "chain_head")  # that head was left
            height, hash = target[0]["height"], target[0]["hash"]
            if not self.have(height, hash):
                return 0
            best = best_chain(url, height)
            for one in [*self.all, self.frozen]:
                if one.client.chain[: height + 1] != best:
                    target[0] = None
                    return 0
            return int(height)

        return look
