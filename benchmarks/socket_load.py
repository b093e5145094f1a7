"""Many WebSocket clients that cost next to nothing: bare sockets in one ``epoll`` loop, driven by lines of JSON.

``open`` opens so many more (with ``subscribe``, a JSON-RPC request, each sends that and waits for the answer),
``await`` answers when the first and when the last of all has a further message (monotonic seconds, comparable between
processes). Pings are answered. Anything else than a text message or a ping is an error: this is a load, not a client.
"""

import json
import os
import resource
import select
import socket
import time
from typing import Any

#: Connections that are opened at once: less than the queue of any listening port here.
WAVE = 50
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
#: A masked pong without payload.
PONG = b"\x8a\x80\0\0\0\0"
_TEXT, _PING = 0x81, 0x89


def masked(text: bytes) -> bytes:
    """A text frame of a client, masked with zeros."""
    size = len(text)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


class Client:
    """One socket, the bytes of a frame that is not whole yet, and the last text."""

    def __init__(self, socket: socket.socket) -> None:
        self.socket = socket
        self.rest = self.last = b""

    def texts(self) -> int:
        """Read what there is; answer how many text messages are whole now."""
        data = self.rest + self.socket.recv(65_536)
        assert data, "the server has ended a connection"
        count = start = 0
        while len(data) - start >= 2:
            kind, size, head = data[start], data[start + 1], start + 2
            if size == 126:
                size, head = int.from_bytes(data[head : head + 2], "big"), head + 2
            if len(data) < head + size:
                break
            if kind == _PING:
                self.socket.send(PONG)
            else:
                assert kind == _TEXT, data[start : start + 100]
                count += 1
                self.last = data[head : head + size]
            start = head + size
        self.rest = data[start:]
        return count


class Load:
    """All clients of one server."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}
        self._poll = select.epoll()

    def open(self, port: int, count: int, subscribe: str | None = None, upgrade: bool = True) -> None:
        for start in range(0, count, WAVE):
            self._wave(port, min(WAVE, count - start), subscribe, upgrade)

    def _wave(self, port: int, count: int, subscribe: str | None, upgrade: bool) -> None:
        sockets = [socket.create_connection(("127.0.0.1", port), 120.0) for _ in range(count)]
        for one in sockets if upgrade else ():
            one.sendall(HANDSHAKE)
        for one in sockets if upgrade else ():
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += one.recv(4_096)
            assert answer.startswith(b"HTTP/1.1 101"), answer
        clients = [Client(one) for one in sockets]
        if subscribe is not None:
            for client in clients:
                client.socket.sendall(masked(subscribe.encode()))
            for client in clients:
                while not client.texts():
                    pass
        for client in clients:
            client.socket.setblocking(False)
            self._clients[client.socket.fileno()] = client
            self._poll.register(client.socket, select.EPOLLIN)

    def wait(self, deadline: float = 30.0) -> dict[str, Any]:
        """When the first and the last had a further message, and its text; TimeoutError after *deadline* seconds."""
        missing, first = set(self._clients), 0.0
        end = time.monotonic() + deadline
        while missing:
            ready = self._poll.poll(1.0, len(self._clients))
            for number, _ in ready:
                if self._clients[number].texts():
                    first = first or time.monotonic()
                    missing.discard(number)
            if time.monotonic() > end:
                raise TimeoutError(f"{len(missing)} of {len(self._clients)} got nothing")
        last = time.monotonic()
        return {"first": first, "last": last, "text": self._clients[number].last.decode()}

    def serve(self) -> None:
        """Do what standard input asks for until it ends; read what comes meanwhile."""
        self._poll.register(0, select.EPOLLIN)
        asked = b""
        while True:
            for number, _ in self._poll.poll(-1, 1_000):
                if number:
                    self._clients[number].texts()
                    continue
                data = os.read(0, 65_536)
                if not data:
                    return
                *lines, asked = (asked + data).split(b"\n")
                for line in lines:
                    self._poll.unregister(0)
                    print(json.dumps(self._do(**json.loads(line))), flush=True)
                    self._poll.register(0, select.EPOLLIN)

    def _do(self, verb: str, **arguments: Any) -> Any:
        if verb == "await":
            print(json.dumps("ready"), flush=True)
            return self.wait(**arguments)
        assert verb == "open", verb
        return self.open(**arguments)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Load().serve()
