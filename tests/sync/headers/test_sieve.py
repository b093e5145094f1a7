"""The sieve against a model that keeps everything, and against peers that send something else the second time."""

from hashlib import sha256
from random import Random

from twisted.trial.unittest import SynchronousTestCase

import chainp2p.sync.headers.sieve as sieve_module
from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.sync.headers.sieve import OtherHeaders, Sieve, Stage


def rank(number: int) -> bytes:
    return number.to_bytes(32, "big")


START = HeaderInfo(b"s" * 32, bytes(32), 10, rank(10))


class Chain:
    """Headers above START; each is its own number and a salt, its hash that of both and its parent."""

    def __init__(self, length: int, salt: int = 0, fork: "Chain | None" = None, at: int = 0, weight: int = 1) -> None:
        self.raws = [] if fork is None else fork.raws[:at]
        self.infos = [] if fork is None else fork.infos[:at]
        for number in range(len(self.raws), length):
            parent = self.infos[-1] if self.infos else START
            raw = b"%d %d" % (number, salt)
            total = rank(int.from_bytes(parent.rank, "big") + weight)
            self.raws.append(raw.ljust(40))
            self.infos.append(HeaderInfo(sha256(raw + parent.hash).digest(), parent.hash, parent.height + 1, total))

    def hash_of(self, raw: bytes) -> bytes:
        return self.infos[int(raw.split()[0])].hash


class Play:
    """One conversation: batches of random size; what is stored, and the most that was held."""

    def __init__(self, chance: Random, bar: int, head: HeaderInfo = START) -> None:
        self.chance, self.head = chance, head
        self.sieve = Sieve(START, rank(bar), b"key")
        self.stored: list[bytes] = []
        self.most = 0

    def look(self, chain: Chain) -> None:
        while self.sieve.stage in (Stage.HELD, Stage.COUNTED) and self.sieve.count < len(chain.raws):
            at = self.sieve.count
            end = at + self.chance.randint(1, 50)
            self.stored += self.sieve.looked(chain.raws[at:end], chain.infos[at:end], None, self.head)
            self.most = max(self.most, len(self.sieve._held))

    def repeat(self, chain: Chain) -> None:
        while self.sieve.stage is Stage.AGAIN:
            at = self.sieve.came
            end = at + self.chance.randint(1, 50)
            if at >= len(chain.raws):
                return
            self.stored += self.sieve.again(chain.raws[at:end], chain.hash_of)
            self.most = max(self.most, len(self.sieve._held))


