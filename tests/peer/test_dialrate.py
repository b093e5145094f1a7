"""How often one IP is dialled."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.address import NodeAddress
from chainp2p.peer.dialrate import DIALS_LIMIT, PERIOD, DialRate
from chainp2p.peer.known import known_at


def at(host, port=1):
    return known_at(NodeAddress(bytes(32), host, port))


class DialRateTest(SynchronousTestCase):
    def test_two_a_minute_whatever_the_port(self):
        rate = DialRate()
        for now in (0.0, 1.0):
            self.assertTrue(rate.allows(at("8.8.8.8"), now))
            rate.count(at("8.8.8.8", int(now)), now)
        self.assertFalse(rate.allows(at("8.8.8.8", 9), PERIOD - 0.1))
        self.assertTrue(rate.allows(at("8.8.8.8"), PERIOD))
        self.assertTrue(rate.allows(at("8.8.8.9"), 1.0))

    def test_a_64_is_one_ip_and_a_private_range_none(self):
        rate = DialRate()
        for n in range(5):
            rate.count(at(f"2600::{n}"), 0.0)
            rate.count(at("10.0.0.1"), 0.0)
        self.assertFalse(rate.allows(at("2600::9"), 0.0))
        self.assertTrue(rate.allows(at("10.0.0.1"), 0.0))
        self.assertEqual(len(rate), 1)

    def test_old_dials_are_forgotten(self):
        rate = DialRate()
        for n in range(DIALS_LIMIT):
            rate.count(at(f"8.8.{n // 250}.{n % 250}"), 0.0)
        rate.count(at("9.9.9.9"), PERIOD)
        self.assertEqual(len(rate), 1)
