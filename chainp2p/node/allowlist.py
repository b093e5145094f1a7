"""The allow-list of a consortium: the only keys that may connect, with what each of them is."""

from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.logger import Logger

from chainp2p.chain.executor import Executor
from chainp2p.errors import SettingsError

__all__ = ["AllowList", "read_allow_list"]


class AllowList:
    """The list in force, and the file that it is read from.

    :param path: None: there is no list, everybody may connect.
    :param allow: is told the keys that may connect from now on.
    """

    log = Logger()

    def __init__(self, path: Path | None, executor: Executor, allow: Callable[[Mapping[bytes, str]], None]) -> None:
        self.path = path
        #: Peer id -> role.
        self.roles: Mapping[bytes, str] = {}
        #: Why the file's newest content is not in force.
        self.error = ""
        self._executor = executor
        self._allow = allow
        self._readings = 0

    def _enforce(self, roles: Mapping[bytes, str]) -> None:
        self.roles, self.error = roles, ""
        self._allow(roles)

    async def read(self) -> None:
        """Read it for the first time, if there is one; SettingsError."""
        if self.path is not None:
            self._enforce(await self._executor.run(read_allow_list, self.path))

    async def read_again(self) -> int | None:
        """Read it again: answers how many keys it has, None if there is none.

        :raise SettingsError: the file cannot be read; the former list stays in force.
        """
        if self.path is None:
            return None
        self._readings += 1
        reading = self._readings
        try:
            roles = await self._executor.run(read_allow_list, self.path)
        except SettingsError as error:
            if reading != self._readings:
                raise
            self.error = str(error)
            self.log.error("the allow-list stays as it was: {error}", error=str(error))
            raise
        if reading != self._readings:
            # threads may finish in another order than they began: the one that began last has the newest content
            return len(roles)
        self.log.info(
            "allow-list read again: {count} keys, {added} new, {gone} gone",
            count=len(roles),
            added=len(roles.keys() - self.roles.keys()),
            gone=len(self.roles.keys() - roles.keys()),
        )
        self._enforce(roles)
        return len(roles)


def read_allow_list(path: Path) -> dict[bytes, str]:
    """Return peer id -> role label of a file with one ``PEERID [label]`` a line; ``#`` begins a comment.

    :raise SettingsError: it cannot be read, has a line of another form, or names nobody.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    allowed: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        text, _, label = line.partition("#")[0].strip().partition(" ")
        if not text:
            continue
        try:
            peer_id = bytes.fromhex(text)
        except ValueError:
            peer_id = b""
        if len(peer_id) != 32:
            raise SettingsError(f"{path}: line {number}: a peer id of 64 hex digits is expected, not {text!r}")
        allowed[peer_id] = label.strip()
    if not allowed:
        raise SettingsError(f"{path}: it names no key, which would keep everybody away")
    return allowed
