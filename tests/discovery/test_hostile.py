"""Attackers: copies, forgeries and floods cost honest nodes no session and no answer, and strangers get little."""

import heapq
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery import challenges
from chainp2p.discovery.answers import RecordReader
from chainp2p.discovery.challenges import PROOFS_MAX
from chainp2p.discovery.conversations import (
    CALLS_MAX,
    MESSAGE_MAX,
    NODES_MAX,
    OFFERS_MAX,
    QUEUED_MAX,
    TRIES,
)
from chainp2p.discovery.discv5 import LOOKUPS_MAX, Discv5
from chainp2p.discovery.events import Answered, Asked, Datagram, Established, Unanswered
from chainp2p.discovery.limits import PACKETS, Limits
from chainp2p.discovery.lookup import ALPHA
from chainp2p.discovery.messages import FindNode, Nodes, Ping, Pong, TalkRequest, TalkResponse, encode_message
from chainp2p.discovery.outputs import Found
from chainp2p.discovery.packets import Challenge, Ordinary, open_packet
from chainp2p.discovery.records import VerifiedRecords
from chainp2p.discovery.repeats import REPEATS_MAX, Repeats
from chainp2p.discovery.sessions import MESSAGES_MAX, SESSIONS_MAX, SESSIONS_OF_ONE, SessionKeys, Sessions
from chainp2p.discovery.table import BUCKET_SIZE
from chainp2p.peer import enr as enr_module
from chainp2p.peer.enr import make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.testing.hostility import Accountant, Grammar
from tests.discovery.test_conversations import End, Wire

ELSEWHERE = ("45.6.7.8", 9)


class Pair(SynchronousTestCase):
    """Two ends, with a session if the test wants one."""

    def setUp(self):
        self.a, self.b = End(1, 1001), End(2, 1002)
        self.wire = Wire(self.a, self.b)
        self.a.of_b = (self.b.key.peer_id, *self.b.address)
        self.b.of_a = (self.a.key.peer_id, *self.a.address)

    def meet(self):
        self.wire.run(self.a, self.a.ask(self.b, Ping(b"meet", 1), "meet"))
        self.assertEqual([event.handle for event in self.a.of(Answered)], ["meet"])
        self.a.events.clear()
        self.b.events.clear()

    def to(self, end, data, source, now=0.0):
        return end.take(end.core.received(data, source, now))

    def forged_challenge(self, data, seq=0, chance=1):
        """A challenge for a packet on its way from A to B, by somebody who has seen it."""
        grammar = Grammar(Random(chance), self.a.key.peer_id, [])
        head = Challenge(open_packet(self.b.key.peer_id, data).head.nonce, Random(chance).randbytes(16), seq)
        return grammar.packet(head, b"")

    def handles(self, end=None):
        return [event.handle for event in (end or self.a).of(Answered)]


