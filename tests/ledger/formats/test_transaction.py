"""Transactions against eth-account, published examples, and every way to be malformed."""

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_utils import to_checksum_address
from hexbytes import HexBytes
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats import transaction
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_KEYS
from chainp2p.ledger.formats.transaction import (
    MAX_TRANSACTION_BYTES,
    Transaction,
    TransactionError,
    recover_senders,
    sign_transaction,
    transaction_hash,
)
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import ORDER
from tests.ledger.common import raw_transfer, transfer

#: The example of EIP-155.
EIP155_RAW = bytes.fromhex(
    "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe"
    "537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
)
EIP155_SIGNING_HASH = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"

#: The first transaction of Ethereum's main network (block 46147); older than EIP-155.
FIRST_FIELDS = (
    0,
    50_000_000_000_000,
    21_000,
    bytes.fromhex("5df9b87991262f6ba471f09758cde1c0fc1de734"),
    31337,
    b"",
    28,
    0x88FF6CF0FEFD94DB46111149AE4BFC179E9B94721FFFD821D38D16464B3F71D0,
    0x45E0AFF800961CFCE805DAEF7016B9B675C137A6A41A548F7B60A3484C06A33A,
)
FIRST_HASH = "5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060"
FIRST_SENDER = "a1e4380a3b1f749673e270229993ee55f35663b4"

ADDRESSES = st.binary(min_size=20, max_size=20)
ACCESS_LISTS = st.lists(
    st.tuples(ADDRESSES, st.lists(st.binary(min_size=32, max_size=32), max_size=2).map(tuple)), max_size=2
).map(tuple)
FIELDS = st.fixed_dictionaries(
    {
        "chain_id": st.integers(1, 2**40),
        "nonce": st.integers(0, 2**64 - 2),
        "to": ADDRESSES,
        "value": st.integers(0, 2**256 - 1),
        "gas": st.integers(0, 2**64 - 1),
        "max_fee": st.integers(0, 2**128),
        "data": st.binary(max_size=100),
    }
)


#: All of them: equal in each means the same transaction.
COMPARED = [
    "type",
    "chain_id",
    "nonce",
    "max_fee",
    "max_priority_fee",
    "gas",
    "to",
    "value",
    "data",
    "access_list",
    "r",
    "s",
    "parity",
]


def items(*values: object) -> list[object]:
    return [rlp.encode_uint(value) if isinstance(value, int) else value for value in values]


def tampered(raw: bytes, index: int, value: object) -> bytes:
    """The transaction with one field replaced."""
    prefix, body = (b"", raw) if raw[0] >= 0xC0 else (raw[:1], raw[1:])
    fields = rlp.decode_list(body)
    fields[index] = value
    return prefix + rlp.encode(fields)


class Oracle(SynchronousTestCase):
    """The same fields signed by eth-account give the same bytes, and ours decode what it makes."""

    @settings(deadline=None, derandomize=True, max_examples=30)
    @given(FIELDS, ACCESS_LISTS, st.integers(0, 2), st.integers(0, 2**128))
    def test_signed_as_the_oracle(self, fields: dict, access_list: tuple, kind: int, tip: int) -> None:
        foreign = {
            "chainId": fields["chain_id"],
            "nonce": fields["nonce"],
            "to": fields["to"],
            "value": fields["value"],
            "gas": fields["gas"],
            "data": fields["data"],
        }
        if kind:
            foreign["type"] = kind
            foreign["accessList"] = [
                {"address": to_checksum_address(address), "storageKeys": ["0x" + key.hex() for key in keys]}
                for address, keys in access_list
            ]
            fields["access_list"] = access_list
        if kind == 2:
            foreign |= {"maxFeePerGas": fields["max_fee"], "maxPriorityFeePerGas": tip}
            fields["max_priority_fee"] = tip
        else:
            foreign["gasPrice"] = fields["max_fee"]
        signed = Account.sign_transaction(foreign, DEV_KEYS[3])
        raw = sign_transaction(DEV_KEYS[3], type=kind, **fields)
        self.assertEqual(raw, bytes(signed.raw_transaction))
        decoded = Transaction.decode(raw)
        self.assertEqual(decoded.hash, bytes(signed.hash))
        self.assertEqual(decoded.sender(), DEV_ADDRESSES[3])
        self.assertEqual(
            (decoded.parity, decoded.r, decoded.s), (signed.v - 35 & 1 if not kind else signed.v, signed.r, signed.s)
        )
        for name, value in fields.items():
            if name not in ("max_priority_fee", "access_list"):
                self.assertEqual(getattr(decoded, name), value, name)
        self.assertEqual(decoded.max_priority_fee, tip if kind == 2 else fields["max_fee"])
        self.assertEqual(decoded.access_list, access_list if kind else ())
        if kind:
            self.assertEqual(bytes(TypedTransaction.from_bytes(HexBytes(raw)).hash()), decoded.signing_hash)

    def test_eip155_example(self) -> None:
        raw = sign_transaction(
            b"\x46" * 32, chain_id=1, nonce=9, to=b"\x35" * 20, value=10**18, max_fee=20 * 10**9, type=0
        )
        self.assertEqual(raw, EIP155_RAW)
        decoded = Transaction.decode(raw)
        self.assertEqual(decoded.signing_hash.hex(), EIP155_SIGNING_HASH)
        self.assertEqual(decoded.sender().hex(), "9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f")
        self.assertEqual((decoded.chain_id, decoded.gas, decoded.to), (1, 21_000, b"\x35" * 20))

    def test_first_transaction_of_ethereum(self) -> None:
        raw = rlp.encode(items(*FIRST_FIELDS))
        decoded = Transaction.decode(raw)
        self.assertEqual(decoded.hash.hex(), FIRST_HASH)
        self.assertEqual(transaction_hash(raw).hex(), FIRST_HASH)
        self.assertEqual(decoded.sender().hex(), FIRST_SENDER)
        self.assertIsNone(decoded.chain_id)

    def test_without_replay_protection(self) -> None:
        raw = raw_transfer(chain_id=None, type=0)
        self.assertEqual(Account.recover_transaction(raw), Account.from_key(DEV_KEYS[0]).address)
        self.assertEqual(Transaction.decode(raw).sender(), DEV_ADDRESSES[0])
        with self.assertRaises(ValueError):
            raw_transfer(chain_id=None)


