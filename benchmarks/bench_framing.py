"""Framing against Twisted's Int32StringReceiver: the same payloads over the same in-memory transport.

Both ends decode what they receive with the same codec, so that the rows differ only in how the stream is cut; the row
"not decoded" lets the yardstick stop at bytes while the measured code still gives whole messages.
"""

from collections.abc import Callable

from measure import Aim, compare, show
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int32StringReceiver

from chainp2p import wire
from chainp2p.wire.frames import FrameReader, encode_frames
from chainp2p.wire.sending import SendQueue

#: Twisted's TCP transport hands over at most this much at once.
READ = 65_536
#: A TLS record, which is what Twisted's TLS hands over.
TLS_READ = 16_384


class Receiver(Int32StringReceiver):
    MAX_LENGTH = 16 << 20
    decoding = True

    def __init__(self) -> None:
        self.received: list[object] = []

    def stringReceived(self, string: bytes) -> None:
        self.received.append(wire.decode(string) if self.decoding else string)


class RawReceiver(Receiver):
    decoding = False


class Sink(StringTransport):
    """Takes the bytes; what a transport does with them is the same for both."""

    def write(self, data: bytes) -> None:
        pass


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def own_reading(reads: list[bytes], count: int) -> Callable[[], object]:
    def run() -> None:
        feed = FrameReader().feed
        received = 0
        for data in reads:
            received += len(feed(data))
        assert received == count

    return run


def twisted_reading(reads: list[bytes], count: int, receiver: type[Receiver] = Receiver) -> Callable[[], object]:
    def run() -> None:
        protocol = receiver()
        protocol.makeConnection(StringTransport())
        for data in reads:
            protocol.dataReceived(data)
        assert len(protocol.received) == count

    return run


def reading(measure: str, message: wire.Message, count: int, aim: float, read: int = READ):
    """Receive *count* messages in reads of *read* bytes (0: one read a message)."""
    payload = wire.encode(message)
    kind = message.spec.kind
    frames = [b"".join(encode_frames(kind, n, payload)) for n in range(1, count + 1)]
    strings = [len(payload).to_bytes(4, "big") + payload] * count
    if read:
        frames, strings = cut(b"".join(frames), read), cut(b"".join(strings), read)
    return compare(
        measure,
        own_reading(frames, count),
        [
            Aim("Int32StringReceiver", twisted_reading(strings, count), aim),
            Aim("the same, not decoded", twisted_reading(strings, count, RawReceiver), None),
        ],
        operations=count,
    )


def sending(measure: str, message: wire.Message, count: int, aim: float | None):
    """Queue *count* messages and write them: what one turn of the reactor leaves to the transport."""
    payload = wire.encode(message)
    kind, channel = message.spec.kind, message.spec.channel
    sink = Sink()

    def own() -> None:
        queue = SendQueue()
        for _ in range(count):
            queue.push(payload, kind, channel)
        while data := queue.next(READ):
            sink.write(data)

    def other() -> None:
        protocol = Receiver()
        protocol.makeConnection(sink)
        for _ in range(count):
            protocol.sendString(payload)

    return compare(measure, own, [Aim("Int32StringReceiver", other, aim)], operations=count)


def main() -> None:
    small = wire.NewTransaction(bytes(52))
    assert len(wire.encode(small)) == 64
    large = wire.NewBlock(bytes((1 << 20) - 12))
    assert len(wire.encode(large)) == 1 << 20
    show(
        [
            *reading("receive 64 bytes, reads of 64 KiB", small, 4_000, 1.0),
            *reading("receive 64 bytes, one a read", small, 500, 1.0, read=0),
            *reading("receive 1 MiB, reads of 64 KiB", large, 4, 8.0),
            *reading("receive 1 MiB, reads of 16 KiB", large, 4, 8.0, read=TLS_READ),
            *sending("send 64 bytes, queued by class", small, 500, None),
        ],
        ["twisted"],
    )


if __name__ == "__main__":
    main()
