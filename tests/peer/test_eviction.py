"""Who goes when one more has come: each protection, each preference, and what an attacker can get."""

from hashlib import blake2b
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.eviction import Candidate, Verdict, choose_victim

SECRET = b"secret"


def peers(count: int, **fields: object) -> list[Candidate]:
    """Peers of one group, the first one the oldest."""
    return [Candidate(number, **{"group": "1.1.0.0/16", "since": float(number), **fields}) for number in range(count)]


def order(group: str, secret: bytes) -> bytes:
    """How the netgroups stand in an order that only the node knows."""
    return blake2b(group.encode(), key=secret, digest_size=8).digest()


#: Four old ones that hold the four places of those protected by netgroup.
HIGHEST = [
    Candidate(f"high {number}", group, -1.0)
    for number, group in enumerate(
        sorted((f"4.{number}.0.0/16" for number in range(250)), key=lambda group: order(group, SECRET))[-4:]
    )
]
NEWCOMER = Candidate("new", "9.9.0.0/16", 1_000.0)


class OrderTest(SynchronousTestCase):
    def victim(self, candidates: list[Candidate], newcomer: Candidate = NEWCOMER) -> Verdict:
        Random(2).shuffle(candidates)
        return choose_victim(candidates, newcomer, 64, SECRET)

    def test_the_youngest_of_the_largest_group(self) -> None:
        verdict = self.victim(peers(64))
        assert verdict.victim is not None
        self.assertEqual((verdict.victim.key, verdict.rule), (63, "evicted_youngest_of_group"))

    def test_a_newcomer_of_the_largest_group_is_its_youngest(self) -> None:
        verdict = self.victim(peers(64), Candidate("new", "1.1.0.0/16", 1_000.0))
        self.assertEqual((verdict.victim, verdict.rule), (None, "inbound_full"))

    def test_where_all_groups_are_different_the_youngest_goes(self) -> None:
        crowd = [Candidate(number, f"{number}.1.0.0/16", float(number)) for number in range(64)]
        verdict = self.victim(crowd)
        assert verdict.victim is not None
        self.assertGreaterEqual(verdict.victim.key, 59)  # up to 4 of the youngest may be protected by their group

    def protected(self, least: int, **fields: object) -> None:
        """Of the youngest, so many that have something to show stay, and one more does not."""
        for extra in (0, 1):
            crowd = peers(50) + HIGHEST
            crowd += [Candidate(f"good {n}", "1.1.0.0/16", 500.0 + n, **fields) for n in range(least + extra)]
            verdict = self.victim(crowd)
            assert verdict.victim is not None
            self.assertEqual(isinstance(verdict.victim.key, str), bool(extra), verdict)

    def test_protections(self) -> None:
        self.protected(0)
        self.protected(8, ping=0.01)
        self.protected(4, transaction_at=900.0)
        self.protected(4, block_at=900.0)

    def test_the_secret_orders_the_groups(self) -> None:
        crowd = peers(60) + [Candidate(f"g{number}", f"{number}.7.0.0/16", 900.0 + number) for number in range(4)]
        safe: set[str] = set()
        for secret in range(40):
            verdict = choose_victim(crowd, NEWCOMER, 64, bytes([secret]))
            assert verdict.victim is not None
            ranked = sorted(crowd, key=lambda peer: order(peer.group, bytes([secret])))
            self.assertNotIn(verdict.victim, ranked[-1:] if ranked[-1].group != "1.1.0.0/16" else [])
            safe.add(ranked[-1].group)
        self.assertGreater(len(safe), 2)

    def test_the_useless_go_before_the_largest_group(self) -> None:
        crowd = peers(60) + HIGHEST
        crowd += [
            Candidate("bad", "2.2.0.0/16", 200.0, useless=1.5),
            Candidate("worse", "3.3.0.0/16", 199.0, useless=2),
        ]
        verdict = self.victim(crowd)
        assert verdict.victim is not None
        self.assertEqual((verdict.victim.key, verdict.rule), ("worse", "evicted_useless"))
        # one small fault of late is nobody's end, and who is useful stays in spite of some
        for fields in ({"useless": 0.99}, {"useless": 3.0, "block_at": 900.0}):
            verdict = self.victim(peers(60) + HIGHEST + [Candidate("once", "2.2.0.0/16", 200.0, **fields)])
            self.assertEqual(verdict.rule, "evicted_youngest_of_group")

    def test_addresses_of_last_choice(self) -> None:
        crowd = peers(63) + [Candidate("last", "2.2.0.0/16", -5.0, ping=0.001, last_choice=True)]
        verdict = self.victim(crowd)
        assert verdict.victim is not None
        self.assertEqual((verdict.victim.key, verdict.rule), ("last", "evicted_last_choice"))
        verdict = self.victim(crowd, Candidate("new", "9.9.0.0/16", 1_000.0, last_choice=True))
        self.assertEqual((verdict.victim, verdict.rule), (None, "inbound_last_choice"))

    def test_few_peers_all_have_claims(self) -> None:
        for count in range(4):
            verdict = choose_victim(peers(count, ping=0.1), NEWCOMER, count, SECRET)
            self.assertEqual((verdict.victim, verdict.rule), (None, "inbound_full"))


@st.composite
def crowds(draw: st.DrawFn) -> list[Candidate]:
    some = st.none() | st.floats(0, 10)
    return [
        Candidate(
            number,
            f"{draw(st.integers(1, 5))}.1.0.0/16",
            draw(st.floats(0, 100)),
            draw(some),
            draw(some),
            draw(some),
            draw(st.sampled_from([0.0, 0.0, 0.5, 3.0])),
            draw(st.integers(0, 30)) == 0,
        )
        for number in range(draw(st.integers(0, 70)))
    ]


class AlwaysTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(crowds())
    def test_against_a_naive_model(self, crowd: list[Candidate]) -> None:
        verdict = choose_victim(crowd, NEWCOMER, 64, SECRET)
        last = [peer for peer in crowd if peer.last_choice]
        if last:
            self.assertIn(verdict.victim, last)
            return
        left = {peer.key: peer for peer in crowd}

        def spare(most: int, worth: str) -> None:
            for _ in range(most):
                able = [peer for peer in left.values() if getattr(peer, worth) is not None]
                if able:
                    sign = -1 if worth == "ping" else 1
                    del left[max(able, key=lambda peer: sign * getattr(peer, worth)).key]

        by_group = {peer.key: order(peer.group, SECRET) for peer in crowd}
        for _ in range(4):
            if left:
                del left[max(left.values(), key=lambda peer: by_group[peer.key]).key]
        spare(8, "ping")
        spare(4, "transaction_at")
        spare(4, "block_at")
        for _ in range((len(left) + 1) // 2):
            del left[min(left.values(), key=lambda peer: peer.since).key]
        if not left:
            self.assertIsNone(verdict.victim)
            return
        useless = [peer for peer in left.values() if peer.useless >= 1.0]
        if useless:
            self.assertEqual(verdict.rule, "evicted_useless")
            self.assertIn(verdict.victim, useless)
            return
        sizes = {
            group: sum(peer.group == group for peer in left.values()) for group in {p.group for p in left.values()}
        }
        largest = [peer for peer in left.values() if sizes[peer.group] == max(sizes.values())]
        self.assertEqual(verdict.victim, max(largest, key=lambda peer: peer.since))
