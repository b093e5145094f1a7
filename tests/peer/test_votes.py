"""Our own address by votes: the count itself, and a naive one beside it."""

from collections import defaultdict
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.netgroup import subnet
from chainp2p.peer.votes import VOTE_TIME, VOTES_MAX, EndpointVotes


def two(live):
    return 2


class LinkVotesTest(SynchronousTestCase):
    def setUp(self):
        self.votes = EndpointVotes(two)

    def vote(self, peer_id, ip, source="10.9.9.9", **options):
        self.votes.vote(peer_id, source, ip, 0.0, **options)

    def test_enough_votes_decide(self):
        self.vote(b"1", "10.0.0.9")
        self.assertIsNone(self.votes.winner())
        self.vote(b"2", "10.0.0.9")
        self.assertEqual(self.votes.winner(), "10.0.0.9")
        self.vote(b"3", "10.0.0.7")
        self.vote(b"4", "10.0.0.7")
        self.assertEqual(self.votes.winner(4, current="10.0.0.9"), "10.0.0.9")
        self.assertEqual(self.votes.winner(), "10.0.0.7")
        self.votes.forget(b"1")
        self.assertEqual(self.votes.winner(4, current="10.0.0.9"), "10.0.0.7")

    def test_families_are_counted_apart(self):
        for peer_id in (b"1", b"2"):
            self.vote(peer_id, "10.0.0.9")
            self.vote(peer_id, "2001:db8::1")
        self.assertEqual(self.votes.winner(), "10.0.0.9")
        self.assertEqual(self.votes.winner(6), "2001:db8::1")
        self.votes.forget(b"1")
        self.assertEqual(self.votes.tally(), {4: [("10.0.0.9", 1)], 6: [("2001:db8::1", 1)]})

    def test_one_vote_each(self):
        for _ in range(5):
            self.vote(b"1", "10.0.0.9")
        self.assertIsNone(self.votes.winner())

    def test_an_address_falls_when_nobody_stands_for_it_and_enough_contradict(self):
        for peer_id in (b"1", b"2"):
            self.vote(peer_id, "10.0.0.9")
        self.vote(b"3", "10.0.0.1")
        self.votes.forget(b"1")
        self.vote(b"4", "10.0.0.2")
        self.assertEqual(self.votes.winner(4, current="10.0.0.9"), "10.0.0.9")  # one still sees us there
        self.votes.forget(b"2")
        self.assertIsNone(self.votes.winner(4, current="10.0.0.9"))
        self.votes.forget(b"4")
        self.assertEqual(self.votes.winner(4, current="10.0.0.9"), "10.0.0.9")  # one alone cannot take it away

    def test_subnets_have_one_voice(self):
        votes = EndpointVotes(two, grouped=True)
        for n in range(200):
            votes.vote(bytes([n]), f"8.8.8.{n}", "6.6.6.6", 0.0)
        self.assertEqual((votes.winner(), votes.tally()[4]), (None, [("6.6.6.6", 1)]))
        votes.vote(b"other", "8.8.9.1", "6.6.6.6", 0.0)
        self.assertEqual(votes.winner(), "6.6.6.6")
        for n in range(2):
            votes.vote(bytes([n]), f"2a00:1:0:{n}::1", "2a00::9", 0.0)
        self.assertIsNone(votes.winner(6))
        for n in range(2):
            votes.vote(bytes([n]), "127.0.0.1", "10.0.0.9", 0.0)
        self.assertIn(("10.0.0.9", 2), votes.tally()[4])


