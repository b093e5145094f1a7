"""Which bytes count as a head that is known."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.rpc.web.door import Go, Route
from chainp2p.rpc.web.heads import HEADS, LONGEST, Heads, KnownHead
from tests.rpc.wire import post


def known(length: int) -> KnownHead:
    return KnownHead(length, Go(Route.CALL), b"")


class HeadsTests(SynchronousTestCase):
    def test_a_whole_request_with_the_same_head(self) -> None:
        heads = Heads()
        request = post(b"12345")
        self.assertIsNone(heads.find(request))
        heads.learn(request, known(5))
        start, found = heads.find(request) or (0, known(0))
        self.assertEqual((request[start:], found), (b"12345", known(5)))
        self.assertIsNotNone(heads.find(request[:-5] + b"54321"))

    def test_anything_else_is_not_known(self) -> None:
        heads = Heads()
        request = post(b"12345")
        heads.learn(request, known(5))
        others = (b"", b"\r\n\r\n", request + b"x", request + request, b"\r\n" + request, post(b"12345", origin="a"))
        for other in (*others, *(request[:cut] for cut in range(len(request)))):
            self.assertIsNone(heads.find(other), other)

    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=6), st.integers(0, 200))
    def test_one_byte_more_or_less_matters(self, insert: bytes, at: int) -> None:
        heads = Heads()
        request = post(b"\r\n\r\n1")
        heads.learn(request, known(5))
        changed = request[:at] + insert + request[at + 1 :]
        found = heads.find(changed)
        if found is not None:
            self.assertEqual((changed[: found[0]], len(changed)), (request[: found[0]], len(request)))

    def test_what_is_kept_is_bounded(self) -> None:
        heads = Heads()
        for number in range(HEADS + 1):
            heads.learn(post(b"", x=str(number)), known(0))
        self.assertEqual(len(heads._known), 1)
        heads.learn(post(b"", x="y" * LONGEST), known(0))
        heads.learn(b"no end", known(0))
        self.assertEqual(len(heads._known), 1)