class Strictness(SynchronousTestCase):
    def assert_malformed(self, raw: bytes, text: str = "") -> None:
        with self.assertRaises(TransactionError) as caught:
            Transaction.decode(raw)
        self.assertTrue(caught.exception.malformed)
        self.assertIn(text, str(caught.exception))

    def test_not_a_transaction(self) -> None:
        self.assert_malformed(b"", "typed transaction too short")
        self.assert_malformed(b"\x03\xc0", "transaction type not supported")
        self.assert_malformed(b"\x00\xc0", "transaction type not supported")
        self.assert_malformed(b"\x90", "rlp: expected List")
        self.assert_malformed(b"\x02", "rlp: ")
        self.assert_malformed(b"\x02\x80", "rlp: ")
        self.assert_malformed(b"\xc0", "rlp: transaction of 0 fields, 9 are expected")
        self.assert_malformed(b"\x01\xc0", "rlp: transaction of 0 fields, 11 are expected")
        self.assert_malformed(b"\x02\xc0", "rlp: transaction of 0 fields, 12 are expected")

    def test_oversized(self) -> None:
        fits = raw_transfer(data=bytes(MAX_TRANSACTION_BYTES - 200))
        self.assertEqual(Transaction.decode(fits).raw, fits)
        self.assert_malformed(raw_transfer(data=bytes(MAX_TRANSACTION_BYTES)), "oversized data: transaction size ")

    def test_trailing_bytes(self) -> None:
        for kind in range(3):
            self.assert_malformed(raw_transfer(type=kind) + b"\0", "rlp: ")

    def test_fields(self) -> None:
        raw = raw_transfer()
        for index, value in (
            (0, bytes(9)),  # chain id
            (0, b"\x01" * 9),
            (1, b"\0\1"),  # nonce
            (1, b"\x01" * 9),
            (2, b"\x01" * 33),  # tip
            (3, [b""]),  # fee
            (5, b"\x01" * 19),  # to
            (5, [b""]),
            (7, [b""]),  # data
            (8, b""),  # access list
            (8, [b""]),
            (8, [[bytes(20)]]),
            (8, [[bytes(19), []]]),
            (8, [[bytes(20), b""]]),
            (8, [[bytes(20), [bytes(31)]]]),
            (8, [[bytes(20), [[]]]]),
            (9, b"\x01" * 9),  # parity
        ):
            with self.subTest(index=index, value=value):
                self.assert_malformed(tampered(raw, index, value), "rlp: ")

    def test_signature_range(self) -> None:
        text = "invalid sender: invalid transaction v, r, s values"
        decoded = transfer()
        raw = decoded.raw
        self.assert_malformed(tampered(raw, 9, b"\2"), text)
        self.assert_malformed(tampered(raw, 10, b""), text)
        self.assert_malformed(tampered(raw, 10, rlp.encode_uint(ORDER)), text)
        self.assert_malformed(tampered(raw, 11, b""), text)
        high = tampered(tampered(raw, 11, rlp.encode_uint(ORDER - decoded.s)), 9, rlp.encode_uint(1 - decoded.parity))
        self.assert_malformed(high, text)
        for v in (0, 1, 26, 29, 34):
            self.assert_malformed(tampered(raw_transfer(type=0), 6, rlp.encode_uint(v)), text)

    def test_no_key_recovers(self) -> None:
        # x = 5 is on no point of the curve.
        decoded = Transaction.decode(tampered(raw_transfer(), 10, b"\5"))
        with self.assertRaises(TransactionError) as caught:
            decoded.sender()
        self.assertTrue(caught.exception.malformed)
        self.assertIn("invalid sender: ", str(caught.exception))

    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(st.sampled_from([b"", b"\1", b"\2"]), st.binary(max_size=60))
    def test_arbitrary_bytes(self, prefix: bytes, data: bytes) -> None:
        with self.assertRaises(TransactionError):
            Transaction.decode(prefix + data)

    @settings(deadline=None, derandomize=True, max_examples=200)
    @given(st.integers(0, 2), st.integers(0, 200), st.integers(1, 255))
    def test_one_encoding(self, kind: int, position: int, flip: int) -> None:
        """Whatever byte is changed: it is refused, or it is another transaction; never the same one in other bytes."""
        raw = raw_transfer(type=kind)
        position %= len(raw)
        changed = raw[:position] + bytes((raw[position] ^ flip,)) + raw[position + 1 :]
        try:
            other = Transaction.decode(changed)
        except TransactionError:
            return
        original = Transaction.decode(raw)
        same = [
            getattr(other, name) == getattr(original, name)
            for name in (
                "type",
                "chain_id",
                "nonce",
                "max_fee",
                "max_priority_fee",
                "gas",
                "to",
                "value",
                "data",
                "r",
                "s",
                "parity",
            )
        ]
        self.assertFalse(all(same))
        self.assertNotEqual(other.hash, original.hash)


