"""Lists of nodes from a real name server (twisted.names), over sockets in memory and in virtual time."""

from pathlib import Path
from random import Random
from types import SimpleNamespace

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.tree import Branch, Root, TreeUrl, entry_name
from chainp2p.discovery.treemaking import make_tree
from chainp2p.discovery.treewalk import JITTER, NUMBERS_MAX, RECHECK, RETRY
from chainp2p.net.dns_seeds import COMPLAINTS_OF_LIST, DEADLINE, INTERVAL, LOOK_AGAIN, QUESTIONS_MAX, DnsSeeds
from chainp2p.net.resolver import SystemResolver, texts_of, why_no_text
from chainp2p.net.store import PeerStore
from chainp2p.peer.book import AddressBook
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.settings import PUBLIC
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.databases import MemoryDisk
from chainp2p.testing.executor import SimExecutor
from chainp2p.testing.names import MemoryResolver
from chainp2p.testing.network import MemoryNetwork, Weather

GENESIS = b"\x07" * 32
KEY = NodeKey(b"\x05" * 32)
DOMAIN = "nodes.example.org"
URL = TreeUrl(KEY.compressed, DOMAIN)


def record(number, genesis=GENESIS, ip="5.6.7.8", tcp=30303, udp=30303):
    return make_enr(NodeKey(number.to_bytes(32, "big")), 1, node_pairs(genesis, 1, ip, tcp, udp))


class Zone(ResolverBase):
    """What the name server knows; a name may have several texts."""

    def __init__(self):
        super().__init__()
        self.texts = {}
        self.asked = []

    def _lookup(self, name, cls, type, timeout):
        name = name.decode()
        self.asked.append(name)
        found = self.texts.get(name)
        if found is None or type != dns.TXT:
            return fail(DNSNameError(name))
        payloads = [dns.Record_TXT(*[text[i : i + 255].encode() for i in range(0, len(text), 255)]) for text in found]
        return succeed(([dns.RRHeader(name, dns.TXT, payload=one, ttl=60) for one in payloads], [], []))


class Store:
    def __init__(self):
        self.saved = {}

    def save_tree(self, url, seq):
        self.saved[url] = seq


class Base(SynchronousTestCase):
    def setUp(self):
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(3), Weather(low=0.01, high=0.02))
        self.host, self.server = self.net.host("node", "10.0.0.1"), self.net.host("ns", "10.0.0.53")
        self.zone, self.found, self.wanted = Zone(), [], True
        factory = DNSServerFactory(clients=[self.zone])
        factory.noisy = False
        protocol = dns.DNSDatagramProtocol(factory, reactor=self.server)
        self.server.listenUDP(53, protocol, maxPacketSize=512)
        self.server.listenTCP(53, factory)
        self.resolver = Resolver(servers=[("10.0.0.53", 53)], reactor=self.host, timeout=(1, 2))
        self.store = Store()

    def publish(self, records, seq=1, links=(), key=KEY, domain=DOMAIN):
        self.zone.texts.update({name: [text] for name, text in make_tree(key, domain, seq, records, links).items()})

    def seeds(self, *urls, resolver=None, seqs=None, private=False):
        seeds = DnsSeeds(
            reactor=self.host,
            random=Random(4),
            resolver=lambda: resolver or self.resolver,
            trees=urls or (URL,),
            store=self.store,
            genesis=GENESIS,
            private=private,
            wanted=lambda: self.wanted,
            found=lambda enr, source: self.found.append((enr, source)),
        )
        seeds.start(seqs or {})
        self.addCleanup(seeds.stop)
        return seeds

    def text_of(self, logs, level=LogLevel.warn):
        return "\n".join(formatEvent(event) for event in logs if event["log_level"] == level)

    @property
    def ids(self):
        return {enr.peer_id for enr, _ in self.found}


