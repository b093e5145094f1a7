"""Real TLS on loopback: two networks find each other, certificates are refused with their reasons."""

import os
import random
import sqlite3
import time

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.events import EventBus
from chainp2p.net.network import Network
from chainp2p.net.security import TlsSecurity
from chainp2p.net.store import PeerStore
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE, NetworkSettings


class StubChain:
    """A chain that never moves."""

    def __init__(self, genesis=b"\x01" * 32):
        self.genesis_hash = genesis
        self.head = HeaderInfo(genesis, bytes(32), 0, bytes(32))
        self.events = EventBus()

    def settings_hashes(self):
        return ((0, b"\x02" * 32),)


class Lane:
    """Runs jobs at once."""

    def run(self, f, /, *args):
        return succeed(f(*args))

    def lane(self, name):
        return self


def make_network(reactor, users=(), genesis=b"\x01" * 32, events=None, **settings):
    key = NodeKey.generate(os.urandom)
    return Network(
        reactor=reactor,
        now=time.time,
        random=random.Random(1),
        key=key,
        security=TlsSecurity(key, time.time, 1, reactor),
        chain=StubChain(genesis),
        users=users,
        settings=NetworkSettings(listen_addr=("tcp:0:interface=127.0.0.1",), **settings),
        profile=PRIVATE,
        external=None,
        store=PeerStore(lambda name: sqlite3.connect(":memory:"), Lane()),
        events=events or EventBus(),
        agent="test/1",
    )


def sleep(reactor, seconds):
    done = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


async def until(reactor, condition, seconds=5.0):
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await sleep(reactor, 0.02)
    raise AssertionError("condition not met")


class TwoNodesTest(TestCase):
    """Two networks in one process."""

    def network(self, **options):
        from twisted.internet import reactor  # noqa: TID251

        self.reactor = reactor
        network = make_network(reactor, **options)
        self.addCleanup(network.stop)
        return network

    def test_meet(self):
        async def run():
            first = self.network()
            await first.start()
            second = self.network(bootstrap_nodes=(first.enr.text,))
            await second.start()
            await until(self.reactor, lambda: first.peers() and second.peers())
            self.assertEqual(first.peers()[0].peer_id, second.own_id)
            self.assertEqual(second.peers()[0].agent, "test/1")
            self.assertTrue(second.peers()[0].outbound)

        return Deferred.fromCoroutine(run())
