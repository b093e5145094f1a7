"""Recursive Length Prefix (Ethereum yellow paper, appendix B), strict: one encoding for one value.

An item is ``bytes`` or a list of items. The decoder refuses every form that is not the canonical one, so that
``encode(decode(data)) == data`` holds for all accepted input.
"""

from collections.abc import Sequence
from typing import TypeAlias

__all__ = [
    "Item",
    "RlpError",
    "decode",
    "decode_list",
    "decode_uint",
    "encode",
    "encode_uint",
    "first_item",
    "split_list",
    "uint_item",
    "uint_of",
    "uint_pattern",
    "wrap_list",
]

Item: TypeAlias = "bytes | Sequence[Item]"

#: Nesting deeper than this is refused: no format read here nests more than four levels.
MAX_DEPTH = 16


class RlpError(ValueError):
    """The bytes are not canonical RLP, or not of the expected shape."""


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes((offset + length,))
    size = (length.bit_length() + 7) // 8
    return bytes((offset + 55 + size,)) + length.to_bytes(size, "big")


#: Prefixes of strings and lists of up to 255 bytes by their length: of most that there are.
_STRING = tuple(_prefix(length, 0x80) for length in range(256))
_LIST = tuple(_prefix(length, 0xC0) for length in range(256))


def encode(item: Item) -> bytes:
    """Return the encoding of *item*."""
    if not isinstance(item, (bytes, bytearray, memoryview)):
        # strings of 2 to 255 bytes, the most of all, without a call
        parts = [
            _STRING[len(part)] + part if type(part) is bytes and 1 < len(part) < 256 else encode(part) for part in item
        ]
        return wrap_list(b"".join(parts))
    length = len(item)
    if length == 1 and item[0] < 0x80:
        return bytes(item)
    return (_STRING[length] if length < 256 else _prefix(length, 0x80)) + item


def wrap_list(body: bytes) -> bytes:
    """Return the list whose items, already encoded and joined, are *body*."""
    length = len(body)
    return (_LIST[length] if length < 256 else _prefix(length, 0xC0)) + body


def encode_uint(value: int) -> bytes:
    """Return the shortest big-endian form of *value* (empty for 0), ready to be an item."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


#: Items of the integers below 128.
_SMALL = (b"\x80", *(bytes((value,)) for value in range(1, 0x80)))


def uint_item(value: int) -> bytes:
    """Return the item of an integer of at most 55 bytes: ``encode(encode_uint(value))`` in one call."""
    if value < 0x80:
        return _SMALL[value]
    size = (value.bit_length() + 7) >> 3
    return _STRING[size] + value.to_bytes(size, "big")


def decode_uint(data: Item, limit: int = 32) -> int:
    """Return the integer of an item of at most *limit* bytes; leading zeros raise :exc:`RlpError`."""
    if not isinstance(data, bytes):
        raise RlpError("an integer is expected, not a list")
    if len(data) > limit:
        raise RlpError(f"integer of {len(data)} bytes, at most {limit} are allowed")
    if data[:1] == b"\0":
        raise RlpError("integer with a leading zero")
    return int.from_bytes(data, "big")


def uint_pattern(size: int) -> bytes:
    """Return a regular expression, one group, for the item of an integer of at most *size* bytes.

    Where most of what comes has one form, a match of all its items is several times as fast as the decoder.
    """
    longer = b"".join(rb"|\x%02x[\x01-\xff].{%d}" % (0x80 + count, count - 1) for count in range(2, size + 1))
    return rb"([\x01-\x80]|\x81[\x80-\xff]%b)" % longer


def uint_of(item: bytes) -> int:
    """Return the integer of an item that :func:`uint_pattern` matched."""
    return int.from_bytes(item[1:], "big") if len(item) > 1 else item[0] & 0x7F


def _header(data: bytes, at: int, end: int) -> tuple[bool, int, int]:
    """Return (is a list, start of the body, end of the body) of the item at *at*."""
    if at >= end:
        raise RlpError("input ends early")
    first = data[at]
    if first < 0x80:
        return False, at, at + 1
    is_list = first >= 0xC0
    short = first - (0xC0 if is_list else 0x80)
    if short < 56:
        start, length = at + 1, short
    else:
        size = short - 55
        start = at + 1 + size
        if start > end:
            raise RlpError("input ends early")
        if data[at + 1] == 0:
            raise RlpError("length with a leading zero")
        length = int.from_bytes(data[at + 1 : start], "big")
        if length < 56:
            raise RlpError("long form used for a short item")
    stop = start + length
    if stop > end:
        raise RlpError("input ends early")
    if not is_list and length == 1 and data[start] < 0x80:
        raise RlpError("single byte below 0x80 with a prefix")
    return is_list, start, stop


def _items(data: bytes, at: int, end: int, depth: int) -> list[Item]:
    """Return the items from *at* to *end*; short strings, the most of all, without a call."""
    items: list[Item] = []
    while at < end:
        first = data[at]
        if first < 0x80:
            items.append(data[at : at + 1])
            at += 1
        elif first < 0xB8:
            start = at + 1
            at = start + first - 0x80
            if at > end:
                raise RlpError("input ends early")
            if first == 0x81 and data[start] < 0x80:
                raise RlpError("single byte below 0x80 with a prefix")
            items.append(data[start:at])
        else:
            item, at = _item(data, at, end, depth)
            items.append(item)
    return items


def _item(data: bytes, at: int, end: int, depth: int) -> tuple[Item, int]:
    is_list, start, stop = _header(data, at, end)
    if not is_list:
        return data[start:stop], stop
    if depth >= MAX_DEPTH:
        raise RlpError(f"lists nested deeper than {MAX_DEPTH}")
    return _items(data, start, stop, depth + 1), stop


def decode(data: bytes) -> Item:
    """Return the one item that *data* encodes; trailing bytes raise :exc:`RlpError`."""
    item, stop = _item(data, 0, len(data), 0)
    if stop != len(data):
        raise RlpError(f"{len(data) - stop} bytes follow the item")
    return item


def decode_list(data: bytes) -> list[Item]:
    """Like :func:`decode`, for data that must be a list."""
    item = decode(data)
    if not isinstance(item, list):
        raise RlpError("a list is expected")
    return item


def first_item(data: bytes) -> bytes:
    """Return the first item, still encoded, of a list of at least one; the others are not looked at."""
    is_list, start, stop = _header(data, 0, len(data))
    if not is_list or stop != len(data):
        raise RlpError("not a list")
    return data[start : _header(data, start, stop)[2]]


def split_list(data: bytes) -> list[bytes]:
    """Return the raw encodings of the items of the list that *data* is, without looking inside them."""
    is_list, start, stop = _header(data, 0, len(data))
    if not is_list:
        raise RlpError("a list is expected")
    if stop != len(data):
        raise RlpError(f"{len(data) - stop} bytes follow the list")
    items = []
    while start < stop:
        _, _, after = _header(data, start, stop)
        items.append(data[start:after])
        start = after
    return items
