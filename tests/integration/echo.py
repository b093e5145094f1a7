"""The RPC server's WebSockets as an echo, for the cases of Autobahn: ``python -m tests.integration.echo``.

Everything is as the node has it, from the first byte of HTTP to the last of the outbox, but that a message comes back
instead of being called. Limits are those that the cases need (messages of 16 MiB, and of 262,144 frames). Prints the
port; ends with its input.
"""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react

from chainp2p.rpc.limits import Limits
from chainp2p.rpc.server import RpcServer
from chainp2p.rpc.web.frames import frame
from chainp2p.rpc.web.http import RpcChannel
from chainp2p.rpc.web.request import RpcRequest

_FINAL, _BINARY, _TEXT = 0x80, 2, 1
LIMITS = evolve(Limits(), body=17 << 20, frames=1 << 19, held=1 << 30)


def echoing(build: Any) -> Any:
    """Wrap what makes WebSockets."""

    def websocket(request: RpcRequest, channel: RpcChannel) -> Any:
        protocol = build(request, channel)

        def on_message(payload: bytes, is_binary: bool) -> None:
            channel.share.close()
            protocol._outbox.answer(frame(len(payload), _FINAL | (_BINARY if is_binary else _TEXT)) + payload)
            protocol._flush()
            protocol._choose_reading()

        protocol.onMessage = on_message
        return protocol

    return websocket


class Input(Protocol):
    """Fires *ended* when standard input does."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


async def serve(reactor: Any) -> None:
    server = RpcServer(reactor=reactor, endpoint="tcp:0:interface=127.0.0.1", namespaces=[], limits=LIMITS)
    ((_, port),) = await server.start()
    server.factory.websocket = echoing(server.factory.websocket)  # type: ignore[method-assign]
    print(port, flush=True)
    given = Input()
    StandardIO(given)
    await given.ended
    await server.stop()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(serve(reactor)))
