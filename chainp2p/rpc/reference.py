"""Describes namespaces to people: the reference page, in reStructuredText, from what dispatches. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chainp2p.namespaces import Method, Namespace, Param
from chainp2p.rpc.values import ADDRESS, DATA, HASH, QUANTITY

__all__ = ["render_rpc", "type_text"]

#: Schemas by the names that Ethereum's documentation gives them.
_NAMED = ((QUANTITY, "quantity"), (DATA, "data"), (HASH, "hash"), (ADDRESS, "address"))


def type_text(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema admits."""
    for known, name in _NAMED:
        if dict(schema) == known:
            return name
    for member in ("oneOf", "anyOf"):
        if member in schema:
            return " or ".join(map(type_text, schema[member]))
    if "enum" in schema:
        return ", ".join(f"``{_literal(value)}``" for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {type_text(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        names = schema.get("properties") or schema.get("required") or ()
        return f"object: {', '.join(f'``{name}``' for name in names)}" if names else "object"
    return str(kind) if kind else "any"


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def render_rpc(namespaces: Sequence[Namespace]) -> str:
    """Return the reference page: one section a namespace."""
    return "\n".join(line for namespace in namespaces for line in _section(namespace))


def _section(namespace: Namespace) -> Iterator[str]:
    yield from (f"``{namespace.name}``", "-" * (len(namespace.name) + 4), "")
    for method in sorted(namespace.methods, key=_name):
        doc = f"{method.doc} Cost {method.cost}."
        yield from _entry(f"{namespace.name}_{method.name}", method.params, doc, type_text(method.result))
    if namespace.stream is not None:
        stream = namespace.stream
        yield from _entry(f"{namespace.name}_subscribe", stream.params, stream.doc, "id of the subscription")
    for subscription in namespace.subscriptions:
        options = "".join(f", [{param.name}]" for param in subscription.params)
        yield f'``{namespace.name}_subscribe("{subscription.name}"{options})``'
        yield from _members(subscription.doc, subscription.params, "id of the subscription")


def _entry(name: str, params: Sequence[Param], doc: str, result: str) -> Iterator[str]:
    yield f"``{name}({', '.join(param.name if param.required else f'[{param.name}]' for param in params)})``"
    yield from _members(doc, params, result)


def _members(doc: str, params: Sequence[Param], result: str) -> Iterator[str]:
    yield from (f"    {doc}", "")
    for param in params:
        yield f"    - ``{param.name}``: {type_text(param.schema)}"
    yield from (f"    - answers {result}", "")


def _name(method: Method) -> str:
    return method.name
