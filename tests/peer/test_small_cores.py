"""Liveness, duplicates, votes, ends and the own record."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Reason
from chainp2p.peer.duplicates import LinkFacts, Replacements, Survivor, survivor
from chainp2p.peer.ends import LEDGER_LIMIT, EndLedger, LinkEnd
from chainp2p.peer.key import NodeKey
from chainp2p.peer.liveness import Due, Liveness
from chainp2p.peer.own import OwnRecord, Place
from chainp2p.peer.votes import is_loopback, is_private, plain_address

A, B = b"\xaa" * 32, b"\xbb" * 32


class LivenessTest(SynchronousTestCase):
    def test_silence(self):
        live = Liveness(0.0)
        self.assertEqual(live.next(), 30.0)
        self.assertIs(live.due(29.9), Due.NOTHING)
        self.assertIs(live.due(30.0), Due.PING)
        self.assertIs(live.due(31.0), Due.NOTHING)
        self.assertEqual(live.next(), 90.0)
        self.assertIs(live.due(90.0), Due.DEAD)
        live.heard(80.0)
        self.assertIs(live.due(90.0), Due.NOTHING)
        self.assertEqual(live.next(), 110.0)

    def test_stall(self):
        live = Liveness(0.0)
        live.stalled(5.0)
        live.stalled(20.0)
        live.heard(60.0)
        self.assertIs(live.due(64.9), Due.NOTHING)
        self.assertEqual(live.next(), 65.0)
        self.assertIs(live.due(65.0), Due.STALLED)
        live.moved()
        self.assertIs(live.due(65.0), Due.NOTHING)

    def test_our_own_pause_proves_nothing(self):
        live = Liveness(0.0)
        live.stopped_reading()
        self.assertIs(live.due(1_000.0), Due.NOTHING)
        self.assertIsNone(live.next())
        live.resumed_reading(1_000.0)
        self.assertEqual(live.next(), 1_030.0)


class DuplicatesTest(SynchronousTestCase):
    """Both sides come to the same answer in every order of events."""

    def test_same_opener(self):
        self.assertIs(survivor(LinkFacts(A, 0), LinkFacts(A, 1), 2), Survivor.NEWER)
        self.assertIs(survivor(LinkFacts(B, 0), LinkFacts(B, 500), 501), Survivor.NEWER)

    def test_crossed(self):
        """Whichever link a side takes for the older one, the link of the lower id stays."""
        of_a, of_b = LinkFacts(A, 0.0), LinkFacts(B, 0.1)
        self.assertIs(survivor(of_a, of_b, 1), Survivor.OLDER)
        self.assertIs(survivor(of_b, of_a, 1), Survivor.NEWER)

    def test_old_link_is_asked(self):
        self.assertIs(survivor(LinkFacts(A, 0), LinkFacts(B, 40), 41), Survivor.ASK)
        self.assertIs(survivor(LinkFacts(B, 0), LinkFacts(A, 30), 30), Survivor.ASK)

    def test_table(self):
        for older, newer, age in product((A, B), (A, B), (1.0, 29.0, 31.0)):
            verdict = survivor(LinkFacts(older, 0.0), LinkFacts(newer, age - 0.5), age)
            if older == newer:
                expected = Survivor.NEWER
            elif age >= 30:
                expected = Survivor.ASK
            else:
                expected = Survivor.OLDER if older == A else Survivor.NEWER
            self.assertIs(verdict, expected)

    def test_replacements(self):
        one = Replacements()
        self.assertFalse(any(one.replaced(A, "10.0.0.1", float(n)) for n in range(10)))
        two = Replacements()
        self.assertEqual([two.replaced(A, f"10.0.0.{n % 2}", float(n)) for n in range(4)], [False, False, False, True])
        slow = Replacements()
        self.assertFalse(any(slow.replaced(A, f"10.0.0.{n % 2}", n * 250.0) for n in range(10)))
        slow.replaced(B, "10.0.0.1", 1e6)
        self.assertEqual(list(slow._seen), [B])


class AddressTest(SynchronousTestCase):
    def test_kinds_of_addresses(self):
        self.assertTrue(is_private("127.0.0.1") and is_private("10.1.1.1") and is_private("fe80::1%eth0"))
        self.assertFalse(is_private("8.8.8.8") or is_private("node.example"))
        self.assertTrue(is_loopback("127.0.0.2") and is_loopback("::1"))
        self.assertFalse(is_loopback("10.0.0.1") or is_loopback("localhost"))

    def test_packed_addresses(self):
        self.assertEqual(plain_address(bytes((8, 8, 8, 8))), "8.8.8.8")
        self.assertEqual(plain_address(bytes(10) + b"\xff\xff" + bytes((8, 8, 8, 8))), "8.8.8.8")
        self.assertEqual(plain_address(bytes(15) + b"\1"), "::1")
        for size in (0, 3, 5, 15, 17):
            self.assertIsNone(plain_address(bytes(size)))


class EndsTest(SynchronousTestCase):
    def test_bounded_and_counted(self):
        ledger = EndLedger()
        for n in range(LEDGER_LIMIT + 10):
            ledger.add(LinkEnd(float(n), None, ("h", 1), Reason.SHUTDOWN, "", True, False, ready=True))
        self.assertEqual(len(ledger.newest()), LEDGER_LIMIT)
        self.assertEqual(ledger.newest()[0].when, LEDGER_LIMIT + 9)
        self.assertEqual(ledger.counts, {Reason.SHUTDOWN: LEDGER_LIMIT + 10})


class OwnRecordTest(SynchronousTestCase):
    KEY = NodeKey(b"\x05" * 32)
    GENESIS = b"\x01" * 32

    def own(self, stored=None):
        return OwnRecord(self.KEY, self.GENESIS, 1, stored)

    def test_number_rises_with_each_change_only(self):
        own = self.own()
        self.assertTrue(own.place(Place("10.0.0.1", 1)))
        self.assertEqual(own.enr.seq, 1)
        self.assertFalse(own.place(Place("10.0.0.1", 1)))
        self.assertTrue(own.place(Place("10.0.0.1", 2)))
        self.assertEqual((own.enr.seq, own.enr.tcp, own.enr.genesis_prefix), (2, 2, b"\x01" * 4))

    def test_over_restarts(self):
        first = self.own()
        first.place(Place("10.0.0.1", 1))
        again = self.own(first.enr.raw)
        self.assertFalse(again.place(Place("10.0.0.1", 1)))
        self.assertEqual(again.enr, first.enr)
        moved = self.own(first.enr.raw)
        self.assertTrue(moved.place(Place("10.0.0.2", 1)))
        self.assertEqual(moved.enr.seq, 2)

    def test_strange_stores(self):
        other = OwnRecord(NodeKey(b"\x06" * 32), self.GENESIS, 1)
        other.place(Place("10.0.0.1", 1))
        for stored in (b"junk", other.enr.raw):
            own = self.own(stored)
            own.place(Place("10.0.0.1", 1))
            self.assertEqual(own.enr.seq, 1)

    def test_higher_number_seen(self):
        own = self.own()
        own.place(Place("10.0.0.1", 1))
        self.assertFalse(own.seen(1))
        self.assertTrue(own.seen(40))
        self.assertEqual((own.enr.seq, own.enr.ip), (41, "10.0.0.1"))
        own.place(Place("10.0.0.2", 1))
        self.assertEqual(own.enr.seq, 42)
