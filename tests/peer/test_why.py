"""Which of the things that happened is named as the cause, and what is said of it."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.peer.causes import Cause, CauseKind
from chainp2p.peer.conduct import Sentence, SentenceKind
from chainp2p.peer.telling import span
from chainp2p.peer.why import KnownNow, LinkNow, PeerFacts, State, why_address, why_ban, why_peer

A, B = b"\xaa" * 32, b"\xbb" * 32
NOW = 100_000.0
LINK = LinkNow(NOW - 300.0, True, ("10.0.0.2", 30303), "other/1")
KNOWN = KnownNow("10.0.0.2:30303", False, 0, 0.0, None)


def cause(ago, kind, code, text="", by="us", **more):
    return Cause(NOW - ago, kind, code, A, ("10.0.0.2", 30303), text, {"by": by}, **more)


def ended(ago, code, text="", **more):
    return cause(ago, CauseKind.ENDED, code, text, **more)


def dials(ago, code, text="", **more):
    return cause(ago, CauseKind.DIAL_FAILED, code, text, "peer", **more)


def refused(ago, code, text="", **more):
    return cause(ago, CauseKind.REFUSED, code, text, **more)


def noted(ago, kind, code, text="", **evidence):
    return Cause(NOW - ago, kind, code, A, ("", 0), text, evidence)


def sentence(kind=SentenceKind.BAN, rule="ban_for_fault", reason="misbehaved", detail="a bad block"):
    return Sentence(A, kind, rule, reason, detail, NOW - 600.0, NOW + 7_200.0)


def peer(*causes, **facts):
    return why_peer(PeerFacts(now=NOW, peer_id=A, causes=causes, **facts))


def ban(*causes, **facts):
    return why_ban(PeerFacts(now=NOW, peer_id=A, causes=causes, **facts))


class HereTest(SynchronousTestCase):
    def test_nothing_is_wrong(self):
        answer = peer(link=LINK)
        self.assertEqual((answer.state, answer.code), (State.HERE, "connected"))
        self.assertEqual(answer.line, "peer aaaaaaaa: connected: here for 5 min, outbound")
        self.assertEqual(answer.evidence["remote"], "10.0.0.2:30303")

    def test_what_was_wrong_an_hour_ago_at_most_is_told(self):
        answer = peer(ended(400, "ping_timeout", "silent for 90 s"), link=LINK)
        self.assertEqual((answer.state, answer.code), (State.HERE, "ping_timeout"))
        self.assertEqual(
            answer.line,
            "peer aaaaaaaa: connected: here for 5 min, outbound; before that: left 6 min ago: "
            "ping_timeout: silent for 90 s",
        )
        old = peer(ended(4_000, "ping_timeout"), link=LINK)
        self.assertEqual((old.code, len(old.history)), ("connected", 1))

    def test_a_harmless_end_hides_no_other(self):
        answer = peer(ended(10, "duplicate"), ended(400, "connection_lost"), link=LINK)
        self.assertEqual(answer.code, "connection_lost")
        self.assertEqual(peer(ended(10, "duplicate"), link=LINK).code, "duplicate")

    def test_settings_that_will_differ(self):
        answer = peer(link=LinkNow(NOW - 1.0, False, ("10.0.0.2", 1), "", "differ at height 9"))
        self.assertEqual(answer.code, "wrong_settings")
        self.assertIn("wrong_settings): differ at height 9", answer.line)

    def test_clocks(self):
        for clock, others, code in [
            (4.9, [4.9], "connected"),
            (None, [], "connected"),
            (9.0, [9.0, 0.0], "clocks_differ"),
            (3_600.0, [3_600.0, 0.1, -0.2], "peer_clock"),
            (3_600.0, [3_600.0, 3_600.0, 0.1, -0.2], "peer_clock"),
            (-3_600.0, [-3_600.0, -3_601.0, 0.0], "wrong_clock"),
        ]:
            answer = peer(link=evolve(LINK, clock=clock), clocks=others)
            self.assertEqual(answer.code, code)
            self.assertIn(code, answer.line)
        self.assertIn("its clock is 60 min behind ours", answer.line)
        self.assertEqual(answer.evidence["clock_offset"], -3_600.0)

    def test_greeting(self):
        answer = peer(link=LinkNow(None, False, ("10.0.0.2", 1)))
        self.assertEqual((answer.state, answer.code), (State.COMING, "greeting"))

    def test_ourselves(self):
        self.assertEqual((peer(ourselves=True).state, peer(ourselves=True).code), (State.OURSELVES, "self"))


class BarredTest(SynchronousTestCase):
    def test_the_operator_comes_first(self):
        self.assertEqual(peer(removed=True, allowed=False, sentence=sentence()).code, "removed")
        self.assertEqual(peer(allowed=False, sentence=sentence()).code, "not_allowed")

    def test_the_fault_is_the_cause_of_a_ban(self):
        answer = peer(refused(3, "ban_for_fault"), sentence=sentence())
        self.assertEqual((answer.state, answer.code), (State.BARRED, "misbehaved"))
        self.assertEqual(
            answer.line,
            "peer aaaaaaaa: banned for 2 h 0 min more, since 10 min ago: misbehaved: a bad block (ban_for_fault)",
        )
        self.assertEqual(answer.evidence["rule"], "ban_for_fault")

    def test_the_other_sentences(self):
        for kind, state, words in [
            (SentenceKind.WAIT, State.BARRED, "kept away for"),
            (SentenceKind.REDIAL, State.AWAY, "not dialled for"),
        ]:
            answer = peer(sentence=sentence(kind, "rule"))
            self.assertEqual((answer.state, answer.code), (state, "misbehaved"))
            self.assertIn(words, answer.line)
        answer = peer(sentence=sentence(SentenceKind.OPERATOR, "ban_by_operator", "", ""))
        self.assertEqual(answer.code, "ban_by_operator")


class AwayTest(SynchronousTestCase):
    def test_a_decision_is_the_cause(self):
        answer = peer(refused(5, "too_many_peers", "64 at most", by="peer"), ended(900, "ping_timeout"))
        self.assertEqual((answer.state, answer.code), (State.AWAY, "too_many_peers"))
        self.assertEqual(answer.line, "peer aaaaaaaa: it refused us 5 s ago: too_many_peers: 64 at most")

    def test_silence_explains_why_it_is_not_reached(self):
        answer = peer(dials(20, "timed_out", count=7, first=NOW - 170.0), ended(180, "ping_timeout", "silent for 90 s"))
        self.assertEqual(answer.code, "ping_timeout")
        self.assertEqual(
            answer.line,
            "peer aaaaaaaa: left 3 min ago: ping_timeout: silent for 90 s; 7 dials since: timed_out: "
            "nothing more is known",
        )

    def test_a_goodbye_explains_it_too(self):
        self.assertEqual(peer(dials(20, "refused"), ended(180, "shutdown", by="peer")).code, "shutdown")
        self.assertIn("dialled once since: refused", peer(dials(20, "refused"), ended(180, "shutdown")).line)

    def test_a_broken_connection_is_explained_by_what_the_dials_find(self):
        answer = peer(dials(20, "refused", "nobody listens"), ended(180, "connection_lost", "reset"))
        self.assertEqual(answer.code, "refused")
        self.assertEqual(
            answer.line,
            "peer aaaaaaaa: not reached 20 s ago: refused: nobody listens; it left 3 min ago: connection_lost: reset",
        )

    def test_what_is_over_is_no_cause(self):
        # it was full yesterday; now its port is closed
        self.assertEqual(peer(dials(20, "refused"), refused(86_400, "too_many_peers")).code, "refused")
        # its ban is over
        expired = noted(5_000, CauseKind.UNBANNED, "ban_expired", "its time is over")
        causes = dials(20, "refused"), expired, refused(6_000, "ban_for_fault"), ended(90_000, "misbehaved")
        self.assertEqual(peer(*causes).code, "refused")
        self.assertEqual(peer(*causes[1:]).code, "ban_expired")

    def test_a_weak_symptom_is_explained_by_what_came_with_it(self):
        causes = refused(10, "refused_after_tls"), refused(40, "not_allowed"), refused(90_000, "too_many_peers")
        self.assertEqual(peer(*causes).code, "not_allowed")
        self.assertEqual(peer(*causes[:1]).code, "refused_after_tls")

    def test_notes_are_no_causes(self):
        self.assertEqual(peer(noted(5, CauseKind.NOTED, "redial"), ended(9, "shutdown")).code, "shutdown")

    def test_the_next_dial_is_told(self):
        known = KnownNow("10.0.0.2:30303", True, 3, NOW + 45.0, NOW - 900.0)
        answer = peer(ended(30, "not_reading"), known=known)
        self.assertTrue(answer.line.endswith("not_reading: it does not read what is sent; dialled again in 45 s"))
        self.assertEqual(answer.evidence["next_dial"], NOW + 45.0)
        self.assertEqual(answer.evidence["reached"], NOW - 900.0)

    def test_only_a_duplicate(self):
        self.assertEqual(peer(ended(5, "duplicate")).code, "duplicate")


class NeverTest(SynchronousTestCase):
    def test_never_known(self):
        self.assertEqual((peer().state, peer().code), (State.UNKNOWN, "unknown"))

    def test_never_dialled(self):
        self.assertEqual((peer(known=KNOWN).state, peer(known=KNOWN).code), (State.NEVER, "never_dialled"))
        waiting = peer(known=KnownNow("10.0.0.2:1", False, 0, NOW + 5.0, None))
        self.assertEqual(waiting.code, "never_dialled")
        self.assertIn("due in 5 s", waiting.line)

    def test_no_slot(self):
        self.assertEqual(peer(known=KNOWN, room=0).code, "no_slot")
        self.assertEqual(peer(known=evolve(KNOWN, group_taken=True)).code, "group_taken")
        self.assertEqual(peer(known=KnownNow("10.0.0.2:1", True, 0, 0.0, None), room=0).code, "never_dialled")


class BanTest(SynchronousTestCase):
    def test_the_rule_is_the_cause(self):
        answer = ban(sentence=sentence())
        self.assertEqual((answer.state, answer.code), (State.BARRED, "ban_for_fault"))
        self.assertEqual(ban(removed=True).code, "removed")
        self.assertEqual(ban(allowed=False).code, "not_allowed")

    def test_one_that_is_over(self):
        over = noted(
            60, CauseKind.UNBANNED, "ban_expired", "its time is over", reason="misbehaved", detail="a bad block"
        )
        answer = ban(over, link=LINK)
        self.assertEqual((answer.state, answer.code), (State.HERE, "ban_expired"))
        self.assertEqual(
            answer.line,
            "peer aaaaaaaa: not banned: ban_expired 60 s ago: its time is over; it was for misbehaved: a bad block",
        )
        lifted = ban(noted(60, CauseKind.UNBANNED, "ban_lifted", "lifted by the operator"))
        self.assertEqual((lifted.state, lifted.code), (State.AWAY, "ban_lifted"))
        self.assertTrue(lifted.line.endswith("lifted by the operator; it was the operator's"))

    def test_theirs(self):
        answer = ban(refused(9, "banned", "until tomorrow", by="peer"))
        self.assertEqual(answer.code, "banned")
        self.assertIn("it has banned us", answer.line)

    def test_none(self):
        self.assertEqual(ban().code, "not_banned")


class AddressTest(SynchronousTestCase):
    def test_what_happened_there(self):
        found = [Cause(NOW - 9.0, CauseKind.REFUSED, "bad_certificate", None, ("9.9.9.9", 5), "of another key")]
        answer = why_address("9.9.9.9", found, NOW)
        self.assertEqual(answer.code, "bad_certificate")
        self.assertEqual(answer.line, "9.9.9.9: refused 9 s ago: bad_certificate: of another key")
        self.assertEqual(why_address("9.9.9.9", [], NOW).code, "unknown")

    def test_spans(self):
        times = (-5.0, 59.6, 119.0, 180.0, 3 * 3_600.0 + 125.0, 3 * 86_400.0)
        self.assertEqual([span(time) for time in times], ["0 s", "60 s", "119 s", "3 min", "3 h 2 min", "3 d"])
