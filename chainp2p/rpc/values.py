"""Reads and writes the values of Ethereum's JSON-RPC: quantities, byte strings. Pure. Texts are go-ethereum's."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "ADDRESS",
    "BOOLEAN",
    "DATA",
    "HASH",
    "QUANTITY",
    "STRING",
    "address",
    "boolean",
    "data",
    "hash32",
    "hex_bytes",
    "members",
    "nullable",
    "quantity",
    "text",
]

#: JSON Schemas, for descriptions.
QUANTITY = {"type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]*)$"}
DATA = {"type": "string", "pattern": "^0x([0-9a-fA-F]{2})*$"}
HASH = {"type": "string", "pattern": "^0x[0-9a-fA-F]{64}$"}
ADDRESS = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}


def members(*names: str) -> dict[str, Any]:
    """Return the schema of an object that has these members, and may have others: what operators read grows."""
    return {"type": "object", "required": list(names)}


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of what may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


#: Hex digits of the widest quantity, 2^256 - 1.
MAX_DIGITS = 64


def hex_bytes(value: bytes) -> str:
    """Write bytes."""
    return "0x" + value.hex()


def text(value: Any) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into Go value of type string")
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("json: cannot unmarshal non-boolean into Go value of type bool")
    return value


def _digits(value: Any, kind: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"json: cannot unmarshal non-string into Go value of type {kind}")
    if value[:2] not in ("0x", "0X"):
        raise ValueError("hex string without 0x prefix" if value else "empty hex string")
    digits = value[2:]
    if not digits.isascii() or not digits.isalnum() and digits:
        raise ValueError("invalid hex string")
    return digits


def quantity(value: Any) -> int:
    """Read a quantity: ``0x`` and hex digits without leading zeros, at most 256 bits."""
    digits = _digits(value, "hexutil.Big")
    if not digits:
        raise ValueError('hex string "0x"')
    if digits[0] == "0" and len(digits) > 1:
        raise ValueError("hex number with leading zero digits")
    if len(digits) > MAX_DIGITS:
        raise ValueError("hex number > 256 bits")
    try:
        return int(digits, 16)
    except ValueError:
        raise ValueError("invalid hex string") from None


def data(size: int | None = None) -> Callable[[Any], bytes]:
    """Return a reader of byte strings; *size* bytes if given."""

    def read(value: Any) -> bytes:
        digits = _digits(value, "hexutil.Bytes")
        if len(digits) % 2:
            raise ValueError("hex string of odd length")
        if size is not None and len(digits) != 2 * size:
            raise ValueError(f"hex string has length {len(digits)}, want {2 * size}")
        try:
            return bytes.fromhex(digits)
        except ValueError:
            raise ValueError("invalid hex string") from None

    return read


hash32 = data(32)
address = data(20)
