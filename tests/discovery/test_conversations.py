"""Two ends of a conversation, whatever the network does in between."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.challenges import CHALLENGES_MAX, PROOFS_MAX
from chainp2p.discovery.conversations import Conversations
from chainp2p.discovery.events import Answered, Asked, Datagram, Established, Unanswered
from chainp2p.discovery.messages import FindNode, Nodes, Ping, Pong, TalkRequest, TalkResponse
from chainp2p.peer.enr import make_enr
from chainp2p.peer.key import NodeKey


class End:
    """A node that answers each ping, and remembers what it heard."""

    def __init__(self, number, port):
        self.key = NodeKey(bytes([number]) * 32)
        self.enr = make_enr(self.key, 1, {b"udp": port.to_bytes(2, "big")})
        self.address = (f"10.0.0.{number}", port)
        self.records = {}
        self.core = Conversations(self.key, lambda: self.enr, self.records.get, Random(number))
        self.events = []

    def ask(self, other, message, handle, now=0.0):
        return self.take(self.core.request(other.enr, other.address, message, handle, now))

    def take(self, events):
        out = []
        for event in events:
            if isinstance(event, Datagram):
                out.append((event.data, event.address))
                continue
            self.events.append(event)
            if isinstance(event, Asked):
                for answer in self.answers(event.request):
                    out += self.take(self.core.reply(event.peer, answer))
        return out

    def answers(self, request):
        if isinstance(request, Ping):
            return [Pong(request.id, self.enr.seq, "10.0.0.9", 9)]
        if isinstance(request, FindNode):
            return [Nodes(request.id, 2, (self.enr.raw,)), Nodes(request.id, 2, (self.enr.raw,) * 2)]
        return [TalkResponse(request.id, request.request[::-1])]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class Wire:
    """Carries datagrams; *filter* may drop, repeat or change each."""

    def __init__(self, *ends):
        self.ends = {end.address: end for end in ends}
        self.carried = 0

    def run(self, sender, out, filter=lambda data: [data], now=0.0):
        queue = [(sender, data, address) for data, address in out]
        while queue:
            source, data, address = queue.pop(0)
            for arrived in filter(data):
                self.carried += 1
                end = self.ends[address]
                queue += [
                    (end, more, where) for more, where in end.take(end.core.received(arrived, source.address, now))
                ]


class ConversationsTest(SynchronousTestCase):
    def setUp(self):
        self.a, self.b = End(1, 1001), End(2, 1002)
        self.wire = Wire(self.a, self.b)

    def ping(self, handle, now=0.0, **options):
        self.wire.run(self.a, self.a.ask(self.b, Ping(self.a.core.new_id(), 1), handle, now), now=now, **options)

    def test_handshake_then_session(self):
        self.ping("first")
        self.assertEqual(self.wire.carried, 4)  # knock, challenge, handshake, pong
        self.assertEqual([event.handle for event in self.a.of(Answered)], ["first"])
        self.assertEqual(len(self.a.of(Established)), 1)
        self.assertEqual(self.b.of(Established)[0].peer, (self.a.key.peer_id, *self.a.address))
        self.ping("second")
        self.assertEqual(self.wire.carried, 6)
        self.wire.run(self.b, self.b.ask(self.a, Ping(b"\x05", 1), "back"))
        self.assertEqual([event.handle for event in self.b.of(Answered)], ["back"])
        self.assertEqual(self.wire.carried, 8)
        self.assertEqual([len(end.core) for end in (self.a, self.b)], [0, 0])

    def test_known_record_is_not_sent(self):
        sizes = []
        self.b.records[self.a.key.peer_id] = self.a.enr
        self.ping("x", filter=lambda data: [sizes.append(len(data)) or data])
        known = sizes[2]
        self.a, self.b = End(1, 1001), End(2, 1002)
        self.wire = Wire(self.a, self.b)
        sizes.clear()
        self.ping("x", filter=lambda data: [sizes.append(len(data)) or data])
        self.assertEqual(sizes[2] - known, len(self.a.enr.raw))

    def test_requests_wait_for_one_handshake(self):
        out = []
        for number in range(5):
            out += self.a.ask(self.b, TalkRequest(bytes([number + 1]), b"x", b"ab"), number)
        self.assertEqual(len(out), 1)
        self.wire.run(self.a, out)
        self.assertEqual([event.handle for event in self.a.of(Answered)], [0, 1, 2, 3, 4])
        self.assertEqual(self.a.of(Answered)[0].response.response, b"ba")
        self.assertEqual(len(self.b.of(Established)), 1)

    def test_both_call_at_once(self):
        out_a = self.a.ask(self.b, Ping(b"\x01", 1), "a")
        out_b = self.b.ask(self.a, Ping(b"\x01", 1), "b")
        self.wire.run(self.a, out_a)
        self.wire.run(self.b, out_b)
        now = 0.0
        while len(self.a.core) or len(self.b.core):
            now += 0.1
            for end in (self.a, self.b):
                self.wire.run(end, end.take(end.core.expire(now)), now=now)
            self.assertLess(now, 5)
        self.assertEqual([event.handle for event in self.a.of(Answered) + self.b.of(Answered)], ["a", "b"])

    def test_nodes_in_parts(self):
        self.wire.run(self.a, self.a.ask(self.b, FindNode(b"\x01", (256,)), "find"))
        self.assertEqual(self.a.of(Answered)[0].nodes, (self.b.enr.raw,) * 3)

    def test_half_of_the_nodes(self):
        self.ping("first")
        seen = []
        self.wire.run(
            self.a,
            self.a.ask(self.b, FindNode(b"\x07", (256,)), "find"),
            filter=lambda data: seen.append(data) or ([data] if len(seen) < 3 else []),
        )
        self.assertEqual(len(self.a.of(Answered)), 1)
        self.a.take(self.a.core.expire(1.0))
        self.assertEqual(self.a.of(Answered)[1].nodes, (self.b.enr.raw,))

    def test_nobody_answers(self):
        sent = self.a.ask(self.b, Ping(b"\x01", 1), "lost")
        self.a.ask(self.b, Ping(b"\x02", 1), "behind")
        again = self.a.take(self.a.core.expire(1.0))
        self.assertEqual(again, sent)
        self.assertEqual(self.a.of(Unanswered), [])
        self.a.take(self.a.core.expire(2.0))
        self.assertEqual([event.handle for event in self.a.of(Unanswered)], ["lost", "behind"])
        self.assertIsNone(self.a.core.next_deadline())
        self.assertEqual((len(self.a.core), self.a.core.calls._by_nonce), (0, {}))

    def test_the_other_end_forgets(self):
        self.ping("first")
        fresh = End(2, 1002)
        self.wire.ends[fresh.address] = fresh
        self.ping("second", now=10.0)
        self.assertEqual([event.handle for event in self.a.of(Answered)], ["first", "second"])

    def test_forged_packets_end_no_session(self):
        self.ping("first")
        random = Random(7)
        for now in range(200):
            junk = self.a.take(self.a.core.received(random.randbytes(random.randrange(63, 200)), self.b.address, 5.0))
            self.assertEqual(junk, [])
            # addressed to us, from the other end's id, and not to be read
            forged = End(2, 1002)
            [(data, _)] = forged.ask(self.a, Ping(b"\x01", 1), "forged")
            for answer, _ in self.a.take(self.a.core.received(data, self.b.address, 5.0 + now)):
                self.assertLess(len(answer), len(data))
        self.ping("second", now=300.0)
        self.assertEqual([event.handle for event in self.a.of(Answered)], ["first", "second"])

    def test_forged_challenges(self):
        """A challenge counts for an open request only, from where it went, and once."""
        [(data, _)] = self.a.ask(self.b, Ping(b"\x01", 1), "x")
        [(challenge, _)] = self.b.take(self.b.core.received(data, self.a.address, 0.0))
        self.assertEqual(self.a.take(self.a.core.received(challenge, ("10.0.0.7", 1), 0.0)), [])
        [(handshake, _)] = self.a.take(self.a.core.received(challenge, self.b.address, 0.0))
        self.assertEqual(self.a.take(self.a.core.received(challenge, self.b.address, 0.0)), [])
        self.assertEqual(self.a.core.dropped["challenge for nothing"], 2)
        self.wire.run(self.a, [(handshake, self.b.address)])
        self.assertEqual(len(self.a.of(Answered)), 1)

    def test_open_challenge_is_repeated(self):
        [(first, _)] = self.a.ask(self.b, Ping(b"\x01", 1), "x")
        other = End(1, 1001)
        other.core._random.seed(99)
        [(second, _)] = other.ask(self.b, Ping(b"\x01", 1), "y")
        [(one, _)] = self.b.take(self.b.core.received(first, self.a.address, 0.0))
        [(two, _)] = self.b.take(self.b.core.received(second, self.a.address, 0.5))
        self.assertEqual(one, two)
        [(three, _)] = self.b.take(self.b.core.received(second, self.a.address, 1.5))
        self.assertNotEqual(one, three)

    def test_bad_proofs_leave_the_challenge_and_are_bounded(self):
        [(data, _)] = self.a.ask(self.b, Ping(b"\x01", 1), "x")
        [(challenge, _)] = self.b.take(self.b.core.received(data, self.a.address, 0.0))
        [(good, _)] = self.a.take(self.a.core.received(challenge, self.b.address, 0.0))
        bad = bytearray(good)
        bad[16 + 23 + 34 + 5] ^= 1  # of the signature
        for _ in range(2):
            self.assertEqual(self.b.take(self.b.core.received(bytes(bad), self.a.address, 0.1)), [])
        self.assertEqual(self.b.core.dropped["proof"], 2)
        self.wire.run(self.a, [(good, self.b.address)])
        self.assertEqual(len(self.a.of(Answered)), 1)
        again = End(1, 1001)
        again.core._random.seed(99)
        [(data, _)] = again.ask(self.b, Ping(b"\x01", 1), "x")
        self.b.take(self.b.core.received(data, self.a.address, 5.0))
        for _ in range(PROOFS_MAX + 5):
            self.b.take(self.b.core.received(bytes(bad), self.a.address, 5.1))
        self.assertEqual(self.b.core.dropped["proofs"], 5)

    def test_bounds(self):
        [(data, _)] = self.a.ask(self.b, Ping(b"\x01", 1), "x")
        for port in range(1, CHALLENGES_MAX + 51):
            self.assertEqual(len(self.b.core.received(data, ("10.1.0.1", port), 0.0)), 1)
        self.assertEqual(len(self.b.core.challenges), CHALLENGES_MAX)

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.randoms(use_true_random=False), st.integers(1, 12))
    def test_any_weather(self, chance, requests):
        """Lost, repeated and changed datagrams: every request ends once, and the two still understand each other."""
        self.setUp()

        def filter(data):
            draw = chance.random()
            if draw < 0.2:
                return []
            if draw < 0.4:
                return [data, data]
            if draw < 0.5:
                changed = bytearray(data)
                changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                return [bytes(changed)]
            if draw < 0.55:
                return [data[: chance.randrange(len(data))]]
            return [data]

        now = 0.0
        for number in range(requests):
            self.ping(number, now=now, filter=filter)
            for _ in range(40):
                now += 0.1
                for end in (self.a, self.b):
                    self.wire.run(end, end.take(end.core.expire(now)), filter=filter, now=now)
        ended = [event.handle for event in self.a.of(Answered) + self.a.of(Unanswered)]
        self.assertEqual(sorted(ended), list(range(requests)))
        self.ping("last", now=now + 10)
        self.assertEqual(self.a.of(Answered)[-1].handle, "last")
        for end in (self.a, self.b):
            end.take(end.core.expire(now + 100))
            self.assertEqual((len(end.core), end.core.calls._by_nonce, len(end.core.challenges)), (0, {}, 0))

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.binary(max_size=1_400))
    def test_any_bytes(self, data):
        self.setUp()
        for end in (self.a, self.b):
            for event in end.core.received(data, ("10.0.0.3", 5), 0.0):
                self.assertIsInstance(event, Datagram)
                self.assertLess(len(event.data), len(data))
