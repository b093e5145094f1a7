"""Copies, announcements and delays are counted as they happen, in bounded memory."""

from twisted.trial.unittest import SynchronousTestCase

import chainp2p.gossip.redundancy
from chainp2p.gossip.redundancy import DELAYS, Redundancy, Way


class RedundancyTests(SynchronousTestCase):
    def test_nothing_yet(self) -> None:
        counts = Redundancy()
        self.assertEqual((counts.redundancy, counts.delay(0.5), counts.came), (None, None, 0))
        figures = counts.figures()
        self.assertEqual((figures["redundancy"], figures["delayMean"], figures["delay95"]), (None, None, None))

    def test_a_story(self) -> None:
        counts = Redundancy()
        counts.announced(1, [b"a"], 1.0)
        counts.announced(1, [b"a"], 1.5)
        counts.copied(b"a", Way.PUSHED, False, 2.0)
        counts.taken(b"a", Way.PUSHED, 2.15, dialled=True)
        counts.announced(1, [], 3.0)
        counts.copied(b"a", Way.FETCHED, True, 3.5)
        counts.copied(b"b", Way.FETCHED, False, 4.0)
        counts.turned_down(b"b")
        counts.taken(b"mine", Way.OWN, 5.0)
        counts.copied(b"c", Way.PUSHED, False, 6.0)
        counts.taken(b"c", Way.PUSHED, 6.015)
        figures = counts.figures()
        self.assertEqual(
            {name: figures[name] for name in ("came", "first", "fromDialled", "copies", "refused", "redundancy")},
            {
                "came": 2,
                "first": {"own": 1, "pushed": 2},
                "fromDialled": 1,
                "copies": {"pushed": 2, "fetched": 2},
                "refused": 1,
                "redundancy": 1.5,
            },
        )
        self.assertEqual((counts.heard, counts.repeated), (3, 1))
        # from the first word, not from the copy
        self.assertEqual((figures["delay50"], figures["delay95"], figures["delayMean"]), (0.02, 2.0, 0.5825))

    def test_beyond_the_last_bound(self) -> None:
        counts = Redundancy()
        counts.announced(1, [b"a"], 0.0)
        counts.taken(b"a", Way.FETCHED, 3_600.0)
        self.assertEqual((counts.delay(0.5), counts.figures()["delay50"]), (DELAYS[-1], None))

    def test_what_never_comes_is_forgotten(self) -> None:
        self.patch(chainp2p.gossip.redundancy, "AWAITED", 3)
        counts = Redundancy()
        for n in range(10):
            counts.announced(1, [bytes([n])], float(n))
        self.assertEqual(list(counts._awaited), [b"\x07", b"\x08", b"\x09"])
        counts.taken(b"\x00", Way.FETCHED, 20.0)
        self.assertEqual(sum(counts.delays), 0)

    def test_metrics_add_up(self) -> None:
        counts = Redundancy()
        for n, delay in enumerate((0.005, 0.3, 99.0)):
            counts.copied(bytes([n]), Way.COMPACT, False, 0.0)
            counts.taken(bytes([n]), Way.COMPACT, delay)
        found = {(name, *labels.values()): value for name, labels, value in counts.metrics("block")}
        self.assertEqual(found["chainp2p_gossip_copies_total", "block", "compact"], 3)
        self.assertEqual(found["chainp2p_gossip_copies_total", "block", "pushed"], 0)
        buckets = [found["chainp2p_gossip_delay_seconds_bucket", "block", le] for le in ("0.01", "0.2", "0.5", "+Inf")]
        self.assertEqual(buckets, [1, 1, 2, 3])
        self.assertEqual(found["chainp2p_gossip_delay_seconds_count", "block"], 3)
        self.assertAlmostEqual(found["chainp2p_gossip_delay_seconds_sum", "block"], 99.305)
