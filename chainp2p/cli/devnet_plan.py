"""What a devnet is to look like: ports, keys, genesis file and the arguments of each node."""

import json
import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from attrs import field, frozen

from chainp2p.errors import SettingsError, StartupError
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS, ETHER
from chainp2p.ledger.formats.genesis import genesis_json
from chainp2p.node.config import DEV_ORIGINS
from chainp2p.node.home import KEY_FILE, LOCK_FILE
from chainp2p.peer.key import NodeKey, read_key, write_private
from chainp2p.primitives.keccak import keccak256

__all__ = [
    "DEVNET_FILE",
    "LEDGER",
    "Folder",
    "NodePlan",
    "Options",
    "accounts",
    "checksummed",
    "choose_ports",
]

HOST = "127.0.0.1"
#: The chain that has a genesis file, signers and funded accounts; any other brings its own.
LEDGER = "ledger"
DEVNET_FILE, GENESIS_FILE, SIGNER_FILE = "devnet.json", "genesis.json", "signer.key"
#: First ports for peers, RPC and admin; from 8545 to 8580 there is room for 35 nodes.
FIRST_PORTS, MAX_NODES = (30303, 8545, 8580), 35
#: With --base-port each node has ten ports of which it uses three.
PORTS_PER_NODE = 10
MAX_NODES_BASED = 1000


@frozen(kw_only=True)
class Options:
    """What the command line asked for. *period* in seconds, *latency* in milliseconds, *loss* in percent."""

    nodes: int = 4
    period: float = 1.0
    base_port: int | None = None
    keep: bool = False
    signers: int | None = None
    latency: float = 0.0
    loss: float = 0.0
    chain: str = LEDGER
    discovery: bool = True
    pex: bool = True


@frozen
class NodePlan:
    """One node of the network; *number* counts from 1."""

    number: int
    folder: Path
    ports: tuple[int, int, int]  #: peers, RPC, admin
    key: NodeKey = field(repr=False)
    seals: bool

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        """``PEERID@host:port``, which holds whatever record the node has signed last."""
        return f"{self.key.peer_id.hex()}@{HOST}:{self.ports[0]}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self.ports[2]}"

    def arguments(self, genesis: Path, bootstrap: "NodePlan | None", options: Options) -> list[str]:
        """Options of ``twistd chainp2p``."""
        peers, rpc, admin = (f"tcp:{port}:interface={HOST}" for port in self.ports)
        chain = ["--genesis", str(genesis)] if options.chain == LEDGER else ["--chain", options.chain]
        words = ["--data-dir", str(self.folder), *chain, "--profile", "private"]
        words += ["--listen", peers, "--rpc", rpc, "--admin", admin, "--admin-auth", "none"]
        words += ["--rpc-origins", ",".join(DEV_ORIGINS)]
        if self.seals:
            words += ["--seal", str(self.folder / SIGNER_FILE)]
        if bootstrap is not None:
            words += ["--bootstrap", bootstrap.address]
        if not options.discovery:
            words += ["--no-discovery"]
        if not options.pex:
            words += ["--no-pex"]
        if options.latency:
            words += ["--latency", f"{options.latency:g}"]
        if options.loss:
            words += ["--loss", f"{options.loss:g}"]
        return words


def checksummed(account: bytes) -> str:
    """Write an account as EIP-55 asks, which wallets insist on."""
    digits = account.hex()
    digest = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(check, 16) >= 8 else digit for digit, check in zip(digits, digest, strict=False)
    )


def accounts() -> list[dict[str, str]]:
    """The funded accounts, as ``devnet.json`` lists them."""
    pairs = zip(DEV_ADDRESSES, DEV_KEYS, strict=True)
    return [{"address": checksummed(account), "privateKey": "0x" + key.hex()} for account, key in pairs]


def _is_free(port: int) -> bool:
    """Whether both TCP and UDP can have *port*: peers use the two of one number."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind((HOST, port))
            udp.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_free(taken: Iterable[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def choose_ports(
    number: int,
    base: int | None,
    taken: set[int],
    say: Callable[[str], object],
    is_free: Callable[[int], bool] = _is_free,
) -> tuple[int, int, int]:
    """Return three ports for node *number* and add them to *taken*.

    With a *base* they are fixed and a busy one is an error; without, busy ones are replaced and *say* is told.
    """
    if base is not None:
        first = base + PORTS_PER_NODE * (number - 1)
        wanted = [first, first + 1, first + 2]
    else:
        wanted = [port + number - 1 for port in FIRST_PORTS]
    chosen = []
    for port in wanted:
        if not 0 < port < 65_536:
            raise SettingsError(f"node{number}: port {port} is above 65535; choose a lower --base-port")
        if port in taken or not is_free(port):
            if base is not None:
                raise StartupError(f"node{number}: port {port} is in use; choose another --base-port")
            replacement = _any_free(taken)
            say(f"port {port} is in use: node{number} takes {replacement} instead")
            port = replacement
        taken.add(port)
        chosen.append(port)
    return chosen[0], chosen[1], chosen[2]


class Folder:
    """The data directory of a devnet; whoever uses it holds its lock.

    :param entropy: for the keys of the nodes.
    """

    def __init__(self, path: Path, entropy: Callable[[int], bytes]) -> None:
        self.path = path
        self._entropy = entropy

    @property
    def genesis(self) -> Path:
        return self.path / GENESIS_FILE

    def check(self) -> None:
        """StartupError if something lives here that is no devnet: it would be wiped."""
        others = [file.name for file in self.path.glob("*") if file.name != LOCK_FILE]
        if others and not (self.path / DEVNET_FILE).exists():
            raise StartupError(
                f"{self.path} holds files but no {DEVNET_FILE}: not a devnet; remove it or choose another"
            )

    def wipe(self) -> None:
        """Remove everything but the lock."""
        for file in self.path.glob("*"):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif file.name != LOCK_FILE:
                file.unlink()

    def node_numbers(self) -> list[int]:
        """The nodes that are here already."""
        return sorted(int(file.name[4:]) for file in self.path.glob("node*") if file.name[4:].isdigit())

    def plan(self, number: int, ports: tuple[int, int, int], seals: bool) -> NodePlan:
        """Make the directory and the keys of a node, or find them."""
        folder = self.path / f"node{number}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if seals:
            NodeKey.load_or_create(folder / SIGNER_FILE, self._entropy)
        key = NodeKey.load_or_create(folder / KEY_FILE, self._entropy)
        return NodePlan(number, folder, ports, key, (folder / SIGNER_FILE).exists())

    def write_genesis(self, signers: Sequence[NodePlan], period: float, now: float) -> None:
        """Write the genesis file of a network with these signers, in the order of their turns."""
        keys = [NodeKey(read_key(plan.folder / SIGNER_FILE)) for plan in signers]
        document = genesis_json(
            chain_id=DEV_CHAIN_ID,
            signers=[address_of(key.public) for key in keys],
            period_ms=round(period * 1000),
            alloc=dict.fromkeys(DEV_ADDRESSES, 10_000 * ETHER),
            timestamp=int(now),
        )
        write_atomically(self.genesis, json.dumps(document, indent=1) + "\n")

    def write_devnet(self, nodes: Sequence[dict[str, object]], chain: str) -> None:
        """Write ``devnet.json``, whole or not at all."""
        document = {"chainId": DEV_CHAIN_ID, "nodes": nodes, "accounts": accounts() if chain == LEDGER else []}
        write_atomically(self.path / DEVNET_FILE, json.dumps(document, indent=1) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one rename; the keys in it are for its owner."""
    write_private(path, text.encode())
