"""Hypothesis strategies for messages, derived from the schema."""

from typing import Any

from hypothesis import strategies as st

from chainp2p.wire.messages import CORE
from chainp2p.wire.schema import Blob, Field, Integer, ListOf, Message, Raw, Registry, Spec, Text, TupleOf

__all__ = ["field_values", "messages", "messages_of"]

#: Lists and blobs stay short: the codec has no behaviour that begins later, apart from the limits, tested by name.
SHORT = 12


def field_values(kind: Field) -> st.SearchStrategy[Any]:
    """Values that fit a field."""
    match kind:
        case Integer(size):
            return st.integers(0, 256**size - 1)
        case Raw(size):
            return st.binary(min_size=size, max_size=size)
        case Blob(limit):
            return st.binary(max_size=min(limit, 64))
        case Text(limit):
            return st.text(max_size=min(limit, 32) // 4)
        case TupleOf(items):
            return st.tuples(*map(field_values, items))
        case ListOf(item, limit):
            values = field_values(item)
            equal = st.tuples(st.integers(0, SHORT), st.integers(0, 40)).flatmap(
                lambda shape: st.lists(
                    st.binary(min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
                )
            )
            lists = st.lists(values, max_size=min(limit, SHORT))
            return (lists | equal if isinstance(item, Blob) else lists).map(tuple)


def messages_of(spec: Spec) -> st.SearchStrategy[Message]:
    """Messages of one class."""
    return st.builds(spec.cls, *[field_values(kind) for _, kind in spec.fields])


def messages(registry: Registry = CORE) -> st.SearchStrategy[Message]:
    """Messages of all classes."""
    return st.one_of([messages_of(spec) for _, spec in sorted(registry.by_tag.items())])
