"""The data directory of a running node: its lock, key, token secret, databases and ``node.json``."""

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from chainp2p.chain.database import guarded
from chainp2p.errors import SettingsError, StartupError
from chainp2p.peer.key import NodeKey, write_private

__all__ = ["JWT_FILE", "KEY_FILE", "LOCK_FILE", "NODE_FILE", "DirectoryHome", "Home", "lock_file", "lock_holder"]

NODE_FILE, JWT_FILE, KEY_FILE, LOCK_FILE = "node.json", "jwt.hex", "node.key", "lock"
#: A reader waits this long (seconds) for another connection's commit before it gives up.
_BUSY_TIMEOUT = 5.0


class Home(Protocol):
    """Where a node keeps what must survive a stop. Made anew at each start, closed last at each stop."""

    @property
    def path(self) -> Path | None:
        """The directory, if there is one."""
        ...

    def node_key(self, entropy: Callable[[int], bytes]) -> NodeKey:
        """The node key, made on first use."""
        ...

    def token_secret(self, entropy: Callable[[int], bytes]) -> bytes:
        """32 bytes by which admin tokens are signed, made on first use."""
        ...

    def open_database(self, name: str) -> sqlite3.Connection:
        """A new connection to that file, for the calling thread."""
        ...

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Tell other programs how to reach the running node."""
        ...

    def close(self) -> None:
        """Take back what was published and unlock."""
        ...


def lock_file(path: Path) -> int:
    """Lock the file *path* and return its descriptor; StartupError if somebody else holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            by = f" (process {holder})" if holder else ""
            raise StartupError(
                f"data directory {path.parent} is in use by another node{by}: stop that one, or use another directory"
            ) from None
        with contextlib.suppress(FileNotFoundError):
            # the holder before us removes the file as it unlocks: a lock on a removed file would guard nothing
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return descriptor
        os.close(descriptor)


def lock_holder(folder: Path) -> str:
    """Return the process that holds the lock of a data directory; empty if none does."""
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "?"
    finally:
        os.close(descriptor)
    return ""


def _refusal(path: Path, error: OSError) -> StartupError:
    """Say why a file or the directory cannot be had, and what to do."""
    remedy = {
        errno.ENOSPC: "make room",
        errno.EDQUOT: "make room",
        errno.EROFS: "mount the disk for writing, or use another directory",
        errno.EACCES: "give it to this user, or use another directory",
        errno.EPERM: "give it to this user, or use another directory",
        errno.ENOTDIR: "a directory is expected",
        errno.EEXIST: "a directory is expected",
    }.get(error.errno or 0, "look at the disk")
    return StartupError(f"data directory: {path}: {error.strerror}: {remedy}")


def _try_databases(folder: Path) -> None:
    """Refuse what may not be written, before SQLite does: it opens such a file for reading, and makes files beside it
    with the same rights, which go on to keep the node out when those of the database are put right.
    """
    for file in sorted((*folder.glob("*.sqlite*"), *folder.glob("*/*.sqlite*"))):
        try:
            os.close(os.open(file, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise _refusal(file, error) from None


class DirectoryHome:
    """A directory on disk, locked against any second node while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _try_databases(path)
            self._descriptor: int | None = lock_file(path / LOCK_FILE)
        except OSError as error:
            raise _refusal(path, error) from None

    def node_key(self, entropy: Callable[[int], bytes]) -> NodeKey:
        try:
            return NodeKey.load_or_create(self.path / KEY_FILE, entropy)
        except SettingsError as error:
            raise StartupError(str(error)) from None
        except OSError as error:
            raise _refusal(self.path / KEY_FILE, error) from None

    def token_secret(self, entropy: Callable[[int], bytes]) -> bytes:
        file = self.path / JWT_FILE
        try:
            if not file.exists():
                write_private(file, entropy(32).hex().encode() + b"\n")
            secret = bytes.fromhex(file.read_text("ascii").strip().removeprefix("0x"))
        except OSError as error:
            raise _refusal(file, error) from None
        except ValueError:
            secret = b""
        if len(secret) != 32:
            raise StartupError(f"{file}: 64 hex digits are expected")
        return secret

    def open_database(self, name: str) -> sqlite3.Connection:
        file = self.path / name
        with guarded(str(file)):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
            except BaseException:
                connection.close()
                raise
        return connection

    def publish(self, facts: Mapping[str, Any]) -> None:
        temporary = self.path / (NODE_FILE + ".new")
        try:
            temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, self.path / NODE_FILE)
        except OSError as error:
            raise _refusal(temporary, error) from None

    def close(self) -> None:
        if self._descriptor is None:
            return
        for name in (NODE_FILE, LOCK_FILE):
            with contextlib.suppress(OSError):  # of a disk that failed: what is left keeps nobody out
                (self.path / name).unlink()
        os.close(self._descriptor)
        self._descriptor = None
