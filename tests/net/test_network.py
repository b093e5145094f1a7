"""Networks of production nodes' networks on a virtual clock: dialling, duplicates, limits, records, ends."""

from random import Random

import attrs
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeadChanged, HeaderInfo
from chainp2p.errors import Ours, PeerFault, Penalty, Reason, SettingsError, StartupError
from chainp2p.events import EventBus
from chainp2p.net.network import Network
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.store import PeerStore
from chainp2p.peer.address import NodeAddress, parse_node
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.link import PeerJoined, PeerLeft
from chainp2p.settings import PRIVATE, PUBLIC, NetworkSettings
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.network import MemoryNetwork
from chainp2p.testing.security import PlainSecurity
from chainp2p.wire.messages import AnnounceBlocks, GetPeers, PeerRecord, Peers

GENESIS = b"\x01" * 32


class StubChain:
    """A chain that never moves."""

    def __init__(self, genesis=GENESIS, settings=((0, b"\x02" * 32),)):
        self.genesis_hash = genesis
        self.head = HeaderInfo(genesis, bytes(32), 0, bytes(32))
        self.events = EventBus()
        self._settings = settings

    def reach(self, height):
        self.head = HeaderInfo(bytes([height]) * 32, bytes(32), height, bytes(32))
        self.events.publish(HeadChanged(self.head, (), (self.head,)))

    def settings_hashes(self):
        return self._settings


class User:
    """Records what links do; answers GetPeers."""

    def __init__(self):
        self.links = []
        self.log = []
        self.records = []

    def handlers(self):
        return {GetPeers: lambda link, message: Peers(()), PeerRecord: self._record}

    def _record(self, link, message):
        self.records.append(message.enr)

    def joined(self, link):
        self.links.append(link)
        self.log.append(("joined", link))

    def left(self, link, reason):
        self.links.remove(link)
        self.log.append(("left", link, reason))


class World:
    """A clock, a network in memory and named nodes on it."""

    def __init__(self):
        self.clock = HeapClock(1_000.0)
        self.net = MemoryNetwork(self.clock, Random(1))
        self.count = 0

    def node(self, name=None, ip=None, key=None, **options):
        self.count += 1
        name = name or f"n{self.count}"
        return Node(self, name, ip or f"10.0.0.{self.count}", key or NodeKey(bytes([self.count]) * 32), **options)

    def run(self, seconds):
        self.clock.advance(seconds)


class Node:
    """A host that may run a network, again and again with the same disk."""

    def __init__(self, world, name, ip, key, profile=PRIVATE, external=None, chain=None, host=None, **settings):
        self.world = world
        self.ip = ip
        self.key = key
        self.host = host or world.net.host(name, ip)
        self.disk = MemoryDisk()
        self.profile = profile
        self.external = external
        self.chain = chain or StubChain()
        self.settings = settings
        self.seen = []

    def build(self, **settings):
        options = {"listen_addr": (f"tcp:30303:interface={self.ip}",), **self.settings, **settings}
        self.user = User()
        events = EventBus()
        for kind in (PeerJoined, PeerLeft):
            events.subscribe(kind, self.seen.append)
        self.network = Network(
            reactor=self.host,
            now=lambda: 1.8e9 + self.world.clock.seconds(),
            random=Random(self.key.private[0]),
            key=self.key,
            security=PlainSecurity(self.key),
            chain=self.chain,
            users=[self.user],
            settings=NetworkSettings(**{"enable_discovery": False, **options}),
            profile=self.profile,
            external=self.external,
            store=PeerStore(self.disk.open, SimExecutor(self.host)),
            events=events,
            agent="test/1",
        )
        return self

    def start(self, **settings):
        self.build(**settings)
        outcome = []
        self.network.start().addBoth(outcome.append)
        self.world.run(0.01)
        assert outcome == [None], outcome
        return self

    def stop(self):
        done = []
        self.network.stop().addBoth(done.append)
        self.world.run(2.5)
        assert done == [None], done
        return self

    @property
    def address(self):
        return f"{self.key.peer_id.hex()}@{self.ip}:30303"

    @property
    def peers(self):
        return [view.peer_id for view in self.network.peers()]

    @property
    def reasons(self):
        return [end.reason for end in self.network.ends()]


class MeetTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_two_meet_and_part(self):
        first = self.world.node().start()
        second = self.world.node(bootstrap_nodes=(first.address,)).start()
        self.world.run(2)
        self.assertEqual((first.peers, second.peers), ([second.key.peer_id], [first.key.peer_id]))
        view = second.network.peers()[0]
        self.assertEqual(
            (view.agent, view.outbound, view.static, view.remote_address), ("test/1", True, True, (first.ip, 30303))
        )
        self.assertEqual(view.enr, first.network.enr.text)
        self.assertEqual(view.libp2p_id, first.key.libp2p_id)
        self.assertEqual(first.network.addresses, ((first.ip, 30303),))
        self.assertEqual(first.network.links(), first.user.links)
        second.stop()
        self.assertEqual(first.peers, [])
        self.assertEqual(first.reasons[-1], Reason.SHUTDOWN)
        self.assertEqual([type(event) for event in first.seen], [PeerJoined, PeerLeft])
        self.assertFalse(first.seen[1].by_us)
        first.stop()
        self.assertEqual([call for node in (first, second) for call in node.host.getDelayedCalls()], [])

    def test_again_and_again(self):
        first = self.world.node().start()
        second = self.world.node(static_nodes=(first.address,))
        for _ in range(3):
            second.start()
            self.world.run(2)
            self.assertEqual(len(first.peers), 1)
            second.stop()
        for _ in range(2):
            second.start()
            first.stop()
            self.world.run(5)
            first.start()
            self.world.run(30)
            self.assertEqual(len(first.peers), 1)
            second.stop()

    def test_slow_security_is_not_dialled_twice(self):
        first = self.world.node().build()
        first.host.listenTCP(30303, _Client(Factory.forProtocol(Protocol)))
        second = self.world.node(static_nodes=(first.address,)).start()
        self.world.run(5)
        self.assertEqual(len(second.network._roster.open), 1)
        second.stop()

    def test_nobody_there(self):
        lonely = self.world.node(bootstrap_nodes=(NodeKey(b"\x63" * 32).peer_id.hex() + "@10.0.0.99:1",)).start()
        self.world.run(60)
        self.assertEqual(set(lonely.reasons), {Reason.CONNECTION_LOST})
        self.assertTrue(3 <= len(lonely.reasons) <= 9, len(lonely.reasons))
        lonely.stop()

    def test_stop_while_dialling(self):
        lonely = self.world.node(bootstrap_nodes=(NodeKey(b"\x63" * 32).peer_id.hex() + "@10.0.0.99:1",)).start()
        self.world.run(0.5)
        lonely.stop()
        self.assertEqual(lonely.reasons, [])
        self.assertEqual(list(lonely.host.getDelayedCalls()), [])

    def test_own_address(self):
        node = self.world.node().build()
        node.start(bootstrap_nodes=(node.address,))
        impostor = NodeKey(b"\x63" * 32).peer_id.hex()
        self.world.run(10)
        self.assertEqual(node.reasons, [])
        self.assertFalse(node.network.add_peer(parse_node(node.address)))
        node.network.add_peer(parse_node(f"{impostor}@{node.ip}:30303"))
        self.world.run(10)
        self.assertEqual(set(node.reasons), {Reason.SELF})
        self.assertEqual(len(node.reasons), 2)

    def test_wrong_id(self):
        first = self.world.node().start()
        impostor = NodeKey(b"\x63" * 32).peer_id.hex()
        second = self.world.node(static_nodes=(f"{impostor}@{first.ip}:30303",)).start()
        self.world.run(5)
        self.assertEqual(set(second.reasons), {Reason.WRONG_PEER_ID})
        self.assertEqual(set(first.reasons), {Reason.WRONG_PEER_ID})
        self.assertEqual(second.peers, [])

    def test_incompatible(self):
        first = self.world.node().start()
        for chain, reason in (
            (StubChain(b"\x09" * 32), Reason.WRONG_GENESIS),
            (StubChain(settings=((0, b"\x09" * 32),)), Reason.WRONG_SETTINGS),
        ):
            second = self.world.node(static_nodes=(first.address,), chain=chain).start()
            self.world.run(40)
            self.assertEqual(second.reasons, [reason])
            self.assertEqual(first.network.ends()[0].reason, reason)
            self.world.run(60)
            self.assertEqual(second.reasons, [reason, reason])
            second.stop()

    def test_later_settings_end_the_link_when_both_have_reached_them(self):
        later = StubChain(settings=((0, b"\x02" * 32), (9, b"\x03" * 32)))
        for first_there, second_there in ((0, 1), (1, 0)):
            first = self.world.node(chain=StubChain()).start()
            second = self.world.node(static_nodes=(first.address,), chain=StubChain(settings=later.settings_hashes()))
            nodes = (first, second.start())
            self.world.run(2)
            ahead, behind = nodes[first_there], nodes[second_there]
            ahead.chain.reach(9)
            ahead.network.links()[0].send(AnnounceBlocks(((bytes(32), 9),)))
            self.world.run(2)
            self.assertEqual(len(ahead.peers), 1)
            behind.chain.reach(8)
            self.world.run(1)
            self.assertEqual(len(behind.peers), 1)
            behind.chain.reach(9)
            self.world.run(1)
            self.assertEqual((first.reasons[-1], second.reasons[-1]), (Reason.WRONG_SETTINGS,) * 2)
            self.assertIn("03030303", behind.network.ends()[-1].detail)
            for node in nodes:
                node.stop()

    def test_stop_with_a_connection_that_says_nothing(self):
        first = self.world.node().start()
        silent = self.world.net.host("silent", "10.0.9.9")
        for _ in range(2):
            silent.connectTCP(first.ip, 30303, _Client(Factory.forProtocol(Protocol)))
        self.world.run(1)
        self.assertEqual(first.network._roster.live(), [])
        self.assertEqual(len(first.network._roster.open), 1)
        self.assertEqual(first.network.counters["refused_connections"], 1)
        first.stop()
        self.assertEqual(list(first.host.getDelayedCalls()), [])


