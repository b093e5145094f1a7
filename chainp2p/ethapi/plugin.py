"""The ledger as a chain plug-in: built from the settings, with Ethereum's methods on it."""

import re
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import IChainPlugin
from chainp2p.errors import SettingsError
from chainp2p.ethapi.debug import debug_namespace
from chainp2p.ethapi.eth import eth_namespace
from chainp2p.ethapi.txpool import txpool_namespace
from chainp2p.ledger.chain import Ledger
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.ledger.formats.genesis import DEV_GENESIS, DEV_KEYS, Genesis, Pow
from chainp2p.namespaces import Namespace
from chainp2p.peer.key import read_key
from chainp2p.primitives.secp256k1 import public_key
from chainp2p.settings import Settings

__all__ = ["LedgerPlugin", "read_genesis"]

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}\Z")
_HASH = re.compile(r"0[xX][0-9a-fA-F]{64}\Z")


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{name}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name}: {path}: not a text file in UTF-8") from None


def read_genesis(settings: Settings) -> Genesis:
    """Return the genesis that the settings name; SettingsError says which file is wrong and why."""
    node = settings.node
    if node.genesis is None:
        if node.schedule is not None:
            raise SettingsError("node.schedule: the built-in dev network has no scheduled changes, give --genesis too")
        return DEV_GENESIS
    schedule = None if node.schedule is None else _read("node.schedule", node.schedule)
    try:
        return Genesis.parse(_read("node.genesis", node.genesis), schedule)
    except SettingsError as error:
        files = str(node.genesis) if node.schedule is None else f"{node.genesis} with {node.schedule}"
        raise SettingsError(f"node.genesis: {files}: {error}") from None


def _signer(settings: Settings, genesis: Genesis) -> bytes | None:
    """Return the key to seal with; SettingsError if it could never seal a block of this network."""
    seal = settings.seal
    if isinstance(genesis.consensus, Pow):
        if seal.keyfile is not None:
            raise SettingsError("seal.keyfile: this network has proof of work (config.pow), use seal.mine")
        return None
    if seal.keyfile is None:
        follows = settings.network.bootstrap_nodes or settings.network.static_nodes
        return DEV_KEYS[0] if settings.node.genesis is None and not follows else None
    private = read_key(seal.keyfile)
    address = address_of(public_key(private))
    if not any(address in change.signers for change in genesis.consensus.changes):
        raise SettingsError(f"seal.keyfile: 0x{address.hex()} is not a signer of this network")
    return private


def _miner(settings: Settings, genesis: Genesis) -> bytes | None:
    """Return the address to mine for; SettingsError if there is nothing to mine."""
    text = settings.seal.mine
    if text is None:
        return None
    if not isinstance(genesis.consensus, Pow):
        raise SettingsError("seal.mine: this network is sealed by its signers (config.poa), use seal.keyfile")
    if not _ADDRESS.match(text):
        raise SettingsError(f"seal.mine: {text!r:.80} is no address (0x and 40 hex digits)")
    return bytes.fromhex(text[2:])


def _assumed(settings: Settings, genesis: Genesis) -> bytes | None:
    """Return the block up to which state roots are taken on trust."""
    text = settings.sync.assume_valid
    if text is None:
        return None
    if not isinstance(genesis.consensus, Pow):
        raise SettingsError("sync.assume_valid: a network with signers knows by their seals what is valid")
    if not _HASH.match(text):
        raise SettingsError(f"sync.assume_valid: {text!r:.80} is no hash (0x and 64 hex digits)")
    return bytes.fromhex(text[2:])


@implementer(IPlugin, IChainPlugin)
class LedgerPlugin:
    """The reference chain."""

    name = "ledger"

    def make(
        self,
        settings: Any,
        executor: Executor,
        clock: Any,
        random: Any,
        open_database: Callable[[str], sqlite3.Connection],
    ) -> Ledger:
        """See ``IChainPlugin.make``; *settings* are :class:`Settings`."""
        genesis = read_genesis(settings)
        network = settings.network
        return Ledger(
            genesis,
            executor=executor,
            now=clock,
            random=random,
            open_database=open_database,
            signer=_signer(settings, genesis),
            mine=_miner(settings, genesis),
            verify=settings.sync.verify,
            assume_valid=_assumed(settings, genesis),
            max_reorg_depth=settings.chain.max_reorg_depth,
            sole_start=not network.bootstrap_nodes and not network.static_nodes,
        )

    def namespaces(self, chain: Any) -> Sequence[Namespace]:
        """``eth``, ``txpool`` and ``debug``."""
        # a filter belongs to whoever knows its id: no seed of a simulation may tell it
        return (eth_namespace(chain, secrets.token_bytes(32)), txpool_namespace(chain), debug_namespace(chain))