class DatagramVotesTest(SynchronousTestCase):
    def setUp(self):
        self.votes = EndpointVotes(two)

    def test_their_time(self):
        for peer_id in (b"1", b"2"):
            self.votes.vote(peer_id, "10.0.0.1", "10.0.0.9", 0.0, 30_303)
        self.votes.expire(VOTE_TIME - 1)
        self.assertEqual(self.votes.winner(), "10.0.0.9")
        self.votes.vote(b"1", "10.0.0.1", "10.0.0.9", VOTE_TIME - 1, 30_303)
        self.votes.expire(VOTE_TIME)
        self.assertEqual(self.votes.tally()[4], [("10.0.0.9", 1)])

    def test_a_link_stands_for_the_address_but_not_for_the_port(self):
        votes = self.votes
        votes.vote(b"1", "10.0.0.1", "10.0.0.9", 0.0, 4_000)
        votes.vote(b"1", "10.0.0.1", "10.0.0.9", 5.0)
        votes.vote(b"2", "10.0.0.2", "10.0.0.9", 5.0, 4_000)
        self.assertEqual(votes.port("10.0.0.9"), 4_000)
        votes.expire(10_000.0)
        self.assertEqual(votes.tally()[4], [("10.0.0.9", 1)])
        votes.forget(b"1")
        votes.expire(10_000.0)
        self.assertEqual(votes.tally()[4], [])
        votes.vote(b"1", "10.0.0.1", "10.0.0.9", 20_000.0)
        votes.forget(b"1")
        self.assertEqual(votes.tally()[4], [])

    def test_ports(self):
        for n in range(40):  # a router that gives each conversation a port of its own
            self.votes.vote(bytes([n]), "10.0.0.1", "10.0.0.9", 0.0, 5_000 + n)
            self.assertIsNone(self.votes.port("10.0.0.9"))
        self.votes.vote(b"x", "10.0.0.1", "10.0.0.9", 0.0, 5_000)
        self.assertEqual(self.votes.port("10.0.0.9"), 5_000)
        for n in (1, 2):
            self.votes.vote(bytes([n]), "10.0.0.1", "10.0.0.9", 0.0, 6_000)
        self.assertEqual(self.votes.port("10.0.0.9", current=5_000), 5_000)
        self.assertEqual(self.votes.port("10.0.0.9", current=4_999), 5_000)
        self.votes.vote(b"x", "10.0.0.1", "10.0.0.9", 0.0, 6_000)
        self.assertEqual(self.votes.port("10.0.0.9", current=5_000), 6_000)
        self.assertIsNone(self.votes.port("10.0.0.8"))

    def test_a_port_falls_like_an_address(self):
        for n in (1, 2):
            self.votes.vote(bytes([n]), "10.0.0.1", "10.0.0.9", 0.0, 5_000 + n)
        self.assertEqual(self.votes.port("10.0.0.9", current=5_001), 5_001)
        self.assertIsNone(self.votes.port("10.0.0.9", current=4_999))

    def test_bounded(self):
        for n in range(3 * VOTES_MAX):
            self.votes.vote(n.to_bytes(2, "big"), "10.0.0.1", "10.0.0.9", 0.0, 1)
        self.assertEqual(self.votes.tally()[4], [("10.0.0.9", VOTES_MAX)])


class ModelTest(SynchronousTestCase):
    """Random votes, and a count that remembers all that was ever said."""

    def counted(self, history, now, grouped):
        """Return peer -> (address, voice) by the rules alone."""
        standing = {}
        for at, what, peer, source, ip, port in history:
            if what == "end":
                kept = standing.get(peer)
                if kept is not None:
                    kept["linked"] = False
                    if kept["port"] is None:
                        del standing[peer]
                continue
            last = standing.get(peer)
            one = {"ip": ip, "port": port, "at": at, "linked": port is None or bool(last and last["linked"])}
            if port is None and last and last["ip"] == ip and last["port"] is not None:
                one["port"], one["at"] = last["port"], last["at"]
            one["voice"] = subnet(source) if grouped else peer
            standing[peer] = one
        return {peer: one for peer, one in standing.items() if one["linked"] or now - one["at"] < VOTE_TIME}

    def verdict(self, standing, needed, current):
        voices = defaultdict(set)
        for one in standing.values():
            voices[one["ip"]].add(one["voice"])
        ranked = sorted(voices, key=lambda ip: (-len(voices[ip]), ip))
        if ranked and len(voices[ranked[0]]) >= needed and len(voices[ranked[0]]) > len(voices.get(current, ())):
            return ranked[0]
        if current not in voices and len(set().union(*voices.values())) >= needed:
            return None
        return current

    def test_against_the_model(self):
        for seed in range(20):
            random = Random(seed)
            grouped, needed = bool(seed % 2), random.choice((1, 2, 3))
            votes = EndpointVotes(lambda live, needed=needed: needed, grouped=grouped)
            history, now, current, ports = [], 0.0, None, None
            for _ in range(120):
                now += random.choice((1.0, 30.0, 200.0))
                peer = random.choice((b"1", b"2", b"3", b"4", b"5", b"6"))
                source, ip = f"8.8.{peer[0] % 4}.{peer[0]}", f"9.9.9.{random.randrange(3)}"
                what, port = random.choice((("link", None), ("datagram", random.choice((1, 2))), ("end", None)))
                if what != "end":
                    standing = self.counted(history, now, grouped)
                    if peer not in standing:  # a vote whose time is over leaves nothing behind
                        history = [one for one in history if one[2] != peer]
                history.append((now, what, peer, source, ip, port))
                votes.expire(now)
                if what == "end":
                    votes.forget(peer)
                else:
                    votes.vote(peer, source, ip, now, port)
                votes.expire(now)
                standing = self.counted(history, now, grouped)
                expected = self.verdict(standing, needed, current)
                current = votes.winner(4, current=current)
                self.assertEqual(current, expected, f"seed {seed}")
                heard = {peer: {**one, "ip": one["port"]} for peer, one in standing.items() if one["port"]}
                heard = {peer: one for peer, one in heard.items() if standing[peer]["ip"] == "9.9.9.0"}
                expected = self.verdict(heard, max(2, needed), ports)
                ports = votes.port("9.9.9.0", ports)
                self.assertEqual(ports, expected, f"seed {seed}")
