"""The mapper alone, driven by hand: epochs, answers that do not fit, gateways that make no sense."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.gateway import Answer, Dialect, Kind
from chainp2p.discovery.mapping import (
    LIFETIME,
    PAUSE,
    PROBE_INTERVAL,
    TRIES,
    Ask,
    Epoch,
    Failed,
    Mapped,
    Mapper,
    Removed,
    useless_address,
)
from chainp2p.testing.gateway import FakeGateway

CLIENT = "192.168.1.7"


def make(udp: int | None = 30303, nonce: bytes = b"n" * 12, private: bool = False) -> Mapper:
    return Mapper(CLIENT, 30303, udp, nonce, private)


class EpochTests(SynchronousTestCase):
    def epoch(self, dialect: Dialect, *seen: tuple[int, float]) -> list[bool]:
        epoch = Epoch()
        return [epoch.restarted(Answer(dialect, Kind.ADDRESS, 0, theirs), ours) for theirs, ours in seen]

    def test_nat_pmp(self) -> None:
        self.assertEqual(
            self.epoch(Dialect.NAT_PMP, (100, 0.0), (800, 800.0), (798, 800.0), (795, 800.0), (5, 900.0)),
            [False, False, False, True, True],
        )

    def test_pcp(self) -> None:
        self.assertEqual(
            self.epoch(Dialect.PCP, (100, 0.0), (99, 0.0), (97, 0.0), (257, 160.0), (400, 320.0), (800, 480.0)),
            [False, False, True, False, True, True],
        )


class UselessAddressTests(SynchronousTestCase):
    def test_each(self) -> None:
        for ip, private, good in (
            ("93.184.216.34", False, True),
            ("100.64.0.1", False, False),
            ("100.64.0.1", True, True),
            ("10.0.0.1", True, True),
            ("10.0.0.1", False, False),
            ("0.0.0.0", True, False),
            ("255.255.255.255", True, False),
            ("127.0.0.1", True, False),
            ("239.1.1.1", True, False),
        ):
            self.assertEqual(useless_address(ip, private) == "", good, (ip, private))


class MapperTests(SynchronousTestCase):
    def asks(self, outputs: list[object]) -> list[bytes]:
        return [output.data for output in outputs if isinstance(output, Ask)]

    def talk(self, mapper: Mapper, gateway: FakeGateway, outputs: list[object], now: float) -> list[object]:
        """Let the gateway answer at once, until nothing is asked any more; returns what else came out."""
        told: list[object] = []
        while outputs:
            output = outputs.pop(0)
            if isinstance(output, Ask):
                answer = gateway.answer(output.data, CLIENT, now)
                if answer is not None:
                    outputs += mapper.received(answer, now)
            else:
                told.append(output)
        return told

    def test_pauses(self) -> None:
        mapper = make()
        sent, now, dialects = self.asks(mapper.start(0.0)), 0.0, set()
        failed: list[object] = []
        while not mapper.over:
            deadline = mapper.next_deadline()
            assert deadline is not None
            self.assertEqual(mapper.expire(deadline - 0.001), [])
            now = deadline
            outputs = mapper.expire(now)
            sent += self.asks(outputs)
            failed += [output for output in outputs if isinstance(output, Failed)]
            dialects = {data[0] for data in sent}
        self.assertEqual((len(sent), dialects), (2 * TRIES, {0, 2}))
        self.assertEqual(now, 2 * PAUSE * (2**TRIES - 1))
        self.assertEqual(failed, [Failed("silent", "the gateway does not answer")])
        self.assertIsNone(mapper.next_deadline())
        self.assertEqual((mapper.expire(1e9), mapper.received(b"", 1e9), mapper.stop(1e9)), ([], [], []))

    def test_nobody_listens_at_the_port(self) -> None:
        mapper = make()
        mapper.start(0.0)
        self.assertEqual(mapper.refused(0.1), [Failed("silent", "nobody listens at the gateway's port")])
        self.assertEqual(mapper.refused(0.2), [])

    def test_a_port_that_closes_later_is_a_restart_like_any_other(self) -> None:
        mapper = make()
        self.talk(mapper, FakeGateway(), list(mapper.start(0.0)), 0.0)
        self.assertEqual(len(self.asks(mapper.expire(PROBE_INTERVAL))), 1)
        self.assertEqual(mapper.refused(PROBE_INTERVAL), [])
        self.assertFalse(mapper.over)

    def test_answers_that_do_not_fit_are_nothing(self) -> None:
        gateway, other = FakeGateway(), make(nonce=b"o" * 12)
        mapper = make()
        (question,) = self.asks(mapper.start(0.0))
        (strange,) = self.asks(other.start(0.0))
        answer, wrong = gateway.answer(question, CLIENT, 0.0), gateway.answer(strange, CLIENT, 0.0)
        assert answer is not None and wrong is not None
        for data in (
            wrong,
            answer[:24] + b"o" * 12 + answer[36:],
            answer[:36] + b"\x11" + answer[37:],
            answer[:40] + b"\0\1" + answer[42:],
            b"\0\x82\0\0" + bytes(4) + (30303).to_bytes(2, "big") * 2 + b"\0\0\1\0",
            question,
            b"",
        ):
            self.assertEqual(mapper.received(data, 0.0), [])
        self.assertEqual(len(mapper.received(answer, 0.0)), 1)

    def test_a_success_that_grants_nothing(self) -> None:
        for lifetime, outside in ((0, 30303), (100, 0)):
            mapper = make()
            (question,) = self.asks(mapper.start(0.0))
            answer = FakeGateway().answer(question, CLIENT, 0.0)
            assert answer is not None
            answer = answer[:4] + lifetime.to_bytes(4, "big") + answer[8:42] + outside.to_bytes(2, "big") + answer[44:]
            self.assertEqual(mapper.received(answer, 0.0), [Failed("refused", "it grants no port, or for no time")])

    def test_renewal_goes_by_what_was_granted(self) -> None:
        for granted, renewed in ((LIFETIME, 1200.0), (600, 300.0), (10, 60.0), (2**32 - 1, 43_200.0)):
            mapper, gateway = make(), FakeGateway(lifetime=granted)
            told = self.talk(mapper, gateway, list(mapper.start(0.0)), 0.0)
            self.assertEqual(told, [Mapped(Dialect.PCP, gateway.ip, 30303, 30303, min(granted, 86_400))])
            now, maps = 0.0, []
            while not maps:
                deadline = mapper.next_deadline()
                assert deadline is not None
                now = deadline
                outputs = mapper.expire(now)
                maps = [data for data in self.asks(outputs) if data[1] == 1]
                self.talk(mapper, gateway, outputs, now)
            self.assertEqual(now, renewed)

    def test_removal(self) -> None:
        mapper, gateway = make(), FakeGateway()
        self.talk(mapper, gateway, list(mapper.start(0.0)), 0.0)
        told = self.talk(mapper, gateway, list(mapper.stop(1.0)), 1.0)
        self.assertEqual((told, gateway.mappings, mapper.over), ([Removed()], {}, True))

    def test_removal_of_what_was_only_asked_for(self) -> None:
        mapper, gateway = make(), FakeGateway()
        (question,) = self.asks(mapper.start(0.0))
        answer = gateway.answer(question, CLIENT, 0.0)
        assert answer is not None
        (question,) = self.asks(mapper.received(answer, 0.0))
        gateway.answer(question, CLIENT, 0.0)
        self.assertEqual(len(gateway.mappings), 2)
        self.assertEqual(self.talk(mapper, gateway, list(mapper.stop(0.1)), 0.1), [Removed()])
        self.assertEqual(gateway.mappings, {})

    def test_a_gateway_that_has_not_answered_yet_is_told_and_left_at_once(self) -> None:
        mapper, gateway = make(), FakeGateway()
        (question,) = self.asks(mapper.start(0.0))
        outputs = mapper.stop(0.1)
        self.assertEqual((outputs[-1], mapper.over), (Removed(), True))
        for data in (question, *self.asks(outputs)):
            gateway.answer(data, CLIENT, 0.2)
        self.assertEqual((gateway.mappings, gateway.asked), ({}, 2))

    def test_mutilated_answers_never_raise_nor_flood(self) -> None:
        random = Random(11)
        for case in range(3_000):
            mapper = make(udp=random.choice([None, 30303]))
            gateway = FakeGateway(
                speaks=frozenset(random.sample(list(Dialect), random.randint(1, 2))),
                code=random.choice([0, 0, 0, 1, 9, 200]),
                lifetime=random.choice([None, 0, 1, 2**32 - 1]),
                ip=random.choice(["93.184.216.34", "0.0.0.0", "10.0.0.1"]),
            )
            now, asked = 0.0, 0
            outputs: list[object] = list(mapper.start(now))
            for _ in range(60):
                for data in self.asks(outputs):
                    asked += 1
                    answer = bytearray(gateway.answer(data, CLIENT, now) or random.randbytes(random.randint(0, 70)))
                    for _ in range(random.choice([0, 0, 1, 3])):
                        if answer:
                            answer[random.randrange(len(answer))] = random.getrandbits(8)
                    outputs = [*outputs, *mapper.received(bytes(answer[: random.randint(0, 90)]), now)]
                deadline = mapper.next_deadline()
                if deadline is None:
                    break
                self.assertGreaterEqual(deadline, now, case)
                now = deadline
                outputs = list(mapper.stop(now) if random.random() < 0.01 else mapper.expire(now))
            # a question a pause, and the rest of a round after each answer
            self.assertLess(asked, 60 * 5, case)