class SeedsTest(Base):
    def test_all_nodes_of_a_list(self):
        records = [record(number) for number in range(1, 41)]
        self.publish(records)
        seeds = self.seeds()
        self.clock.run_for(20)
        self.assertEqual(self.ids, {one.peer_id for one in records})
        self.assertEqual({source for _, source in self.found}, {DOMAIN})
        self.assertEqual(self.store.saved, {str(URL): 1})
        self.assertEqual(seeds.counts["record"], 40)
        self.assertIn(("chainp2p_dns_names_total", {"result": "record"}, 40), seeds.metrics())
        # nothing is asked twice, and nothing more until the next look at the root
        self.assertEqual(len(self.zone.asked), len(set(self.zone.asked)))
        asked = len(self.zone.asked)
        self.clock.run_for(RECHECK * (1 - JITTER) - 30)
        self.assertEqual(len(self.zone.asked), asked)

    def test_the_rate_is_bounded(self):
        self.publish([record(number) for number in range(1, 41)])
        self.seeds()
        self.clock.run_for(1)
        self.assertLessEqual(len(self.zone.asked), 1 / INTERVAL + 1)
        self.assertGreater(len(self.zone.asked), 5)

    def test_other_networks_and_private_addresses_are_dropped(self):
        plain = make_enr(NodeKey(b"\x09" * 32), 1, {})
        self.publish(
            [record(1), record(2, b"\x08" * 32), record(3, ip="192.168.0.9"), record(4, ip="127.0.0.1"), plain]
        )
        seeds = self.seeds()
        self.clock.run_for(5)
        self.assertEqual(self.ids, {record(1).peer_id})
        self.assertEqual((seeds.counts["other_network"], seeds.counts["private_address"]), (2, 2))

    def test_a_small_network_has_private_addresses(self):
        self.publish([record(3, ip="192.168.0.9")])
        self.seeds(private=True)
        self.clock.run_for(5)
        self.assertEqual(len(self.found), 1)

    def test_a_text_that_does_not_fit_into_a_datagram_comes_by_tcp(self):
        self.publish([record(1)])
        self.zone.texts[DOMAIN] = [f"v=something else {number} " + "x" * 200 for number in range(3)] + self.zone.texts[
            DOMAIN
        ]
        self.seeds()
        self.clock.run_for(5)
        self.assertEqual(len(self.found), 1)

    def test_roots_only_while_nobody_is_wanted(self):
        self.publish([record(1)])
        self.wanted = False
        self.seeds()
        self.clock.run_for(60)
        self.assertEqual(self.zone.asked, [DOMAIN])
        self.wanted = True
        self.clock.run_for(LOOK_AGAIN + 1)
        self.assertEqual(len(self.found), 1)

    def test_changes_are_found_half_an_hour_later(self):
        self.publish([record(1)])
        self.seeds()
        self.clock.run_for(60)
        self.publish([record(1), record(2)], seq=2)
        self.clock.run_for(RECHECK * (1 + JITTER))
        self.assertEqual(self.ids, {record(1).peer_id, record(2).peer_id})
        self.assertEqual(self.store.saved, {str(URL): 2})

    def test_an_old_list_is_refused_over_a_restart(self):
        self.publish([record(1)], seq=4)
        with capturedLogs() as logs:
            self.seeds(seqs={str(URL): 5})
            self.clock.run_for(5)
        self.assertEqual((self.found, self.store.saved), ([], {}))
        self.assertIn("older than one seen before: number 4 after 5", self.text_of(logs))

    def test_stop_and_start(self):
        self.publish([record(number) for number in range(1, 41)])
        seeds = self.seeds()
        self.clock.run_for(0.5)
        seeds.stop()
        asked = len(self.zone.asked)
        self.clock.run_for(60)
        self.assertLessEqual(len(self.zone.asked), asked + QUESTIONS_MAX)
        self.assertEqual(list(self.host.getDelayedCalls()), [])
        seeds.start(self.store.saved)
        self.clock.run_for(20)
        self.assertEqual(len(self.ids), 40)

    def test_without_a_list_nothing_is_made(self):
        seeds = DnsSeeds(
            reactor=self.host,
            random=Random(4),
            resolver=lambda: self.fail("nobody is to be asked"),
            trees=(),
            store=self.store,
            genesis=GENESIS,
            private=False,
            wanted=lambda: True,
            found=self.fail,
        )
        seeds.start({})
        seeds.stop()
        self.assertEqual(list(self.host.getDelayedCalls()), [])


