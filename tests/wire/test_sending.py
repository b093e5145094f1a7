"""The send queue: order, interleaving, ids, and what is given up under pressure."""

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p import wire
from chainp2p.testing.strategies import messages
from chainp2p.wire.frames import BODY_LIMIT, HEADER, FrameReader
from chainp2p.wire.schema import Channel, Kind
from chainp2p.wire.sending import ANNOUNCEMENTS_KEPT, CONTROL_LIMIT, OTHERS_PER_BULK, QUEUE_LIMIT, Pushed, SendQueue

H = bytes(32)


def push(queue: SendQueue, message: wire.Message, message_id: int = 0) -> Pushed:
    spec = message.spec
    return queue.push(wire.encode(message), spec.kind, spec.channel, message_id)[0]


def drain(queue: SendQueue, budget: int = 1 << 30) -> list[wire.Message]:
    return [item.message for item in FrameReader().feed(queue.next(budget))]


class Order(SynchronousTestCase):
    def test_urgent_classes_first(self) -> None:
        queue = SendQueue()
        sent = [wire.Mempool(()), wire.GetPeers(), wire.NewBlock(b""), wire.AnnounceBlocks(()), wire.Ping(1)]
        for message in sent:
            push(queue, message, 9 if message.spec.kind is Kind.REPLY else 0)
        self.assertEqual(drain(queue), sent[::-1])
        self.assertEqual((queue.queued, queue.next(100)), (0, b""))

    def test_one_bulk_frame_after_eight_others(self) -> None:
        queue = SendQueue()
        push(queue, wire.Blocks((b"",)), 1)
        for n in range(20):
            push(queue, wire.Ping(n))
        kinds = [type(message).__name__ for message in drain(queue)]
        self.assertEqual(kinds.index("Blocks"), OTHERS_PER_BULK)

    def test_ids_ascend_as_frames_leave(self) -> None:
        queue, ids = SendQueue(), []
        for message in (wire.GetPeers(), wire.Ping(1), wire.GetMempool()):
            queue.push(wire.encode(message), Kind.REQUEST, message.spec.channel, 0, ids.append)
        self.assertEqual(ids, [])
        received = FrameReader().feed(queue.next(1 << 20))
        self.assertEqual([item.id for item in received], [1, 2, 3])
        self.assertIsInstance(received[0].message, wire.Ping)
        self.assertEqual(ids, [1, 2, 3])

    def test_a_budget_stops_after_the_frame_that_uses_it_up(self) -> None:
        queue = SendQueue()
        push(queue, wire.NewBlock(bytes(3 * BODY_LIMIT)))
        self.assertEqual(len(queue.next(1)), BODY_LIMIT + 10)
        push(queue, wire.Ping(1))
        reader = FrameReader()
        self.assertEqual([item.message for item in reader.feed(queue.next(1))], [wire.Ping(1)])

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.lists(messages(), max_size=30), st.integers(1, 300))
    def test_everything_arrives_in_order_of_its_class(self, sent: list[wire.Message], budget: int) -> None:
        queue, reader, received = SendQueue(), FrameReader(), []
        for n, message in enumerate(sent, 1):
            push(queue, message, n if message.spec.kind is Kind.REPLY else 0)
        while data := queue.next(budget):
            received += [item.message for item in reader.feed(data)]
        for channel in Channel:
            self.assertEqual(
                [m for m in received if m.spec.channel is channel], [m for m in sent if m.spec.channel is channel]
            )


