"""Every rule that a header can break, and the arithmetic of slots."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.consensus.engine import HeaderInvalid
from chainp2p.ledger.consensus.poa import Slots, rank_of
from chainp2p.ledger.formats.genesis import Genesis, genesis_json
from chainp2p.primitives.secp256k1 import ORDER, sign
from tests.ledger.forge import Forge
from tests.ledger.network import ADDRESSES, KEYS, TIME, genesis_of


def planned(changes: list[tuple[int, list[int]]], period_ms: int = 1000) -> Genesis:
    """Signers by height: (height, numbers of dev accounts), the first at 0."""
    source = genesis_json(
        chain_id=7,
        signers=[ADDRESSES[index] for index in changes[0][1]],
        period_ms=period_ms,
        alloc={ADDRESSES[9]: 10**21},
        timestamp=TIME,
    )
    later = [
        {"height": height, "signers": ["0x" + ADDRESSES[index].hex() for index in numbers]}
        for height, numbers in changes[1:]
    ]
    return Genesis.parse(source, {"changes": later})


class SlotTests(SynchronousTestCase):
    @settings(deadline=None, derandomize=True)
    @given(st.sampled_from((250, 333, 1000, 1001, 12000)), st.integers(0, 10**9))
    def test_each_slot_runs_from_its_start_to_the_next(self, period_ms: int, slot: int) -> None:
        slots = Slots(genesis_of(2, period_ms))
        start = slots.start_of(slot)
        self.assertEqual(slots.slot_at(start), slot)
        self.assertEqual(slots.slot_at(start + period_ms / 1000 - 0.002), slot)
        self.assertEqual(slots.slot_at(start - 0.002), slot - 1)
        self.assertEqual(slots.timestamp(slot), TIME + slot * period_ms // 1000)

    def test_a_quarter_second_gives_four_blocks_one_timestamp(self) -> None:
        slots = Slots(genesis_of(2, 250))
        self.assertEqual([slots.timestamp(slot) - TIME for slot in range(9)], [0, 0, 0, 0, 1, 1, 1, 1, 2])

    def test_signers_take_turns_in_the_order_written(self) -> None:
        slots = Slots(planned([(0, [2, 0]), (5, [2, 0, 1]), (8, [2, 1])]))
        turn = lambda height, slot: ADDRESSES.index(slots.in_turn(height, slot))  # noqa: E731
        self.assertEqual([turn(4, slot) for slot in range(4)], [2, 0, 2, 0])
        self.assertEqual([turn(5, slot) for slot in range(4)], [2, 0, 1, 2])
        self.assertEqual([turn(8, slot) for slot in range(4)], [2, 1, 2, 1])

    def test_rank_is_justified_slot_then_difficulty_then_earlier_slot(self) -> None:
        forge = Forge(genesis_of(1))
        first = forge.grow(forge.root, 5)
        rank = rank_of(first.entry, 1)
        self.assertEqual(len(rank), 32)
        self.assertEqual(rank[:8], bytes(8))
        self.assertEqual([int.from_bytes(rank[at : at + 8], "big") for at in (8, 16, 24)], [5, 2, 2**64 - 1 - 5])
        self.assertEqual(rank_of(forge.root.entry, 0)[8:], bytes(15) + b"\1" + b"\xff" * 8)


class HeaderRules(SynchronousTestCase):
    def setUp(self) -> None:
        self.forge = Forge(genesis_of(2))
        self.parent = self.forge.grow(self.forge.root, 4)

    def refused(self, text: str, slot: int = 5, **more: object) -> None:
        made = self.forge.grow(self.parent, slot, **more)
        with self.assertRaises(HeaderInvalid) as caught:
            self.forge.slots.check(made.header, self.parent.entry, 2)
        self.assertIn(text, str(caught.exception))

    def test_a_good_header(self) -> None:
        made = self.forge.grow(self.parent, 5, base=3)
        entry = self.forge.slots.check(made.header, self.parent.entry, 2)
        self.assertEqual((entry.slot, entry.base, entry.signer), (5, 3, ADDRESSES[1]))
        self.assertIn("slot 5", repr(entry))

    def test_slot_above_the_parents(self) -> None:
        self.refused("is not above", slot=4)
        self.refused("is not above", slot=3)

    def test_base_below_the_slot(self) -> None:
        self.refused("base 5 is not below", base=5)
        self.refused("is not below", base=2**255)

    def test_timestamp_is_that_of_the_slot(self) -> None:
        for off in (-1, 1):
            self.refused("is not that of slot", timestamp=TIME + 5 + off)

    def test_difficulty_number_gas(self) -> None:
        self.refused("difficulty 2", difficulty=2)
        self.refused("difficulty 0", difficulty=0)
        self.refused("number 3", number=3)
        self.refused("number 1", number=1)
        limit = self.parent.entry.gas_limit
        self.refused("gas limit", gas_limit=limit + limit // 1024)
        self.refused("gas limit", gas_limit=limit - limit // 1024)
        self.refused("exceeds", gas_used=limit + 1)
        self.refused("base fee", base_fee=self.forge.slots.base_fee_after(self.parent.entry) + 1)

    def test_seal_by_the_signer_in_turn_only(self) -> None:
        self.refused("is the turn of", key=KEYS[0])
        self.refused("is the turn of", key=KEYS[7])
        self.refused("seal:", seal=False)

    def test_seal_with_high_s_or_wrong_parity(self) -> None:
        header = self.forge.grow(self.parent, 5).header
        seal = sign(KEYS[1], header.seal_hash)
        high = ORDER - int.from_bytes(seal[32:64], "big")
        for bad in (seal[:32] + high.to_bytes(32, "big") + bytes([seal[64] ^ 1]), seal[:64] + bytes([seal[64] + 27])):
            with self.assertRaises(HeaderInvalid):
                self.forge.slots.check(header.sealed(bad), self.parent.entry, 2)
        self.forge.slots.check(header.sealed(seal), self.parent.entry, 2)

    def test_a_header_is_early_by_a_quarter_period_at_most(self) -> None:
        for period, tolerance in ((1000, 0.25), (250, 0.0625), (12000, 0.25), (400, 0.1)):
            forge = Forge(genesis_of(2, period))
            header = forge.grow(forge.root, 9).header
            start = forge.slots.start_of(9)
            self.assertFalse(forge.slots.is_early(header, start))
            self.assertFalse(forge.slots.is_early(header, start - tolerance + 0.001))
            self.assertTrue(forge.slots.is_early(header, start - tolerance - 0.001))
            self.assertFalse(forge.slots.is_early(header, forge.slots.not_before(header)))

    def test_signers_of_its_own_height_seal_it(self) -> None:
        forge = Forge(planned([(0, [0]), (2, [0, 1])]))
        first = forge.grow(forge.root, 1)
        forge.slots.check(first.header, forge.root.entry, 1)
        second = forge.grow(first, 3)
        self.assertEqual(forge.slots.check(second.header, first.entry, 2).signer, ADDRESSES[1])
        wrong = forge.grow(first, 3, key=KEYS[0])
        self.assertRaises(HeaderInvalid, forge.slots.check, wrong.header, first.entry, 2)


class OnDemandRules(SynchronousTestCase):
    def setUp(self) -> None:
        self.forge = Forge(genesis_of(1, 0))
        self.slots = self.forge.slots

    def test_slots_count_blocks_and_time_never_runs_back(self) -> None:
        parent = self.forge.grow(self.forge.root, 1, timestamp=TIME + 9)
        self.slots.check(parent.header, self.forge.root.entry, 1)
        for slot, timestamp, good in (
            (2, TIME + 9, True),
            (2, TIME + 900, True),
            (3, TIME + 9, False),
            (2, TIME + 8, False),
        ):
            header = self.forge.grow(parent, slot, timestamp=timestamp).header
            if good:
                self.slots.check(header, parent.entry, 2)
            else:
                self.assertRaises(HeaderInvalid, self.slots.check, header, parent.entry, 2)

    def test_early_above_fifteen_seconds(self) -> None:
        header = self.forge.grow(self.forge.root, 1, timestamp=TIME + 100).header
        self.assertFalse(self.slots.is_early(header, TIME + 85))
        self.assertTrue(self.slots.is_early(header, TIME + 84.9))
        self.assertEqual(self.slots.not_before(header), TIME + 85)
        self.assertEqual(self.slots.slot_at(TIME + 100), 0)
