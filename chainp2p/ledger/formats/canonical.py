"""Canonical JSON (RFC 8785) of the values a genesis file may hold, so that one configuration has one hash."""

import json

__all__ = ["canonical_json"]


def canonical_json(value: object) -> bytes:
    """Return *value* in RFC 8785 form; it may hold objects, lists, strings, booleans, null and integers only.

    Integers are exact below 2**53 in every JSON reader (RFC 8785, 3.2.2.3), so that larger ones must be strings:
    raises ``ValueError`` for them and for anything else.
    """
    return _text(value).encode()


def _text(value: object) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_text(name)}:{_text(member)}" for name, member in members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and abs(value) < 1 << 53:
        return str(value)
    raise ValueError(f"{value!r:.40} has no canonical form: write it as a string")
