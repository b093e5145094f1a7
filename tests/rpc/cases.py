"""Requests and what exactly is answered: the examples of the specification, and what is malformed or odd."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["exact", "malformed", "specification"]

_DATA = Path(__file__).parent / "data"


def _text(parts: Any) -> bytes:
    """A text, or parts of which ``[text, count]`` is repeated."""
    if isinstance(parts, str):
        parts = [parts]
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts).encode(
        "utf-8", "surrogatepass"
    )


def malformed() -> Iterator[tuple[str, bytes, bytes | None]]:
    """Name, request and answer, byte for byte; None: there is no answer."""
    for case in json.loads((_DATA / "malformed.json").read_text("utf-8"))["cases"]:
        request = bytes.fromhex(case["hex"]) if "hex" in case else _text(case["request"])
        yield case["name"], request, None if case["answer"] is None else _text(case["answer"])


def specification() -> Iterator[tuple[str, bytes, str | None]]:
    """Name, request and response of each example; the texts of its errors are the specification's."""
    for example in json.loads((_DATA / "specification.json").read_text("utf-8"))["examples"]:
        yield example["name"], example["request"].encode(), example["response"]


def exact(text: str | bytes | None) -> Any:
    """What a JSON text says, numbers as they are written; None of nothing."""
    return None if text is None else json.loads(text, parse_int=str, parse_float=str)
