"""What happened in a simulation, in order, with virtual times; its hash tells two runs apart."""

from hashlib import sha256

__all__ = ["EventLog"]


class EventLog:
    """Lines ``<seconds> <who> <what>``; the hash is over all of them.

    :param keep: also keep the lines themselves, for a report.
    """

    def __init__(self, keep: bool = False) -> None:
        self._digest = sha256()
        self.lines: list[str] | None = [] if keep else None
        self.count = 0

    def add(self, time: float, who: str, what: str) -> None:
        """Write an event down; *time* is virtual, in seconds."""
        line = f"{time:.6f} {who} {what}"
        self._digest.update(line.encode() + b"\n")
        self.count += 1
        if self.lines is not None:
            self.lines.append(line)

    @property
    def hash(self) -> str:
        """SHA-256 of everything so far, in hex."""
        return self._digest.hexdigest()
