"""Two nodes in one process and a protocol of your own between them: ``python docs/listings/talk.py``."""

import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react

import chainp2p
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings

LOOPBACK = ("tcp:0:interface=127.0.0.1",)


def make_node(reactor, folder):
    return chainp2p.Node(
        reactor,
        chainp2p.Settings(
            node=NodeSettings(data_dir=folder, profile="private"),
            network=NetworkSettings(listen_addr=LOOPBACK),
            rpc=RpcSettings(listen=()),
            admin=AdminSettings(listen=()),
        ),
    )


async def run(reactor, folder):
    greeter, guest = (make_node(reactor, folder / name) for name in ("greeter", "guest"))
    greeter.startService()
    guest.startService()
    bound, _ = await greeter.ready(), await guest.ready()
    # a response may also be a Deferred that fires within 0.7 seconds
    greeter.discovery.register_talk(b"greeting", lambda node_id, request: b"hello, " + request)
    print("response:", await guest.discovery.talk(bound.enr, b"greeting", b"world"))
    print("unknown protocol:", await guest.discovery.talk(bound.enr, b"farewell", b"world"))
    await guest.stopService()
    await greeter.stopService()


with tempfile.TemporaryDirectory() as name:
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, Path(name))))
