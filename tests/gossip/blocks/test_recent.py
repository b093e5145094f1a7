"""The last blocks, within bounds."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.gossip.blocks.compact import Form
from chainp2p.gossip.blocks.recent import KEPT, KEPT_BYTES, RecentBlocks

H = [bytes([n]) * 32 for n in range(KEPT + 1)]


def form(size: int) -> Form:
    return Form(b"", ((bytes(32), bytes(size)),), [b"123456"])


class RecentTests(SynchronousTestCase):
    def test_the_last_ones(self) -> None:
        recent = RecentBlocks()
        for hash in H:
            recent.keep(hash, form(1))
        self.assertEqual([hash in recent for hash in H], [False] + [True] * KEPT)
        recent.drop(H[1])
        recent.drop(H[1])
        self.assertIsNone(recent.get(H[1]))

    def test_so_many_bytes_but_always_one(self) -> None:
        recent = RecentBlocks()
        for hash, size in zip(H, (KEPT_BYTES // 2, KEPT_BYTES // 2, 1, KEPT_BYTES + 1), strict=False):
            recent.keep(hash, form(size))
        self.assertEqual([hash in recent for hash in H[:4]], [False, False, False, True])
