"""What a fuzzer should know of the wire, rendered from the schema: a dictionary for libFuzzer, AFL and Atheris."""

from collections.abc import Iterator

from chainp2p.wire.frames import BODY_LIMIT, HEADER, MORE
from chainp2p.wire.messages import CORE
from chainp2p.wire.schema import Blob, Field, Kind, ListOf, Raw, Registry, Text, TupleOf

__all__ = ["dictionary", "render_dictionary"]


def _limits(kind: Field) -> Iterator[int]:
    """All counts and lengths at which a field's rule changes."""
    match kind:
        case Blob(limit) | Text(limit):
            yield limit
        case TupleOf(items):
            for item in items:
                yield from _limits(item)
        case ListOf(item, limit):
            yield limit
            yield from _limits(item)


def dictionary(registry: Registry = CORE) -> dict[str, bytes]:
    """Return the words of the wire by name: tags, frame starts, counts at and above each maximum, fixed sizes."""
    words: dict[str, bytes] = {}
    for tag, spec in sorted(registry.by_tag.items()):
        octets = tag.to_bytes(4, "little")
        words[f"tag_{spec.name}"] = octets
        words[f"frame_{spec.name}"] = HEADER.pack(10, 1, spec.kind, 0) + octets
        for _, kind in spec.fields:
            if isinstance(kind, Raw):
                words[f"raw_{kind.size}"] = bytes(kind.size)
            for limit in _limits(kind):
                words[f"count_{limit}"] = limit.to_bytes(8, "little")
                words[f"count_{limit + 1}"] = (limit + 1).to_bytes(8, "little")
    words["tag_unknown"] = b"\xff\xff\xff\xff"
    words["count_largest"] = b"\xff" * 8
    for one in Kind:
        words[f"full_{one.name.lower()}"] = HEADER.pack(6 + BODY_LIMIT, 1, one, MORE)
    return words


def render_dictionary(registry: Registry = CORE) -> str:
    """Return the dictionary in the format of libFuzzer and AFL."""
    lines = ["# Generated from the message schema of chainp2p."]
    for name, word in dictionary(registry).items():
        octets = "".join(f"\\x{octet:02x}" for octet in word)
        lines.append(f'{name}="{octets}"')
    return "\n".join(lines) + "\n"
