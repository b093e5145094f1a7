"""Reads and writes the values of Ethereum's JSON-RPC: quantities, byte strings. Pure. Texts are go-ethereum's."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

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
    "hex_number",
    "members",
    "nullable",
    "quantity",
    "quantity64",
    "text",
]

T = TypeVar("T")

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


def _digits(text: str) -> str:
    if text[:2] not in ("0x", "0X"):
        raise ValueError("hex string without 0x prefix")
    return text[2:]


def hex_number(text: str, bits: int) -> int:
    """Read a number: ``0x`` and hex digits without leading zeros."""
    if not text:
        raise ValueError("empty hex string")
    digits = _digits(text)
    if not digits:
        raise ValueError('hex string "0x"')
    if digits[0] == "0" and len(digits) > 1:
        raise ValueError("hex number with leading zero digits")
    if not digits.isascii() or not digits.isalnum():
        raise ValueError("invalid hex string")
    if len(digits) * 4 > bits:
        raise ValueError(f"hex number > {bits} bits")
    try:
        return int(digits, 16)
    except ValueError:
        raise ValueError("invalid hex string") from None


def _unmarshalled(read: Callable[[str, Any, str], T], size: Any, kind: str) -> Callable[[Any], T]:
    """Return a reader of strings that says, as Go does, what the value should have been."""

    def checked(value: Any) -> T:
        try:
            if not isinstance(value, str):
                raise ValueError("non-string")
            return read(value, size, kind)
        except ValueError as error:
            raise ValueError(f"json: cannot unmarshal {error} into Go value of type {kind}") from None

    return checked


def _number(text: str, bits: int, kind: str) -> int:
    return hex_number(text, bits) if text else 0


#: Read a quantity: a number of 256 or 64 bits at most; an empty string is 0, as for go-ethereum.
quantity = _unmarshalled(_number, 256, "hexutil.Big")
quantity64 = _unmarshalled(_number, 64, "hexutil.Uint64")


def _bytes(text: str, size: int | None, kind: str) -> bytes:
    digits = _digits(text) if text else ""
    if len(digits) % 2:
        raise ValueError("hex string of odd length")
    if size is not None and len(digits) != 2 * size:
        raise ValueError(f"hex string has length {len(digits)}, want {2 * size} for {kind}")
    if not digits.isascii() or (digits and not digits.isalnum()):
        raise ValueError("invalid hex string")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError("invalid hex string") from None


#: Read a string of bytes, of any number of them or of so many; an empty string has none, as for go-ethereum.
data = _unmarshalled(_bytes, None, "hexutil.Bytes")
hash32 = _unmarshalled(_bytes, 32, "common.Hash")
address = _unmarshalled(_bytes, 20, "common.Address")
