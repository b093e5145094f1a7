"""HTTP and WebSocket by hand over a blocking socket: what no library would send, and what comes back."""

import socket
import struct
from typing import Any

__all__ = ["TEXT", "BINARY", "CLOSE", "CONTINUATION", "PING", "RawWebSocket", "post", "raw", "reply"]

#: RFC 6455, 5.2.
CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9
#: Seconds that a test waits for an answer on a busy machine.
PATIENCE = 20.0


def reply(link: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one HTTP response: status, headers, body; status 0 if there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = _read(link)
        if not more:
            return 0, {}, data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", "0")):
        more = _read(link)
        if not more:
            break
        body += more
    return int(lines[0].split()[1]), headers, body


def _read(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 16)
    except ConnectionResetError:
        return b""


def raw(port: int, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send *data* over a connection of its own and read one response."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as link:
        try:
            link.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused in the middle
        return reply(link)


def post(port: int, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """POST to the RPC path; header names with ``_`` for ``-``, an empty value leaves one out."""
    fields = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return raw(port, "\r\n".join(head).encode("latin-1") + body)


class RawWebSocket:
    """One WebSocket; *status* is that of the handshake."""

    def __init__(self, port: int, path: str = "/ws", **headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        fields = {
            "host": "localhost",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        }
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
        self.socket.sendall("\r\n".join(head).encode("latin-1"))
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer and (more := _read(self.socket)):
            self._buffer += more
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.status = int(answer.split()[1]) if answer else 0

    def close(self) -> None:
        self.socket.close()

    def frame(
        self, payload: bytes, opcode: int = TEXT, *, final: bool = True, mask: bool = True, claim: int | None = None
    ) -> None:
        """Send a frame; *claim*: the length that its header says."""
        size = len(payload) if claim is None else claim
        flag = 0x80 if mask else 0
        if size < 126:
            length = bytes((flag | size,))
        elif size < 1 << 16:
            length = bytes((flag | 126,)) + struct.pack(">H", size)
        else:
            length = bytes((flag | 127,)) + struct.pack(">Q", size)
        key = b"\x12\x34\x56\x78" if mask else b""
        self.socket.sendall(bytes(((0x80 if final else 0) | opcode,)) + length + key + _masked(payload, key))

    def _take(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            more = _read(self.socket)
            if not more:
                return None
            self._buffer += more
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def read_frame(self) -> tuple[int, bool, bytes] | None:
        """Opcode, whether it is the last of a message, payload; None: the connection has ended."""
        head = self._take(2)
        if head is None:
            return None
        size = head[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8) or b"", "big")
        payload = self._take(size)
        return None if payload is None else (head[0] & 0x0F, bool(head[0] & 0x80), payload)

    def message(self) -> bytes | None:
        """The next text message; None: the connection has ended or is being closed."""
        parts = []
        while (frame := self.read_frame()) is not None and frame[0] != CLOSE:
            if frame[0] in (CONTINUATION, TEXT):
                parts.append(frame[2])
                if frame[1]:
                    return b"".join(parts)
        return None

    def close_code(self) -> int | None:
        """The code of the close frame that comes; 0 of one without, None if the connection just ends."""
        while (frame := self.read_frame()) is not None:
            if frame[0] == CLOSE:
                return int.from_bytes(frame[2][:2], "big")
        return None


def _masked(payload: bytes, key: Any) -> bytes:
    if not key or not payload:
        return payload
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")
