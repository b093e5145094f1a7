"""Our own record in the network: both families, mapped addresses, votes."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.net.endpoints import parse_external
from chainp2p.net.record import RecordKeeper
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.key import NodeKey
from chainp2p.peer.own import OwnRecord
from chainp2p.settings import PRIVATE, PUBLIC
from chainp2p.testing.clock import HeapClock
from tests.net.test_network import World

KEY = NodeKey(b"\x05" * 32)
GENESIS = b"\x01" * 32
FOUR, SIX = bytes((8, 8, 4, 4)), bytes.fromhex("2a00" + "0" * 26 + "09")
BOTH = (("0.0.0.0", 30_303), ("::", 30_303))


class Store:
    def __init__(self):
        self.saved = []

    def save_own(self, raw):
        self.saved.append(raw)


class Keeper:
    """A record keeper, with what it tells."""

    def __init__(self, profile=PRIVATE, external=None, tcp=BOTH, udp=BOTH):
        self.clock = HeapClock()
        self.store, self.told = Store(), []
        self.keeper = RecordKeeper(self.clock, profile, external, self.store, self.told.append)
        self.keeper.start(OwnRecord(KEY, GENESIS, 1), tcp, udp)

    def seen(self, ip, *voters, port=None):
        for voter in voters:
            self.keeper.observed(bytes([voter]), f"9.9.{voter}.9", ip, port)
        return self.places()

    def places(self):
        enr = self.keeper.enr
        return tuple((enr.tcp_in((family,)), enr.udp_in((family,))) for family in (4, 6))


NOWHERE = (None, None)
AT_FOUR = (("8.8.4.4", 30_303), ("8.8.4.4", 30_303))
AT_SIX = (("2a00::9", 30_303), ("2a00::9", 30_303))


class VotesTest(SynchronousTestCase):
    def test_each_family_for_itself(self):
        keeper = Keeper()
        self.assertEqual(keeper.places(), (NOWHERE, NOWHERE))
        self.assertEqual((keeper.keeper.enr.tcp, keeper.keeper.enr.udp), (30_303, 30_303))
        self.assertEqual(keeper.seen(SIX, 1), (NOWHERE, AT_SIX))  # the only voter decides
        self.assertEqual(keeper.seen(SIX, 2, 3), (NOWHERE, AT_SIX))
        self.assertEqual(keeper.seen(FOUR, 1, 2, 3), (AT_FOUR, AT_SIX))
        self.assertLess(len(keeper.keeper.enr.raw), 300)
        self.assertEqual(keeper.keeper.tally(), {4: [("8.8.4.4", 3)], 6: [("2a00::9", 3)]})
        self.assertEqual(keeper.keeper.port, 30_303)
        mapped = bytes(10) + b"\xff\xff" + bytes((9, 9, 9, 1))
        self.assertEqual(keeper.seen(mapped, 1, 2, 3)[0][0], ("9.9.9.1", 30_303))

    def test_a_family_in_which_nobody_listens(self):
        keeper = Keeper(tcp=BOTH[:1], udp=BOTH[:1])
        self.assertEqual(keeper.seen(SIX, 1, 2, 3), (NOWHERE, NOWHERE))
        self.assertEqual(keeper.keeper.tally()[6], [("2a00::9", 3)])
        keeper = Keeper(tcp=BOTH[:1], udp=BOTH)
        self.assertEqual(keeper.seen(SIX, 1, 2, 3)[1], (None, ("2a00::9", 30_303)))

    def test_the_port_behind_a_router(self):
        keeper = Keeper(udp=(("0.0.0.0", 30_304),))
        self.assertEqual(keeper.seen(FOUR, 1, 2, 3, port=6_000)[0], (("8.8.4.4", 30_303), ("8.8.4.4", 6_000)))
        seq = keeper.keeper.enr.seq
        for voter in range(1, 100):  # from now on each conversation has its own: back to the port that we know of
            keeper.seen(FOUR, voter, port=7_000 + voter)
        self.assertEqual(keeper.places()[0], (("8.8.4.4", 30_303), ("8.8.4.4", 30_304)))
        self.assertEqual(keeper.keeper.enr.seq, seq + 1)

    def test_a_contradicted_address_goes(self):
        keeper = Keeper()
        keeper.seen(FOUR, 1, 2, 3, port=30_303)
        self.assertEqual(keeper.seen(bytes((8, 8, 4, 1)), 1, port=1)[0], AT_FOUR)
        self.assertEqual(keeper.seen(bytes((8, 8, 4, 2)), 2, port=1)[0], AT_FOUR)
        self.assertEqual(keeper.seen(bytes((8, 8, 4, 3)), 3, port=1)[0], NOWHERE)
        keeper.seen(bytes((8, 8, 4, 3)), 1, 2, port=1)
        self.assertEqual(keeper.places()[0][0], ("8.8.4.3", 30_303))

    def test_in_public_a_subnet_has_one_voice(self):
        keeper = Keeper(PUBLIC)
        for number in range(100):
            keeper.keeper.observed(bytes([number]), f"9.9.9.{number}", FOUR, 30_303)
        self.assertEqual(keeper.places(), (NOWHERE, NOWHERE))
        self.assertEqual(keeper.seen(FOUR, *range(101, 110)), (AT_FOUR, NOWHERE))


class PlacesTest(SynchronousTestCase):
    def test_external(self):
        keeper = Keeper(external="203.0.113.5:40000,[2001:db8::5]:40006")
        self.assertEqual(
            keeper.seen(FOUR, 1, 2, 3),
            (
                (("203.0.113.5", 40_000), ("203.0.113.5", 30_303)),
                (("2001:db8::5", 40_006), ("2001:db8::5", 30_303)),
            ),
        )
        self.assertEqual(keeper.keeper.port, 40_000)
        keeper = Keeper(external="2001:db8::5")
        self.assertEqual(keeper.seen(FOUR, 1, 2, 3), (AT_FOUR, (("2001:db8::5", 30_303), ("2001:db8::5", 30_303))))

    def test_forms_of_external(self):
        self.assertEqual(parse_external("8.8.8.8"), {4: ("8.8.8.8", None)})
        self.assertEqual(parse_external("2a00:0::1, 8.8.8.8:9"), {6: ("2a00::1", None), 4: ("8.8.8.8", 9)})
        for text in ("", "8.8.8.8,", "8.8.8.8,8.8.4.4", "name:1", "8.8.8.8:0", "2a00::1:99999,x", "[2a00::1]"):
            self.assertRaises(SettingsError, parse_external, text)

    def test_interfaces_of_both_families(self):
        where = (("10.0.0.7", 1), ("2001:db8::7", 2))
        keeper = Keeper(tcp=where, udp=(("0.0.0.0", 3), ("2001:db8::7", 4)))
        places = ((("10.0.0.7", 1), ("10.0.0.7", 3)), (("2001:db8::7", 2), ("2001:db8::7", 4)))
        self.assertEqual(keeper.seen(FOUR, 1, 2, 3), places)
        self.assertEqual(keeper.told, [])

    def test_in_public_a_private_address_is_left_out_beside_a_public_one(self):
        where = (("10.0.0.7", 1), ("2a00::7", 2))
        self.assertEqual(Keeper(PUBLIC, tcp=where, udp=()).places(), (NOWHERE, (("2a00::7", 2), None)))
        self.assertEqual(Keeper(PUBLIC, tcp=where[:1], udp=()).places()[0], (("10.0.0.7", 1), None))
        self.assertEqual(Keeper(tcp=where, udp=()).places()[0], (("10.0.0.7", 1), None))

    def test_mapping(self):
        keeper = Keeper(PUBLIC, tcp=(("10.0.0.7", 1),), udp=(("10.0.0.7", 2),))
        keeper.keeper.mapped("10.1.1.1", 41, 42)  # a router behind a router
        self.assertEqual(keeper.places()[0][0], ("10.0.0.7", 1))
        keeper.keeper.mapped("8.8.8.8", 41, 42)
        self.assertEqual(keeper.places()[0], (("8.8.8.8", 41), ("8.8.8.8", 42)))
        self.assertEqual(keeper.told, [])
        keeper.clock.run_for(1)
        self.assertEqual(keeper.told, [keeper.keeper.enr.raw])
        keeper.seen(FOUR, *range(1, 11))
        self.assertEqual(keeper.places()[0], (("8.8.4.4", 41), ("8.8.4.4", 42)))
        keeper.keeper.unmapped()
        self.assertEqual(keeper.places()[0], (("10.0.0.7", 1), ("10.0.0.7", 2)))
        keeper.clock.run_for(58)
        self.assertEqual(len(keeper.told), 1)
        keeper.clock.run_for(2)
        self.assertEqual(keeper.told[1:], [keeper.keeper.enr.raw])
        self.assertEqual(keeper.store.saved[-1], keeper.keeper.enr.raw)

    def test_mapping_before_the_start(self):
        keeper = RecordKeeper(HeapClock(), PRIVATE, None, Store(), print)
        keeper.mapped("8.8.8.8", 41, 42)
        keeper.start(OwnRecord(KEY, GENESIS, 1), BOTH, ())
        self.assertEqual(keeper.enr.tcp_endpoint, ("8.8.8.8", 41))


class NetworkTest(SynchronousTestCase):
    def test_both_families(self):
        world = World()
        hubs = []
        for number in (1, 2):
            host = world.net.host(f"h{number}", f"10.0.9.{number}", f"2001:db8::9:{number}")
            hubs.append(world.node(ip=f"10.0.9.{number}", host=host, enable_discovery=True))
            hubs[-1].start(listen_addr=("tcp:30303", "tcp6:30303"), enable_pex=False)
        one, two = hubs
        two.network.add_peer(NodeAddress(one.key.peer_id, "10.0.9.1", 30_303))
        world.run(1)
        self.assertEqual(one.network.enr.tcp_in((4,)), ("10.0.9.1", 30_303))
        self.assertIsNone(one.network.enr.ip6)
        world.run(120)
        six = world.node(ip="2001:db8::77", enable_discovery=True)
        address = f"{one.key.peer_id.hex()}@[2001:db8::9:1]:30303"
        six.start(listen_addr=("tcp6:30303",), static_nodes=(address,))
        world.run(120)
        self.assertEqual(one.network.enr.udp_in((6,)), ("2001:db8::9:1", 30_303))
        self.assertEqual(one.network.enr.ip, "10.0.9.1")
