"""Genesis files: what they mean, and that each wrong field is refused by its name."""

import json

from eth_account import Account as Wallet
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.ledger.formats.canonical import canonical_json
from chainp2p.ledger.formats.devkeys import DEV_CHAIN_ID
from chainp2p.ledger.formats.genesis import (
    DEV_ADDRESSES,
    DEV_GENESIS,
    DEV_KEYS,
    ETHER,
    Genesis,
    GenesisError,
    genesis_json,
    make_genesis,
)
from chainp2p.ledger.formats.header import Header
from chainp2p.ledger.state.accounts import Account, State
from chainp2p.primitives.keccak import keccak256

A, B, C, D = ("0x" + address.hex() for address in DEV_ADDRESSES[:4])
MNEMONIC = "test test test test test test test test test test test junk"


def file(**members: object) -> dict[str, object]:
    return {"config": config(), "alloc": {A: {"balance": "0x10"}}, **members}


def config(**poa: object) -> dict[str, object]:
    return {"chainId": 1337, "poa": {"periodMs": 1000, "signers": [A, B], **poa}}


class Dev(SynchronousTestCase):
    def test_accounts(self) -> None:
        Wallet.enable_unaudited_hdwallet_features()
        first = Wallet.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/0")
        last = Wallet.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/9")
        self.assertEqual((bytes(first.key), bytes(last.key)), (DEV_KEYS[0], DEV_KEYS[9]))
        for key, address in zip(DEV_KEYS, DEV_ADDRESSES, strict=True):
            self.assertEqual(Wallet.from_key(key).address.lower(), "0x" + address.hex())

    def test_network(self) -> None:
        self.assertEqual(DEV_GENESIS.chain_id, DEV_CHAIN_ID)
        self.assertTrue(DEV_GENESIS.consensus.on_demand)
        self.assertEqual(DEV_GENESIS.signers_at(99), DEV_ADDRESSES[:1])
        self.assertEqual(DEV_GENESIS.state.account(DEV_ADDRESSES[9]), Account(0, 10_000 * ETHER))
        self.assertEqual(DEV_GENESIS.settings_hashes(), ())


class Meaning(SynchronousTestCase):
    def test_header(self) -> None:
        genesis = Genesis.parse(
            file(
                timestamp="0x64",
                gasLimit="5000",
                coinbase=B,
                extraData="0x0102",
                baseFeePerGas=8,
                difficulty="0x1",
                nonce="0x0",
                number=0,
                gasUsed="0",
                parentHash="0x" + "00" * 32,
            )
        )
        header = Header.decode(genesis.header.raw)
        self.assertEqual(header.hash, genesis.hash)
        self.assertEqual((header.number, header.nonce, header.difficulty, header.seal), (0, 0, 1, b""))
        self.assertEqual((header.timestamp, header.gas_limit, header.base_fee), (100, 5000, 8))
        self.assertEqual((header.miner, header.extra, header.parent), (DEV_ADDRESSES[1], b"\1\2", bytes(32)))
        self.assertEqual(header.mix_hash, keccak256(canonical_json(config())))
        self.assertEqual(header.state_root, State.of({DEV_ADDRESSES[0]: Account(0, 16)}).root)
        self.assertEqual(genesis.base_fee, 8)
        self.assertEqual(genesis.state.root, header.state_root)

    def test_text_bytes_and_values_agree(self) -> None:
        text = json.dumps(file(), indent=3)
        self.assertEqual(Genesis.parse(text).hash, Genesis.parse(file()).hash)
        self.assertEqual(Genesis.parse(text.encode()).hash, Genesis.parse(file()).hash)

    def test_known_mix_hash(self) -> None:
        plain = Genesis.parse(file())
        repeated = file(mixHash="0x" + plain.header.mix_hash.hex())
        self.assertEqual(Genesis.parse(repeated).hash, plain.hash)
        self.assertEqual(Genesis.parse(file(mixHash="0x" + "00" * 32)).hash, plain.hash)

    def test_forms_of_alloc(self) -> None:
        entries = {
            A[2:]: {"balance": "16"},
            B.upper().replace("0X", "0x"): {"balance": 7, "nonce": "0x2", "code": "0x"},
        }
        genesis = Genesis.parse(file(alloc=entries))
        self.assertEqual(genesis.alloc, {DEV_ADDRESSES[0]: Account(0, 16), DEV_ADDRESSES[1]: Account(2, 7)})
        self.assertEqual(Genesis.parse({"config": config()}).state.root, State().root)

    def test_every_part_is_identity(self) -> None:
        variants = [
            file(),
            file(timestamp=1),
            file(alloc={}),
            file(config={**config(), "chainId": 1338}),
            file(config=config(periodMs=2000)),
            file(config=config(signers=[B, A])),
            file(config={**config(), "londonBlock": 0}),
        ]
        self.assertEqual(len({Genesis.parse(variant).hash for variant in variants}), len(variants))

    def test_helper(self) -> None:
        alloc = {DEV_ADDRESSES[5]: 3 * ETHER}
        made = make_genesis(chain_id=5, signers=DEV_ADDRESSES[:3], period_ms=500, alloc=alloc, timestamp=9)
        written = genesis_json(chain_id=5, signers=DEV_ADDRESSES[:3], period_ms=500, alloc=alloc, timestamp=9)
        self.assertEqual(Genesis.parse(json.dumps(written)).hash, made.hash)
        self.assertEqual((made.consensus.period_ms, made.header.timestamp), (500, 9))
        self.assertFalse(made.consensus.on_demand)


