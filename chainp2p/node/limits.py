"""``[rpc.limits]``: what clients of the RPC port may take, by the names of ``rpc/limits.py``."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, fields

from chainp2p.errors import SettingsError
from chainp2p.rpc.limits import Limits

__all__ = ["limits_of", "read_limits", "render_limits"]

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Limits)}


def read_limits(content: Any) -> tuple[tuple[str, float], ...]:
    """Check a TOML table of limits; SettingsError names what is unknown or of the wrong type."""
    if not isinstance(content, Mapping):
        raise SettingsError("rpc.limits: a table is expected, [rpc.limits]")
    for name, value in content.items():
        if name not in _DEFAULTS:
            near = difflib.get_close_matches(name, _DEFAULTS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_DEFAULTS)}"
            raise SettingsError(f"unknown key in [rpc.limits]: {name!r}{hint}")
        kinds = (int,) if isinstance(_DEFAULTS[name], int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
            what = "an integer" if kinds == (int,) else "a number"
            raise SettingsError(f"rpc.limits.{name}: {what} above 0 is expected, not {value!r}")
    return tuple(content.items())


def limits_of(pairs: Iterable[tuple[str, float]]) -> Limits:
    """Return the limits with those that the settings change."""
    given: dict[str, Any] = dict(pairs)
    return evolve(Limits(), **given)


def render_limits(pairs: Iterable[tuple[str, float]]) -> list[str]:
    """Write ``[rpc.limits]``, each limit with the value in force."""
    return ["[rpc.limits]", *(f"{name} = {value}" for name, value in {**_DEFAULTS, **dict(pairs)}.items())]
