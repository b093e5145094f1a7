"""The genesis file: JSON in go-ethereum's shape, read strictly; it decides identity, first state and signers.

The identity of a network is the hash of its genesis header; the header's mixHash is keccak256 of the canonical
``config`` without entries at height > 0, so that signer changes planned later do not make another network. What is
planned must agree nevertheless: ``settings_hashes`` are what nodes compare.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import field, frozen

from chainp2p.ledger.formats.canonical import canonical_json
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS, ETHER
from chainp2p.ledger.formats.fees import GAS_LIMIT_MINIMUM
from chainp2p.ledger.formats.fields import Fields, GenesisError, parse_json
from chainp2p.ledger.formats.header import MAX_EXTRA_BYTES, Header, make_header
from chainp2p.ledger.state.accounts import Account, State
from chainp2p.primitives.keccak import keccak256

__all__ = [
    "DEV_ADDRESSES",
    "DEV_GENESIS",
    "DEV_KEYS",
    "ETHER",
    "Genesis",
    "GenesisError",
    "Poa",
    "Pow",
    "SignerChange",
    "genesis_json",
    "make_genesis",
]

#: Shortest period of slots that is not 0 (on demand), in milliseconds.
MIN_PERIOD_MS = 250

#: Shortest mean time between mined blocks, in milliseconds: timestamps are whole seconds, and each has to be above the
#: median of those before.
MIN_WORK_PERIOD_MS = 1000

#: Difficulty doubles or halves when the chain is ahead or behind by this many seconds, unless told otherwise.
DEFAULT_HALF_LIFE = 3600

#: Entries of ``Status.settings`` (wire format).
MAX_SETTINGS = 16

DEFAULT_GAS_LIMIT = 30_000_000
DEFAULT_BASE_FEE = 10**9

#: Forks of Ethereum that geth's files list; all of them up to London are in force from the start.
_FORKS = (
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "muirGlacierBlock",
    "berlinBlock",
    "londonBlock",
)


@frozen
class SignerChange:
    """From *height* on the signers are these."""

    height: int
    signers: tuple[bytes, ...]

    def as_json(self) -> dict[str, object]:
        return {"height": self.height, "signers": ["0x" + signer.hex() for signer in self.signers]}


@frozen
class Poa:
    """Proof of authority: slots of *period_ms* (0: on demand), *changes* in order of height, the first at 0."""

    period_ms: int
    changes: tuple[SignerChange, ...]

    @property
    def on_demand(self) -> bool:
        return self.period_ms == 0


@frozen
class Pow:
    """Proof of work: a block every *period_ms* on average; *half_life* in seconds, *reward* a block in wei."""

    period_ms: int
    half_life: int
    reward: int

    @property
    def changes(self) -> tuple[SignerChange, ...]:
        """Nobody signs."""
        return ()


@frozen
class Genesis:
    """A checked genesis file together with the scheduled changes."""

    chain_id: int
    config: dict[str, Any] = field(repr=False)  #: as written, without scheduled changes
    consensus: Poa | Pow
    alloc: Mapping[bytes, Account] = field(repr=False)
    header: Header

    @classmethod
    def parse(
        cls, source: "str | bytes | Mapping[str, Any]", schedule: "str | bytes | Mapping[str, Any] | None" = None
    ) -> "Genesis":
        """Read a genesis file, and the file of scheduled changes if there is one; raises :exc:`GenesisError`.

        :param source: the text, or what JSON made of it.
        :param schedule: ``{"changes": [{"height", "signers"}]}``, likewise.
        """
        fields = Fields(parse_json(source, "genesis"), "")
        config = fields.object("config")
        chain_id, consensus, plain = _parse_config(config, schedule)
        alloc = _parse_alloc(fields.object("alloc", {}), consensus)
        difficulty = _parse_difficulty(fields, consensus)
        header = _parse_header(fields, plain, State.of(alloc).root, difficulty)
        fields.end()
        return cls(chain_id, plain, consensus, alloc, header)

    @property
    def hash(self) -> bytes:
        """Identity of the network."""
        return self.header.hash

    @cached_property
    def state(self) -> State:
        """The accounts of the genesis block."""
        return State.of(self.alloc)

    @property
    def base_fee(self) -> int:
        return self.header.base_fee

    def signers_at(self, height: int) -> tuple[bytes, ...]:
        """Return the signer list in force at *height*, in the order of their turns."""
        return self.consensus.changes[bisect_right(self._heights, height) - 1].signers

    @cached_property
    def _heights(self) -> list[int]:
        return [change.height for change in self.consensus.changes]

    def settings_hashes(self) -> tuple[tuple[int, bytes], ...]:
        """Return (height, hash of the settings up to it) of the last 16 scheduled changes, lowest first."""
        planned = self.consensus.changes[1:]
        return tuple(
            (change.height, keccak256(canonical_json(_with_changes(self.config, planned[: index + 1]))))
            for index, change in enumerate(planned)
        )[-MAX_SETTINGS:]


def _with_changes(config: Mapping[str, Any], changes: tuple[SignerChange, ...]) -> dict[str, object]:
    poa = {**config["poa"], "changes": [change.as_json() for change in changes]}
    return {**config, "poa": poa}


def _parse_config(
    config: Fields, schedule: "str | bytes | Mapping[str, Any] | None"
) -> tuple[int, Poa | Pow, dict[str, Any]]:
    plain = dict(config.members)
    chain_id = config.integer("chainId", minimum=1, maximum=(1 << 63) - 18)
    for fork in _FORKS:
        if config.integer(fork, 0) != 0:
            raise GenesisError(f"{config.name(fork)}: this fork is in force from block 0, 0 is the only value")
    consensus: Poa | Pow
    if config.has("pow"):
        consensus = _parse_pow(config, schedule)
    else:
        consensus = _parse_poa(config, schedule)
        plain["poa"] = {name: value for name, value in config.members["poa"].items() if name != "changes"}
    config.end()
    try:
        canonical_json(plain)
    except ValueError as error:
        raise GenesisError(f"config: {error}") from None
    return chain_id, consensus, plain


def _parse_pow(config: Fields, schedule: "str | bytes | Mapping[str, Any] | None") -> Pow:
    if config.has("poa"):
        raise GenesisError(f"{config.name('pow')}: there is config.poa already, and one of them decides")
    if schedule is not None:
        raise GenesisError("schedule: a network with proof of work (config.pow) has no signers that could change")
    pow = config.object("pow")
    period = pow.integer("periodMs", minimum=MIN_WORK_PERIOD_MS, maximum=(1 << 32) - 1)
    half_life = pow.integer("halfLife", DEFAULT_HALF_LIFE, minimum=1, maximum=(1 << 32) - 1)
    reward = pow.integer("reward", 0, maximum=(1 << 128) - 1)
    pow.end()
    return Pow(period, half_life, reward)


def _parse_poa(config: Fields, schedule: "str | bytes | Mapping[str, Any] | None") -> Poa:
    poa = config.object("poa")
    period = poa.integer("periodMs", maximum=(1 << 32) - 1)
    if 0 < period < MIN_PERIOD_MS:
        raise GenesisError(f"{poa.name('periodMs')}: {period} is neither 0 (on demand) nor at least {MIN_PERIOD_MS}")
    changes = [SignerChange(0, _signers(poa, "signers")), *_changes(poa)]
    poa.end()
    if schedule is not None:
        planned = Fields(parse_json(schedule, "schedule"), "schedule")
        changes += _changes(planned)
        planned.end()
    changes.sort(key=lambda change: change.height)
    _check_changes(changes, on_demand=period == 0)
    return Poa(period, tuple(changes))


def _signers(fields: Fields, name: str) -> tuple[bytes, ...]:
    signers = tuple(fields.addresses(name))
    if not signers:
        raise GenesisError(f"{fields.name(name)}: at least one signer is needed")
    if len(set(signers)) != len(signers):
        raise GenesisError(f"{fields.name(name)}: a signer is listed twice")
    return signers


def _changes(fields: Fields) -> list[SignerChange]:
    changes = []
    for entry in fields.objects("changes"):
        changes.append(SignerChange(entry.integer("height", minimum=1), _signers(entry, "signers")))
        entry.end()
    return changes


def _check_changes(changes: list[SignerChange], on_demand: bool) -> None:
    """Neighbouring lists differ by one key: any two quorums of theirs then share a signer that is not faulty."""
    if on_demand and (len(changes) > 1 or len(changes[0].signers) != 1):
        raise GenesisError("config.poa: periodMs 0 (on demand) needs exactly one signer and no changes")
    for before, after in zip(changes, changes[1:], strict=False):
        if before.height == after.height:
            raise GenesisError(f"changes: two entries for height {after.height}")
        if len(set(before.signers) ^ set(after.signers)) != 1:
            raise GenesisError(f"changes: the signers at height {after.height} must add or remove exactly one key")


def _parse_alloc(fields: Fields, consensus: Poa | Pow) -> dict[bytes, Account]:
    alloc: dict[bytes, Account] = {}
    for text in fields.members:
        address = fields.key_address(text)
        if address in alloc:
            raise GenesisError(f"{fields.name(text)}: this address is listed twice")
        entry = fields.object(text)
        for contract in ("code", "storage"):
            if entry.take(contract, None) not in (None, "", "0x", {}):
                raise GenesisError(f"{entry.name(contract)}: this chain has no contracts")
        alloc[address] = Account(entry.integer("nonce", 0), entry.integer("balance", maximum=(1 << 256) - 1))
        entry.end()
    # heights are of 64 bits: no balance will ever overflow
    rewards = consensus.reward << 64 if isinstance(consensus, Pow) else 0
    if sum(account.balance for account in alloc.values()) + rewards >= 1 << 256:
        and_rewards = " and all rewards to come" if rewards else ""
        raise GenesisError(f"{fields.name('')[:-1]}: the balances{and_rewards} together exceed 2^256-1")
    return alloc


def _parse_difficulty(fields: Fields, consensus: Poa | Pow) -> int:
    if isinstance(consensus, Pow):
        return fields.integer("difficulty", minimum=1, maximum=(1 << 256) - 1)
    if fields.integer("difficulty", 1) != 1:
        raise GenesisError(f"{fields.name('difficulty')}: 1 is the only value")
    return 1


def _parse_header(fields: Fields, config: dict[str, Any], state_root: bytes, difficulty: int) -> Header:
    for name, only in (("nonce", 0), ("number", 0), ("gasUsed", 0)):
        if fields.integer(name, only) != only:
            raise GenesisError(f"{fields.name(name)}: {only} is the only value")
    if any(fields.data("parentHash", 32)):
        raise GenesisError(f"{fields.name('parentHash')}: must be zero")
    identity = keccak256(canonical_json(config))
    mix_hash = fields.data("mixHash", 32)
    if any(mix_hash) and mix_hash != identity:
        raise GenesisError(f"{fields.name('mixHash')}: it is made from config (0x{identity.hex()}); leave it out")
    base_fee = fields.integer("baseFeePerGas", DEFAULT_BASE_FEE, minimum=1, maximum=(1 << 128) - 1)
    return make_header(
        miner=fields.data("coinbase", 20),
        state_root=state_root,
        difficulty=difficulty,
        number=0,
        gas_limit=fields.integer("gasLimit", DEFAULT_GAS_LIMIT, minimum=GAS_LIMIT_MINIMUM, maximum=(1 << 63) - 1),
        timestamp=fields.integer("timestamp", 0),
        extra=fields.data("extraData", None, MAX_EXTRA_BYTES),
        mix_hash=identity,
        base_fee=base_fee,
    )


def genesis_json(
    *, chain_id: int, signers: Sequence[bytes], period_ms: int, alloc: Mapping[bytes, int], timestamp: int
) -> dict[str, object]:
    """Return the genesis file of a network as JSON values; addresses are 20 bytes, *alloc* holds balances in wei."""
    return {
        "config": {
            "chainId": chain_id,
            "poa": {"periodMs": period_ms, "signers": ["0x" + signer.hex() for signer in signers]},
        },
        "timestamp": hex(timestamp),
        "alloc": {"0x" + address.hex(): {"balance": hex(balance)} for address, balance in alloc.items()},
    }


def make_genesis(
    *, chain_id: int, signers: Sequence[bytes], period_ms: int, alloc: Mapping[bytes, int], timestamp: int = 0
) -> Genesis:
    """Return the genesis of such a network; raises :exc:`GenesisError`."""
    return Genesis.parse(
        genesis_json(chain_id=chain_id, signers=signers, period_ms=period_ms, alloc=alloc, timestamp=timestamp)
    )


#: The built-in network: seals on demand with the first dev key, each dev account holds 10,000 ether.
DEV_GENESIS = make_genesis(
    chain_id=DEV_CHAIN_ID,
    signers=DEV_ADDRESSES[:1],
    period_ms=0,
    alloc=dict.fromkeys(DEV_ADDRESSES, 10_000 * ETHER),
)
