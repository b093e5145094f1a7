"""The ledger of causes: what repeats is counted, noise pushes out itself, numbers stay."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.peer.causes import Cause, CauseKind, Causes, cause_of_end
from chainp2p.peer.ends import LinkEnd

A, B = b"\xaa" * 32, b"\xbb" * 32


def cause(when=1.0, kind=CauseKind.ENDED, code="ping_timeout", peer=A, host="10.0.0.1", text="", **more):
    return Cause(when, kind, code, peer, (host, 30303), text, **more)


class CausesTest(SynchronousTestCase):
    def test_newest_first_by_peer(self):
        causes = Causes()
        for when, peer in enumerate([A, B, A]):
            causes.note(cause(float(when), code=f"code{when}", peer=peer))
        self.assertEqual([one.code for one in causes.about(A)], ["code2", "code0"])
        self.assertEqual([one.code for one in causes.newest()], ["code2", "code1", "code0"])
        self.assertEqual(len(causes), 3)

    def test_a_dial_concerns_whom_it_was_meant_for(self):
        causes = Causes()
        causes.note(cause(peer=B, code="wrong_peer_id", meant=A))
        for peer in (A, B):
            self.assertEqual([one.code for one in causes.about(peer)], ["wrong_peer_id"])
        self.assertEqual(causes.about(b"\xcc" * 32), [])

    def test_what_repeats_is_one_cause(self):
        causes = Causes()
        for when in range(1, 51):
            causes.note(cause(float(when), CauseKind.DIAL_FAILED, "refused", text=f"attempt {when}"))
        (one,) = causes.about(A)
        self.assertEqual((one.count, one.since, one.when, one.text), (50, 1.0, 50.0, "attempt 50"))
        causes.note(cause(51.0, code="shutdown"))
        causes.note(cause(52.0, CauseKind.DIAL_FAILED, "refused"))
        self.assertEqual(
            [(one.code, one.count) for one in causes.about(A)], [("refused", 1), ("shutdown", 1), ("refused", 50)]
        )

    def test_the_same_code_of_another_kind_is_another_cause(self):
        causes = Causes()
        causes.note(cause(1.0, CauseKind.REFUSED, "banned"))
        causes.note(cause(2.0, CauseKind.BANNED, "banned"))
        self.assertEqual(len(causes), 2)

    def test_strangers_are_counted_by_address(self):
        causes = Causes()
        for when, host in enumerate(["9.9.9.9", "9.9.8.8", "9.9.9.9"]):
            causes.note(cause(float(when), CauseKind.REFUSED, "handshake_timeout", None, host))
        self.assertEqual([(one.address[0], one.count) for one in causes.newest()], [("9.9.9.9", 2), ("9.9.8.8", 1)])
        self.assertEqual([one.count for one in causes.at("9.9.9.9")], [2])
        self.assertEqual([one.count for one in causes.at("9.9.9.9", 30303)], [2])
        self.assertEqual(causes.at("9.9.9.9", 1), [])

    def test_noise_pushes_out_itself(self):
        causes = Causes(limit=100)
        causes.note(cause(0.0, peer=A, host="8.8.8.8", code="ping_timeout"))
        for when in range(1, 1_000):
            # one attacker, with a new key for each link, from addresses of one /16
            peer = when.to_bytes(32, "big")
            causes.note(cause(float(when), CauseKind.REFUSED, "too_many_peers", peer, f"9.9.{when % 256}.{when % 251}"))
        self.assertEqual(len(causes), 100)
        self.assertEqual([one.code for one in causes.about(A)], ["ping_timeout"])
        self.assertEqual(causes.newest()[0].when, 999.0)

    def test_private_addresses_and_bare_keys_stand_alone(self):
        causes = Causes(limit=4)
        causes.note(cause(0.0, peer=B, host="10.0.0.2"))
        causes.note(cause(1.0, kind=CauseKind.BANNED, code="ban_by_operator", peer=b"\xcc" * 32, host=""))
        for when in range(2, 20):
            causes.note(cause(float(when), code=f"code{when}", host="10.0.0.1"))
        self.assertEqual(len(causes.about(B)), 1)
        self.assertEqual(len(causes.about(b"\xcc" * 32)), 1)
        self.assertEqual([one.code for one in causes.about(A)], ["code19", "code18"])

    def test_changes_are_told_once(self):
        causes = Causes(limit=2)
        causes.note(cause(1.0, code="one"))
        self.assertEqual({number: one.code for number, one in causes.changed().items()}, {1: "one"})
        self.assertEqual(causes.changed(), {})
        causes.note(cause(2.0, code="one"))
        causes.note(cause(3.0, code="two"))
        causes.note(cause(4.0, code="three"))
        changed = causes.changed()
        self.assertEqual({number: one and one.code for number, one in changed.items()}, {1: None, 2: "two", 3: "three"})

    @given(
        st.lists(
            st.tuples(st.integers(0, 3), st.sampled_from("xyz"), st.sampled_from(["1.2.3.4", "1.2.9.9", "5.6.7.8"])),
            max_size=40,
        ),
        st.integers(1, 8),
    )
    @settings(deadline=None, derandomize=True)
    def test_what_is_stored_is_what_is_remembered(self, events, limit):
        causes, stored = Causes(limit), {}
        for when, (peer, code, host) in enumerate(events):
            causes.note(cause(float(when), code=code, peer=bytes([peer]) * 32 if peer else None, host=host))
            for number, one in causes.changed().items():
                if one is None:
                    del stored[number]
                else:
                    stored[number] = one
        self.assertLessEqual(len(causes), limit)
        again = Causes(limit)
        again.restore(sorted(stored.items(), key=lambda pair: (pair[1].when, pair[0])))
        self.assertEqual(again.newest(), causes.newest())
        self.assertEqual(again.changed(), {})
        # it goes on as the first one does
        for ledger in (causes, again):
            ledger.note(cause(1_000.0, code="x", peer=bytes([1]) * 32, host="1.2.3.4"))
        self.assertEqual(again.newest(), causes.newest())
        self.assertEqual(again.changed(), causes.changed())


class EndTest(SynchronousTestCase):
    def end(self, reason=Reason.PING_TIMEOUT, ready=True, rule="", by_us=True, peer=A, outbound=True):
        return LinkEnd(5.0, peer, ("1.2.3.4", 5), reason, "words", by_us, outbound, ready, Penalty.NONE, rule)

    def test_kinds(self):
        for end, dialled, kind in [
            (self.end(), False, CauseKind.ENDED),
            (self.end(ready=False), False, CauseKind.REFUSED),
            (self.end(rule="evicted"), False, CauseKind.EVICTED),
            (self.end(ready=False, peer=None), True, CauseKind.DIAL_FAILED),
        ]:
            self.assertIs(cause_of_end(end, A, {}, dialled).kind, kind)

    def test_the_rule_is_the_code_and_the_evidence_says_who(self):
        found = cause_of_end(self.end(rule="no_way", by_us=False, outbound=False), None, {"agent": "x/1"})
        self.assertEqual((found.code, found.text, found.when, found.address), ("no_way", "words", 5.0, ("1.2.3.4", 5)))
        self.assertEqual(
            found.evidence,
            {"reason": "ping_timeout", "by": "peer", "direction": "inbound", "penalty": "none", "agent": "x/1"},
        )

    def test_whom_it_was_meant_for_is_kept_where_it_is_another(self):
        self.assertIsNone(cause_of_end(self.end(), A, {}).meant)
        self.assertEqual(cause_of_end(self.end(), B, {}).meant, B)
        self.assertEqual(cause_of_end(self.end(peer=None), A, {}).meant, A)
