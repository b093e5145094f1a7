"""A whole chain in sixty lines: transactions add to named counters, blocks are found by a little work.

To run a node of it: PYTHONPATH=examples/counter twistd -n chainp2p --chain counter
"""

from hashlib import sha256
from struct import Struct, error

from zope.interface import implementer

from chainp2p.chain import rules
from chainp2p.chain.interfaces import IChainPlugin
from chainp2p.chain.stored import StoredChain

HEADER = Struct("<32sQQ32sQ")  # parent, height, milliseconds, digest of the body, nonce
WORK, TRIES, PERIOD = 1_000, 100, 0.25  # hashes a block, hashes a try, seconds between two blocks


@implementer(rules.IRules, rules.IPoolRules, rules.IProducerRules)
class CounterRules:
    sole = True  # needs no peers to begin
    lookback = 1  # headers are checked by their parent alone

    def __init__(self, random):
        self.random = random

    def genesis(self):
        return self.write_block(HEADER.pack(bytes(32), 0, 0, sha256(b"").digest(), 0), [])

    def read_header(self, raw):
        try:
            parent, height, *rest = HEADER.unpack(raw)
        except error as problem:
            raise ValueError(str(problem)) from None
        return rules.ReadHeader(sha256(raw).digest(), parent, height, rest)

    def read_block(self, raw):
        raw_header, transactions = rules.unpack_block(raw)
        header = self.read_header(raw_header)
        if sha256(b"".join(transactions)).digest() != header.data[1]:
            raise ValueError("the body is not that of the header")
        return rules.ReadBlock(header, raw_header, tuple((self.transaction_id(one), one) for one in transactions))

    write_block = staticmethod(rules.pack_block)

    def check_header(self, header, parent, ancestors, now):
        if header.height and int.from_bytes(header.hash, "big") * WORK >= 1 << 256:
            raise rules.HeaderRefused("too little work")
        if header.data[0] > now * 1000 + 2_000:
            raise rules.HeaderRefused("from the future", when=header.data[0] / 1000 - 2)
        return rules.Summary(rank=header.height.to_bytes(32, "big"))

    def connect(self, block, state):
        for _, raw in block.transactions:
            if reason := self.check_transaction(raw, state):
                raise rules.BlockRefused(reason)
            name, amount, _ = raw.split(b" ")
            state.set(name, b"%d" % (int(state.get(name) or 0) + int(amount)))
            state.set(b"seen " + sha256(raw).digest(), b"1")

    def transaction_id(self, raw):
        name, amount, salt = raw.split(b" ")  # b"apples 3 salt"
        int(amount)
        return sha256(raw).digest()

    def check_transaction(self, raw, state):
        return "already counted" if state.get(b"seen " + sha256(raw).digest()) else ""

    def next_time(self, parent, waiting, now):
        return max(now, parent.header.data[0] / 1000 + PERIOD) if waiting else None

    def propose(self, parent, state, transactions, now):
        digest, place = sha256(b"".join(transactions)).digest(), parent.header
        for _ in range(TRIES):
            fields = place.hash, place.height + 1, int(now * 1000), digest, self.random.getrandbits(64)
            raw = HEADER.pack(*fields)
            if int.from_bytes(sha256(raw).digest(), "big") * WORK < 1 << 256:
                return self.write_block(raw, transactions)
        return None


@implementer(IChainPlugin)
class CounterPlugin:
    name = "counter"

    def make(self, settings, executor, clock, random, open_database):
        return StoredChain(CounterRules(random), executor=executor, now=clock, open_database=open_database)

    def namespaces(self, chain):
        return ()
