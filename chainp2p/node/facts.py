"""What is known of a node and its machine, and what :mod:`chainp2p.node.doctor` finds in it, as values."""

from collections.abc import Mapping, Sequence
from enum import IntEnum

from attrs import Factory, frozen

from chainp2p.peer.causes import Evidence
from chainp2p.peer.ends import LinkEnd

__all__ = [
    "AllowListFacts",
    "Descriptors",
    "Disk",
    "Facts",
    "Finding",
    "GenesisFacts",
    "NetworkFacts",
    "PeerFacts",
    "SecretFile",
    "Severity",
    "ids_text",
]


@frozen(kw_only=True)
class Disk:
    """Free bytes where *folder* is."""

    folder: str
    free: int


@frozen(kw_only=True)
class Descriptors:
    """File descriptors of the process: allowed (soft limit), open now, and open when every limit is used up.

    :param used: None for a node that does not run.
    """

    limit: int
    used: int | None
    needed: int


@frozen(kw_only=True)
class SecretFile:
    """A file that nobody else should read, and its permission bits."""

    path: str
    mode: int


@frozen(kw_only=True)
class GenesisFacts:
    """What the settings and the databases say of the network; None where nobody said.

    :param error: why the settings' genesis cannot be read.
    """

    settings: bytes | None
    stored: bytes | None
    error: str = ""


@frozen(kw_only=True)
class AllowListFacts:
    """The file of allowed keys.

    :param held: bootstrap and static nodes that it does not name.
    :param error: why its newest content is not in force.
    """

    path: str
    count: int
    lists_us: bool
    held: Sequence[bytes] = ()
    error: str = ""


@frozen(kw_only=True)
class PeerFacts:
    """One ready peer.

    :param clock_offset: seconds by which its clock is ahead of ours.
    :param warning: how its settings will differ from ours.
    """

    peer_id: bytes
    ip: str
    clock_offset: float | None = None
    warning: str = ""


@frozen(kw_only=True)
class NetworkFacts:
    """What a running node knows of its network.

    :param public: whether the profile is ``public``.
    :param uptime: seconds since the start.
    :param advertised: IP and port of our record.
    :param callers: links that others opened to us since the start, this machine's own left out.
    :param known: addresses that could be dialled.
    :param ends: newest first.
    :param port_open: whether the advertised endpoint answers us; None if it was not tried.
    :param lists: domains of the lists in DNS that cannot be read, and why.
    """

    now: float
    public: bool
    genesis: bytes
    uptime: float
    advertised: tuple[str, int] | None
    callers: int
    known: int
    peers: Sequence[PeerFacts] = ()
    ends: Sequence[LinkEnd] = ()
    port_open: bool | None = None
    lists: Mapping[str, str] = {}


@frozen(kw_only=True)
class Facts:
    """All that is known; a stopped node has no network."""

    disk: Disk | None = None
    descriptors: Descriptors | None = None
    secrets: Sequence[SecretFile] = ()
    genesis: GenesisFacts | None = None
    allow_list: AllowListFacts | None = None
    network: NetworkFacts | None = None


class Severity(IntEnum):
    """How bad it is: a note explains, a warning should be looked at, an error keeps the node from its work."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


@frozen
class Finding:
    """One thing that is wrong, in plain words, and what to do about it."""

    code: str
    severity: Severity
    text: str
    remedy: str
    evidence: Evidence = Factory(dict)


def ids_text(peer_ids: Sequence[bytes]) -> str:
    """Return the first digits of the first five of them."""
    shown = ", ".join(peer_id.hex()[:8] for peer_id in peer_ids[:5])
    return f"{shown} and {len(peer_ids) - 5} more" if len(peer_ids) > 5 else shown
