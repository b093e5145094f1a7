"""Sockets that never finish a handshake; ``python -m tests.integration.crowd PORT SECONDS COUNT`` prints what they got.

Half of them open and say nothing, half send one byte of a ClientHello each second. Each comes from its own address in
127.0.0.0/8, and comes again as soon as the door lets an address. All in one loop over non-blocking sockets.
"""

import json
import selectors
import socket
import sys
import time

#: How a record with a ClientHello begins; the rest never comes.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
#: Seconds between two calls of an address, and between two bytes.
CALL_AGAIN, DRIBBLE = 10.1, 1.0


class Sock:
    """One address that calls again and again; every second one dribbles."""

    def __init__(self, number: int) -> None:
        self.ip = f"127.{10 + number % 8}.{number // 8 % 250}.{1 + number // 2000}"
        self.dribbles = number % 2 == 0
        self.socket: socket.socket | None = None
        self.called_at = -CALL_AGAIN
        self.sent_at = 0.0
        self.sent = 0

    def call(self, port: int, now: float) -> None:
        self.called_at = self.sent_at = now
        self.sent = 0
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((self.ip, 0))
        self.socket.connect_ex(("127.0.0.1", port))


def main(port: int, seconds: float, count: int) -> dict[str, float]:
    """Keep *count* sockets coming for so long; return how many calls there were and how many were open at most."""
    selector = selectors.DefaultSelector()
    socks = [Sock(number) for number in range(count)]
    start = time.monotonic()
    calls, most, longest = 0, 0, 0.0
    while (now := time.monotonic()) < start + seconds:
        for key, _ in selector.select(0.05):
            sock: Sock = key.data
            assert sock.socket is not None
            try:
                over = not sock.socket.recv(65_536)
            except BlockingIOError:
                continue
            except OSError:
                over = True
            if over:
                longest = max(longest, now - sock.called_at)
                selector.unregister(sock.socket)
                sock.socket.close()
                sock.socket = None
        for sock in socks:
            if sock.socket is None:
                if now >= sock.called_at + CALL_AGAIN:
                    sock.call(port, now)
                    assert sock.socket is not None
                    selector.register(sock.socket, selectors.EVENT_READ, sock)
                    calls += 1
            elif sock.dribbles and now >= sock.sent_at + DRIBBLE:
                sock.sent_at = now
                try:
                    sock.sent += sock.socket.send(HELLO[sock.sent : sock.sent + 1])
                except OSError:
                    pass  # it does not stand yet, or not any more
        most = max(most, sum(sock.socket is not None for sock in socks))
    return {"calls": calls, "most": most, "longest": round(longest, 2)}


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
