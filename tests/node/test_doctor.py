"""What the checks find in facts, and what they leave alone."""

from collections import Counter

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.node.doctor import CHECKS, CLOCK_LIMIT, diagnose, median_offset
from chainp2p.node.facts import (
    AllowListFacts,
    Descriptors,
    Disk,
    Facts,
    Finding,
    GenesisFacts,
    NetworkFacts,
    PeerFacts,
    SecretFile,
    Severity,
)
from chainp2p.peer.ends import LinkEnd

NOW = 1_800_000_000.0


def peers(*offsets: float | None, ip: str = "198.51.100.7") -> list[PeerFacts]:
    return [PeerFacts(peer_id=bytes([n + 1]) * 32, ip=ip, clock_offset=offset) for n, offset in enumerate(offsets)]


def end(reason: Reason, *, who: int | None = 1, by_us: bool = True, ago: float = 1.0, rule: str = "") -> LinkEnd:
    peer_id = None if who is None else bytes([who]) * 32
    return LinkEnd(NOW - ago, peer_id, ("203.0.113.1", 3), reason, "the detail", by_us, True, False, Penalty.NONE, rule)


HEALTHY = NetworkFacts(
    now=NOW,
    public=True,
    genesis=bytes(32),
    uptime=7_200.0,
    advertised=("52.1.2.9", 30303),
    callers=3,
    known=10,
    peers=peers(0.1, -0.2, 0.3, 0.0, 1.0),
)


def found(network: NetworkFacts = HEALTHY, **facts: object) -> dict[str, Finding]:
    return {finding.code: finding for finding in diagnose(Facts(network=network, **facts))}  # type: ignore[arg-type]


class ListTests(SynchronousTestCase):
    def test_a_list_that_cannot_be_read(self) -> None:
        lists = {"nodes.example.org": "there is no such name"}
        finding = found(evolve(HEALTHY, lists=lists))["list_unreadable"]
        self.assertEqual(finding.severity, Severity.NOTE)
        self.assertIn("nodes.example.org cannot be read: there is no such name", finding.text)
        finding = found(evolve(HEALTHY, peers=[], lists=lists))["list_unreadable"]
        self.assertEqual((finding.severity, finding.evidence["domain"]), (Severity.WARNING, "nodes.example.org"))


class HealthTests(SynchronousTestCase):
    def test_a_healthy_node_and_one_of_which_nothing_is_known(self) -> None:
        everything = Facts(
            network=HEALTHY,
            disk=Disk(folder="/data", free=1 << 40),
            descriptors=Descriptors(limit=4096, used=100, needed=1312),
            secrets=[SecretFile(path="/data/node.key", mode=0o600)],
            genesis=GenesisFacts(settings=b"a", stored=b"a"),
            allow_list=AllowListFacts(path="/list", count=4, lists_us=True),
        )
        self.assertEqual(diagnose(everything), [])
        self.assertEqual(diagnose(Facts()), [])

    def test_the_worst_comes_first(self) -> None:
        disk = Disk(folder="/data", free=0)
        network = evolve(HEALTHY, peers=peers(*[60.0] * 5, -60.0))
        severities = [finding.severity for finding in diagnose(Facts(network=network, disk=disk))]
        self.assertEqual(severities, [Severity.ERROR, Severity.WARNING, Severity.NOTE])

    def test_each_check_says_what_it_is(self) -> None:
        self.assertEqual([check.__name__ for check in CHECKS if not check.__doc__], [])


