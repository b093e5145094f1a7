"""Quotas: who keeps to them never meets them, who does not is refused, and who sends ten times as much is gone."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, Penalty, Reason
from chainp2p.peer.quota import FACTOR, REPORT_EVERY, LinkQuota, Quota, quotas_of
from chainp2p.wire import CODEC
from chainp2p.wire.messages import CORE, GetBlocks, GetHeaders, Message, NewBlock, Ping
from chainp2p.wire.schema import Kind

ONE = {Ping: Quota(2.0, 10.0, lambda message, size: size)}
H = bytes(32)


class Bucket:
    """The textbook's token bucket, as a model."""

    def __init__(self, rate, burst):
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, 0.0

    def take(self, units, now):
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < units - 1e-4:
            return False
        self.tokens -= units
        return True


class LinkQuotaTest(SynchronousTestCase):
    def setUp(self):
        self.quota = LinkQuota(ONE)

    def charge(self, size, now):
        return self.quota.charge(Ping, Ping(1), size, now)

    def test_a_burst_and_then_the_rate(self):
        self.assertEqual([self.charge(1, 0.0) for _ in range(10)], [0.0] * 10)
        self.assertAlmostEqual(self.charge(1, 0.0), 0.5, 5)
        self.assertAlmostEqual(self.charge(4, 0.0), 2.0, 5)
        self.assertEqual(self.charge(1, 0.5), 0.0)
        self.assertEqual(self.quota.over, 2)

    def test_who_waits_as_told_is_served(self):
        for _ in range(10):
            self.charge(1, 0.0)
        wait = self.charge(3, 0.0)
        self.assertEqual(self.charge(3, wait), 0.0)

    def test_what_is_not_in_the_table_is_free(self):
        self.assertEqual(self.quota.charge(GetBlocks, GetBlocks(H, 1), 10**9, 0.0), 0.0)

    def test_ten_times_as_much_ends_the_link(self):
        for _ in range(100):
            self.charge(1, 0.0)
        fault = self.assertRaises(PeerFault, self.charge, 1, 0.0)
        self.assertEqual(
            (fault.reason, fault.penalty, fault.rule), (Reason.MISBEHAVED, Penalty.USELESS, "message_quota")
        )
        self.assertIn("Ping: 10 times more than 10 at once and 2 a second", fault.detail)

    def test_unknown_messages_share_one_quota(self):
        quota = LinkQuota({Message: Quota(1.0, 2.0, lambda message, size: 1.0)})
        for _ in range(20):
            quota.charge(Message, None, 5, 0.0)
        fault = self.assertRaises(PeerFault, quota.charge, Message, None, 5, 0.0)
        self.assertIn("unknown messages", fault.detail)

    def test_nine_times_as_much_stays_and_is_served_its_share(self):
        served = 0
        for tick in range(9 * 2 * 600):
            served += self.charge(1, tick / 18) == 0.0
        self.assertIn(served, range(1_208, 1_212))

    def test_reported_once_a_minute(self):
        for _ in range(11):
            self.charge(1, 0.0)
        self.assertEqual([self.quota.first(Ping, now) for now in (0.0, 1.0, REPORT_EVERY - 1)], [True, False, False])
        self.assertTrue(self.quota.first(Ping, REPORT_EVERY))

    @given(st.lists(st.tuples(st.floats(0, 8), st.sampled_from((1, 2, 5, 10))), max_size=80))
    @settings(deadline=None, derandomize=True)
    def test_against_two_textbook_buckets(self, sent):
        quota, now = LinkQuota(ONE), 0.0
        served, arrived = Bucket(2.0, 10.0), Bucket(2.0 * FACTOR, 10.0 * FACTOR)
        for pause, size in sent:
            now += pause
            try:
                wait = quota.charge(Ping, None, size, now)
            except PeerFault:
                self.assertFalse(arrived.take(size, now))
                return
            self.assertTrue(arrived.take(size, now))
            before = served.tokens
            self.assertEqual(wait == 0.0, served.take(size, now), (before, wait))


class TableTest(SynchronousTestCase):
    """The quotas of the messages that there are."""

    def test_every_request_and_notification_has_one(self):
        quotas = quotas_of(CODEC)
        greeting = {"Hello", "Ack", "Status", "Disconnect"}
        named = {spec.cls for spec in CORE.by_tag.values() if spec.kind is not Kind.REPLY and spec.name not in greeting}
        self.assertEqual(set(quotas), named | {Message})

    def test_the_dearest_message_fits_into_each(self):
        for cls, quota in quotas_of(CODEC).items():
            if cls is Message:
                self.assertLessEqual(quota.cost(None, CORE.message_limit), quota.burst)
                continue
            self.assertLessEqual(quota.cost(_largest(cls), cls.spec.maximum), quota.burst, cls)

    def test_an_embedding_chains_messages_have_one_too(self):
        codec = type("Codec", (), {"registry": type("R", (), {"by_tag": {1024: _Foreign}})})
        self.assertEqual(set(quotas_of(codec)), {Message, _Foreign.cls})

    def test_full_speed_never_meets_them(self):
        """Ten minutes of what the fastest honest peer sends (see the table in the design, "Budgets and quotas")."""
        quota = LinkQuota(quotas_of(CODEC))
        for tick in range(600 * 20):
            now = tick / 20
            sent = [(NewBlock(b""), 2 * 1024 * 1024 if tick % 5 == 0 else 60_000), (GetBlocks(H, 128), 44)]
            sent += [(GetHeaders(H, 2_000), 44)] * (tick % 2) + [(GetBlocks(H, 1), 44)]
            for message, size in sent:
                self.assertEqual(quota.charge(type(message), message, size, now), 0.0, message)
            if tick % 600 == 0:
                self.assertEqual(quota.charge(Ping, Ping(1), 12, now), 0.0)
        self.assertEqual(quota.over, 0)


class _Foreign:
    cls = type("Note", (Message,), {})
    name = "Note"
    kind = Kind.NOTIFICATION


def _largest(cls):
    """A message with the longest lists that may be sent, and the highest counts."""
    values = []
    for _, field in cls.spec.fields:
        values.append((b"",) * field.limit if type(field).__name__ == "ListOf" else 2**32 - 1)
    return cls(*values)