class TroubleTest(Base):
    """What goes wrong is logged with name and cause, once, and is tried again."""

    def complaints(self, seconds):
        with capturedLogs() as logs:
            self.clock.run_for(seconds)
        self.assertEqual([event for event in logs if event["log_level"] > LogLevel.warn], [])
        return self.text_of(logs)

    def test_no_name_server(self):
        self.server.kill(silent=True)
        seeds = self.seeds()
        self.assertEqual(self.complaints(300), f"list of nodes at {DOMAIN}: no name server answers")
        self.assertGreater(seeds.counts["no_answer"], 2)

    def test_a_name_server_that_comes_back(self):
        self.publish([record(1)])
        self.net.partition(["node"], ["ns"])
        self.seeds()
        self.complaints(DEADLINE + 1)
        self.net.heal()
        self.assertEqual(self.complaints(RETRY * 1.1), "")
        self.assertEqual(len(self.found), 1)

    def test_errors_of_a_name_server(self):
        for error, cause in (
            (DNSNameError(), "there is no such name"),
            (DNSServerError(), "the name server cannot find out"),
            (DNSQueryRefusedError(), "the name server refuses to answer"),
        ):
            seeds = self.seeds(resolver=SimpleNamespace(lookupText=lambda name, error=error: fail(error)))
            self.assertEqual(self.complaints(100), f"list of nodes at {DOMAIN}: {cause}")
            seeds.stop()
        self.seeds()
        self.assertEqual(self.complaints(100), f"list of nodes at {DOMAIN}: there is no such name")

    def test_a_forged_list(self):
        self.publish([record(1)], key=NodeKey(b"\x06" * 32))
        self.seeds()
        self.assertIn(f"list of nodes at {DOMAIN}: bad signature", self.complaints(60))
        self.assertEqual(self.found, [])

    def test_a_forged_entry(self):
        self.publish([record(1), record(2)])
        name = f"{entry_name(record(1).text)}.{DOMAIN}"
        self.zone.texts[name] = [record(3).text]
        self.seeds()
        self.assertEqual(
            self.complaints(60), f"list of nodes at {name}: the content does not match the hash that is its name"
        )
        self.assertEqual(self.ids, {record(2).peer_id})

    def test_nobody_fills_the_log(self):
        # every other entry is bad in a way of its own
        records = [record(number) for number in range(1, 101)]
        self.publish(records)
        good = [entry_name(one.text) for one in records]
        bad = [f"nonsense {number}" for number in range(100)]
        self.zone.texts.update({f"{entry_name(text)}.{DOMAIN}": [text] for text in bad})
        rows = [
            str(Branch(tuple(good[at : at + 5] + [entry_name(text) for text in bad[at : at + 5]])))
            for at in range(0, 100, 5)
        ]
        self.zone.texts.update({f"{entry_name(text)}.{DOMAIN}": [text] for text in rows})
        top = str(Branch(tuple(entry_name(text) for text in rows)))
        self.zone.texts[f"{entry_name(top)}.{DOMAIN}"] = [top]
        root = Root(entry_name(top), entry_name("enrtree-branch:"), 2)
        self.zone.texts[DOMAIN] = [str(Root(root.enr_root, root.link_root, 2, KEY.sign(root.digest)))]
        seeds = self.seeds()
        lines = self.complaints(300).splitlines()
        roots = self.zone.asked.count(DOMAIN)
        self.assertGreater(seeds.counts["bad"], COMPLAINTS_OF_LIST * roots)
        self.assertLessEqual(len(lines), COMPLAINTS_OF_LIST * roots)

    def test_one_of_two_lists_is_bad(self):
        other = TreeUrl(KEY.compressed, "other.example.org")
        self.publish([record(1)], domain="other.example.org")
        self.seeds(URL, other)
        self.assertEqual(self.complaints(60), f"list of nodes at {DOMAIN}: there is no such name")
        self.assertEqual(self.found, [(self.found[0][0], "other.example.org")])

    def test_a_resolver_that_never_answers(self):
        asked, cancelled = [], []

        def lookup(name, timeout=None):
            asked.append(name)
            return Deferred(cancelled.append)

        seeds = self.seeds(resolver=SimpleNamespace(lookupText=lookup))
        self.assertIn("no name server answers", self.complaints(60))
        self.assertEqual((len(asked), len(cancelled)), (2, 2))
        self.assertEqual(len(seeds._asking), 0)

    def test_a_resolver_that_answers_nonsense_or_raises(self):
        for answer in (None, (), ([None], [], []), ([SimpleNamespace(type=16, payload=None)], [], [])):
            seeds = self.seeds(resolver=SimpleNamespace(lookupText=lambda name, answer=answer: answer))
            self.assertIn(f"list of nodes at {DOMAIN}: ", self.complaints(20))
            self.assertEqual(seeds.counts["no_answer"], 1)
            seeds.stop()
        seeds = self.seeds(resolver=SimpleNamespace(lookupText=lambda name: 1 / 0))
        self.assertIn("ZeroDivisionError: division by zero", self.complaints(20))

    def test_a_quick_list_does_not_get_far_ahead_of_a_slow_one(self):
        # one list answers at once and has a hundred nodes, the other one is slow
        slow, fast = TreeUrl(KEY.compressed, "slow.example.org"), TreeUrl(KEY.compressed, "fast.example.org")
        texts = make_tree(KEY, "fast.example.org", 1, [record(number) for number in range(1, 101)])
        texts |= make_tree(KEY, "slow.example.org", 1, [record(number) for number in range(101, 201)])
        quick = MemoryResolver(self.host, texts)

        def lookup(name):
            done = Deferred()
            delay = 1.0 if name.endswith("slow.example.org") else 0.0
            self.host.callLater(delay, lambda: quick.lookupText(name).chainDeferred(done))
            return done

        self.seeds(slow, fast, resolver=SimpleNamespace(lookupText=lookup))
        self.clock.run_for(20)
        counts = [sum(source == name for _, source in self.found) for name in ("slow.example.org", "fast.example.org")]
        self.assertGreater(counts[0], 20)
        self.assertLess(counts[1], counts[0] + 17)


