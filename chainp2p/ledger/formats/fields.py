"""Strict reading of JSON settings: every wrong or unknown member is refused by its full name."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from chainp2p.errors import SettingsError

__all__ = ["Fields", "GenesisError", "parse_json"]

T = TypeVar("T")

_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,64}\Z")
_DECIMAL = re.compile(r"[0-9]{1,78}\Z", re.ASCII)
_ADDRESS = re.compile(r"(0[xX])?[0-9a-fA-F]{40}\Z")
_DATA = re.compile(r"0[xX]([0-9a-fA-F]{2})*\Z")

_MISSING: Any = object()


class GenesisError(SettingsError):
    """A genesis or schedule file is wrong; the text names the field and says why."""


def parse_json(source: "str | bytes | Mapping[str, Any]", what: str) -> Mapping[str, Any]:
    """Return the JSON object of *source*; members named twice, NaN and broken text raise :exc:`GenesisError`."""
    if isinstance(source, Mapping):
        return source
    try:
        value = json.loads(source, object_pairs_hook=_once, parse_constant=_no_constant)
    except GenesisError as error:
        raise GenesisError(f"{what}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise GenesisError(f"{what}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise GenesisError(f"{what}: a JSON object is expected")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise GenesisError(f"{next(name for name in names if names.count(name) > 1)}: given twice")
    return members


def _no_constant(text: str) -> Any:
    raise GenesisError(f"{text} is no number")


class Fields:
    """The members of one object, taken one by one; what is left at :meth:`end` is unknown."""

    def __init__(self, members: Mapping[str, Any], prefix: str) -> None:
        self.members = members
        self._prefix = prefix
        self._left = dict(members)

    def name(self, member: str) -> str:
        """Return the full name of a member, such as ``config.poa.periodMs``."""
        return f"{self._prefix}.{member}" if self._prefix else member

    def has(self, member: str) -> bool:
        return member in self._left

    def take(self, member: str, default: Any = _MISSING) -> Any:
        """Return a member as JSON made it; without *default* it must be there."""
        value = self._left.pop(member, default)
        if value is _MISSING:
            raise GenesisError(f"{self.name(member)}: missing")
        return value

    def end(self) -> None:
        """Refuse what was not taken."""
        for member in self._left:
            raise GenesisError(f"{self.name(member)}: unknown field")

    def object(self, member: str, default: Any = _MISSING) -> "Fields":
        value = self.take(member, default)
        if not isinstance(value, Mapping):
            raise GenesisError(f"{self.name(member)}: a JSON object is expected")
        return Fields(value, self.name(member))

    def _list(self, member: str, default: Any) -> list[Any]:
        value = self.take(member, default)
        if not isinstance(value, (list, tuple)):
            raise GenesisError(f"{self.name(member)}: a list is expected")
        return list(value)

    def objects(self, member: str) -> "list[Fields]":
        """Return a list of objects, empty when the member is missing."""
        found = []
        for index, value in enumerate(self._list(member, [])):
            name = f"{self.name(member)}[{index}]"
            if not isinstance(value, Mapping):
                raise GenesisError(f"{name}: a JSON object is expected")
            found.append(Fields(value, name))
        return found

    def integer(self, member: str, default: Any = _MISSING, minimum: int = 0, maximum: int = (1 << 64) - 1) -> int:
        """Return an integer written as a number, or as a decimal or 0x-hexadecimal string (as geth accepts)."""
        value = self.take(member, default)
        if isinstance(value, str):
            if _HEX.match(value):
                value = int(value, 16)
            elif _DECIMAL.match(value):
                value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise GenesisError(f"{self.name(member)}: {value!r:.80} is no integer")
        if not minimum <= value <= maximum:
            raise GenesisError(f"{self.name(member)}: {value} is not between {minimum} and {maximum}")
        return value

    def data(self, member: str, size: int | None, limit: int = 0) -> bytes:
        """Return 0x-hexadecimal bytes: *size* of them (zeros when missing), or at most *limit* (none when missing)."""
        value = self.take(member, "0x" + "00" * (size or 0))
        if not isinstance(value, str) or not _DATA.match(value):
            raise GenesisError(f"{self.name(member)}: {value!r:.80} is no 0x-hexadecimal data")
        data = bytes.fromhex(value[2:])
        if size is not None and len(data) != size:
            raise GenesisError(f"{self.name(member)}: {size} bytes are expected, not {len(data)}")
        if size is None and len(data) > limit:
            raise GenesisError(f"{self.name(member)}: at most {limit} bytes are allowed, not {len(data)}")
        return data

    def addresses(self, member: str) -> list[bytes]:
        """Return a list of 20-byte addresses."""
        found = []
        for index, value in enumerate(self._list(member, _MISSING)):
            if not isinstance(value, str) or not _ADDRESS.match(value):
                raise GenesisError(f"{self.name(member)}[{index}]: {value!r:.80} is no address")
            found.append(bytes.fromhex(value[-40:]))
        return found

    def key_address(self, member: str) -> bytes:
        """Return the address that a member's own name is."""
        if not _ADDRESS.match(member):
            raise GenesisError(f"{self.name(member)}: the name is no address")
        return bytes.fromhex(member[-40:])