class SettingsTest(SynchronousTestCase):
    def test_refused(self):
        world = World()
        for settings in (
            {"listen_addr": ("ssl:443",)},
            {"listen_addr": ("unix:/tmp/x",)},
            {"listen_addr": ("nonsense",)},
            {"bootstrap_nodes": ("enr:x",)},
            {"static_nodes": ("someone",)},
        ):
            self.assertRaises(SettingsError, world.node().build, **settings)
        for external in ("nobody", "host:1", "1.2.3"):
            self.assertRaises(SettingsError, world.node(external=external).build)

    def test_forms_of_listening(self):
        world = World()
        node = world.node()
        node.start(listen_addr=(f"{node.ip}:30303", "tcp:0"))
        self.assertEqual(node.network.addresses[0], (node.ip, 30303))
        self.assertGreater(node.network.addresses[1][1], 0)
        self.assertEqual(node.network.enr.tcp_endpoint, (node.ip, 30303))
        six = world.node(ip="2001:db8::5").start(listen_addr=("[2001:db8::5]:7",))
        self.assertEqual(six.network.enr.tcp_endpoint, ("2001:db8::5", 7))

    def test_bad_endpoint_text(self):
        node = World().node().build(listen_addr=("tcp:x",))
        self.failureResultOf(self.started(node), SettingsError)

    def started(self, node):
        result = node.network.start()
        node.world.run(0.01)
        return result

    def test_busy_port(self):
        world = World()
        first = world.node().start()
        second = world.node(host=first.host, listen_addr=("tcp:0", "tcp:30303")).build()
        error = self.failureResultOf(self.started(second), StartupError).value
        self.assertIn("tcp:30303", str(error))
        self.assertEqual(len(first.host._ports), 1)

    def test_two_handlers(self):
        world = World()
        node = world.node().build()
        self.assertRaises(
            Ours,
            Network,
            reactor=node.host, now=None, random=Random(1), key=node.key, security=None, chain=node.chain,
            users=[User(), User()], settings=NetworkSettings(), profile=PRIVATE, external=None, store=None,
            events=EventBus(), agent="",
        )  # fmt: skip


