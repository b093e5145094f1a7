"""Answers to a challenge."""

import random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.messages import Ping, encode_message
from chainp2p.discovery.offers import make_offer
from chainp2p.discovery.packets import Challenge, Handshake, additional_data, open_packet
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey


class OfferTests(SynchronousTestCase):
    def test_our_record_goes_along_unless_the_challenger_has_it(self) -> None:
        chance = random.Random(1)
        ours, theirs = NodeKey(b"\1" * 32), NodeKey(b"\2" * 32)
        enr, other = (make_enr(key, 5, node_pairs(b"\3" * 32, 1)) for key in (ours, theirs))
        # the last one is 4 as @chainsafe/discv5 writes it
        for seq, sent in ((0, enr.raw), (4, enr.raw), (5, b""), (6, enr.raw), (4 << 56, enr.raw)):
            head = Challenge(bytes(12), bytes(16), seq)
            challenge = additional_data(head, bytes(16))
            offer = make_offer(ours, enr, other, head, challenge, encode_message(Ping(b"\1", 5)), chance)
            answer = open_packet(theirs.peer_id, offer.data).head
            assert isinstance(answer, Handshake)
            self.assertEqual(answer.record, sent, seq)