class ClockTests(SynchronousTestCase):
    def test_five_peers_in_public(self) -> None:
        wrong = found(evolve(HEALTHY, peers=peers(*[3600.2] * 5)))["wrong_clock"]
        self.assertIn("3600.2 s behind", wrong.text)
        self.assertIn("never sets the clock", wrong.remedy)
        self.assertIn("ahead", found(evolve(HEALTHY, peers=peers(*[-7.0] * 5)))["wrong_clock"].text)
        self.assertNotIn("wrong_clock", found(evolve(HEALTHY, peers=peers(*[3600.0] * 4))))
        self.assertEqual(found(evolve(HEALTHY, peers=peers(*[CLOCK_LIMIT] * 5))), {})

    def test_three_in_a_small_network_and_fewer_are_no_proof(self) -> None:
        small = evolve(HEALTHY, public=False)
        self.assertIn("wrong_clock", found(evolve(small, peers=peers(60.0, 61.0, 59.0))))
        for few in (peers(60.0), peers(60.0, 60.0), peers(60.0, None, None)):
            self.assertIs(found(evolve(small, peers=few))["clocks_differ"].severity, Severity.NOTE)
        self.assertEqual(found(evolve(small, peers=peers(0.0, 60.0))), {})

    def test_peers_that_do_not_tell_do_not_count(self) -> None:
        self.assertEqual(found(evolve(HEALTHY, peers=peers(*[None] * 9))), {})

    def test_a_peer_with_a_wrong_clock_is_named(self) -> None:
        finding = found(evolve(HEALTHY, peers=peers(0.0, 0.0, 0.0, 0.0, 3600.0)))["peer_clock"]
        self.assertIn("05050505", finding.text)
        many = found(evolve(HEALTHY, peers=peers(*[0.0] * 7, *[9.0] * 6)))["peer_clock"]
        self.assertIn("and 1 more", many.text)

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.floats(-1e6, 1e6), min_size=1))
    def test_a_minority_never_makes_a_good_clock_wrong(self, lies: list[float]) -> None:
        good = [0.0] * len(lies)
        self.assertEqual(abs(median_offset(good + lies)), 0.0)

    @settings(deadline=None, derandomize=True)
    @given(st.lists(st.floats(-1e6, 1e6), min_size=1))
    def test_the_median_against_counting(self, offsets: list[float]) -> None:
        median = median_offset(offsets)
        self.assertIn(median, offsets)
        self.assertGreaterEqual(2 * sum(one <= median for one in offsets), len(offsets))
        self.assertGreaterEqual(2 * sum(one >= median for one in offsets), len(offsets))


class ReachTests(SynchronousTestCase):
    def test_private_and_loopback_addresses(self) -> None:
        private = evolve(HEALTHY, advertised=("192.168.1.2", 30303))
        self.assertIn("--external", found(private)["private_address"].remedy)
        self.assertEqual(found(evolve(private, public=False)), {})
        loopback = evolve(HEALTHY, public=False, advertised=("127.0.0.1", 30303))
        self.assertIn("private_address", found(loopback))
        self.assertEqual(found(evolve(loopback, peers=peers(0.0, ip="127.0.0.1"))), {})

    def test_a_port_is_closed_when_nobody_came_and_our_call_fails(self) -> None:
        closed = evolve(HEALTHY, callers=0, port_open=False)
        self.assertIn("30303", found(closed)["port_unreachable"].remedy)
        for fine in ({"port_open": None}, {"port_open": True}, {"callers": 1}, {"uptime": 599.0}):
            self.assertEqual(found(evolve(closed, **fine)), {}, fine)
        self.assertIn("port_unreachable", found(evolve(closed, public=False, uptime=61.0)))

    def test_no_address_at_all(self) -> None:
        self.assertIs(found(evolve(HEALTHY, callers=0, advertised=None))["no_address"].severity, Severity.NOTE)

    def test_alone(self) -> None:
        lonely = evolve(HEALTHY, peers=())
        self.assertIn("addresses are known", found(lonely)["no_peers"].text)
        first = found(evolve(lonely, known=0))["no_peers"]
        self.assertIn("--bootstrap", first.remedy)
        self.assertIs(first.severity, Severity.NOTE, "it may be the first node of a network")
        self.assertEqual(found(evolve(lonely, uptime=59.0)), {})
        failed = [end(Reason.CONNECTION_LOST, rule="refused")] * 3 + [end(Reason.CONNECTION_LOST, ago=3_700)]
        self.assertIn("refused 3x", found(evolve(lonely, ends=failed))["no_peers"].text)


