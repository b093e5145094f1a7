"""The load of ``bench_rpc.py``: connections that are kept, each with one POST in flight, over and over.

In the manner of wrk: requests are bytes made beforehand, one thread turns an epoll, and of an answer only its length is
looked at. The last answer of each connection is kept, for the caller to see that it is one.
"""

import select
import socket
import time
from collections.abc import Callable, Sequence
from itertools import cycle

from attrs import frozen

__all__ = ["Load", "Sample", "post"]

#: Bytes of one read: more than the answer to a batch of 100.
READ = 262_144
#: Seconds after which a server that says nothing is taken for dead.
SILENCE = 60.0


@frozen
class Sample:
    """So many answers in so many seconds by wall clock."""

    answers: int
    seconds: float


def post(path: str, body: bytes) -> bytes:
    """A request as JSON-RPC libraries send it."""
    fields = ("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *fields, "", "")).encode() + body


class Load:
    """*connections* to a port of this machine."""

    def __init__(self, port: int, connections: int) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            one = socket.create_connection(("127.0.0.1", port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
            self._epoll.register(one, select.EPOLLIN)
            self._sockets[one.fileno()] = one
        self._last: dict[int, bytes] = {}

    def run(self, requests: Sequence[bytes], seconds: float) -> Sample:
        """Ask one after the other, on whichever connection is free, for so long, and wait for the last answers."""
        following = cycle(requests).__next__
        answers, asked = 0, len(self._sockets)
        partial: dict[int, bytes] = {}
        calls = {number: (one.recv, one.send) for number, one in self._sockets.items()}
        last, poll, now = self._last, self._epoll.poll, time.perf_counter
        begun = now()
        until = begun + seconds
        for _, send in calls.values():
            _send_all(send, following())
        while asked:
            events = poll(SILENCE)
            if not events:
                raise TimeoutError(f"{asked} connections got no answer for {SILENCE:g} s")
            over = now() >= until
            for number, _ in events:
                receive, send = calls[number]
                data = receive(READ)
                if not data:
                    raise ConnectionError(f"the server ended a connection; before that: {last.get(number)!r}")
                if number in partial:
                    data = partial.pop(number) + data
                if len(data) < _size(data):
                    partial[number] = data
                    continue
                last[number] = data
                answers += 1
                if over:
                    asked -= 1
                else:
                    _send_all(send, following())
        return Sample(answers, now() - begun)

    def bodies(self) -> Sequence[bytes]:
        """The last answer of each connection; RuntimeError if one is a refusal."""
        for answer in self._last.values():
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server refused: {answer[:500]!r}")
        return [answer.partition(b"\r\n\r\n")[2] for answer in self._last.values()]

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._epoll.close()


def _send_all(send: Callable[[bytes], int], request: bytes) -> None:
    count = send(request)
    if count != len(request):
        raise RuntimeError(f"only {count} of {len(request)} bytes could be sent at once")


def _size(data: bytes) -> int:
    """Bytes of the answer that *data* begins; one more than there are if its head is not whole yet."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return len(data) + 1
    at = data.find(b"ength: ", 0, head)
    if at < 0:
        raise RuntimeError(f"an answer has no Content-Length: {data[:500]!r}")
    return head + 4 + int(data[at + 7 : data.index(b"\r", at)])
