"""Who hears that our record has changed."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.discv5 import CHECK_NEW_EVERY, Discv5
from chainp2p.discovery.news import News
from chainp2p.discovery.outputs import Datagram
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey

GENESIS = b"\x01" * 32
US = NodeKey(b"\x04" * 32)


class NewsTest(SynchronousTestCase):
    def test_each_is_told_once(self):
        news = News()
        news.look(1, [b"a", b"b"])
        self.assertIsNone(news.next())  # the first record is no news
        news.look(1, [b"a", b"b"])
        self.assertEqual(len(news), 0)
        news.look(2, [b"a", b"b", b"c"])
        news.told(b"b")
        news.told(b"unknown")
        self.assertEqual([news.next(), news.next(), news.next()], [b"a", b"c", None])
        news.look(3, [b"a"])
        news.clear()
        news.look(7, [b"a"])
        self.assertIsNone(news.next())


class PaceTest(SynchronousTestCase):
    def test_all_are_pinged_soon_but_not_at_once(self):
        seq = [1]
        core = Discv5(
            US, lambda: make_enr(US, seq[0], node_pairs(GENESIS, 1)), Random(1), genesis=GENESIS, private=True
        )
        nodes = [NodeKey(bytes([n + 1]) * 32) for n in range(5, 45)]
        for number, key in enumerate(nodes):
            core.add(make_enr(key, 1, node_pairs(GENESIS, 1, f"10.0.0.{number}", 1, 1)))
            core.table.answered(key.peer_id, 1_000.0)
            core.table.ponged(key.peer_id, 1_000.0)
        live = {(entry.ip, entry.port) for entry in core.table.live}
        self.assertGreater(len(live), 16)
        core.start([], 1_001.0)

        def pinged(until):
            asked = {}
            while core.next_deadline() < until:
                now = core.next_deadline()
                sent = [one for one in core.expire(now) if isinstance(one, Datagram)]
                for one in sent:
                    asked.setdefault(one.address, now)
            return asked

        core._refresh.at = 1e9
        self.assertEqual(pinged(1_030.0), {})  # checked a moment ago
        seq[0] = 2
        asked = pinged(1_030.0 + 2 + 4 * len(live) * CHECK_NEW_EVERY)
        self.assertLessEqual(live, asked.keys())
        times = sorted(asked.values())
        self.assertTrue(all(b - a > CHECK_NEW_EVERY / 2 for a, b in zip(times, times[1:], strict=False)))