class DuplicateTest(SynchronousTestCase):
    """Two links to one peer, in every order."""

    def setUp(self):
        self.world = World()
        keys = sorted((NodeKey(bytes([n]) * 32) for n in (11, 12)), key=lambda key: key.peer_id)
        self.low, self.high = (self.world.node(key=key) for key in keys)

    def check_one_link(self, opener, allowed=frozenset({Reason.DUPLICATE})):
        for node, other in ((self.low, self.high), (self.high, self.low)):
            self.assertEqual(node.peers, [other.key.peer_id])
            self.assertEqual(len(node.network.links()), 1)
            self.assertEqual(len(node.user.links), 1)
            self.assertEqual([type(event) for event in node.seen], [PeerJoined])
            self.assertEqual(node.network.links()[0].outbound, node is opener)
            self.assertLessEqual(set(node.reasons), allowed)
            self.assertEqual(node.user.log.count(("joined", node.network.links()[0])), 1)

    def test_crossed(self):
        self.low.start(static_nodes=(self.high.address,))
        self.high.start(static_nodes=(self.low.address,))
        self.world.run(0.3)
        self.world.run(20)
        self.check_one_link(self.low)

    def test_crossed_in_every_order(self):
        for delay in (0.0, 0.001, 0.002, 0.003, 0.004, 0.01):
            for low_first in (True, False):
                world = World()
                keys = sorted((NodeKey(bytes([n]) * 32) for n in (11, 12)), key=lambda key: key.peer_id)
                self.low, self.high = (world.node(key=key) for key in keys)
                self.low.start()
                self.high.start()
                first, second = (self.low, self.high) if low_first else (self.high, self.low)
                first.network.add_peer(parse_node(second.address))
                world.run(delay)
                second.network.add_peer(parse_node(first.address))
                world.run(12)
                links = self.low.network.links()
                self.assertEqual(len(links), 1, (delay, low_first))
                self.check_one_link(self.low if links[0].outbound else self.high)

    def dial_again(self, node, other):
        """A second link although there is one, as after a loss that only *node* has noticed."""
        from chainp2p.net.factory import PeerFactory

        made = []

        def opened(link):
            made.append(link)
            node.network._roster.opened(link)

        factory = PeerFactory(node.network.host, other.key.peer_id, opened)
        node.host.connectTCP(other.ip, 30303, node.network.host.security.client(_Client(factory)))
        self.world.run(0.1)
        return made[0] if made else None  # the other's door may be closed

    def meet(self):
        self.low.start()
        self.high.start(static_nodes=(self.low.address,))
        self.world.run(2)

    def test_same_opener_the_newer_stays(self):
        self.meet()
        newer = self.dial_again(self.high, self.low)
        self.world.run(10)
        self.check_one_link(self.high)
        self.assertIs(self.high.network.links()[0], newer)

    def test_the_old_one_is_asked_and_answers(self):
        self.meet()
        older = self.high.network.links()[0]
        self.world.run(60)
        self.dial_again(self.low, self.high)
        self.world.run(20)
        self.check_one_link(self.high)
        self.assertIs(self.high.network.links()[0], older)

    def test_the_old_one_does_not_answer(self):
        self.meet()
        self.world.run(60)
        for node in (self.low, self.high):
            link = node.network.links()[0]
            link.dataReceived = lambda data: None
        newer = self.dial_again(self.low, self.high)
        self.world.run(25)
        self.check_one_link(self.low, {Reason.DUPLICATE, Reason.CONNECTION_LOST})
        self.assertIs(self.low.network.links()[0], newer)

    def test_the_higher_closes_when_the_lower_does_not(self):
        self.meet()
        self.low.network._roster._retire = lambda loser, keep: None
        self.dial_again(self.high, self.low)
        self.world.run(4)
        self.assertEqual(len(self.high.user.links), 2)
        self.world.run(4)
        self.check_one_link(self.high)

    def test_stop_in_the_grace_period(self):
        self.meet()
        self.low.network._roster._retire = lambda loser, keep: None
        self.dial_again(self.high, self.low)
        self.world.run(1)
        self.high.stop()
        self.low.stop()
        self.assertEqual(list(self.high.host.getDelayedCalls()), [])

    def test_one_key_on_two_machines(self):
        self.low.start()
        twins = [self.world.node(key=self.high.key, ip=f"10.0.1.{n}", name=f"t{n}").start() for n in (1, 2)]
        for n in range(6):
            self.dial_again(twins[n % 2], self.low)
            self.world.run(1)
        self.assertIn(Reason.DUPLICATE_KEY, self.low.reasons)
        self.assertEqual(len(self.low.peers), 1)
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class _Client:
    """A factory for ``connectTCP`` around one for endpoints."""

    noisy = False

    def __init__(self, factory):
        self.buildProtocol = factory.buildProtocol

    def __getattr__(self, name):
        return lambda *args: None


class LimitTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_max_peers(self):
        hub = self.world.node(max_peers=2).start()
        others = [self.world.node(static_nodes=(hub.address,)).start() for _ in range(4)]
        self.world.run(3)
        self.assertEqual(len(hub.peers), 2)
        self.assertEqual(set(hub.reasons), {Reason.TOO_MANY_PEERS})
        refused = [node for node in others if not node.peers]
        self.assertEqual(len(refused), 2)
        self.assertEqual(set(refused[0].reasons), {Reason.TOO_MANY_PEERS})
        hub.network.add_peer(parse_node(refused[0].address))
        self.world.run(5)
        self.assertEqual(len(hub.peers), 3)  # a held peer always finds room

    def test_inbound_leaves_room_for_outbound(self):
        hub = self.world.node(max_peers=18).start()
        for _ in range(19):
            self.world.node(static_nodes=(hub.address,)).start()
        self.world.run(3)
        self.assertLessEqual(sum(not view.outbound for view in hub.network.peers()), 16)
        self.assertLessEqual(len(hub.peers), 18)

    def test_known_records_are_dialled_while_there_is_room(self):
        nodes = [self.world.node().start() for _ in range(20)]
        hub = self.world.node().start()
        source = nodes[0]
        source.network.add_peer(parse_node(hub.address))
        self.world.run(1)
        for node in nodes[1:]:
            hub.network.learn(node.network.enr, hub.network.links()[0])
        self.world.run(5)
        self.assertEqual(sum(view.outbound for view in hub.network.peers()), 16)
        hub.stop()

    def test_records_of_other_networks_are_left_out(self):
        hub, other = self.world.node().start(), self.world.node(chain=StubChain(b"\x09" * 32)).start()
        self.world.node(static_nodes=(hub.address,)).start()
        self.world.run(1)
        hub.network.learn(other.network.enr, hub.network.links()[0])
        self.world.run(5)
        self.assertEqual(hub.reasons, [])

    def test_allow_list(self):
        hub = self.world.node().start()
        good, bad = (self.world.node(static_nodes=(hub.address,)).start() for _ in range(2))
        self.world.run(1)
        self.assertEqual(len(hub.peers), 2)
        hub.network.allow({good.key.peer_id: "bank"})
        self.world.run(1)
        self.assertEqual(hub.peers, [good.key.peer_id])
        self.world.run(30)
        self.assertEqual(set(hub.reasons), {Reason.NOT_ALLOWED})
        self.assertEqual(set(bad.reasons), {Reason.NOT_ALLOWED})
        hub.network.learn(bad.network.enr, hub.network.links()[0])
        hub.network.allow(None)
        self.world.run(40)
        self.assertEqual(len(hub.peers), 2)

    def test_memory_runs_short(self):
        hub = self.world.node().start()
        self.world.node(static_nodes=(hub.address,)).start()
        self.world.run(1)
        link = hub.network.links()[0]
        hub.network.host.budget.holds(link, 300_000_000, None)
        self.world.run(1)
        self.assertEqual(hub.reasons, [Reason.NOT_READING])


class RemoveTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.hub = self.world.node().start()
        self.other = self.world.node(static_nodes=(self.hub.address,)).start()
        self.world.run(1)

    def test_stays_away_until_added(self):
        hub, other = self.hub, self.other
        self.assertTrue(hub.network.remove_peer(other.key.peer_id))
        self.assertFalse(hub.network.remove_peer(other.key.peer_id))
        self.world.run(60)
        self.assertEqual(hub.peers, [])
        self.assertEqual(set(hub.reasons), {Reason.REMOVED})
        self.assertEqual(set(other.reasons), {Reason.REMOVED})
        hub.stop().start(bootstrap_nodes=(other.address,))
        self.world.run(60)
        self.assertEqual(hub.peers, [])
        self.assertTrue(hub.network.add_peer(parse_node(other.address)))
        self.world.run(2)
        self.assertEqual(hub.peers, [other.key.peer_id])
        self.assertTrue(hub.network.peers()[0].static)
        hub.stop().start()
        self.world.run(40)
        self.assertEqual(hub.peers, [other.key.peer_id])

    def test_trusted(self):
        self.hub.network.add_peer(NodeAddress(self.other.key.peer_id, self.other.ip, 30303), trusted=True)
        self.assertTrue(self.hub.network.peers()[0].trusted)

    def test_a_fault_keeps_the_key_away_for_a_day(self):
        self.hub.network.links()[0].fault(Reason.MISBEHAVED, "lies")
        self.world.run(100)
        self.assertEqual(set(self.hub.reasons), {Reason.MISBEHAVED, Reason.BANNED})
        self.world.run(86_400)
        self.assertEqual(self.hub.peers, [self.other.key.peer_id])

    def test_useless_is_counted(self):
        self.hub.network.links()[0].fault(Reason.MISBEHAVED, "slow", Penalty.USELESS)
        self.assertEqual(self.hub.network.counters["useless_faults"], 1)
        self.hub.network.host.skipped(self.hub.network.links()[0], 99)
        self.assertEqual(self.hub.network.counters["unknown_tags"], 1)
        self.assertEqual(len(self.hub.peers), 1)


class RecordTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_external(self):
        node = self.world.node(external="8.8.8.8").start()
        self.assertEqual(node.network.enr.tcp_endpoint, ("8.8.8.8", 30303))
        node = self.world.node(external="8.8.8.8:99").start()
        self.assertEqual(node.network.enr.tcp_endpoint, ("8.8.8.8", 99))
        self.assertEqual(node.network.enr.genesis_prefix, GENESIS[:4])

    def test_votes_of_peers_and_telling_the_news(self):
        hub = self.world.node().start()
        node = self.world.node(static_nodes=(hub.address,)).start(listen_addr=("tcp:30303",))
        self.assertIsNone(node.network.enr.ip)
        self.world.run(1)
        self.assertEqual(node.network.enr.tcp_endpoint, (node.ip, 30303))
        self.assertEqual(node.network.enr.seq, 2)
        self.world.run(1)
        first = node.network.enr.raw
        self.assertEqual(hub.user.records, [first])
        node.network.record.mapped("10.7.7.7", 1, None)
        node.network.record.unmapped()
        for peer_id in (b"a", b"b", b"c"):
            node.network.record.observed(peer_id, "10.0.0.3", bytes((10, 7, 7, 8)))
        self.assertEqual(node.network.enr.ip, "10.7.7.8")
        self.world.run(57)
        self.assertEqual(hub.user.records, [first])  # once a minute
        self.world.run(4)
        self.assertEqual(hub.user.records, [first, node.network.enr.raw])
        node.stop()
        node.start(listen_addr=("tcp:30303",))
        self.assertGreaterEqual(node.network.enr.seq, 2)

    def test_ten_votes_in_public(self):
        hubs = [self.world.node(ip=f"8.8.{n}.1", profile=PUBLIC).start() for n in range(11)]
        node = self.world.node(ip="9.9.9.9", profile=PUBLIC).start(listen_addr=("tcp:30303",))
        for n, hub in enumerate(hubs):
            self.assertIsNone(node.network.enr.ip if n < 9 else None)
            node.network.add_peer(parse_node(hub.address))
            self.world.run(1)
        self.assertEqual(node.network.enr.ip, "9.9.9.9")

    def test_private_votes_of_public_peers(self):
        node = self.world.node(profile=PUBLIC).start(listen_addr=("tcp:30303",))
        for n in range(20):
            node.network.record.observed(bytes([n]) * 32, "8.8.8.8", bytes((10, 0, 0, 9)))
            node.network.record.observed(bytes([n]) * 32, "8.8.8.8", b"")
        self.assertIsNone(node.network.enr.ip)
        for n in range(10):
            node.network.record.observed(bytes([n]) * 32, "8.8.8.8", bytes((9, 9, 9, 9)))
        self.assertIsNone(node.network.enr.ip)  # neighbours have one voice
        for n in range(10):
            node.network.record.observed(bytes([n]) * 32, f"8.8.{n}.8", bytes((9, 9, 9, 9)))
        self.assertEqual(node.network.enr.ip, "9.9.9.9")
        self.assertEqual(node.network.record.tally(), {4: [("9.9.9.9", 10)], 6: []})

    def test_number_survives_and_continues_above_what_is_seen(self):
        node = self.world.node().start()
        self.assertEqual(node.network.enr.seq, 1)
        node.stop().start()
        self.assertEqual(node.network.enr.seq, 1)
        node.stop().start(listen_addr=(f"tcp:40404:interface={node.ip}",))
        self.assertEqual(node.network.enr.seq, 2)
        other = self.world.node(static_nodes=(f"{node.key.peer_id.hex()}@{node.ip}:40404",)).start()
        self.world.run(1)
        ahead = make_enr(node.key, 50, node_pairs(GENESIS, 1))
        node.network.learn(ahead, node.network.links()[0])
        node.network.learn(ahead, node.network.links()[0])
        self.assertEqual(node.network.enr.seq, 51)
        self.world.run(61)
        self.assertEqual(other.user.records, [node.network.enr.raw])
        node.network.learn(make_enr(node.key, 60, node_pairs(GENESIS, 1)), node.network.links()[0])
        node.network.learn(make_enr(node.key, 70, node_pairs(GENESIS, 1)), node.network.links()[0])
        node.stop()

    def test_records_of_others_survive(self):
        first = self.world.node().start()
        second = self.world.node(bootstrap_nodes=(first.address,)).start()
        self.world.run(2)
        first.stop().start()  # nobody is named to it: it finds the other by what it has stored
        self.world.run(40)
        self.assertEqual(first.peers, [second.key.peer_id])

    def test_relayable(self):
        first = self.world.node().start()
        second = self.world.node(bootstrap_nodes=(first.address,)).start()
        self.world.run(2)
        now = self.world.clock.seconds()
        self.assertEqual(second.network.relayable(now), [first.network.enr.raw])
        # private: inbound from its own address
        self.assertEqual(first.network.relayable(now), [second.network.enr.raw])
        hub = self.world.node(profile=PUBLIC).start()
        self.world.node(profile=PUBLIC, static_nodes=(hub.address,)).start()
        self.world.run(2)
        self.assertEqual(hub.network.relayable(self.world.clock.seconds()), [])

    def test_newer_record_of_a_peer(self):
        first = self.world.node().start()
        second = self.world.node(bootstrap_nodes=(first.address,)).start()
        self.world.run(2)
        link = first.network.links()[0]
        newer = make_enr(second.key, 9, node_pairs(GENESIS, 1, second.ip, 30303))
        first.network.learn(newer, link)
        self.assertEqual(first.network.peers()[0].enr, newer.text)
        first.network.learn(make_enr(second.key, 8, node_pairs(GENESIS, 1, second.ip, 1)), link)
        self.assertEqual(first.network.peers()[0].enr, newer.text)

    def test_bad_records_in_status(self):
        first = self.world.node().start()
        for raw in (b"junk", make_enr(NodeKey(b"\x63" * 32), 1, {}).raw):
            second = self.world.node(static_nodes=(first.address,)).start()
            status = second.network.host.status
            second.network.host.status = lambda observed, raw=raw, status=status: attrs.evolve(
                status(observed), enr=raw
            )
            self.world.run(2)
            self.assertIn(Reason.MALFORMED_MESSAGE, first.reasons)
            second.stop()

    def test_a_peer_without_a_record(self):
        first = self.world.node().start()
        second = self.world.node(static_nodes=(first.address,)).start()
        status = second.network.host.status
        second.network.host.status = lambda observed: attrs.evolve(status(observed), enr=b"")
        self.world.run(2)
        self.assertEqual(first.network.peers()[0].enr, "")

    def test_broken_store(self):
        node = self.world.node()
        node.start().stop()
        node.start()
        node.network._store._database.execute("DROP TABLE removed")
        node.network.remove_peer(b"\x01" * 32)
        self.world.run(1)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_store_that_cannot_be_read(self):
        node = self.world.node().build()
        connection = node.disk.open("node.sqlite")
        connection.execute("CREATE TABLE own (x)")
        connection.execute("CREATE VIEW address AS SELECT 1")
        connection.commit()
        result = node.network.start()
        self.world.run(1)
        self.assertIn("node.sqlite", str(self.failureResultOf(result, StartupError).value))


class StopTest(SynchronousTestCase):
    def test_a_transport_that_never_says_that_it_is_gone(self):
        world = World()
        hub = world.node().start()
        world.node(static_nodes=(hub.address,)).start()
        world.run(1)
        hub.network.host.link_gone = lambda link: None
        hub.stop()
        self.assertEqual(list(hub.host.getDelayedCalls()), [])

    def test_a_link_that_comes_while_stopping(self):
        world = World()
        hub = world.node().start()
        link = PeerProtocol(hub.network.host)
        link.peer_id = b"\x07" * 32
        hub.network.host.stopping = True
        fault = self.assertRaises(PeerFault, hub.network.host.admit, link)
        self.assertIs(fault.reason, Reason.SHUTDOWN)