class SpoofTest(Pair):
    """Nothing forged or copied ends a session or a request."""

    def test_forged_challenge_for_a_request_in_a_session(self):
        self.meet()
        for number in range(20):
            [(data, _)] = self.a.ask(self.b, Ping(b"%d" % number, 1), number)
            offers = []
            for chance in range(OFFERS_MAX + 3):
                offers += self.to(self.a, self.forged_challenge(data, chance=chance), self.b.address)
            self.assertEqual(len(offers), OFFERS_MAX)
            for offer, _ in offers:
                self.assertEqual(self.to(self.b, offer, self.a.address), [])
            self.wire.run(self.a, [(data, self.b.address)])
        self.assertEqual(self.handles(), list(range(20)))
        self.assertEqual((self.a.of(Established), self.b.of(Established)), ([], []))
        self.assertEqual(len(self.a.core), 0)

    def test_forged_challenge_before_and_after_the_real_one(self):
        for first in (True, False):
            self.setUp()
            [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
            [(real, _)] = self.to(self.b, knock, self.a.address)
            order = [self.forged_challenge(knock), real] if first else [real, self.forged_challenge(knock)]
            for handshake in [self.to(self.a, challenge, self.b.address)[0] for challenge in order]:
                self.wire.run(self.a, [handshake])
            self.assertEqual(self.handles(), ["x"])

    def test_forged_challenge_for_a_packet_that_got_lost(self):
        for session in (False, True):
            self.setUp()
            if session:
                self.meet()
            [(data, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
            self.to(self.a, self.forged_challenge(data), self.b.address)
            again = self.a.take(self.a.core.expire(0.7))
            self.assertEqual([len(datagram) for datagram, _ in again][:1], [len(data)])
            self.wire.run(self.a, again, now=0.7)
            self.assertEqual(self.handles(), ["x"])

    def test_a_challenge_that_comes_twice(self):
        [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(challenge, _)] = self.to(self.b, knock, self.a.address)
        [(handshake, _)] = self.to(self.a, challenge, self.b.address)
        for _ in range(5):
            self.assertEqual(self.to(self.a, challenge, self.b.address), [])
        self.wire.run(self.a, [(handshake, self.b.address)])
        self.assertEqual(self.to(self.a, challenge, self.b.address), [])
        self.assertEqual((self.handles(), self.a.of(Unanswered)), (["x"], []))

    def test_nonce_of_a_handshake_and_of_an_answer(self):
        [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(challenge, _)] = self.to(self.b, knock, self.a.address)
        [(handshake, _)] = self.to(self.a, challenge, self.b.address)
        self.assertEqual(self.to(self.a, self.forged_challenge(handshake), self.b.address), [])
        self.wire.run(self.a, [(handshake, self.b.address)])
        self.wire.run(self.b, self.b.ask(self.a, Ping(b"y", 1), "y"))
        [(ping, _)] = self.b.ask(self.a, Ping(b"z", 1), "z")
        [(pong, _)] = self.to(self.a, ping, self.b.address)
        self.assertEqual(self.to(self.a, self.forged_challenge(pong), self.b.address), [])
        self.assertEqual(self.a.core.dropped["challenge for nothing"], 2)

    def test_the_answer_to_a_handshake_got_lost(self):
        """The same handshake again is read with the keys that it has made."""
        [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(challenge, _)] = self.to(self.b, knock, self.a.address)
        [(handshake, _)] = self.to(self.a, challenge, self.b.address)
        self.to(self.b, handshake, self.a.address)
        self.wire.run(self.a, self.a.take(self.a.core.expire(0.7)), now=0.7)
        self.assertEqual(self.handles(), ["x"])
        self.assertEqual(len(self.b.of(Established)), 1)
        # and no more often than a request may come
        for _ in range(5):
            self.assertEqual(self.to(self.b, handshake, self.a.address, 0.8), [])

    def test_a_challenge_that_was_late(self):
        """It comes after the knock was repeated and another challenge made: the request still succeeds."""
        [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(first, _)] = self.to(self.b, knock, self.a.address, 0.0)
        self.assertEqual(self.a.take(self.a.core.expire(1.0)), [(knock, self.b.address)])
        [(second, _)] = self.to(self.b, knock, self.a.address, 1.05)
        self.assertNotEqual(first, second)
        for challenge in (first, second):
            [(handshake, _)] = self.to(self.a, challenge, self.b.address, 1.1)
            self.wire.run(self.a, [(handshake, self.b.address)], now=1.1)
        self.assertEqual(self.handles(), ["x"])

    def test_a_challenge_that_was_repeated_at_its_end_can_still_be_answered(self):
        [(knock, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(first, _)] = self.to(self.b, knock, self.a.address, 0.0)
        [(again, _)] = self.to(self.b, knock, self.a.address, 0.99)
        self.assertEqual(first, again)
        [(handshake, _)] = self.to(self.a, again, self.b.address, 1.2)
        self.b.take(self.b.core.expire(1.2))
        self.wire.run(self.a, [(handshake, self.b.address)], now=1.4)
        self.assertEqual(self.handles(), ["x"])

    def test_forgeries_in_the_name_of_a_peer(self):
        """Of every kind, a thousand; the session is the same afterwards."""
        self.meet()
        before = self.b.core.sessions.get(self.b.of_a)
        grammar, now = Grammar(Random(3), self.b.key.peer_id, [self.a.enr.raw, self.b.enr.raw]), 0.0
        books = Accountant()
        for number in range(1_000):
            now += 0.01
            source = self.a.key.peer_id
            nonce = number.to_bytes(12, "big")
            make = (grammar.ordinary, grammar.handshake, lambda _, nonce=nonce: grammar.challenge(nonce))
            data = make[number % 3](source)
            books.exchange(self.a.address, data, self.to(self.b, data, self.a.address, now))
        self.assertIs(self.b.core.sessions.get(self.b.of_a), before)
        self.wire.run(self.a, self.a.ask(self.b, Ping(b"x", 1), "x", now), now=now)
        self.assertEqual((self.handles(), self.b.of(Established)), (["x"], []))

    def test_new_keys_that_one_end_never_hears_of(self):
        """A packet is changed on its way, its challenge makes new keys, and both answers under them get lost."""
        self.meet()
        [(data, _)] = self.a.ask(self.b, Ping(b"x", 1), "x")
        [(challenge, _)] = self.to(self.b, data[:-1] + bytes((data[-1] ^ 1,)), self.a.address)
        [(handshake, _)] = self.to(self.a, challenge, self.b.address)
        for now in (0.1, 0.7):
            self.assertEqual(len(self.to(self.b, handshake, self.a.address, now)), 1)
            self.a.take(self.a.core.expire(now))
        self.a.take(self.a.core.expire(1.4))
        self.assertEqual([event.handle for event in self.a.of(Unanswered)], ["x"])
        self.wire.run(self.a, self.a.ask(self.b, Ping(b"y", 1), "y", 2.0), now=2.0)
        self.wire.run(self.b, self.b.ask(self.a, Ping(b"z", 1), "z", 2.0), now=2.0)
        self.assertEqual((self.handles(), self.handles(self.b)), (["y"], ["z"]))

    def test_keys_of_before_are_read_until_the_new_ones_are_used(self):
        """B shakes hands anew while a packet of A under the old keys is on its way."""
        self.meet()
        old = [self.a.ask(self.b, Ping(b"old%d" % number, 1), number)[0] for number in range(2)]
        self.b.core.sessions = Sessions()
        out = self.b.ask(self.a, Ping(b"new", 1), "new")
        [(challenge, _)] = self.to(self.a, out[0][0], self.b.address)
        [(handshake, _)] = self.to(self.b, challenge, self.a.address)
        # meanwhile A's older packet comes, which B cannot read: a challenge, and one more session
        self.wire.run(self.a, old)
        self.wire.run(self.b, [(handshake, self.a.address)])
        self.assertEqual(sorted(self.handles()), [0, 1])
        self.assertEqual(self.handles(self.b), ["new"])


class ReplayTest(Pair):
    """A copy is worth less than its original."""

    def seen(self):
        """All that A has sent to B in a conversation, a FINDNODE and its handshake among it."""
        sent = []
        out = self.a.ask(self.b, FindNode(b"f", (256,)), "f") + self.a.ask(self.b, TalkRequest(b"t", b"x", b"y"), "t")
        self.wire.run(self.a, out, lambda data: sent.append(data) or [data])
        self.assertEqual(sorted(self.handles()), ["f", "t"])
        return [data for data in sent if self.masked_for_b(data)]

    def masked_for_b(self, data):
        try:
            return open_packet(self.b.key.peer_id, data) is not None
        except ValueError:
            return False

    def test_from_another_address(self):
        packets = self.seen()
        self.assertEqual(len(packets), 3)  # knock, handshake with FINDNODE, TALKREQ
        books = Accountant()
        for number in range(300):
            data = packets[number % 3]
            answers = self.to(self.b, data, ELSEWHERE, 10.0 + number / 100)
            books.exchange(ELSEWHERE, data, answers)
            self.assertTrue(all(len(answer) == 63 for answer, _ in answers))
        self.assertEqual(len(self.b.core.sessions), 1)

    def test_from_the_same_address(self):
        """Whoever has seen a request and sends it again gets its sender one more answer, not one each time."""
        packets, answers = self.seen(), 0
        self.b.events.clear()
        for number in range(300):
            got = self.to(self.b, packets[1 + number % 2], self.a.address, 10.0 + number / 100)
            answers += len(got)
        self.assertEqual(len(self.b.of(Asked)), 2 * (TRIES - 1))
        self.assertEqual(answers, 2 + 1)  # two NODES and a TALKRESP
        self.assertEqual(self.b.core.dropped["repeated"], 300 - 2)

    def test_answers_that_come_again(self):
        self.meet()
        [(find, _)] = self.a.ask(self.b, FindNode(b"f", (256,)), "f")
        first, second = (data for data, _ in self.to(self.b, find, self.a.address))
        for _ in range(5):
            self.to(self.a, first, self.b.address)
        self.assertEqual(self.handles(), [])
        self.to(self.a, second, self.b.address)
        self.assertEqual(self.a.of(Answered)[0].nodes, (self.b.enr.raw,) * 3)
        for _ in range(5):
            self.to(self.a, second, self.b.address)
        self.assertEqual((len(self.handles()), self.a.of(Asked)), (1, []))


class Timed:
    """Datagrams that arrive some time later, maybe twice, in any order; none gets lost."""

    def __init__(self, chance, *ends):
        self.ends = {end.address: end for end in ends}
        self.chance, self.now, self.queue, self.count = chance, 0.0, [], 0

    def send(self, source, out):
        for data, address in out:
            for _ in range(self.chance.choice((1, 1, 2, 3))):
                self.count += 1
                heapq.heappush(
                    self.queue, (self.now + self.chance.uniform(0.001, 0.16), self.count, data, source, address)
                )

    def run(self, until):
        while True:
            timers = [end.core.next_deadline() for end in self.ends.values()]
            at = min([timer for timer in timers if timer is not None] + [item[0] for item in self.queue[:1]] + [until])
            self.now = max(self.now, at)
            if at >= until:
                return
            for end in self.ends.values():
                self.send(end.address, end.take(end.core.expire(self.now)))
            while self.queue and self.queue[0][0] <= self.now:
                _, _, data, source, address = heapq.heappop(self.queue)
                end = self.ends[address]
                self.send(address, end.take(end.core.received(data, source, self.now)))


class DisorderTest(Pair):
    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.randoms(use_true_random=False), st.integers(1, 12), st.booleans())
    def test_no_answer_is_lost(self, chance, requests, forgets):
        """Repeated and reordered datagrams, both ends at once, and an end that forgets its sessions."""
        self.setUp()
        net = Timed(chance, self.a, self.b)
        for number in range(requests):
            for end, other in ((self.a, self.b), (self.b, self.a)):
                id = bytes((number,)) * chance.randrange(1, 9)
                message = chance.choice((Ping(id, 1), FindNode(id, (256,)), TalkRequest(id, b"x", b"y")))
                if chance.random() < 0.7:
                    net.send(end.address, end.ask(other, message, number, net.now))
            net.run(net.now + chance.choice((0.0, 0.01, 0.1, 1.0)))
            if forgets and chance.random() < 0.2:
                net.run(net.now + 5)
                chance.choice((self.a, self.b)).core.sessions = Sessions()
        net.run(net.now + 10)
        for end in (self.a, self.b):
            self.assertEqual(end.of(Unanswered), [])
            self.assertEqual((len(end.core), end.core.calls._by_nonce), (0, {}))
            for event in end.of(Answered):
                if isinstance(event.response, Nodes):
                    self.assertEqual(len(event.nodes), 3)
        if not forgets and (self.a.of(Established) or self.b.of(Established)):
            # whoever called first: two handshakes at the most, and after them none
            self.assertLessEqual(len(self.a.of(Established)) + len(self.b.of(Established)), 4)
            for end in (self.a, self.b):
                end.events.clear()
            net.send(self.a.address, self.a.ask(self.b, Ping(b"last", 1), "last", net.now))
            net.run(net.now + 3)
            self.assertEqual((self.handles(), self.b.of(Established)), (["last"], []))


class MessagesTest(Pair):
    def setUp(self):
        super().setUp()
        self.meet()

    def sealed(self, plain):
        """A packet of A to B with any bytes as its message."""
        session = self.a.core.sessions.get(self.a.of_b)
        return Grammar(Random(len(plain)), self.b.key.peer_id, []).sealed(session, self.a.key.peer_id, plain)

    def heard(self, plain):
        self.b.events.clear()
        self.to(self.b, self.sealed(plain), self.a.address)
        return self.b.events

    def test_ids_are_mirrored(self):
        for size in range(9):
            id = bytes(size)
            [(data, _)] = self.a.ask(self.b, Ping(id, 0), size)
            [(answer, _)] = self.to(self.b, data, self.a.address)
            self.assertEqual(self.b.of(Asked)[-1].request, Ping(id, 0))
            self.to(self.a, answer, self.b.address)
            self.assertEqual(self.a.of(Answered)[-1].response.id, id)
        self.assertEqual(self.handles(), list(range(9)))
        self.assertEqual(self.heard(b"\1" + bytes((0xCB, 0x89)) + bytes(9) + b"\1"), [])

    def test_topics_and_unknown_types_are_dropped(self):
        for kind in (*range(7, 11), 0, 11, 255):
            self.assertEqual(self.heard(bytes((kind, 0xC2, 1, 1))), [])
        self.assertEqual((self.b.core.dropped["topic"], self.b.core.dropped["message"]), (4, 3))
        self.assertEqual(self.heard(b""), [])

    def test_distances(self):
        def one(*distances):
            return FindNode(b"\1", distances)

        for request, count in ((one(), 1), (one(0, 0, 256, 256), 1), (one(*range(257)), 1), (one(257), 0)):
            self.assertEqual(len(self.heard(encode_message(request))), count)
        self.assertEqual(self.heard(encode_message(one(*[1] * 258))), [])

    def test_parts_of_an_answer(self):
        def nodes(total, number):
            return Nodes(b"f", total, (bytes((0xC1, number)),))

        for total, sent, taken in (
            (1, 1, 1),
            (2, 2, 2),
            (16, 20, NODES_MAX),
            (255, 20, NODES_MAX),
            ((1 << 64) - 1, 9, 5),
        ):
            self.a.events.clear()
            self.a.ask(self.b, FindNode(b"f", (256,)), "f")
            for number in range(sent):
                [event] = self.b.core.reply(self.b.of_a, nodes(total, number))
                self.to(self.a, event.data, self.b.address)
            self.assertEqual([len(event.nodes) for event in self.a.of(Answered)], [taken])
            self.assertEqual(len(self.a.core), 0)
        # the same part again is none, and there are not no parts
        self.a.events.clear()
        self.a.ask(self.b, FindNode(b"f", (256,)), "f")
        for part in (nodes(2, 1), nodes(2, 1), nodes(0, 2)):
            [event] = self.b.core.reply(self.b.of_a, part)
            self.to(self.a, event.data, self.b.address)
        self.assertEqual(self.handles(), [])
        self.a.take(self.a.core.expire(100.0))
        self.assertEqual(self.a.of(Answered)[0].nodes, (b"\xc1\1",))

    def test_answers_of_another_type_and_for_nobody(self):
        self.a.ask(self.b, Ping(b"p", 1), "p")
        for response in (
            TalkResponse(b"p", b""),
            Nodes(b"p", 1, ()),
            Pong(b"q", 1, "1.2.3.4", 1),
            Pong(b"", 1, "::1", 1),
        ):
            [event] = self.b.core.reply(self.b.of_a, response)
            self.to(self.a, event.data, self.b.address)
        self.assertEqual((self.handles(), self.a.core.dropped["answer to nothing"]), ([], 4))

    def test_pong_with_odd_addresses(self):
        self.a.ask(self.b, Ping(b"p", 1), "p")
        for ip in (b"\x80", b"\x83abc", b"\xc0", b"\x91" + bytes(17)):
            body = b"\x81\xf0\1" + ip + b"\1"
            session = self.b.core.sessions.get(self.b.of_a)
            plain = b"\2" + bytes((0xC0 + len(body),)) + body
            data = Grammar(Random(5), self.a.key.peer_id, []).sealed(session, self.b.key.peer_id, plain)
            self.assertEqual(self.to(self.a, data, self.b.address), [])
        self.assertEqual((self.handles(), self.a.core.dropped["message"]), ([], 4))

    def test_sizes(self):
        longest = TalkRequest(b"", b"x", bytes(MESSAGE_MAX - 9))
        while len(self.sealed(b"")) + len(encode_message(longest)) < 1_280:
            longest = TalkRequest(b"", b"x", longest.request + b"\0")
        [(data, _)] = self.a.ask(self.b, longest, "long")
        self.assertEqual(len(data), 1_280)
        self.to(self.b, data, self.a.address)
        self.assertEqual(self.b.of(Asked)[-1].request, longest)
        self.assertEqual(self.a.ask(self.b, TalkRequest(b"y", b"x", longest.request + b"\0"), "longer"), [])
        self.assertEqual([event.handle for event in self.a.of(Unanswered)], ["longer"])
        for size in (0, 62, 1_281, 65_507):
            self.assertEqual(self.to(self.b, bytes(size), self.a.address), [])
        self.assertEqual(self.b.core.dropped["size"], 4)

    def test_port_0(self):
        knock = End(3, 1003).ask(self.b, Ping(b"x", 1), "x")[0][0]
        self.assertEqual(self.to(self.b, knock, ("45.6.7.8", 0)), [])
        self.assertEqual(len(self.b.core.challenges), 0)

    def test_in_our_own_name(self):
        knock = Grammar(Random(1), self.b.key.peer_id, []).ordinary(self.b.key.peer_id)
        [(answer, where)] = self.to(self.b, knock, ELSEWHERE)
        self.assertEqual((len(answer), where), (63, ELSEWHERE))


class BoundsTest(Pair):
    KEYS = SessionKeys(bytes(16), bytes(16))

    def peer(self, number, ip=None, port=1):
        return number.to_bytes(32, "big"), ip or f"5.{number >> 8}.{number & 255}.1", port

    def test_sessions(self):
        sessions = Sessions()
        for number in range(SESSIONS_MAX + 50):
            sessions.agreed(self.peer(number), self.KEYS, True, self.a.enr)
            sessions.get(self.peer(0))
        self.assertEqual(len(sessions), SESSIONS_MAX)
        self.assertIsNotNone(sessions.get(self.peer(0)))
        self.assertIsNone(sessions.get(self.peer(1)))
        self.assertEqual(sum(map(len, sessions._of.values())), SESSIONS_MAX)

    def test_one_address_pushes_out_its_own_only(self):
        sessions = Sessions()
        for number in range(SESSIONS_MAX - SESSIONS_OF_ONE):
            sessions.agreed(self.peer(number), self.KEYS, True, self.a.enr)
        for number in range(10_000, 12_000):
            sessions.agreed(self.peer(number, "45.1.1.1", number), self.KEYS, True, self.a.enr)
            sessions.agreed(self.peer(number, f"2a00:1::{number:x}", number), self.KEYS, True, self.a.enr)
        self.assertEqual(len(sessions._of["45.1.1.1/32"]), SESSIONS_OF_ONE)
        self.assertEqual(len(sessions._of["2a00:1::/64"]), SESSIONS_OF_ONE)
        left = sum(sessions.get(self.peer(number)) is not None for number in range(SESSIONS_MAX - SESSIONS_OF_ONE))
        self.assertEqual(left, SESSIONS_MAX - 2 * SESSIONS_OF_ONE)

    def test_repeats(self):
        repeats = Repeats()
        for number in range(REPEATS_MAX + 100):
            self.assertEqual(repeats.count(bytes(16), number.to_bytes(12, "big")), 1)
        self.assertEqual(len(repeats), REPEATS_MAX)
        self.assertEqual(repeats.count(bytes(16), number.to_bytes(12, "big")), 2)
        self.assertEqual(repeats.count(bytes(15) + b"\1", number.to_bytes(12, "big")), 1)

    def test_calls(self):
        for number in range(QUEUED_MAX + 10):
            self.a.ask(self.b, Ping(number.to_bytes(4, "big"), 1), number)
        self.assertEqual(len(self.a.core), QUEUED_MAX + 1)
        self.assertEqual(len(self.a.of(Unanswered)), 9)
        for number in range(CALLS_MAX + 50):
            self.a.take(self.a.core.request(self.b.enr, ("9.9.9.9", number + 1), Ping(b"x", 1), number, 0.0))
        self.assertEqual((len(self.a.core), len(self.a.core.calls._by_nonce)), (CALLS_MAX, CALLS_MAX - QUEUED_MAX))
        for now in (1.1, 2.2, 3.5):
            self.a.take(self.a.core.expire(now))
        self.assertEqual((len(self.a.core), self.a.core.calls._by_nonce, self.a.core.calls._calls), (0, {}, {}))

    def test_a_peer_that_always_shakes_hands_does_not_keep_a_request_open(self):
        self.meet()
        self.a.ask(self.b, Ping(b"open", 1), "open", 0.0)
        now, sent = 0.0, 0
        while len(self.a.core):
            now += 0.3
            self.b.core.sessions = Sessions()
            for knock, _ in self.b.ask(self.a, TalkRequest(b"%f" % now, b"x", b""), now, now)[:1]:
                for challenge, _ in self.to(self.a, knock, self.b.address, now):
                    for handshake, _ in self.to(self.b, challenge, self.a.address, now):
                        sent += len(self.to(self.a, handshake, self.b.address, now))
            self.a.take(self.a.core.expire(now))
            self.assertLess(now, 10.0)
        self.assertEqual([event.handle for event in self.a.of(Unanswered)], ["open"])

    def test_work_of_a_challenge(self):
        """Curve operations for one challenge, whoever sends how much: three proofs."""
        proofs = []
        real = challenges.proves_identity
        self.patch(challenges, "proves_identity", lambda *given: proofs.append(1) or real(*given))
        grammar = Grammar(Random(4), self.b.key.peer_id, [self.a.enr.raw])
        self.b.records[self.a.key.peer_id] = self.a.enr
        for round in range(10):
            now = 3.0 * round
            [(challenge, _)] = self.to(self.b, grammar.ordinary(self.a.key.peer_id), self.a.address, now)
            for _ in range(200):
                self.assertEqual(self.to(self.b, grammar.handshake(self.a.key.peer_id), self.a.address, now), [])
        self.assertLessEqual(len(proofs), 10 * PROOFS_MAX)
        self.assertGreater(len(proofs), 10)

    def test_nonces(self):
        self.meet()
        seen = set()
        for number in range(500):
            [(data, _)] = self.a.ask(self.b, Ping(b"%d" % number, 1), number)
            head = open_packet(self.b.key.peer_id, data).head
            self.assertIsInstance(head, Ordinary)
            self.assertEqual(int.from_bytes(head.nonce[:4], "big"), number + 1)
            seen.add(head.nonce)
            self.wire.run(self.a, [(data, self.b.address)])
        self.assertEqual((len(seen), len(self.handles())), (500, 500))
        # at the end of the count the keys are given up, and a handshake makes others
        self.a.core.sessions.get(self.a.of_b).speaking.sent = MESSAGES_MAX - 1
        for handle in ("the last", "the first"):
            self.wire.run(self.a, self.a.ask(self.b, Ping(handle.encode()[-8:], 1), handle))
        self.assertEqual(self.handles()[-2:], ["the last", "the first"])
        self.assertEqual(len(self.b.of(Established)), 1)
        self.assertLess(self.a.core.sessions.get(self.a.of_b).speaking.sent, 5)


GENESIS = bytes(32)


class NodeTest(SynchronousTestCase):
    """A whole node, and strangers who send much."""

    def setUp(self):
        self.key = NodeKey(b"\7" * 32)
        self.limits = Limits(loopback_exempt=False)
        self.enr = make_enr(self.key, 1, node_pairs(GENESIS, 1, "45.1.1.1", 9, 9))
        self.node = Discv5(self.key, lambda: self.enr, Random(1), genesis=GENESIS, private=False, limits=self.limits)
        self.node.start([], 0.0)
        self.other = End(5, 9)
        self.other.address = ("80.1.1.1", 9)
        self.other.enr = make_enr(self.other.key, 1, node_pairs(GENESIS, 1, "80.1.1.1", 9, 9))

    def give(self, data, source, now):
        return [(one.data, one.address) for one in self.node.received(data, source, now) if isinstance(one, Datagram)]

    def meet(self, now=0.0):
        """The other makes a session and answers what it is asked."""
        out = self.other.take(self.other.core.request(self.enr, ("45.1.1.1", 9), Ping(b"m", 1), "m", now))
        while out:
            more = []
            for data, _ in out:
                for answer, _ in self.give(data, self.other.address, now):
                    more += self.other.take(self.other.core.received(answer, ("45.1.1.1", 9), now))
            out = more

    def test_strangers_are_charged(self):
        """Long random talk of ten strangers and one who answers, in the names of all of them."""
        self.meet()
        random, books = Random(11), Accountant()
        grammar = Grammar(random, self.key.peer_id, [self.enr.raw, self.other.enr.raw])
        strangers, now = [(f"60.1.1.{number}", 7) for number in range(10)], 1.0
        for _ in range(6_000):
            now += 0.004
            source = random.choice(strangers)
            name = random.choice((self.other.key.peer_id, random.randbytes(32)))
            make = random.choice(
                (grammar.ordinary, grammar.handshake, lambda _: grammar.challenge(random.randbytes(12)))
            )
            data = make(name)
            books.exchange(source, data, self.give(data, source, now))
        self.assertTrue(all(0 < books.got[source] < books.sent[source] for source in strangers))

    def test_beyond_its_rate_an_address_gets_nothing(self):
        grammar = Grammar(Random(2), self.key.peer_id, [self.enr.raw])
        got = sum(len(self.give(grammar.ordinary(bytes(31) + b"\1"), ("60.1.1.1", 7), 1.0)) for _ in range(1_000))
        self.assertEqual(got, int(PACKETS.burst))
        self.assertEqual(len(self.give(grammar.ordinary(bytes(31) + b"\1"), ("60.1.1.2", 7), 1.0)), 1)

    def test_work_for_an_address(self):
        """Proofs and records looked at for one address, whatever it sends: no more than packets that it may send."""
        work = []
        for module, name in ((challenges, "proves_identity"), (enr_module, "verify")):
            real = getattr(module, name)
            self.patch(module, name, lambda *given, real=real: work.append(1) or real(*given))
        random, taken = Random(3), 0
        ids = [make_enr(NodeKey(bytes((number + 1,)) * 32), 1, {}) for number in range(40)]
        grammars = [Grammar(random, self.key.peer_id, [enr.raw]) for enr in ids]
        for number in range(3_000):
            now, one = 1.0 + number / 100, number // 8 % 40
            knock, shake = grammars[one].ordinary, grammars[one].handshake
            before = self.limits.refused
            self.give((shake if number % 8 else knock)(ids[one].peer_id), ("60.1.1.1", 7), now)
            taken += self.limits.refused == before
        # twice of what it may send is sent; each packet costs two looks at a signature at most, and each challenge six
        self.assertLessEqual(taken, PACKETS.burst + 30 * PACKETS.rate + 1)
        self.assertGreater(len(work), 200)
        self.assertLess(len(work), 6 * 3_000 / 8)

    def test_lookups_are_bounded(self):
        self.meet()
        outputs = [self.node.lookup(bytes(31) + bytes((number,)), number, 1.0) for number in range(LOOKUPS_MAX + 5)]
        self.assertEqual(len(self.node._lookups), LOOKUPS_MAX)
        self.assertEqual(outputs[-1], [Found(LOOKUPS_MAX + 4, (), 0)])
        for now in (2.0, 3.0, 4.0, 6.0, 9.0):
            self.node.conversations.expire(now)
            outputs = self.node.expire(now)
        self.assertLessEqual(len(self.node.conversations), LOOKUPS_MAX * ALPHA + 1)

    def test_records_of_an_answer(self):
        """Few are looked at, good ones are kept, and no more of them than there is room for."""
        records = [make_enr(NodeKey(bytes((number + 1,)) * 32), 1, {b"udp": b"\1"}) for number in range(20)]
        verified = VerifiedRecords(4)
        reader = RecordReader(True, lambda node_id: True, verified)
        asked, every = self.other.enr, range(257)
        raws = [enr.raw for enr in records]
        self.assertEqual([enr.raw for enr in reader.read(raws, asked, every)], raws[:BUCKET_SIZE])
        self.assertEqual(len(verified._verified), 4)
        odd = [b"", b"\xc0", b"\x80", bytes(300), bytes(1_200), raws[0][:-1], raws[0][:-1] + b"\0"]
        self.assertEqual(reader.read(odd, asked, every), [])
        self.assertEqual(len(verified._verified), 4)
        self.assertEqual(reader.read([b"\xc0"] * 2 * BUCKET_SIZE + raws, asked, every), [])
        self.assertEqual(len(reader.read([raws[0]] * 20, asked, every)), 1)
        self.assertEqual(reader.read(raws, asked, ()), [])

    def test_a_number_that_always_grows_asks_once_at_a_time(self):
        self.meet()
        self.assertIn(self.other.key.peer_id, self.node.table)
        now, asked = 1.0, 0
        for number in range(50):
            [(ping, _)] = self.other.take(
                self.other.core.request(self.enr, ("45.1.1.1", 9), Ping(b"%d" % number, 100 + number), number, now)
            )
            asked += len(self.give(ping, self.other.address, now)) - 1
        self.assertEqual(asked, 1)

    def test_an_answer_from_one_address_says_nothing_of_another(self):
        """A node that answered where its old record says is not live where its new one does."""
        self.meet()
        self.assertTrue(self.node.table.get(self.other.key.peer_id).live)
        moved = make_enr(self.other.key, 2, node_pairs(GENESIS, 1, "99.9.9.9", 9, 9))
        self.node.add(moved)
        self.assertFalse(self.node.table.get(self.other.key.peer_id).live)
        self.node._alive(self.other.enr, 1.0)
        self.assertFalse(self.node.table.get(self.other.key.peer_id).live)
        self.node._alive(moved, 1.0)
        self.assertTrue(self.node.table.get(self.other.key.peer_id).live)
