"""Whose fault something is, what it costs, and why a link ended.

*Their* fault is a :exc:`PeerFault`; *nobody's* is a :exc:`PeerGone`, :exc:`RequestTimedOut` or
:exc:`RequestRefused`; everything else is *ours*, is logged with its traceback and never sent to a peer.
"""

from enum import Enum, IntEnum

__all__ = [
    "Ours",
    "PeerFault",
    "PeerGone",
    "Penalty",
    "Reason",
    "RefusalReason",
    "RequestRefused",
    "RequestTimedOut",
    "SettingsError",
    "StartupError",
    "StorageError",
]


class Reason(IntEnum):
    """Why a link ended. Values below 256 travel in ``Disconnect``; the others are known to one side only."""

    SHUTDOWN = 0
    WRONG_GENESIS = 1
    WRONG_VERSION = 2
    WRONG_SETTINGS = 3
    WRONG_PEER_ID = 4
    SELF = 5
    DUPLICATE = 6
    DUPLICATE_KEY = 7
    MALFORMED_FRAME = 8
    OVERSIZE = 9
    MALFORMED_MESSAGE = 10
    OUT_OF_ORDER = 11
    UNEXPECTED_REPLY = 12
    HANDSHAKE_TIMEOUT = 13
    PING_TIMEOUT = 14
    NOT_READING = 15
    TOO_MANY_PEERS = 16
    BANNED = 17
    REMOVED = 18
    NOT_ALLOWED = 19
    MISBEHAVED = 20
    REFUSED_AFTER_TLS = 256
    BAD_CERTIFICATE = 257
    CONNECTION_LOST = 258

    @property
    def code(self) -> str:
        """The name shown in logs and by RPC, such as ``wrong_genesis``."""
        return self.name.lower()


class RefusalReason(IntEnum):
    """The ``reason`` of a ``Refused`` reply."""

    BUSY = 0
    TOO_OFTEN = 1
    UNSUPPORTED = 2


class Penalty(Enum):
    """What a fault costs (see the two ledgers about peers in the design)."""

    NONE = "none"
    USELESS = "useless"
    INCOMPATIBLE = "incompatible"
    MALICIOUS = "malicious"


class PeerFault(Exception):
    """The peer did something wrong; the link ends with :attr:`reason`.

    :param rule: which of our rules decided, where one reason has several (``inbound_full``, ``message_quota``).
    """

    def __init__(self, reason: Reason, detail: str = "", penalty: Penalty = Penalty.MALICIOUS, rule: str = "") -> None:
        super().__init__(reason, detail, penalty, rule)
        self.reason = reason
        self.detail = detail
        self.penalty = penalty
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}" if self.detail else self.reason.code


class PeerGone(Exception):
    """The link ended while something waited on it; nobody's fault."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.code}: {self.detail}" if self.detail else self.reason.code


class RequestTimedOut(Exception):
    """No reply came before the deadline; nobody's fault."""


class RequestRefused(Exception):
    """The peer answered ``Refused``; nobody's fault."""

    def __init__(self, reason: int, retry_ms: int) -> None:
        super().__init__(reason, retry_ms)
        self.reason = reason
        self.retry_ms = retry_ms


class SettingsError(ValueError):
    """A setting, option or file named by the user is wrong; the text names which and why (exit code 2)."""


class StartupError(RuntimeError):
    """The node cannot start: busy port, locked data directory, database of another network (exit code 1)."""


class StorageError(RuntimeError):
    """The disk does not take what has to be stored, or does not give it back: full, read-only, failing, or the file in
    another program's hands. The text names the file and what to do. What was being written is as if it had not begun
    and can be tried again.
    """


class Ours(RuntimeError):
    """An invariant of our own was broken."""
