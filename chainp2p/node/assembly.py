"""Finds a chain by its name among the Twisted plug-ins, and builds it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.plugin import getPlugins

from chainp2p.chain.executor import Executor
from chainp2p.chain.interfaces import IChain, IChainPlugin
from chainp2p.errors import SettingsError
from chainp2p.node.threads import ThreadExecutor
from chainp2p.settings import RpcSettings, Settings

if TYPE_CHECKING:
    import random
    import sqlite3

__all__ = ["ADMIN_NAMESPACES", "check_api", "check_chain", "data_folder", "find_plugin", "make_chain"]

#: Namespaces that every chain has on the RPC port, and those of the admin port alone.
COMMON_NAMESPACES, ADMIN_NAMESPACES = ("net", "web3", "chain", "rpc"), ("admin", "debug")


def find_plugin(name: str) -> IChainPlugin:
    """Return the chain plug-in that calls itself *name*; SettingsError lists those that there are."""
    plugins = {plugin.name: plugin for plugin in getPlugins(IChainPlugin)}
    if name not in plugins:
        raise SettingsError(f"node.chain: {name!r} is not installed; there are: {', '.join(sorted(plugins)) or 'none'}")
    return plugins[name]


def make_chain(
    settings: Settings,
    executor: Executor,
    clock: Callable[[], float],
    random: "random.Random",
    open_database: "Callable[[str], sqlite3.Connection]",
) -> Any:
    """Build the chain that the settings name; SettingsError if they do not fit it."""
    chain = find_plugin(settings.node.chain).make(settings, executor, clock, random, open_database)
    if not IChain.providedBy(chain):
        raise SettingsError(f"node.chain: {settings.node.chain!r} made no IChain")
    return chain


def data_folder(settings: Settings, genesis_hash: bytes) -> Path:
    """The data directory: as set, else named after the network."""
    if settings.node.data_dir is not None:
        return settings.node.data_dir
    from chainp2p.node.config import is_dev

    network = "dev" if is_dev(settings) else genesis_hash[:4].hex()
    return Path("~/.chainp2p").expanduser() / network


def check_chain(settings: Settings) -> Any:
    """Build the chain and throw it away, so that a wrong genesis is found before anything is opened or forked."""
    import random

    def refuse(name: str) -> "sqlite3.Connection":
        raise SettingsError(f"node.chain: {settings.node.chain!r} opens {name} before it is started")

    # no thread starts before the first job
    chain = make_chain(settings, ThreadExecutor(None, 1), lambda: 0.0, random.SystemRandom(), refuse)
    names = [namespace.name for namespace in find_plugin(settings.node.chain).namespaces(chain)]
    check_api(settings.rpc.api, [*names, *COMMON_NAMESPACES])
    return chain


def check_api(asked: Sequence[str], known: Sequence[str]) -> None:
    """SettingsError if the RPC port is to serve a namespace that there is not, or that only operators get."""
    for name in asked:
        if name in ADMIN_NAMESPACES:
            raise SettingsError(f"rpc.api: {name!r} is served on the admin port only")
        # another chain than the ledger has no eth methods: the default list asks for what there is
        if name not in known and name not in RpcSettings().api:
            raise SettingsError(f"rpc.api: there is no namespace {name!r}; there are {', '.join(sorted(known))}")