class Small(SynchronousTestCase):
    """With few headers a bit, few bits of look-ahead and few held."""

    PERIOD_, AHEAD, HELD = 4, 10, 100

    def setUp(self) -> None:
        self.patch(sieve_module, "PERIOD", self.PERIOD_)
        self.patch(sieve_module, "LOOKAHEAD", self.AHEAD)
        self.patch(sieve_module, "HELD_BYTES", self.HELD * (40 + 64))

    def test_as_if_everything_were_kept(self) -> None:
        """What is stored is the chain if it is good enough, and nothing if not; never is more held than may be."""
        for seed in range(400):
            chance = Random(seed)
            chain, bar = Chain(chance.randint(1, 600)), chance.randint(1, 600)
            play = Play(chance, bar)
            play.look(chain)
            play.repeat(chain)
            good = chain.infos[-1].rank >= rank(bar)
            enough = next((n for n, info in enumerate(chain.infos, 1) if info.rank >= rank(bar)), None)
            self.assertEqual(bool(play.stored), good, seed)
            self.assertEqual(play.stored, chain.raws[: len(play.stored)])
            if enough is not None:
                self.assertGreaterEqual(len(play.stored), enough)
            self.assertLessEqual(play.most, self.HELD + 50)

    def test_exactly_at_the_bar(self) -> None:
        for length in (5, 300):
            for over in (0, 1):
                chain = Chain(length)
                play = Play(Random(1), 10 + length + over)
                play.look(chain)
                play.repeat(chain)
                self.assertEqual(len(play.stored), 0 if over else length)
                self.assertEqual(play.sieve.stored_all, not over)

    def test_a_chain_that_does_not_win_is_not_stored(self) -> None:
        chain = Chain(50)
        for hash, stored in ((b"\0" * 32, 0), (b"\xff" * 32, 50)):
            play = Play(Random(1), 0, HeaderInfo(hash, b"", 60, rank(60)))
            play.look(chain)
            self.assertEqual(len(play.stored), stored)

    def test_what_is_good_enough_at_once_is_not_asked_for_twice(self) -> None:
        chain = Chain(90)
        play = Play(Random(1), 100)
        play.look(chain)
        self.assertEqual((play.stored, play.sieve.stage), (chain.raws, Stage.OPEN))
        play.sieve.stored(chain.infos[-1])
        self.assertEqual(play.sieve.asked, chain.infos[-1].hash)

    def test_another_chain_the_second_time(self) -> None:
        """Whatever of it passes, by luck, is little; and the sieve never opens for it."""
        first = Chain(600)
        lucky = 0
        for seed in range(300):
            chance = Random(seed)
            at = chance.randrange(0, 600)
            other = Chain(900, salt=7, fork=first, at=at)
            play = Play(chance, 610)
            play.sieve.key = b"%d" % seed
            play.look(first)
            self.assertRaises(OtherHeaders, play.repeat, other)
            self.assertNotEqual(play.sieve.stage, Stage.OPEN)
            self.assertEqual(play.stored, other.raws[: len(play.stored)])
            lucky += len(play.stored) > at
        self.assertLess(lucky, 5)

    def test_the_last_header_has_to_be_the_same(self) -> None:
        first = Chain(203)
        play = Play(Random(3), 213)
        play.look(first)
        other = Chain(300, salt=1, fork=first, at=202)
        self.assertRaises(OtherHeaders, play.repeat, other)

    def test_a_longer_chain_the_second_time_is_welcome(self) -> None:
        first = Chain(250)
        play = Play(Random(3), 260)
        play.look(first)
        longer = Chain(400, fork=first, at=250)
        play.repeat(longer)
        self.assertEqual(play.stored, longer.raws[: len(play.stored)])
        self.assertGreaterEqual(len(play.stored), 250)

    def test_letting_go_costs_a_download_and_nothing_else(self) -> None:
        for seed in range(100):
            chance = Random(seed)
            chain = Chain(500)
            play = Play(chance, 505)
            raws, infos, sieve = chain.raws, chain.infos, play.sieve
            stored: list[bytes] = []
            for _ in range(10_000):
                if sieve.stage is Stage.OPEN:
                    break
                again = sieve.stage is Stage.AGAIN
                at = sieve.came if again else sieve.count
                end = at + chance.randint(1, 50)
                if again:
                    stored += sieve.again(raws[at:end], chain.hash_of)
                else:
                    stored += sieve.looked(raws[at:end], infos[at:end], None, START)
                if sieve.stage is not Stage.OPEN and chance.random() < 0.1:
                    sieve.let_go()
                    self.assertEqual((sieve._held, sieve._bytes), ([], 0))
            self.assertIs(sieve.stage, Stage.OPEN)
            self.assertEqual(list(dict.fromkeys(stored)), raws[: len(dict.fromkeys(stored))])
            self.assertGreaterEqual(len(set(stored)), 495)

    def test_words(self) -> None:
        chain, play = Chain(300), Play(Random(1), 310)
        self.assertEqual(play.sieve.words(), "")
        play.look(Chain(200, fork=chain, at=200))
        self.assertIn("200 looked at and not kept", play.sieve.words())
        play.look(chain)
        self.assertIn("0 of 300", play.sieve.words())


class Memory(SynchronousTestCase):
    def test_a_million_headers_cost_two_kilobytes(self) -> None:
        chain = Chain(2_000)
        sieve = Sieve(START, rank(10**12), b"key")
        for _ in range(500):
            sieve.looked(chain.raws, chain.infos, None, START)
        self.assertEqual((sieve.count, sieve.stage, len(sieve._held)), (1_000_000, Stage.COUNTED, 0))
        self.assertLess(len(sieve._bits), 2_000)