class Schedule(SynchronousTestCase):
    GROW = {"height": 10, "signers": [A, B, C]}
    SHRINK = {"height": "0x14", "signers": [B, C]}

    def test_signers_at(self) -> None:
        genesis = Genesis.parse(file(config=config(changes=[self.SHRINK, self.GROW])))
        a, b, c = DEV_ADDRESSES[:3]
        expected = {0: (a, b), 9: (a, b), 10: (a, b, c), 19: (a, b, c), 20: (b, c), 10**9: (b, c)}
        self.assertEqual({height: genesis.signers_at(height) for height in expected}, expected)

    def test_changes_are_not_identity(self) -> None:
        plain = Genesis.parse(file())
        inside = Genesis.parse(file(config=config(changes=[self.GROW, self.SHRINK])))
        beside = Genesis.parse(file(), json.dumps({"changes": [self.GROW, self.SHRINK]}))
        both = Genesis.parse(file(config=config(changes=[self.GROW])), {"changes": [self.SHRINK]})
        none = Genesis.parse(file(config=config(changes=[])), {"changes": []})
        for genesis in (inside, beside, both, none):
            self.assertEqual(genesis.hash, plain.hash)
        self.assertEqual(inside.settings_hashes(), beside.settings_hashes())
        self.assertEqual(inside.settings_hashes(), both.settings_hashes())
        self.assertEqual(none.settings_hashes(), ())
        first, second = inside.settings_hashes()
        self.assertEqual((first[0], second[0]), (10, 20))
        self.assertEqual(first[1], keccak256(canonical_json(config(changes=[self.GROW]))))
        self.assertEqual(
            second[1], keccak256(canonical_json(config(changes=[self.GROW, {**self.SHRINK, "height": 20}])))
        )

    def test_last_sixteen(self) -> None:
        lists = [[A, B, C], [A, B]] * 10
        changes = [{"height": index + 1, "signers": signers} for index, signers in enumerate(lists)]
        hashes = Genesis.parse(file(), {"changes": changes}).settings_hashes()
        self.assertEqual([height for height, _ in hashes], list(range(5, 21)))
        self.assertEqual(len({hash for _, hash in hashes}), 16)


