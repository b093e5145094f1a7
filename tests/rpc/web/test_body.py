"""The body of a request as it comes."""

import random
import sys
from unittest import TestCase

from chainp2p.rpc.web.body import PIECE, Body


class Bodies(TestCase):
    def test_it_is_what_came(self) -> None:
        for seed in range(20):
            chance, body, whole = random.Random(seed), Body(), b""
            for _ in range(chance.randint(0, 30)):
                data = chance.randbytes(chance.choice([0, 1, 100, PIECE - 1, PIECE, PIECE + 1, 200_000]))
                body.write(data)
                whole += data
            self.assertEqual(body.getvalue(), whole, seed)
            self.assertEqual(body.getvalue(), whole, seed)
            body.close()
            self.assertEqual(body.getvalue(), b"", seed)

    def test_one_byte_at_a_time_takes_no_more_memory(self) -> None:
        body = Body()
        for _ in range(3 * PIECE):
            body.write(b"x")
        self.assertEqual(len(body._pieces), 3)
        self.assertLess(sum(map(sys.getsizeof, body._pieces)), 3.5 * PIECE)
