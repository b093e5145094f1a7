"""The other end of :class:`chainp2p.node.children.ChildProcess`: works on one task at a time until its input closes.

Started as ``python -m chainp2p.node.worker MODULE:FUNCTION``. Frames in both directions: number of the task (u32, big
endian), length (u32), bytes. A new task replaces the one before; an empty one just ends that. Its input closes when
the node is gone, however it went, so no worker outlives it.
"""

import os
import select
import struct
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from time import monotonic
from typing import BinaryIO

__all__ = ["FRAME", "main", "serve"]

FRAME = struct.Struct(">II")
#: Seconds of work between two looks at the input: a new head is heeded so soon.
LOOK_INTERVAL = 0.005
#: The node's own threads come first.
NICENESS = 5


def serve(work: Callable[[bytes], Iterator[bytes | None]], source: BinaryIO, sink: BinaryIO) -> None:
    """Work until *source* ends; both are unbuffered."""
    steps: Iterator[bytes | None] | None = None
    number = 0
    while True:
        if steps is None or select.select([source], [], [], 0)[0]:
            head = _read(source, FRAME.size)
            if head is None:
                return
            number, length = FRAME.unpack(head)
            task = _read(source, length)
            if task is None:
                return
            steps = work(task) if task else None
            continue
        until = monotonic() + LOOK_INTERVAL
        answer = None
        for answer in steps:
            if answer is not None or monotonic() >= until:
                break
        if answer is not None:
            sink.write(FRAME.pack(number, len(answer)) + answer)
            steps = None


def _read(source: BinaryIO, size: int) -> bytes | None:
    """So many bytes; None: the input ended."""
    data = b""
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            return None
        data += more
    return data


def main() -> None:
    """Serve standard input and output."""
    module, function = sys.argv[1].split(":")
    work = getattr(import_module(module), function)
    os.nice(NICENESS)
    source, sink = os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb", buffering=0)
    try:
        serve(work, source, sink)
    except (BrokenPipeError, KeyboardInterrupt):
        pass


if __name__ == "__main__":
    main()