class NetworkTests(SynchronousTestCase):
    def test_who_is_wrong_is_a_question_of_numbers(self) -> None:
        def severity(strangers: int, here: int) -> Severity:
            ends = [end(Reason.WRONG_GENESIS, who=n + 50) for n in range(strangers)] * 2
            return found(evolve(HEALTHY, ends=ends, peers=peers(*[0.0] * here)))["wrong_genesis"].severity

        self.assertIs(severity(1, 0), Severity.ERROR)
        self.assertIs(severity(6, 5), Severity.WARNING)
        self.assertIs(severity(5, 5), Severity.NOTE)
        few = found(evolve(HEALTHY, ends=[end(Reason.WRONG_GENESIS)]))["wrong_genesis"]
        self.assertIn("1 node with another genesis met in the last hour (01010101), against 5 peers", few.text)
        self.assertIn("nothing is wrong here", few.remedy)

    def test_each_disagreement_has_its_code(self) -> None:
        for reason in (Reason.WRONG_GENESIS, Reason.WRONG_SETTINGS, Reason.WRONG_VERSION):
            finding = found(evolve(HEALTHY, ends=[end(reason)]))[reason.code]
            self.assertEqual(finding.evidence["detail"], "the detail")
            self.assertNotIn(reason.code, found(evolve(HEALTHY, ends=[end(reason, ago=3_601.0)])))
        theirs = found(evolve(HEALTHY, ends=[end(Reason.NOT_ALLOWED, by_us=False), end(Reason.NOT_ALLOWED, who=9)]))
        self.assertEqual(theirs["not_allowed"].evidence["nodes"], 1)
        nobody = found(evolve(HEALTHY, ends=[end(Reason.WRONG_VERSION, who=None)] * 2))["wrong_version"]
        self.assertEqual(nobody.evidence["nodes"], 1)

    def test_settings_that_will_differ(self) -> None:
        parting = [evolve(peers(0.0)[0], warning="will differ from height 9")]
        self.assertIn("height 9", found(evolve(HEALTHY, peers=parting))["settings_will_differ"].text)

    def test_a_second_machine_with_our_key(self) -> None:
        theirs = found(evolve(HEALTHY, ends=[end(Reason.DUPLICATE_KEY, by_us=False)]))
        self.assertIs(theirs["duplicate_key"].severity, Severity.ERROR)
        self.assertEqual(found(evolve(HEALTHY, ends=[end(Reason.DUPLICATE_KEY)])), {})


class MachineTests(SynchronousTestCase):
    def test_disk(self) -> None:
        self.assertIs(found(disk=Disk(folder="/d", free=1 << 29))["disk_low"].severity, Severity.WARNING)
        self.assertIs(found(disk=Disk(folder="/d", free=1 << 20))["disk_full"].severity, Severity.ERROR)

    def test_descriptors(self) -> None:
        few = Descriptors(limit=1024, used=None, needed=1312)
        self.assertIn("LimitNOFILE=1312", found(descriptors=few)["few_descriptors"].remedy)
        nearly = Descriptors(limit=1312, used=1300, needed=1312)
        self.assertIs(found(descriptors=nearly)["few_descriptors"].severity, Severity.ERROR)

    def test_keys(self) -> None:
        finding = found(secrets=[SecretFile(path="/d/node.key", mode=0o640)])["key_permissions"]
        self.assertIn("chmod 600 /d/node.key", finding.remedy)

    def test_genesis(self) -> None:
        other = GenesisFacts(settings=b"\x01" * 32, stored=b"\x02" * 32)
        self.assertIn("02020202", found(genesis=other)["other_database"].text)
        unreadable = GenesisFacts(settings=None, stored=b"\x02", error="config: missing")
        self.assertIn("config: missing", found(genesis=unreadable)["genesis_unreadable"].text)
        self.assertEqual(found(genesis=GenesisFacts(settings=None, stored=b"x")), {})

    def test_allow_list(self) -> None:
        bad = AllowListFacts(path="/l", count=4, lists_us=False, error="line 2")
        codes = found(allow_list=bad)
        self.assertEqual(Counter(one.severity for one in codes.values()), {Severity.ERROR: 1, Severity.NOTE: 1})
        self.assertIn("line 2", codes["allow_list_unreadable"].text)
        self.assertIn("own_key_unlisted", codes)
        held = AllowListFacts(path="/l", count=4, lists_us=True, held=[b"\x07" * 32])
        self.assertIn("07070707", found(allow_list=held)["held_unlisted"].text)
