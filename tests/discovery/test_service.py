"""Peer exchange between hosts."""

import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.service import PeerExchange
from chainp2p.errors import Reason, RefusalReason, RequestRefused
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PRIVATE, PUBLIC, Profile
from chainp2p.wire.messages import NO_TRANSACTIONS, GetPeers, PeerRecord, Peers
from tests.links import Host, Net, Puppet, connect, make_status

GENESIS = b"\7" * 32


def record(n: int, seq: int = 1, genesis: bytes = GENESIS) -> Enr:
    return make_enr(NodeKey(n.to_bytes(32, "big")), seq, node_pairs(genesis, 1, "10.0.0.1", 30_000 + n))


class Node(Host):
    def __init__(self, net: Net, key: int, profile: Profile = PRIVATE, enabled: bool = True) -> None:
        self.relayed: list[bytes] = []
        self.learned: list[Enr] = []
        self.exchange = PeerExchange(
            reactor=net.clock,
            now=net.clock.seconds,
            profile=profile,
            enabled=enabled,
            records=lambda: self.relayed,
            learned=lambda link, enr: self.learned.append(enr),
            genesis=GENESIS,
            random=random.Random(key),
        )
        super().__init__(net, str(key), [self.exchange])
        self.record = record(key)
        self.peer_id = self.record.peer_id
        self.exchange.start()


class Exchange(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = Net()
        self.clock = self.net.clock

    def node(self, key: int, **fields: Any) -> Node:
        node = Node(self.net, key, **fields)
        self.addCleanup(node.exchange.stop)
        return node

    def tearDown(self) -> None:
        self.assertEqual((self.clock.failures, self.flushLoggedErrors()), (0, []))

    def test_asked_at_once_and_then_every_interval(self) -> None:
        one, two = self.node(1), self.node(2)
        two.relayed = [record(n).raw for n in range(10, 13)]
        near, _ = connect(one, two)
        self.clock.run_for(0.1)
        self.assertEqual(one.learned, [Enr.decode(raw) for raw in two.relayed])
        self.clock.run_for(20.0)
        self.assertEqual(len([m for m in near.sent if isinstance(m, GetPeers)]), 5)
        self.assertEqual(len(one.learned), 15)
        self.assertEqual((one.faults, two.faults), ([], []))
        near.close()
        self.clock.run_for(20.0)
        self.assertEqual(len([m for m in near.sent if isinstance(m, GetPeers)]), 5)

    def test_too_often_is_refused(self) -> None:
        one = self.node(1)
        far, _ = connect(Puppet(self.net, "p", make_status(), {}), one)
        first, second = far.request(GetPeers()), far.request(GetPeers())
        self.clock.run_for(0.1)
        self.assertEqual(self.successResultOf(first), Peers(()))
        refused = self.failureResultOf(second, RequestRefused).value
        self.assertEqual((refused.reason, refused.retry_ms), (RefusalReason.TOO_OFTEN, 5_001))

    def test_none_are_told_over_a_link_for_blocks_only(self) -> None:
        one = self.node(1)
        one.relayed = [record(10).raw]
        far, near = connect(Puppet(self.net, "p", make_status(flags=NO_TRANSACTIONS), {}), one)
        asked = far.request(GetPeers())
        self.clock.run_for(20.0)
        self.assertEqual(self.failureResultOf(asked, RequestRefused).value.reason, RefusalReason.UNSUPPORTED)
        self.assertFalse([m for m in near.sent if isinstance(m, GetPeers)])

    def test_disabled_asks_nobody_and_serves_nobody(self) -> None:
        one, two = self.node(1, enabled=False), self.node(2)
        near, far = connect(one, two)
        asked = far.request(GetPeers())
        self.clock.run_for(10.0)
        self.assertEqual(self.failureResultOf(asked, RequestRefused).value.reason, RefusalReason.UNSUPPORTED)
        self.assertEqual([m for m in near.sent if isinstance(m, GetPeers)], [])

    def test_other_networks_are_dropped_and_forgeries_cost_the_link(self) -> None:
        one = self.node(1)
        good = record(10)
        forged = good.raw[:-1] + bytes([good.raw[-1] ^ 1])
        answer = [Peers((record(11, genesis=b"\1" * 32).raw, good.raw))]
        puppet = Puppet(self.net, "p", make_status(), {GetPeers: lambda message: answer[0]})
        connect(puppet, one)
        self.clock.run_for(1.0)
        self.assertEqual((one.learned, one.faults), ([good], []))
        answer[0] = Peers((forged, good.raw))
        self.clock.run_for(5.0)
        self.assertEqual(len(one.learned), 1)
        self.assertEqual([fault[1] for fault in one.faults], [Reason.MISBEHAVED])

    def test_a_public_node_takes_a_hundred_then_one_in_ten_seconds(self) -> None:
        one = self.node(1, profile=PUBLIC)
        records = tuple(record(n).raw for n in range(10, 110))
        connect(Puppet(self.net, "p", make_status(), {GetPeers: lambda message: Peers(records)}), one)
        self.clock.run_for(59.0)
        self.assertEqual(len(one.learned), 100)
        self.clock.run_for(2.0)
        self.assertEqual(len(one.learned), 106)

    def test_a_record_that_changed_is_learned_once_in_a_while(self) -> None:
        one, two = self.node(1), self.node(2)
        near, _ = connect(two, one)
        for seq, wait in ((2, 60.0), (3, 60.0), (4, 1.0), (5, 1.0)):
            near.send(PeerRecord(record(2, seq).raw))
            self.clock.run_for(wait)
        self.assertEqual([enr.seq for enr in one.learned], [2, 3, 4])

    def test_records_that_are_not_the_senders(self) -> None:
        for raw in (record(9).raw, b"x"):
            one = self.node(1)
            far, near = connect(Puppet(self.net, "p", make_status(), {}), one)
            far.send(PeerRecord(raw))
            far.send(PeerRecord(raw))
            self.clock.run_for(1.0)
            self.assertEqual([fault[1] for fault in one.faults], [Reason.MISBEHAVED])

    def test_a_peer_that_leaves_while_asked(self) -> None:
        one, two = self.node(1), self.node(2)
        two.relayed = [record(10).raw]
        near, far = connect(one, two)
        self.assertIsInstance(one.exchange._get_peers(far, GetPeers()).reason, int)
        one.exchange._peer_record(far, PeerRecord(b""))
        one.exchange.left(near, Reason.SHUTDOWN)
        self.clock.run_for(1.0)
        self.assertEqual(one.learned, [])
