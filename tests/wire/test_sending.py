"""The send queue: order, interleaving, ids, and what is given up under pressure."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p import wire
from chainp2p.testing.strategies import messages
from chainp2p.wire.frames import BODY_LIMIT, FrameReader
from chainp2p.wire.schema import Channel, Kind
from chainp2p.wire.sending import CONTROL_LIMIT, OTHERS_PER_BULK, QUEUE_LIMIT, Pushed, SendQueue

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
