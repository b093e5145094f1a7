"""Lists in DNS from a real name server on loopback, asked as a machine's name servers are."""

from pathlib import Path
from random import Random

import pytest
from twisted.internet import reactor  # noqa: TID251
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.names import dns
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import TestCase

from chainp2p.net.dns_seeds import DnsSeeds
from chainp2p.net.resolver import SystemResolver
from tests.net.test_dns_seeds import DOMAIN, GENESIS, KEY, URL, Store, Zone, make_tree, record


@pytest.mark.integration
class NameServerTest(TestCase):
    timeout = 20

    def setUp(self):
        self.zone = Zone()
        factory = DNSServerFactory(clients=[self.zone])
        factory.noisy = False
        for _ in range(20):  # one number for both
            udp = reactor.listenUDP(0, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
            self.port = udp.getHost().port
            self.addCleanup(udp.stopListening)
            try:
                tcp = reactor.listenTCP(self.port, factory, interface="127.0.0.1")
            except Exception:
                continue
            self.addCleanup(tcp.stopListening)
            return
        self.fail("no port is free")

    async def test_a_list_is_read(self):
        records = [record(number) for number in range(1, 8)]
        self.zone.texts = {name: [text] for name, text in make_tree(KEY, DOMAIN, 1, records).items()}
        # one more text, and the root comes by TCP
        self.zone.texts[DOMAIN].insert(0, "v=something else " + "x" * 400)
        path = Path(self.mktemp())
        path.write_text("nameserver 127.0.0.1\n")
        found, done = {}, Deferred()

        def take(enr, source):
            found[enr.peer_id] = source
            if len(found) == 7:
                done.callback(None)

        seeds = DnsSeeds(
            reactor=reactor,
            random=Random(1),
            resolver=lambda: SystemResolver(reactor, path, self.port),
            trees=(URL,),
            store=Store(),
            genesis=GENESIS,
            private=False,
            wanted=lambda: True,
            found=take,
        )
        with capturedLogs() as logs:
            seeds.start({})
            await done
            seeds.stop()
            await deferLater(reactor, 0.1, lambda: None)
        self.assertEqual(set(found.values()), {DOMAIN})
        news = [formatEvent(event) for event in logs]
        self.assertEqual([line for line in news if "DNSDatagram" in line or "UDP Port" in line], [])
        self.assertIn(f"list of nodes at {DOMAIN}: number 1", news)
        # the connection that carried the root
        for connection in list(seeds._resolver._resolver.connections):
            connection.transport.abortConnection()
        await deferLater(reactor, 0.1, lambda: None)
