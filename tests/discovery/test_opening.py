"""The first seconds of a node."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import Discv5
from chainp2p.discovery.events import Established
from chainp2p.discovery.opening import FAR, HOLD, SEEDS_ASKED, Opening
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey

GENESIS = b"\x31" * 32


def record(number):
    key = NodeKey(number.to_bytes(32, "big"))
    return make_enr(key, 1, node_pairs(GENESIS, 1, f"{20 + number}.1.1.1", 30303, 30303))


class OpeningTest(SynchronousTestCase):
    def test_seeds_are_asked_for_all_they_know(self):
        seeds = [record(number) for number in range(1, 10)]
        opening = Opening(private=False)
        asked = opening.start(seeds, 100.0)
        self.assertEqual({enr.peer_id for enr, _ in asked}, {enr.peer_id for enr in seeds[:SEEDS_ASKED]})
        self.assertEqual([distances for enr, distances in asked if enr is seeds[0]], list(FAR))
        self.assertEqual([opening.is_open(at) for at in (100.0, 99.9 + HOLD, 100.0 + HOLD)], [False, False, True])

    def test_private_networks_and_first_nodes_are_open_at_once(self):
        for private, seeds in ((True, [record(1)]), (False, [])):
            opening = Opening(private)
            self.assertEqual(opening.start(seeds, 5.0), [])
            self.assertTrue(opening.is_open(5.0))

    def test_who_knocks_at_once_gets_its_place_later(self):
        key = NodeKey(b"\x77" * 32)
        own = make_enr(key, 1, node_pairs(GENESIS, 1, "90.1.1.1", 30303, 30303))
        core = Discv5(key, lambda: own, Random(1), genesis=GENESIS, private=False)
        seed, stranger = record(1), record(2)
        core.start([seed], 0.0)
        knock = Established((stranger.peer_id, *stranger.udp_endpoint), stranger)
        self.assertEqual(core._take([knock], HOLD / 2), [])
        self.assertNotIn(stranger.peer_id, core.table)
        self.assertEqual(len(core._take([knock], HOLD)), 1)
        self.assertIn(stranger.peer_id, core.table)
        self.assertIn(seed.peer_id, core.table)
