"""TXT records: who looks them up, and what came back."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.udp import Port
from twisted.logger import LogLevel
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSQueryTimeoutError, DNSServerError
from twisted.python.log import callWithContext

if TYPE_CHECKING:
    from twisted.names.client import Resolver

__all__ = ["SystemResolver", "TextResolver", "texts_of", "why_no_text"]

#: The type of the records (RFC 1035, section 3.2.2).
_TXT = 16
#: Records of one answer that are looked at.
_RECORDS_MAX = 32
#: Seconds after which a name server is asked again, each of them in turn.
_TIMEOUTS = (1, 2)
#: Where a machine names its name servers (resolv.conf(5), which has three count at most), and where one is asked.
_RESOLV_CONF, _SERVERS_MAX, _PORT = Path("/etc/resolv.conf"), 3, 53


class TextResolver(Protocol):
    """What is asked for TXT records: the part of Twisted's ``IResolver`` that does it.

    The answer is (answers, authority, additional), the answers ``twisted.names.dns.RRHeader``.
    """

    def lookupText(self, name: str, timeout: Sequence[int] | None = None) -> "Deferred[Any]": ...


def texts_of(answer: Any) -> list[str]:
    """Return the texts of an answer, the strings of each record joined; those that are no ASCII are left out."""
    found = []
    for record in answer[0][:_RECORDS_MAX]:
        if record.type == _TXT:
            raw = b"".join(record.payload.data)
            if raw.isascii():
                found.append(raw.decode("ascii"))
    return found


#: What it means that a name was not looked up; a subclass stands before its base.
_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (DNSNameError, "there is no such name"),
    (DNSQueryRefusedError, "the name server refuses to answer"),
    (DNSServerError, "the name server cannot find out"),
    (DNSQueryTimeoutError, "no name server answers"),
    (TimeoutError, "no name server answers"),
)


def why_no_text(error: BaseException | None) -> str:
    """Return in plain words why a name could not be looked up."""
    for kind, text in _CAUSES:
        if isinstance(error, kind):
            return text
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _QuietPort(Port):
    """A socket whose life is no news: what is said of it has no words, and observers write nothing then."""

    _quiet = {"log_level": LogLevel.debug, "log_format": ""}

    def startListening(self) -> None:
        callWithContext(self._quiet, super().startListening)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any = None) -> None:
        callWithContext(self._quiet, super().connectionLost, reason)  # type: ignore[no-untyped-call]


class _QuietReactor:
    """The reactor, but that each question, which has a socket of its own, is not two lines in the log."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> Port:
        made = _QuietPort(port, protocol, interface, maxPacketSize, self._reactor)  # type: ignore[no-untyped-call]
        made.startListening()
        return made


class SystemResolver:
    """Asks the name servers of this machine; who they are is read again for each question, for a laptop moves.

    :param path: the file that names them.
    :param port: where they are asked.
    """

    def __init__(self, reactor: Any, path: Path = _RESOLV_CONF, port: int = _PORT) -> None:
        self._reactor = _QuietReactor(reactor) if IReactorFDSet.providedBy(reactor) else reactor
        self._path = path
        self._port = port
        self._servers: list[tuple[str, int]] = []
        self._resolver: Resolver | None = None

    def _read(self) -> list[tuple[str, int]]:
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        words = [line.split() for line in lines]
        named = [(word[1], self._port) for word in words if len(word) > 1 and word[0] == "nameserver"]
        return named[:_SERVERS_MAX] or [("127.0.0.1", self._port)]

    def lookupText(self, name: str, timeout: Sequence[int] | None = None) -> "Deferred[Any]":
        """Fire with (answers, authority, additional)."""
        servers = self._read()
        if self._resolver is None or servers != self._servers:
            from twisted.names.client import Resolver

            self._servers = servers
            self._resolver = Resolver(servers=list(servers), timeout=_TIMEOUTS, reactor=self._reactor)  # type: ignore[no-untyped-call]
        found: Deferred[Any] = self._resolver.lookupText(name, timeout)  # type: ignore[no-untyped-call]
        return found
