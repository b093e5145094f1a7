"""The message table of the documentation, rendered from the schema."""

from chainp2p.wire.messages import CORE
from chainp2p.wire.schema import Blob, Field, Integer, ListOf, Raw, Registry, Text, TupleOf

__all__ = ["render_messages"]


def describe(kind: Field) -> str:
    """Return a field kind in words, such as ``list of at most 16 (u64, 32 bytes)``."""
    match kind:
        case Integer(size):
            return f"u{8 * size}"
        case Raw(size):
            return f"{size} bytes"
        case Blob(limit):
            return f"bytes, at most {limit:,}"
        case Text(limit):
            return f"UTF-8, at most {limit:,} bytes"
        case TupleOf(items):
            return f"({', '.join(map(describe, items))})"
        case ListOf(item, limit):
            return f"list of at most {limit:,} {describe(item)}"


def render_messages(registry: Registry = CORE) -> str:
    """Return reStructuredText with one section a message."""
    lines = []
    for tag, spec in sorted(registry.by_tag.items()):
        title = f"{tag}: {spec.name}"
        doc = " ".join((spec.cls.__doc__ or "").split())
        lines += [title, "-" * len(title), "", doc, ""]
        lines.append(f":kind: {spec.kind.name.lower()}")
        lines.append(f":class: {spec.channel.name.lower().replace('_', ' ')}")
        lines.append(f":largest encoding: {spec.maximum:,} bytes")
        if spec.replies:
            lines.append(f":answers: {', '.join(spec.replies)}")
        lines += [f":{name.rstrip('_')}: {describe(kind)}" for name, kind in spec.fields]
        lines.append("")
    return "\n".join(lines)
