"""The two ledgers: what each fault costs, who stays away until when, and who never does."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import Penalty, Reason
from chainp2p.peer import conduct
from chainp2p.peer.conduct import Conduct, LastChoice, Sentence, SentenceKind, Useless
from chainp2p.peer.ends import LinkEnd

PEER, OTHER = b"\x01" * 32, b"\x02" * 32
DAY = 86_400.0


def end(
    peer_id=PEER,
    reason=Reason.MISBEHAVED,
    penalty=Penalty.MALICIOUS,
    by_us=True,
    ip="203.0.113.9",
    outbound=False,
    ready=True,
):
    return LinkEnd(0.0, peer_id, (ip, 5), reason, "lies", by_us, outbound, ready, penalty)


class ConductTest(SynchronousTestCase):
    def setUp(self):
        self.conduct = Conduct(public=True)

    def judge(self, now=0.0, peers_left=9, held=False, listed=False, **facts):
        return self.conduct.judge(end(**facts), now, peers_left=peers_left, held=held, listed=listed)

    def away(self, now):
        return self.conduct.away(now) == {PEER}

    def test_malicious_is_banned_for_a_day(self):
        sentence = self.judge(10.0)
        self.assertEqual(
            sentence, Sentence(PEER, SentenceKind.BAN, "ban_for_fault", "misbehaved", "lies", 10.0, 10.0 + DAY)
        )
        self.assertTrue(sentence.bars)
        self.assertEqual(self.conduct.sentence(PEER, 9.0 + DAY), sentence)
        self.assertEqual(self.conduct.sentences(9.0 + DAY), [sentence])
        self.assertIsNone(self.conduct.sentence(PEER, 10.0 + DAY))
        self.assertIsNone(self.conduct.sentence(OTHER, 11.0))
        self.assertEqual(self.conduct.expire(9.0 + DAY), [])
        self.assertEqual(self.conduct.next_end(), 10.0 + DAY)
        self.assertEqual(self.conduct.expire(10.0 + DAY), [sentence])
        self.assertIsNone(self.conduct.next_end())

    def test_who_is_never_banned_waits_longer_each_time(self):
        for facts, rule in (
            ({"peers_left": 2}, "ban_spared_few_peers"),
            ({"held": True}, "ban_spared_held"),
            ({"listed": True, "held": True}, "ban_spared_listed"),
        ):
            self.conduct = Conduct(public=False)
            now, waits = 0.0, []
            for _ in range(9):
                sentence = self.judge(now, **facts)
                self.assertEqual((sentence.kind, sentence.rule), (SentenceKind.WAIT, rule))
                self.assertTrue(sentence.bars)
                waits.append(sentence.until - now)
                now = sentence.until
                self.assertFalse(self.away(now))
            self.assertEqual(waits, [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0])
            self.assertEqual(self.judge(now + DAY, **facts).count, 1)

    def test_three_peers_left_are_enough_for_a_ban(self):
        self.assertEqual(self.judge(peers_left=3).kind, SentenceKind.BAN)

    def test_incompatible_is_only_not_dialled(self):
        for reason, by_us in (
            (Reason.WRONG_GENESIS, True),
            (Reason.WRONG_VERSION, False),
            (Reason.WRONG_SETTINGS, True),
        ):
            self.conduct = Conduct(public=True)
            penalty = Penalty.INCOMPATIBLE if by_us else Penalty.NONE
            first = self.judge(0.0, reason=reason, penalty=penalty, by_us=by_us)
            self.assertEqual((first.kind, first.rule, first.until), (SentenceKind.REDIAL, "redial_incompatible", 60.0))
            self.assertFalse(first.bars)
            self.assertTrue(self.away(59.0))
            self.assertEqual(self.judge(60.0, reason=reason, penalty=penalty, by_us=by_us).until, 180.0)
            self.conduct.met(PEER)
            self.assertFalse(self.away(61.0))
            self.assertEqual(self.judge(200.0, reason=reason, penalty=penalty, by_us=by_us).until, 260.0)

    def test_an_incompatible_caller_is_nobody_that_we_would_dial(self):
        facts = {"reason": Reason.WRONG_GENESIS, "penalty": Penalty.INCOMPATIBLE}
        self.assertIsNone(self.judge(ready=False, **facts))
        self.assertEqual(self.judge(ready=False, outbound=True, **facts).kind, SentenceKind.REDIAL)

    def test_a_link_that_becomes_ready_ends_no_ban(self):
        self.judge()
        self.conduct.met(PEER)
        self.assertTrue(self.away(1.0))

    def test_useless_halves_every_ten_minutes(self):
        self.assertEqual(self.judge(penalty=Penalty.USELESS), Useless(1.0))
        self.assertEqual(self.conduct.useless(PEER, 600.0), Useless(1.5))
        self.assertEqual(self.conduct.score(PEER, 1200.0), 0.75)
        self.assertEqual(self.conduct.score(PEER, 600.0 * 6), 0.0)
        self.assertEqual((self.conduct.score(OTHER, 0.0), self.conduct.away(0.0)), (0.0, set()))

    def test_scores_are_bounded_and_the_lowest_goes(self):
        self.patch(conduct, "SCORES_LIMIT", 2)
        for peer, now in ((PEER, 0.0), (PEER, 0.0), (OTHER, 0.0), (b"\x03" * 32, 1.0)):
            self.conduct.useless(peer, now)
        self.assertEqual(
            [self.conduct.score(peer, 1.0) > 0 for peer in (PEER, OTHER, b"\x03" * 32)], [True, False, True]
        )

    def test_what_costs_nothing(self):
        for facts in (
            {"by_us": False},  # what others say of us, or of anybody
            {"reason": Reason.SHUTDOWN, "penalty": Penalty.NONE},
            {"reason": Reason.BANNED, "penalty": Penalty.NONE, "by_us": False},
            {"reason": Reason.WRONG_PEER_ID, "penalty": Penalty.USELESS},  # the record that named it was wrong
        ):
            self.assertIsNone(self.judge(**facts), facts)
            self.assertEqual((self.conduct.away(0.0), self.conduct.score(PEER, 0.0)), (set(), 0.0))

    def test_an_address_is_last_choice_and_never_more(self):
        stranger = {"peer_id": None, "reason": Reason.BAD_CERTIFICATE, "penalty": Penalty.USELESS}
        for ip, same, other in (("8.8.8.8", "8.8.8.8", "8.8.8.9"), ("2a00:1::1", "2a00:1::2", "2a00:1:0:1::1")):
            found = self.judge(5.0, ip=ip, **stranger)
            self.assertEqual((type(found), found.until, found.rule), (LastChoice, 3605.0, "address_last_choice"))
            self.assertTrue(self.conduct.is_last_choice(same, 3604.0))
            self.assertFalse(self.conduct.is_last_choice(same, 3605.0))
            self.assertFalse(self.conduct.is_last_choice(other, 6.0))
        self.assertEqual(self.conduct.away(6.0), set())
        for facts in (
            {"ip": "127.0.0.1"},
            {"ip": "10.0.0.1"},
            {"ip": "8.8.4.4", "outbound": True},  # we called there; what answers is the book's business
            {"ip": "8.8.4.4", "by_us": False},
            {"ip": "8.8.4.4", "penalty": Penalty.NONE},
        ):
            self.assertIsNone(self.judge(5.0, **{**stranger, **facts}), facts)
        self.conduct = Conduct(public=False)
        self.assertIsNone(self.judge(5.0, ip="8.8.4.4", **stranger))

    def test_an_address_stays_last_choice_with_each_fault_and_that_is_no_news(self):
        stranger = {"peer_id": None, "penalty": Penalty.USELESS, "ip": "8.8.8.8"}
        self.assertIsNotNone(self.judge(0.0, **stranger))
        self.assertIsNone(self.judge(3_599.0, **stranger))
        self.assertTrue(self.conduct.is_last_choice("8.8.8.8", 7_000.0))
        self.assertIsNotNone(self.judge(7_200.0, **stranger))

    def test_a_proven_key_answers_for_its_fault_alone(self):
        self.judge(ip="8.8.8.8")
        self.assertFalse(self.conduct.is_last_choice("8.8.8.8", 1.0))

    def test_addresses_are_bounded(self):
        self.patch(conduct, "LAST_CHOICE_LIMIT", 2)
        for ip in ("8.8.8.8", "8.8.8.9", "8.8.8.8", "8.8.4.4"):
            self.judge(peer_id=None, penalty=Penalty.USELESS, ip=ip)
        found = [self.conduct.is_last_choice(ip, 1.0) for ip in ("8.8.8.8", "8.8.8.9", "8.8.4.4")]
        self.assertEqual(found, [True, False, True])

    def test_the_operator_bans_and_forgives(self):
        sentence = self.conduct.ban(PEER, 0.0, 50.0)
        self.assertEqual(
            (sentence.kind, sentence.rule, sentence.until), (SentenceKind.OPERATOR, "ban_by_operator", 50.0)
        )
        self.assertTrue(sentence.bars)
        self.assertEqual(self.conduct.lift(PEER), sentence)
        self.assertIsNone(self.conduct.lift(PEER))
        self.assertFalse(self.away(1.0))
        for now in (0.0, 60.0):
            self.judge(now, held=True)
        self.conduct.lift(PEER)
        self.assertEqual(self.judge(70.0, held=True).count, 1)

    def test_a_lesser_sentence_does_not_replace_a_greater(self):
        self.conduct.ban(PEER, 0.0, 2 * DAY)
        self.assertIsNone(self.judge(1.0))
        self.assertIsNone(self.judge(1.0, held=True))
        self.assertEqual(self.conduct.sentence(PEER, 2.0).kind, SentenceKind.OPERATOR)
        self.conduct.ban(OTHER, 0.0, 10.0)
        self.assertIsNone(self.judge(1.0, peer_id=OTHER, penalty=Penalty.INCOMPATIBLE))
        self.assertEqual(self.judge(1.0, peer_id=OTHER).kind, SentenceKind.BAN)

    def test_sentences_are_bounded_and_the_operator_stays(self):
        self.patch(conduct, "SENTENCES_LIMIT", 3)
        self.conduct.ban(PEER, 0.0, 10.0)
        for number in range(10, 20):
            self.judge(float(number), peer_id=bytes([number]) * 32)
        self.assertEqual([one.peer_id[0] for one in self.conduct.sentences(5.0)], [1, 18, 19])
        self.assertLessEqual(len(self.conduct._counts), 6)

    def test_restored(self):
        self.judge(0.0, held=True)
        self.judge(60.0, held=True)
        again = Conduct(public=True)
        again.restore(self.conduct.sentences(61.0))
        self.assertEqual(again.sentences(61.0), self.conduct.sentences(61.0))
        self.assertEqual(again.judge(end(), 180.0, peers_left=0, held=True, listed=False).count, 3)


class _Model:
    """What the rules say of one key, written out: the oracle."""

    def __init__(self):
        self.until = self.wait_until = 0.0
        self.waits = 0
        self.bars = False

    def fault(self, now, spared):
        if not spared:
            new, wait = now + DAY, False
        else:
            count = self.waits + 1 if now < self.wait_until + DAY and self.waits else 1
            new, wait = now + min(60.0 * 2 ** (count - 1), 3600.0), True
        if now < self.until and self.until >= new:
            return
        if wait:
            self.waits, self.wait_until = count, new
        self.until = new


class ModelTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(
        st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([1.0, 59.0, 60.0, 3600.0, 90_000.0, 2e5])))
    )
    def test_like_the_model(self, steps):
        judged, models, now = Conduct(public=False), [_Model() for _ in range(3)], 0.0
        for peer, spared, wait in steps:
            now += wait
            over = {one.peer_id[0] for one in judged.expire(now)}
            self.assertTrue(all(models[number].until <= now for number in over))
            judged.judge(end(peer_id=bytes([peer]) * 32), now, peers_left=2 if spared else 3, held=False, listed=False)
            models[peer].fault(now, spared)
            expected = {bytes([number]) * 32 for number, model in enumerate(models) if now < model.until}
            self.assertEqual(judged.away(now), expected)
            for number, model in enumerate(models):
                sentence = judged.sentence(bytes([number]) * 32, now)
                self.assertEqual(sentence.until if sentence else None, model.until if now < model.until else None)