class Pressure(SynchronousTestCase):
    def fill(self) -> SendQueue:
        queue = SendQueue()
        push(queue, wire.Blocks((bytes(QUEUE_LIMIT),)), 1)
        self.assertTrue(queue.full)
        return queue

    def test_block_pushes_are_refused(self) -> None:
        self.assertIs(push(self.fill(), wire.NewBlock(b"")), Pushed.DROPPED)
        queue = SendQueue()
        self.assertIs(push(queue, wire.NewBlock(bytes(QUEUE_LIMIT))), Pushed.QUEUED)  # a large one, but nothing else
        self.assertIs(push(queue, wire.NewBlock(b"")), Pushed.DROPPED)
        queue = SendQueue()
        pushed = [push(queue, wire.NewBlock(bytes(100_000))) for _ in range(20)]
        self.assertIn(Pushed.QUEUED, pushed)
        self.assertLessEqual(queue.queued, QUEUE_LIMIT)

    def test_oldest_announcements_go_but_never_one_in_progress(self) -> None:
        queue = SendQueue()
        push(queue, wire.NewTransaction(bytes(100_000)))
        reader = FrameReader()
        self.assertEqual(reader.feed(queue.next(1)), [])
        push(queue, wire.AnnounceBlocks(((H, 1),)))
        push(queue, wire.NewTransaction(bytes(60_000)))
        push(queue, wire.Blocks((bytes(QUEUE_LIMIT),)), 1)
        push(queue, wire.AnnounceBlocks(((H, 2),)))
        self.assertEqual(queue.dropped, 2)
        received = [item.message for item in reader.feed(queue.next(1 << 30))]
        self.assertEqual(
            [type(message) for message in received], [wire.NewTransaction, wire.AnnounceBlocks, wire.Blocks]
        )
        self.assertEqual(received[1], wire.AnnounceBlocks(((H, 2),)))

    def test_control_is_never_dropped_but_says_when_nobody_reads(self) -> None:
        queue = SendQueue()
        outcomes = {push(queue, wire.Ping(n)) for n in range(CONTROL_LIMIT // 12)}
        self.assertEqual(outcomes, {Pushed.QUEUED})
        self.assertIs(push(queue, wire.Ping(0)), Pushed.NOT_READING)
        self.assertEqual(queue.queued_in(Channel.CONTROL), queue.queued)

    def test_cancelling(self) -> None:
        queue = SendQueue()
        _, cancel = queue.push(wire.encode(wire.GetPeers()), Kind.REQUEST, Channel.REQUESTS)
        _, late = queue.push(wire.encode(wire.GetMempool()), Kind.REQUEST, Channel.REQUESTS)
        self.assertTrue(cancel())
        self.assertFalse(cancel())
        self.assertEqual(drain(queue), [wire.GetMempool()])
        self.assertFalse(late())
        full = self.fill()
        _, refused = full.push(b"1234", Kind.NOTIFICATION, Channel.BLOCK_PUSH)
        self.assertFalse(refused())
        _, dropped = full.push(bytes(65_537), Kind.NOTIFICATION, Channel.ANNOUNCEMENTS)
        self.assertFalse(dropped())


@dataclass
class Waiting:
    """A message in the naive model."""

    number: int
    channel: Channel
    kind: Kind
    id: int
    left: int
    started: bool = False


class NaiveQueue:
    """The rules of the send queue, with one flat list and no thought of cost."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.next_id = 1
        self.others = 0

    def bytes_of(self, *channels: Channel) -> int:
        return sum(one.left for one in self.waiting if one.channel in channels)

    def push(self, new: Waiting) -> Pushed:
        waiting = self.bytes_of(*Channel)
        if new.channel is Channel.BLOCK_PUSH and waiting and waiting + new.left > QUEUE_LIMIT:
            return Pushed.DROPPED
        self.waiting.append(new)
        if new.channel is Channel.CONTROL and self.bytes_of(Channel.CONTROL) > CONTROL_LIMIT:
            return Pushed.NOT_READING
        for old in list(self.waiting):
            if old.channel is Channel.ANNOUNCEMENTS and not old.started:
                too_much = self.bytes_of(*Channel) > QUEUE_LIMIT
                if too_much and self.bytes_of(Channel.ANNOUNCEMENTS) > ANNOUNCEMENTS_KEPT:
                    self.waiting.remove(old)
        return Pushed.QUEUED

    def take_back(self, number: int) -> bool:
        for one in self.waiting:
            if one.number == number and not one.started:
                self.waiting.remove(one)
                return True
        return False

    def next(self, budget: int) -> list[tuple[int, int, int, bool, int]]:
        """(kind, id, bytes of the body, whether more follows, number of the message)"""
        frames = []
        while budget > 0 and self.waiting:
            bulk = [one for one in self.waiting if one.channel is Channel.BULK]
            first = min(self.waiting, key=lambda one: one.channel)
            if bulk and self.others == OTHERS_PER_BULK:
                first = bulk[0]
            self.others = self.others + 1 if bulk and first.channel is not Channel.BULK else 0 if bulk else self.others
            if not first.started:
                first.started = True
                if not first.id:
                    first.id, self.next_id = self.next_id, self.next_id + 1
            size = min(first.left, BODY_LIMIT)
            first.left -= size
            frames.append((first.kind, first.id, size, first.left > 0, first.number))
            if not first.left:
                self.waiting.remove(first)
            budget -= 10 + size
        return frames


SIZES = st.one_of(st.integers(4, 40), st.sampled_from([BODY_LIMIT, BODY_LIMIT + 1, 150_000, 700_000]))
PUSH = st.tuples(st.sampled_from(Channel), SIZES)
STEPS = st.lists(
    st.one_of(PUSH, PUSH, st.integers(1, 200_000), st.tuples(st.just("back"), st.integers(0, 30))), max_size=60
)


class AgainstTheModel(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(STEPS)
    def test_same_frames_in_the_same_order(self, steps: list[object]) -> None:
        queue, model, take_back = SendQueue(), NaiveQueue(), []
        for step in [*steps, 1 << 30]:
            if isinstance(step, int):
                self.assertEqual(list(self.frames(queue.next(step))), model.next(step))
            elif step[0] == "back":
                if step[1] < len(take_back):
                    self.assertEqual(take_back[step[1]](), model.take_back(step[1]))
            else:
                channel, size = step
                number = len(take_back)
                kind = Kind.REPLY if channel in (Channel.REPLIES, Channel.BULK) else Kind.NOTIFICATION
                message_id = 1_000 + number if kind is Kind.REPLY else 0
                payload = number.to_bytes(4, "little") * (size // 4 + 1)
                outcome, back = queue.push(payload[:size], kind, channel, message_id)
                take_back.append(back)
                self.assertIs(outcome, model.push(Waiting(number, channel, kind, message_id, size)))
            self.assertEqual(queue.queued, model.bytes_of(*Channel))
            for channel in Channel:
                self.assertEqual(queue.queued_in(channel), model.bytes_of(channel))
        self.assertEqual(queue.queued, 0)

    def frames(self, data: bytes) -> Iterator[tuple[int, int, int, bool, int]]:
        at = 0
        while at < len(data):
            length, message_id, kind, flags = HEADER.unpack_from(data, at)
            # a payload is the number of its message in four octets, over and over
            body = data[at + 10 : at + 4 + length]
            number = int.from_bytes(body[:4].ljust(4, b"\0"), "little")
            yield kind, message_id, len(body), bool(flags), number
            at += 4 + length
