"""Whom to dial next: slots, groups, anchors, feelers, extra links; a naive world checks the rules over hours."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.book import AddressBook
from chainp2p.peer.ends import LinkEnd
from chainp2p.peer.enr import Enr
from chainp2p.peer.known import address_group
from chainp2p.peer.outbound import (
    BLOCK_SLOTS,
    EXTRA_INTERVAL,
    EXTRA_TIME,
    FULL_SLOTS,
    HELD_DIALS,
    LEARNT_DIALS,
    LOOK_AGAIN,
    SPACINGS_MIN,
    STALE_MIN,
    Line,
    Outbound,
    Purpose,
    Review,
    TipWatch,
)
from chainp2p.settings import PRIVATE, PUBLIC

US = b"\xee" * 32


def unsigned(number, ip):
    """A record as ``Enr.decode`` returns it, without the cost of a signature."""
    peer_id = number.to_bytes(32, "big")
    pairs = {b"ip": bytes(map(int, ip.split("."))), b"tcp": (30303).to_bytes(2, "big")}
    return Enr(peer_id + b"\x01", 1, pairs, b"", peer_id)


def end(peer_id, ready=False):
    return LinkEnd(0.0, peer_id, ("h", 1), Reason.CONNECTION_LOST, "", False, True, ready)


class World:
    """Dials of one :class:`Outbound`; the test says what becomes of each."""

    def __init__(self, ips=(), profile=PUBLIC, seed=1):
        self.book = AddressBook(profile, Random(seed), US)
        for number, ip in enumerate(ips, 1):
            self.book.learn(unsigned(number, ip), f"9.{number % 250}.0.1", 0.0)
        self.outbound = Outbound(self.book, profile, Random(seed))
        self.outbound.start(0.0)
        self.lines = []
        self.now = 0.0

    @property
    def busy(self):
        return {line.peer_id for line in self.lines}

    def round(self, spare=80):
        """One round; whoever is dialled is dialling."""
        made = self.outbound.dials(self.now, self.lines, self.busy, spare - len(self.lines))
        for dial in made:
            self.lines.append(Line(dial.address.peer_id, dial.purpose, dial.address.host, self.now, connected=False))
        return made

    def connect(self):
        """All dials succeed."""
        self.lines = [
            Line(line.peer_id, line.purpose, line.host, self.now) if not line.connected else line for line in self.lines
        ]
        for line in self.lines:
            self.book.reached(line.peer_id, self.now)

    def fill(self, spare=80):
        while self.round(spare):
            self.connect()

    def count(self, *purposes):
        return sum(line.purpose in purposes for line in self.lines)

    def next_at(self):
        return self.outbound.next_at(self.now, self.lines, self.busy, 80 - len(self.lines))


def spread(count):
    return [f"{20 + n}.1.0.1" for n in range(count)]


class SlotsTest(SynchronousTestCase):
    def test_full_links_first_then_two_for_blocks(self):
        world = World(spread(40))
        self.assertEqual([dial.purpose for dial in world.round()], [Purpose.FULL] * LEARNT_DIALS)
        self.assertEqual(world.round(), [])  # the others wait until some of these are done
        world.connect()
        world.fill()
        self.assertEqual(world.count(Purpose.FULL), FULL_SLOTS)
        self.assertEqual(world.count(Purpose.BLOCKS), BLOCK_SLOTS)
        self.assertEqual(len(world.busy), FULL_SLOTS + BLOCK_SLOTS)

    def test_small_networks_have_full_links_only(self):
        world = World(spread(10))
        world.fill()
        self.assertEqual(world.count(Purpose.FULL), 10)

    def test_spare_is_kept(self):
        world = World(spread(40))
        world.fill(spare=5)
        self.assertEqual(len(world.lines), 5)

    def test_one_link_a_group(self):
        world = World([f"{20 + n % 4}.7.{n}.1" for n in range(40)])
        world.fill()
        self.assertEqual(len(world.lines), 4)
        self.assertEqual(len({address_group(line.host) for line in world.lines}), 4)

    def test_private_ranges_are_exempt(self):
        world = World([f"10.0.0.{n}" for n in range(1, 31)], PRIVATE)
        world.fill()
        self.assertEqual(len(world.lines), FULL_SLOTS + BLOCK_SLOTS)

    def test_held_links_count_for_groups_and_not_for_slots(self):
        world = World([*spread(40), "99.1.0.1"])
        for n in range(3):
            world.book.hold(NodeAddress(bytes([200 + n]) * 32, f"99.1.0.{n + 2}", 1))
        first = world.round(spare=0)
        self.assertEqual([dial.purpose for dial in first], [Purpose.HELD] * 3)
        world.connect()
        world.fill()
        self.assertEqual((world.count(Purpose.HELD), world.count(Purpose.FULL)), (3, FULL_SLOTS))
        self.assertNotIn("99.1.0.1", [line.host for line in world.lines])

    def test_many_dead_static_nodes_take_turns(self):
        world = World()
        for n in range(40):
            world.book.hold(NodeAddress(bytes([100 + n]) * 32, f"99.{n}.0.1", 1))
        self.assertEqual(len(world.round()), HELD_DIALS)
        self.assertEqual(world.round(), [])
        first = world.busy
        for line in world.lines:
            world.book.ended(line.peer_id, end(None), 0.0)
        world.lines.clear()
        world.round()
        self.assertFalse(first & world.busy)


class AnchorTest(SynchronousTestCase):
    def test_anchors_come_first_and_for_blocks(self):
        world = World(spread(40))
        anchors = [(7).to_bytes(32, "big"), (8).to_bytes(32, "big"), (9).to_bytes(32, "big")]
        for peer_id in anchors[:2]:
            world.book.anchor(peer_id)
        world.outbound.start(0.0)
        first = world.round(spare=2)
        self.assertEqual(
            [(dial.address.peer_id, dial.purpose) for dial in first], [(a, Purpose.ANCHOR) for a in anchors[:2]]
        )
        world.connect()
        world.fill()
        self.assertEqual((world.count(Purpose.ANCHOR), world.count(Purpose.BLOCKS)), (2, 0))
        self.assertEqual(world.count(Purpose.FULL), FULL_SLOTS)
        world.lines = [line for line in world.lines if line.purpose is not Purpose.ANCHOR]
        world.fill()  # an anchor that left is an address like all others
        self.assertEqual((world.count(Purpose.ANCHOR), world.count(Purpose.BLOCKS)), (0, 2))

    def test_in_a_private_network_they_are_for_everything(self):
        world = World(spread(2), PRIVATE)
        world.book.anchor((1).to_bytes(32, "big"))
        world.outbound.start(0.0)
        made = world.round()
        self.assertEqual(made[0].address.peer_id, (1).to_bytes(32, "big"))
        self.assertEqual({dial.purpose for dial in made}, {Purpose.FULL})

    def test_an_anchor_that_is_here_is_passed_over(self):
        world = World(spread(20))
        world.book.anchor((7).to_bytes(32, "big"))
        world.outbound.start(0.0)
        world.lines.append(Line((7).to_bytes(32, "big"), Purpose.HELD, "77.1.0.1", 0.0))
        world.fill()
        self.assertEqual((world.count(Purpose.ANCHOR), world.count(Purpose.BLOCKS)), (0, 2))


class FeelerTest(SynchronousTestCase):
    def test_one_at_a_time_at_the_profiles_interval(self):
        world = World(spread(60))
        world.fill()
        times = []
        while len(times) < 10:
            world.now = world.next_at()
            made = [dial for dial in world.round() if dial.purpose is Purpose.FEELER]
            if made:
                times.append(world.now)
                self.assertEqual(world.count(Purpose.FEELER), 1)
                self.assertGreaterEqual(world.next_at(), world.now + LOOK_AGAIN)
                world.lines = [line for line in world.lines if line.purpose is not Purpose.FEELER]
                world.book.ended(made[0].address.peer_id, end(None), world.now)
        gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
        self.assertTrue(all(90.0 - LOOK_AGAIN <= gap <= 150.0 + LOOK_AGAIN for gap in gaps), gaps)
        self.assertGreater(len({round(gap) for gap in gaps}), 3)

    def test_a_claimed_address_goes_first(self):
        world = World(spread(60))
        world.fill()
        claimed = NodeAddress((7).to_bytes(32, "big"), "77.1.0.1", 1)
        world.book.collisions = lambda now: [NodeAddress(world.lines[0].peer_id, "a", 1), claimed]
        world.now = 151.0
        self.assertEqual([(d.address, d.purpose) for d in world.round()], [(claimed, Purpose.FEELER)])

    def test_a_feelers_group_is_free(self):
        world = World(spread(3))
        world.lines.append(Line(b"f" * 32, Purpose.FEELER, "20.1.9.9", 0.0))
        world.fill()
        self.assertEqual(world.count(Purpose.FULL), 3)


class TipTest(SynchronousTestCase):
    def test_stale_after_twelve_mean_spacings(self):
        tip = TipWatch()
        for n in range(SPACINGS_MIN):
            tip.moved(n * 10.0)
            self.assertIsNone(tip.stale_at())
        tip.moved(80.0)
        self.assertEqual(tip.stale_at(), 200.0)
        self.assertFalse(tip.is_stale(199.0))
        self.assertTrue(tip.is_stale(200.0))

    def test_not_before_a_minute(self):
        tip = TipWatch()
        for n in range(SPACINGS_MIN + 1):
            tip.moved(n * 0.5)
        self.assertEqual(tip.stale_at(), 4.0 + STALE_MIN)

    def test_chains_that_seal_on_demand_are_never_stale(self):
        tip = TipWatch()
        for n in range(40):
            tip.moved(n + 100.0 * (n // 10))
        self.assertIsNone(tip.stale_at())

    def test_blocks_found_at_random_count_as_regular(self):
        chance, regular = Random(3), 0
        for _ in range(200):
            tip, now = TipWatch(), 0.0
            for _ in range(17):
                now += chance.expovariate(0.1)
                tip.moved(now)
            regular += tip.stale_at() is not None
        self.assertGreater(regular, 180)


class ExtraTest(SynchronousTestCase):
    def setUp(self):
        self.world = World(spread(60))
        self.world.fill()
        for n in range(10):
            self.world.outbound.head_changed(float(n))

    def extra(self):
        self.world.now = STALE_MIN + 9.0
        made = [dial for dial in self.world.round() if dial.purpose is Purpose.EXTRA]
        self.assertEqual(len(made), 1)
        self.world.connect()
        return made[0].address.peer_id

    def blocks(self, times):
        """Say when each link brought a block last, the first ones in order."""
        lines = [line for line in self.world.lines if line.purpose is Purpose.FULL]
        others = [line for line in self.world.lines if line.purpose is not Purpose.FULL]
        self.world.lines = others + [
            Line(line.peer_id, line.purpose, line.host, line.since, block_at=at)
            for line, at in zip(lines, times, strict=True)
        ]
        return [line.peer_id for line in lines]

    def brought(self, peer_id, at):
        self.world.lines = [
            Line(line.peer_id, line.purpose, line.host, line.since, block_at=at) if line.peer_id == peer_id else line
            for line in self.world.lines
        ]

    def review(self):
        return self.world.outbound.review(self.world.now, self.world.lines)

    def test_only_while_the_tip_is_stale_and_one_at_a_time(self):
        self.world.now = STALE_MIN + 8.0
        self.assertEqual(self.world.round(), [])
        self.extra()
        self.world.now += EXTRA_INTERVAL + 1
        self.assertEqual([d for d in self.world.round() if d.purpose is Purpose.EXTRA], [])

    def test_judged_after_its_time(self):
        extra = self.extra()
        self.assertIsNone(self.review())
        self.assertLessEqual(self.world.next_at(), self.world.now + EXTRA_TIME)
        self.world.now += EXTRA_TIME
        review = self.review()
        self.assertEqual((review.keep, review.drop, review.rule), (None, extra, "extra_no_better"))

    def test_the_worst_goes_when_the_extra_one_is_better(self):
        extra = self.extra()
        ids = self.blocks([5.0, 1.0, 3.0, 2.0, *range(6, FULL_SLOTS + 2)])
        self.brought(extra, 80.0)
        self.world.now += EXTRA_TIME
        review = self.review()
        self.assertEqual((review.keep, review.drop, review.rule), (extra, ids[1], "outdone"))

    def test_none_is_worse_than_never_and_the_youngest_goes(self):
        extra = self.extra()
        ids = self.blocks([None] * FULL_SLOTS)
        youngest = self.world.lines[-1]
        self.world.lines[-1] = Line(youngest.peer_id, youngest.purpose, youngest.host, 50.0)
        self.brought(extra, 80.0)
        self.world.now += EXTRA_TIME
        self.assertEqual(self.review().drop, ids[-1])

    def test_no_better_when_the_others_brought_it_too(self):
        extra = self.extra()
        self.blocks([90.0] * FULL_SLOTS)
        self.brought(extra, 80.0)
        self.world.now += EXTRA_TIME
        self.assertEqual(self.review().drop, extra)

    def test_kept_where_a_slot_has_become_free(self):
        extra = self.extra()
        self.world.lines.remove(next(line for line in self.world.lines if line.purpose is Purpose.FULL))
        self.world.now += EXTRA_TIME
        self.assertEqual(self.review(), Review(keep=extra))

    def test_nobody_left_to_ask(self):
        world = World(spread(16))
        world.fill()
        for n in range(10):
            world.outbound.head_changed(float(n))
        world.now = 100.0
        self.assertEqual(world.round(), [])
        self.assertGreater(world.next_at(), world.now)


class HourTest(SynchronousTestCase):
    """Dials succeed, fail and end at random for an hour."""

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(st.integers(0, 1_000), st.sampled_from((PUBLIC, PRIVATE)), st.integers(0, 60), st.integers(0, 6))
    def test_rules_hold(self, seed, profile, learnt, held):
        chance = Random(seed)
        ips = [f"{chance.choice((10, 20, 30, 40, 50))}.{chance.randrange(9)}.0.{n}" for n in range(learnt)]
        if profile is PUBLIC:
            ips = [ip.replace("10.", "60.", 1) for ip in ips]
        world = World(ips, profile, seed)
        for n in range(held):
            world.book.hold(NodeAddress(bytes([150 + n]) * 32, f"70.{n}.0.1", 1))
        rounds, spare = 0, chance.choice((3, 20, 80))
        while world.now < 3600.0:
            rounds += 1
            made = world.outbound.dials(world.now, world.lines, world.busy, spare - len(world.lines))
            self.assertFalse({dial.address.peer_id for dial in made} & world.busy)
            for dial in made:
                world.lines.append(
                    Line(dial.address.peer_id, dial.purpose, dial.address.host, world.now, connected=False)
                )
            self.check(world, spare)
            self.step(world, chance)
            due = world.outbound.next_at(world.now, world.lines, world.busy, spare - len(world.lines))
            world.now = max(due, world.now + 0.05)
        self.assertLess(rounds, 3600 * 3, "the dialler spins")

    def check(self, world, spare):
        own = [line for line in world.lines if line.purpose is not Purpose.HELD]
        self.assertLessEqual(world.count(Purpose.FULL), FULL_SLOTS)
        self.assertLessEqual(world.count(Purpose.BLOCKS, Purpose.ANCHOR), BLOCK_SLOTS)
        self.assertLessEqual(world.count(Purpose.FEELER), 1)
        self.assertLessEqual(len(own), spare + 2)
        self.assertLessEqual(sum(not line.connected for line in own), LEARNT_DIALS + 2)
        groups = [
            address_group(line.host)
            for line in own
            if line.purpose is not Purpose.FEELER and not line.host.startswith("10.")
        ]
        self.assertEqual(len(groups), len(set(groups)))

    def step(self, world, chance):
        """Each dial stands or fails, one link in ten ends, and each of that is a change."""
        after = []
        for line in world.lines:
            if line.purpose is Purpose.FEELER or chance.random() < (0.1 if line.connected else 0.5):
                world.book.ended(line.peer_id, end(None), world.now)
                world.outbound.changed()
            else:
                after.append(Line(line.peer_id, line.purpose, line.host, line.since))
        world.lines = after
