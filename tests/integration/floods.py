"""Peers that send far too much or never read, each in a process of its own, and honest ones that measure.

``python -m tests.integration.floods KIND PORT SECONDS FACTOR [calm]`` is one flooding peer; it prints one JSON object.
With ``calm`` it floods in every second window of :data:`WINDOW` seconds only, by the clock that all processes share, so
that times with and without the flood are taken side by side on a machine that does other things too.
"""

import json
import os
import random
import select
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chainp2p.ledger.formats.genesis import DEV_GENESIS
from chainp2p.peer.key import NodeKey
from chainp2p.peer.quota import quotas_of
from chainp2p.wire import CODEC, Disconnect, GetBlocks, GetHeaders, Headers, Message, Ping, encode
from chainp2p.wire.frames import FrameReader, encode_frames
from chainp2p.wire.messages import GetMempool, GetPeers, GetTransactions
from chainp2p.wire.schema import Kind
from tests.integration.stranger import Stranger

__all__ = ["FLOODS", "NEVER_READS", "WINDOW", "Flood", "Honest", "connects_within", "is_flooding"]

ROOT = Path(__file__).parents[2]
GENESIS = DEV_GENESIS.hash
#: How often a flooding peer sends what is due (seconds): a burst of one tick is small against every quota.
TICK = 0.02
#: Seconds of flood and of calm, in turn.
WINDOW = 2.0
#: A tag that nobody has given out.
UNKNOWN = (999).to_bytes(4, "little")
NEVER_READS = "never reads"

#: What each flood repeats.
FLOODS: dict[str, Message | bytes] = {
    "ping": Ping(1),
    "headers, one": GetHeaders(GENESIS, 1),
    "headers, many": GetHeaders(GENESIS, 2_000),
    "blocks, one": GetBlocks(GENESIS, 1),
    "blocks, many": GetBlocks(GENESIS, 128),
    "transactions, one": GetTransactions((bytes(32),)),
    "transactions, many": GetTransactions(tuple(bytes([n]) * 32 for n in range(256))),
    "mempool": GetMempool(),
    "peers": GetPeers(),
    "unknown requests": UNKNOWN,
}

#: Where the seeds of the flooders' keys begin: by process, for two with one key would be one peer.
KEYS = 1_000_000


def _stranger(port: int, seed: int) -> Stranger:
    stranger = Stranger(port, GENESIS, NodeKey.generate(random.Random(seed).randbytes))
    stranger.greet()
    return stranger


def _wait_until_ready(stranger: Stranger) -> None:
    """A node answers requests of those alone whose greeting it has taken."""
    stranger.send(GetHeaders(GENESIS, 1), Kind.REQUEST)
    stranger.wait_for(Headers)


def rate_of(what: Message | bytes) -> float:
    """Messages a second that the quota allows for ever."""
    quotas = quotas_of(CODEC)
    if isinstance(what, bytes):
        return quotas[Message].rate / quotas[Message].cost(None, len(what))
    quota = quotas[type(what)]
    return quota.rate / quota.cost(what, len(encode(what)))


def is_flooding(when: float) -> bool:
    """Whether *when* (``time.monotonic()``) lies in a window of flood."""
    return int(when / WINDOW) % 2 == 1


def flood(kind: str, port: int, seconds: float, factor: float, calm: bool) -> dict[str, Any]:
    """Send *factor* times what the quota allows; the reason of the node's ``Disconnect`` is None if it never came."""
    what = FLOODS[kind]
    payload = what if isinstance(what, bytes) else encode(what)
    stranger = _stranger(port, KEYS + os.getpid())
    _wait_until_ready(stranger)
    rate = factor * rate_of(what)
    reader, answers, sent, reason = FrameReader(CODEC), 0, 0, None
    link = stranger.socket
    link.setblocking(False)
    begun = last = time.monotonic()
    number, unsent, owed = 100, b"", 0.0
    try:
        while (now := time.monotonic()) < begun + seconds and reason is None:
            if not calm or is_flooding(now):
                owed += rate * (now - last)
            last = now
            due = int(owed)
            if not unsent and due > 0:
                owed -= due
                frames = []
                for _ in range(due):
                    number += 1
                    frames += encode_frames(Kind.REQUEST, number, payload)
                unsent = b"".join(frames)
                sent += due
            try:
                while unsent:
                    unsent = unsent[link.send(unsent) :]
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            select.select([link], [], [], TICK)
            try:
                while data := link.recv(1 << 18):
                    for received in reader.feed(data):
                        answers += 1
                        message = getattr(received, "message", None)
                        if isinstance(message, Disconnect):
                            reason = message.reason
                else:
                    break
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
    except (OSError, ssl.SSLError):
        pass
    return {"sent": sent, "answers": answers, "reason": reason, "seconds": round(time.monotonic() - begun, 1)}


def never_read(port: int, seconds: float) -> dict[str, Any]:
    """Ask for as much as one may, and read nothing of it."""
    stranger = _stranger(port, KEYS + os.getpid())
    _wait_until_ready(stranger)
    link = stranger.socket
    sent, number, begun = 0, 1_000, time.monotonic()
    link.settimeout(1.0)
    ask = encode(GetHeaders(GENESIS, 2_000)), encode(GetBlocks(GENESIS, 128))
    try:
        while time.monotonic() - begun < seconds:
            for payload in ask:
                number += 1
                link.sendall(b"".join(encode_frames(Kind.REQUEST, number, payload)))
                sent += 1
            time.sleep(0.1)
    except (OSError, ssl.SSLError):
        pass
    return {"sent": sent, "answers": 0, "reason": None, "seconds": round(time.monotonic() - begun, 1)}


class Flood:
    """A flooding peer as a process; ended with :meth:`result` or :meth:`kill`.

    :param calm: flood in every second window only.
    """

    def __init__(self, kind: str, port: int, seconds: float, factor: float = 1.0, calm: bool = False) -> None:
        words = [kind, str(port), str(seconds), str(factor), *(["calm"] if calm else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.floods", *words], stdout=subprocess.PIPE, cwd=ROOT
        )

    def result(self) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=120)
        result: dict[str, Any] = json.loads(out)
        return result

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Honest:
    """A peer that asks for a few headers again and again; *times*: (when it asked, how long it took), in seconds."""

    def __init__(self, port: int, seed: int, pause: float = 0.025) -> None:
        self._stranger = _stranger(port, seed)
        _wait_until_ready(self._stranger)
        self._pause = pause
        self._stop = threading.Event()
        self.times: list[tuple[float, float]] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Honest":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(20)
        self._stranger.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                begun = time.monotonic()
                self._stranger.send(GetHeaders(GENESIS, 10), Kind.REQUEST)
                self._stranger.wait_for(Headers)
                self.times.append((begun, time.monotonic() - begun))
        except (OSError, AssertionError) as error:
            self.error = error


def connects_within(port: int, seed: int) -> float:
    """Seconds in which a new peer becomes ready."""
    begun = time.monotonic()
    stranger = _stranger(port, seed)
    try:
        _wait_until_ready(stranger)
        return time.monotonic() - begun
    finally:
        stranger.close()


def main() -> None:
    kind, port, seconds, factor = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    calm = sys.argv[5:] == ["calm"]
    result = never_read(port, seconds) if kind == NEVER_READS else flood(kind, port, seconds, factor, calm)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