class Refusals(SynchronousTestCase):
    def assert_refused(self, source: object, *texts: str, schedule: object = None) -> None:
        with self.assertRaises(GenesisError) as caught:
            Genesis.parse(source, schedule)
        self.assertIsInstance(caught.exception, SettingsError)
        for text in texts:
            self.assertIn(text, str(caught.exception))

    def test_not_an_object(self) -> None:
        self.assert_refused("{", "genesis: not JSON")
        self.assert_refused("[]", "genesis: a JSON object is expected")
        self.assert_refused(b"\xff", "genesis: not JSON")
        self.assert_refused("[" * 5_000, "genesis: not JSON")
        self.assert_refused('{"timestamp": NaN}', "genesis: NaN is no number")
        self.assert_refused('{"config": {"chainId": 1, "chainId": 2}}', "genesis: chainId: given twice")
        self.assert_refused('{"timestamp": ' + "9" * 5_000 + "}", "genesis: not JSON")
        self.assert_refused(file(), "schedule: not JSON", schedule="no")
        self.assert_refused(file(), "schedule.extra: unknown field", schedule={"changes": [], "extra": 1})

    def test_top_level(self) -> None:
        for member, value, text in (
            ("config", None, "a JSON object is expected"),
            ("alloc", [], "a JSON object is expected"),
            ("extra", 1, "unknown field"),
            ("nonce", 1, "0 is the only value"),
            ("number", 1, "0 is the only value"),
            ("gasUsed", 1, "0 is the only value"),
            ("difficulty", 2, "1 is the only value"),
            ("parentHash", "0x" + "01" * 32, "must be zero"),
            ("mixHash", "0x" + "01" * 32, "made from config"),
            ("mixHash", "0x01", "32 bytes are expected, not 1"),
            ("coinbase", "0x01", "20 bytes are expected, not 1"),
            ("coinbase", 5, "no 0x-hexadecimal data"),
            ("extraData", "0x" + "01" * 33, "at most 32 bytes are allowed, not 33"),
            ("extraData", "0x1", "no 0x-hexadecimal data"),
            ("timestamp", -1, "-1 is not between 0 and"),
            ("timestamp", 1.5, "1.5 is no integer"),
            ("timestamp", True, "True is no integer"),
            ("timestamp", "", "'' is no integer"),
            ("timestamp", "0x", "'0x' is no integer"),
            ("timestamp", "9" * 5_000, "is no integer"),
            ("timestamp", None, "None is no integer"),
            ("gasLimit", 4999, "4999 is not between 5000"),
            ("baseFeePerGas", 0, "0 is not between 1"),
        ):
            with self.subTest(member=member, value=value):
                self.assert_refused(file(**{member: value}), member, text)
        self.assert_refused({"alloc": {}}, "config: missing")

    def test_config(self) -> None:
        for changed, text in (
            ({"poa": {"periodMs": 1000, "signers": [A]}}, "config.chainId: missing"),
            ({"chainId": 1}, "config.poa: missing"),
            ({**config(), "chainId": 0}, "config.chainId: 0 is not between 1"),
            ({**config(), "clique": {}}, "config.clique: unknown field"),
            ({**config(), "londonBlock": 5}, "config.londonBlock: this fork is in force from block 0"),
            ({**config(), "chainId": 2**53}, "config: 9007199254740992 has no canonical form: write it as a string"),
            ({"chainId": 1, "pow": {}}, "config.pow.periodMs: missing"),
            ({"chainId": 1, "pow": {"periodMs": 999}}, "config.pow.periodMs: 999 is not between 1000"),
            ({"chainId": 1, "pow": {"periodMs": 1000, "halfLife": 0}}, "config.pow.halfLife: 0 is not between 1"),
            ({"chainId": 1, "pow": {"periodMs": 1000, "reward": -1}}, "config.pow.reward: -1 is not between 0"),
            ({"chainId": 1, "pow": {"periodMs": 1000, "bits": 1}}, "config.pow.bits: unknown field"),
            ({"chainId": 1, "pow": {}, "poa": {}}, "config.pow: there is config.poa already"),
            (config(periodMs=249), "config.poa.periodMs: 249 is neither 0 (on demand) nor at least 250"),
            (config(periodMs="fast"), "config.poa.periodMs: 'fast' is no integer"),
            (config(periodMs=0), "config.poa: periodMs 0 (on demand) needs exactly one signer"),
            (config(epoch=1), "config.poa.epoch: unknown field"),
            (config(signers=[]), "config.poa.signers: at least one signer is needed"),
            (config(signers=A), "config.poa.signers: a list is expected"),
            (config(signers=[A, 5]), "config.poa.signers[1]: 5 is no address"),
            (config(signers=[A, A[:-1]]), "config.poa.signers[1]:"),
            (config(signers=[A, A]), "config.poa.signers: a signer is listed twice"),
            (config(changes={}), "config.poa.changes: a list is expected"),
            (config(changes=[5]), "config.poa.changes[0]: a JSON object is expected"),
            (config(changes=[{"signers": [A]}]), "config.poa.changes[0].height: missing"),
            (config(changes=[{"height": 0, "signers": [A]}]), "config.poa.changes[0].height: 0 is not between 1"),
            (config(changes=[{"height": 1, "signers": [A], "x": 1}]), "config.poa.changes[0].x: unknown field"),
            (config(changes=[{"height": 1, "signers": [A, C]}]), "height 1 must add or remove exactly one key"),
            (config(changes=[{"height": 1, "signers": [B, A]}]), "height 1 must add or remove exactly one key"),
            (
                config(changes=[{"height": 1, "signers": [A]}, {"height": 1, "signers": [B]}]),
                "two entries for height 1",
            ),
        ):
            with self.subTest(text):
                self.assert_refused(file(config=changed), text)
        on_demand = config(periodMs=0, signers=[A])
        self.assertTrue(Genesis.parse(file(config=on_demand)).consensus.on_demand)
        self.assert_refused(
            file(config=on_demand), "needs exactly one signer", schedule={"changes": [{"height": 1, "signers": [A, B]}]}
        )

    def test_alloc(self) -> None:
        for entries, text in (
            ({"0x12": {"balance": 1}}, "alloc.0x12: the name is no address"),
            ({A: 5}, f"alloc.{A}: a JSON object is expected"),
            ({A: {}}, f"alloc.{A}.balance: missing"),
            ({A: {"balance": "1e18"}}, f"alloc.{A}.balance: '1e18' is no integer"),
            ({A: {"balance": 2**256}}, f"alloc.{A}.balance:"),
            ({A: {"balance": 1, "code": "0x6000"}}, f"alloc.{A}.code: this chain has no contracts"),
            ({A: {"balance": 1, "storage": {"0x0": "0x1"}}}, f"alloc.{A}.storage: this chain has no contracts"),
            ({A: {"balance": 1, "secretKey": "0x"}}, f"alloc.{A}.secretKey: unknown field"),
            ({A: {"balance": 1}, A[2:]: {"balance": 1}}, "this address is listed twice"),
            ({A: {"balance": 2**255}, B: {"balance": 2**255}}, "alloc: the balances together exceed 2^256-1"),
        ):
            with self.subTest(text):
                self.assert_refused(file(alloc=entries), text)
