"""What the network does with discovery: nodes on a virtual clock whose disks outlive them."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net.store import PeerStore
from chainp2p.net.table_store import AGE_MAX, STORED_MAX
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from tests.discovery.test_seeds import record
from tests.net.test_network import World

NOW = 1.8e9


class StoredTableTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.disk = MemoryDisk()
        self.addCleanup(self.disk.erase)
        self.store = self.open()

    def open(self):
        self.store = PeerStore(self.disk.open, SimExecutor(self.world.net.host(f"h{id(object())}", "10.9.9.9")))
        return self.store

    def load(self):
        loading = self.store.load()
        self.world.run(0.1)
        return list(self.successResultOf(loading).table)

    def test_the_one_that_answered_last_is_in_front(self):
        self.assertEqual(self.load(), [])
        self.store.save_table([(record(1), NOW - 9), (record(2), NOW - 5)], NOW)
        self.store.save_table([(record(1, 2), NOW - 1), (record(3), NOW + 99)], NOW)
        self.assertEqual(self.load(), [record(3), record(1, 2), record(2)])

    def test_what_is_stored_is_bounded_and_forgotten_in_time(self):
        self.load()
        many = [(record(number), NOW + number) for number in range(1, STORED_MAX + 3)]
        self.store.save_table(many, NOW + len(many))
        self.assertEqual(self.load(), [record(number) for number in range(STORED_MAX + 2, 2, -1)])
        self.store.save_table([(record(1), NOW + AGE_MAX + 6)], NOW + AGE_MAX + 6)
        self.assertEqual(self.load(), [record(1), *(record(number) for number in range(STORED_MAX + 2, 5, -1))])

    def test_a_clock_that_was_ahead_does_not_keep_newcomers_out(self):
        self.load()
        early = [(record(number), NOW + 9e8) for number in range(1, STORED_MAX + 1)]
        self.store.save_table(early, NOW + 9e8)
        self.store.save_table([(record(STORED_MAX + 1), NOW)], NOW)
        self.store.save_table([(record(STORED_MAX + 2), NOW + 60)], NOW + 60)
        stored = self.load()
        self.assertEqual((len(stored), stored[0]), (STORED_MAX, record(STORED_MAX + 2)))

    def test_what_is_no_record_is_left_out(self):
        self.load()
        self.store.save_table([(record(1), NOW)], NOW)
        self.world.run(0.1)
        database = self.disk.open("node.sqlite")
        with database:
            database.execute("INSERT INTO discovered VALUES (?, ?, ?)", (bytes(32), b"\xc0", NOW + 1))
        database.close()
        self.assertEqual(self.load(), [record(1)])


class DiscoveryTest(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def grow(self, count, **settings):
        settings = {"enable_discovery": True, "enable_pex": False, **settings}
        first = self.world.node(**settings).start()
        text = first.network.enr.text
        return [first, *(self.world.node(**settings).start(bootstrap_nodes=(text,)) for _ in range(count - 1))]

    def forget_book(self, node):
        database = node.disk.open("node.sqlite")
        with database:
            for table in ("address", "anchor"):
                database.execute(f"DELETE FROM {table}")
        database.close()

    def restart(self, node):
        node.host = node.host.boot()
        node.start(bootstrap_nodes=())

    def test_after_a_kill_the_table_finds_the_network_again_without_any_bootstrap_node(self):
        first, *others = self.grow(5)
        self.world.run(40)
        self.assertEqual([node.network.discovered for node in others], [4] * 4)
        for node in (first, *others):
            node.host.kill()
            node.disk.crash()
        for node in others:
            self.forget_book(node)
        lost = others[0]
        for node in others:
            self.restart(node)
            if node is lost:
                self.assertEqual(node.network.known, 0)
        self.world.run(30)
        self.assertEqual([node.network.discovered for node in others], [3] * 4)
        self.assertEqual({len(node.peers) for node in others}, {3})
        # the same without the table: nobody knows anybody
        for node in others:
            node.stop()
        for node in others:
            self.forget_book(node)
        database = lost.disk.open("node.sqlite")
        with database:
            database.execute("DELETE FROM discovered")
        database.close()
        lost.start(bootstrap_nodes=())
        self.world.run(60)
        self.assertEqual((lost.network.discovered, lost.peers), (0, []))

    def test_a_table_that_is_empty_at_the_stop_loses_nothing(self):
        first, second = self.grow(2)
        self.world.run(10)
        first.stop()
        self.world.run(400)
        self.assertEqual(second.network.discovered, 0)
        second.stop()
        self.forget_book(second)
        first.start()
        second.start(bootstrap_nodes=())
        self.world.run(20)
        self.assertEqual(second.network.discovered, 1)

    def test_the_number_of_the_own_record_survives_a_kill(self):
        node = self.world.node(enable_discovery=True).start()
        before = node.network.enr
        node.stop()
        node.external = "192.0.2.7"
        node.start()
        moved = node.network.enr
        self.assertEqual((moved.seq, moved.ip), (before.seq + 1, "192.0.2.7"))
        self.world.run(0.1)
        node.host.kill()
        node.disk.crash()
        node.host = node.host.boot()
        node.start()
        self.assertEqual(node.network.enr, moved)

    def test_what_people_are_shown(self):
        first, second, third = self.grow(3)
        self.world.run(30)
        view = first.network.discovery.view()
        self.assertEqual({one.peer_id for one in view.live}, {second.key.peer_id, third.key.peer_id})
        self.assertEqual({one.address for one in view.live}, {(second.ip, 30303), (third.ip, 30303)})
        self.assertTrue(all(one.ours and 0 <= one.ago < 120 for one in view.live))
        self.assertEqual(sum(bucket.live for bucket in view.buckets), 2)
        self.assertEqual([bucket.distance for bucket in view.buckets], sorted({one.distance for one in view.live}))
        self.assertEqual((view.sessions, view.lookups), (2, 0))
        self.assertEqual(sorted(view.votes), [4, 6])
        found = {(name, *labels.values()): value for name, labels, value in first.network.metrics()}
        self.assertEqual(found["chainp2p_discovery_nodes", "live"], 2)
        self.assertEqual(found["chainp2p_discovery_nodes", "replacement"], 0)
        self.assertEqual(found["chainp2p_discovery_sessions",], 2)
        self.assertGreater(found["chainp2p_discovery_packets_total", "inbound"], 10)
        self.assertGreater(found["chainp2p_discovery_packets_total", "outbound"], 10)
        self.assertEqual(found["chainp2p_discovery_dropped_total", "too many of one address"], 0)
        shell = first.network.discovery.shell
        before = shell.received
        shell._received(b"junk", ("10.0.0.9", 1))
        self.assertEqual(shell.received, before + 1)
        self.assertEqual(first.network.discovery.view().dropped["size"], 1)

    def test_switched_off_there_is_nothing_to_show(self):
        node = self.world.node().start()
        self.assertIsNone(node.network.discovery.view())
        self.assertEqual([name for name, _, _ in node.network.metrics() if "discovery" in name], [])
