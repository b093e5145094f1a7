"""Open requests, beside a naive model of them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.requests import CLOSED_MEMORY, OPEN_LIMIT, OpenRequests
from chainp2p.wire.messages import (
    Blocks,
    GetBlocks,
    GetHeaders,
    GetPeers,
    GetTransactions,
    Headers,
    NotFound,
    Peers,
    Ping,
    Pong,
    Refused,
    Transactions,
)

H = b"\x07" * 32


class RulesTest(SynchronousTestCase):
    def opened(self, request, request_id=1):
        requests = OpenRequests()
        requests.sent(requests.add(request, "waiter", 10.0), request_id)
        return requests

    def test_reply(self):
        requests = self.opened(GetPeers())
        self.assertEqual(len(requests), 1)
        self.assertEqual(requests.replied(1, Peers(())), "waiter")
        self.assertEqual(len(requests), 0)
        self.assertIsNone(requests.next_deadline)
        self.assertRaises(PeerFault, requests.replied, 1, Peers(()))

    def test_wrong_replies(self):
        for request, reply in (
            (GetPeers(), Pong(1)),
            (GetPeers(), None),
            (GetHeaders(H, 1), Headers((b"", b""))),
            (GetBlocks(H, 1), Blocks((b"", b""))),
            (GetTransactions((H,)), Transactions((b"", b""))),
            (GetHeaders(H, 1), NotFound((H, H))),
            (GetBlocks(H, 1), NotFound((H, H))),
            (GetTransactions((H,)), NotFound((H, H))),
        ):
            fault = self.assertRaises(PeerFault, self.opened(request).replied, 1, reply)
            self.assertIs(fault.reason, Reason.UNEXPECTED_REPLY)

    def test_right_replies(self):
        for request, reply in (
            (GetHeaders(H, 1), Headers((b"",))),
            (GetBlocks(H, 0), Blocks((b"",))),
            (GetBlocks(H, 1), NotFound((H,))),
            (GetTransactions((H,)), Transactions(())),
            (GetTransactions((H,)), Refused(0, 0)),
            (Ping(1), Pong(1)),
        ):
            self.assertEqual(self.opened(request).replied(1, reply), "waiter")

    def test_late_reply_is_dropped_once_and_not_for_ever(self):
        requests = self.opened(GetPeers())
        self.assertEqual([asked.waiter for asked in requests.expire(10.0)], ["waiter"])
        self.assertIsNone(requests.replied(1, Peers(())))
        self.assertRaises(PeerFault, requests.replied, 1, Peers(()))
        requests = self.opened(GetPeers())
        requests.expire(10.0)
        requests.expire(10.0 + CLOSED_MEMORY)
        self.assertRaises(PeerFault, requests.replied, 1, Peers(()))

    def test_places(self):
        requests = OpenRequests()
        asked = [requests.add(GetPeers(), n, 10.0 + n) for n in range(OPEN_LIMIT + 3)]
        self.assertEqual(sum(one.leaving for one in asked), OPEN_LIMIT)
        self.assertTrue(requests.add(Ping(1), "ping", 1.0).leaving)
        self.assertEqual(requests.waiting, 3)
        self.assertEqual(requests.admit(), [])
        self.assertTrue(requests.close(asked[0], 0.0))
        self.assertFalse(requests.close(asked[0], 0.0))
        self.assertTrue(requests.close(asked[OPEN_LIMIT], 0.0))
        self.assertEqual(requests.waiting, 2)
        self.assertEqual(requests.admit(), [asked[OPEN_LIMIT + 1]])
        self.assertEqual(requests.next_deadline, 1.0)
        waiters = requests.fail_all()
        self.assertEqual(len(waiters), OPEN_LIMIT + 2)
        self.assertEqual(len(requests), 0)

    def test_the_heap_stays_small(self):
        requests = OpenRequests()
        for n in range(1, 5_000):
            requests.sent(requests.add(GetPeers(), n, 10.0 + n), n)
            requests.replied(n, Peers(()))
        self.assertLess(len(requests._deadlines), 400)


class ModelTest(SynchronousTestCase):
    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["ask", "reply", "close", "tick"]), st.integers(0, 90)), min_size=1, max_size=250
        )
    )
    def test_against_a_list(self, steps):
        """Every request ends exactly once: answered, expired, closed or failed; places are never exceeded."""
        requests = OpenRequests()
        alive, open_ids, ended, now, next_id, serial = {}, {}, [], 0.0, 1, 0

        def leave(asked):
            nonlocal next_id
            requests.sent(asked, next_id)
            open_ids[next_id] = asked
            next_id += 1

        for step, number in steps:
            if step == "ask":
                asked = requests.add(GetPeers(), serial, now + 1 + number)
                alive[serial] = asked
                serial += 1
                if asked.leaving:
                    leave(asked)
            elif step == "reply" and open_ids:
                key = sorted(open_ids)[number % len(open_ids)]
                asked = open_ids.pop(key)
                self.assertEqual(requests.replied(key, Peers(())), asked.waiter)
                ended.append(asked.waiter)
                del alive[asked.waiter]
            elif step == "close" and alive:
                asked = alive.pop(sorted(alive)[number % len(alive)])
                self.assertTrue(requests.close(asked, now))
                open_ids = {key: one for key, one in open_ids.items() if one is not asked}
                ended.append(asked.waiter)
            elif step == "tick":
                now += number
                expected = [s for s, one in sorted(alive.items(), key=lambda kv: kv[1].deadline) if one.deadline <= now]
                got = [asked.waiter for asked in requests.expire(now)]
                self.assertEqual(sorted(got), sorted(expected))
                for waiter in got:
                    asked = alive.pop(waiter)
                    open_ids = {key: one for key, one in open_ids.items() if one is not asked}
                    ended.append(waiter)
            for asked in requests.admit():
                leave(asked)
            self.assertEqual(len(requests), len(open_ids))
            self.assertLessEqual(len(requests), OPEN_LIMIT)
            self.assertEqual(requests.next_deadline, min((one.deadline for one in alive.values()), default=None))
        ended += requests.fail_all()
        self.assertEqual(sorted(ended), list(range(serial)))
