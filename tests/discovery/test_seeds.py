"""Whom discovery begins with."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.seeds import BOOK_MAX, mixed, newest_records
from chainp2p.peer.address import NodeAddress
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.peer.known import known_at


def record(number, seq=1, udp=30303):
    pairs = node_pairs(bytes(32), 1, f"10.0.{number >> 8}.{number & 255}", 30303, udp)
    return make_enr(NodeKey(number.to_bytes(32, "big")), seq, pairs)


class SeedsTest(SynchronousTestCase):
    def test_sources_take_turns(self):
        named, table, book = [record(1)], [record(n) for n in (2, 3, 4)], [record(5)]
        order = [record(n) for n in (1, 2, 5, 3, 4)]
        self.assertEqual(mixed(named, table, book), order)
        self.assertEqual(mixed(named, table, book, limit=3), order[:3])
        self.assertEqual(mixed([], [], []), [])

    def test_a_long_source_does_not_crowd_out_a_short_one(self):
        flood, few = [record(n) for n in range(10, 310)], [record(n) for n in range(1, 5)]
        self.assertEqual([enr for enr in mixed(flood, few)[:8] if enr in few], few)

    def test_of_one_node_the_newest_record(self):
        self.assertEqual(mixed([record(1, 1)], [record(1, 3), record(2)], [record(1, 2)]), [record(1, 3), record(2)])

    def test_the_book_gives_its_newest_records(self):
        def known(number, seen, reached=None, udp=30303, raw=None):
            enr = record(number, udp=udp)
            address = NodeAddress(enr.peer_id, *enr.tcp_endpoint)
            return known_at(address, record=enr.raw if raw is None else raw, seen_at=seen, reached_at=reached)

        book = [known(1, 5.0), known(2, 1.0, reached=9.0), known(3, 7.0), known(4, 99.0, raw=b"")]
        book += [known(5, 8.0, udp=None), known(6, 8.5, raw=b"\xc0")]
        self.assertEqual(newest_records(book), [record(2), record(3), record(1)])
        many = [known(number, float(number)) for number in range(1, BOOK_MAX + 10)]
        self.assertEqual(newest_records(many), [record(number) for number in range(BOOK_MAX + 9, 9, -1)])