class ResolverTest(Base):
    def test_texts_of_an_answer(self):
        self.zone.texts[DOMAIN] = ["first " + "x" * 300, "second"]
        answer = []
        self.resolver.lookupText(DOMAIN).addCallback(answer.append)
        self.clock.run_for(5)
        self.assertEqual(texts_of(answer[0]), ["first " + "x" * 300, "second"])
        other = dns.RRHeader(DOMAIN, dns.CNAME, payload=dns.Record_CNAME("elsewhere"))
        umlaut = dns.RRHeader(DOMAIN, dns.TXT, payload=dns.Record_TXT("ä".encode()))
        self.assertEqual(texts_of(([other, umlaut], [], [])), [])

    def test_why(self):
        self.assertEqual(
            why_no_text(OSError(101, "Network is unreachable")), "OSError: [Errno 101] Network is unreachable"
        )
        self.assertEqual(why_no_text(ValueError()), "ValueError")

    def test_the_servers_of_the_machine(self):
        path = Path(self.mktemp())
        resolver = SystemResolver(self.host, path)
        self.assertEqual(resolver._read(), [("127.0.0.1", 53)])
        path.write_text("# comment\nsearch example.org\nnameserver 10.0.0.9\nnameserver\nnameserver 10.0.0.53\n")
        self.zone.texts[DOMAIN] = ["hello"]
        answer = []
        resolver.lookupText(DOMAIN).addCallback(answer.append)
        self.clock.run_for(0.9)
        self.assertEqual(answer, [])  # the first one is silent
        self.clock.run_for(0.5)
        self.assertEqual(texts_of(answer[0]), ["hello"])
        path.write_text("nameserver 10.0.0.53\n")
        resolver.lookupText(DOMAIN).addCallback(answer.append)
        self.clock.run_for(0.5)
        self.assertEqual(len(answer), 2)


class StoreTest(SynchronousTestCase):
    def setUp(self):
        self.disk = MemoryDisk()
        self.addCleanup(self.disk.erase)
        self.clock = HeapClock()
        self.host = MemoryNetwork(self.clock, Random(3)).host("node", "10.0.0.1")

    def load(self):
        store = PeerStore(self.disk.open, SimExecutor(self.host))
        loading = store.load()
        self.clock.run_for(0.1)
        return store, self.successResultOf(loading).trees

    def test_numbers_outlive_a_run_and_are_bounded(self):
        store, trees = self.load()
        self.assertEqual(trees, {})
        for number in range(NUMBERS_MAX + 5):
            store.save_tree(f"enrtree://KEY@n{number}", number)
        store.save_tree("enrtree://KEY@n5", 2**64 - 1)
        self.clock.run_for(1)
        _, trees = self.load()
        self.assertEqual(len(trees), NUMBERS_MAX)
        self.assertEqual(list(trees)[-1], "enrtree://KEY@n5")
        self.assertEqual(trees["enrtree://KEY@n5"], 2**64 - 1)
        self.assertNotIn("enrtree://KEY@n4", trees)


class BookTest(SynchronousTestCase):
    def test_one_list_gets_a_sixteenth_of_the_book(self):
        chance = Random(2)
        book = AddressBook(PUBLIC, Random(1), bytes(32))
        for number in range(6_000):
            ip = bytes([chance.choice((5, 45, 80, 93, 120, 151)), *chance.randbytes(3)])
            pairs = {b"ip": ip, b"tcp": b"\x76\x5f"}
            enr = Enr(b"%d" % number, 1, pairs, bytes(64), chance.randbytes(32))  # nobody checks its signature here
            book.learn(enr, DOMAIN, 0.0)
        self.assertGreater(len(book), 2_500)
        self.assertLessEqual(len(book), 65_536 // 16)
        book.learn(record(1), "other.example.org", 0.0)
        self.assertIn(record(1).peer_id, book)