class UsualForm(SynchronousTestCase):
    """What one match decodes is what the decoder for everything makes of it, and it takes nothing else."""

    def check(self, raw: bytes) -> bool:
        fast = transaction._usual(raw, None)
        if fast is not None:
            self.assertEqual(fast, transaction._decode(raw, None))
        return fast is not None

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(FIELDS, st.integers(0, 2**96 - 1), st.sampled_from((0, 1, 3, 1_000)))
    def test_fields(self, fields: dict, tip: int, times: int) -> None:
        fields["data"] *= times
        raw = sign_transaction(DEV_KEYS[1], max_priority_fee=tip, **fields)
        decoded = transaction._decode(raw, None)
        usual = max(fields["value"], fields["max_fee"]) < 2**96 and len(raw) < 2**16
        self.assertEqual(self.check(raw), usual and min(decoded.r, decoded.s) >= 2**248)

    def test_every_byte_changed(self) -> None:
        for data in (b"", b"\x7f", b"\x80", b"d" * 60, b"d" * 300):
            self.change_every_byte(raw_transfer(chain_id=300, value=10**18, max_priority_fee=0, data=data))

    def change_every_byte(self, raw: bytes) -> None:
        self.assertTrue(self.check(raw))
        for position in range(len(raw)):
            for value in (0, 1, 0x7F, 0x80, 0x81, 0xA0, 0xC0, 0xFF):
                changed = raw[:position] + bytes((value,)) + raw[position + 1 :]
                try:
                    transaction._decode(changed, None)
                except TransactionError:
                    self.assertIsNone(transaction._usual(changed, None))
                else:
                    self.check(changed)
        self.assertIsNone(transaction._usual(raw + b"\0", None))

    def test_its_hash_may_be_known(self) -> None:
        for kind in range(3):
            raw = raw_transfer(type=kind)
            self.assertEqual(Transaction.decode(raw, keccak256(raw)), Transaction.decode(raw))


class Derived(SynchronousTestCase):
    def test_create(self) -> None:
        self.assertIsNone(transfer(to=None).to)

    def test_fees(self) -> None:
        dynamic = transfer(max_fee=30, max_priority_fee=4, gas=21_000, value=7)
        self.assertEqual(dynamic.max_cost, 30 * 21_000 + 7)
        self.assertEqual([dynamic.effective_tip(base) for base in (10, 26, 28, 33)], [4, 4, 2, -3])
        self.assertEqual([dynamic.effective_gas_price(base) for base in (10, 26, 28)], [14, 30, 30])
        legacy = transfer(max_fee=30, type=0)
        self.assertEqual(legacy.effective_tip(10), 20)
        self.assertEqual(legacy.effective_gas_price(10), 30)

    def test_default_tip_is_all(self) -> None:
        raw = sign_transaction(DEV_KEYS[0], chain_id=1, nonce=0, to=bytes(20), max_fee=9)
        self.assertEqual(Transaction.decode(raw).max_priority_fee, 9)

    def test_signature(self) -> None:
        decoded = transfer()
        self.assertEqual(len(decoded.signature), 65)
        self.assertEqual(decoded.hash, keccak256(decoded.raw))

    def test_recover_senders(self) -> None:
        good, bad = transfer(4), Transaction.decode(tampered(raw_transfer(), 10, b"\5"))
        first, second, third = recover_senders([good, bad, good])
        self.assertEqual((first, third), (DEV_ADDRESSES[4], DEV_ADDRESSES[4]))
        self.assertIsInstance(second, TransactionError)
        self.assertEqual(recover_senders([]), [])
