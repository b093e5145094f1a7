"""A node inside a Twisted application: ``twistd -ny docs/listings/embed.tac``."""

import os
from pathlib import Path

from twisted.application.service import Application
from twisted.internet import reactor

import chainp2p
from chainp2p.chain.interfaces import HeadChanged
from chainp2p.peer.link import PeerJoined
from chainp2p.settings import AdminSettings, NetworkSettings, NodeSettings, RpcSettings

LOOPBACK = ("tcp:0:interface=127.0.0.1",)
application = Application("my service")

node = chainp2p.Node(
    reactor,
    chainp2p.Settings(
        node=NodeSettings(data_dir=Path(os.environ.get("EMBED_DATA", "embed-data"))),
        network=NetworkSettings(listen_addr=LOOPBACK),
        rpc=RpcSettings(listen=LOOPBACK),
        admin=AdminSettings(listen=()),
    ),
)  # chain=my_chain puts a chain of your own behind it
node.setServiceParent(application)
node.events.subscribe(HeadChanged, lambda event: print("head", event.head.height))
node.events.subscribe(PeerJoined, lambda event: print("peer", event.peer_id.hex()[:8], "of", len(node.peers())))


def started(bound):
    print("listening on", bound.listening, "and", bound.rpc)
    # a signed transaction of your users goes in by node.submit_transaction(raw), which answers a Deferred


def failed(failure):
    print("the node did not start:", failure.value)
    reactor.stop()


node.ready().addCallbacks(started, failed)
