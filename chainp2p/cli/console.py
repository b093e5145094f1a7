"""Reads what is typed at the prompt of ``attach``, and knows what could be: from the node's own OpenRPC document. Pure.

A call is ``METHOD ARG ARG`` or ``METHOD(ARG, ARG)``; an argument is JSON, and a word that is not is a string.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["Call", "Offered", "Verb", "read_line"]

#: What the prompt itself does.
VERBS = {
    "help": "help [METHOD]       what there is to call",
    "wait": "wait SECONDS        print what subscriptions tell, and nothing else",
    "exit": "exit                leave (Ctrl-D too)",
}
_OPENING = ('"', "{", "[")


@frozen
class Call:
    method: str
    params: list[Any]


@frozen
class Verb:
    """Of :data:`VERBS`."""

    name: str
    arguments: list[Any]


def read_line(text: str) -> Call | Verb | None:
    """Read a line, None if it is blank or a comment; ValueError says where it is wrong."""
    text = text.strip()
    if not text or text.startswith("#"):
        return None
    end = next((at for at, letter in enumerate(text) if letter.isspace() or letter == "("), len(text))
    name, rest = text[:end], text[end:].strip()
    if rest.startswith("("):
        if not rest.endswith(")"):
            raise ValueError(f"{rest[-20:]!r}: ')' is missing")
        rest = rest[1:-1]
    arguments = _arguments(rest)
    if name in VERBS:
        return Verb(name, arguments)
    if "_" not in name and name != "rpc.discover":
        name = name.replace(".", "_", 1)  # eth.blockNumber, as other consoles have it
    if "_" not in name and name != "rpc.discover":
        raise ValueError(f"{name!r:.60}: a method such as eth_blockNumber, or help")
    return Call(name, arguments)


def _arguments(text: str) -> list[Any]:
    found: list[Any] = []
    at = 0
    while at < len(text):
        if text[at].isspace() or text[at] == ",":
            at += 1
            continue
        if text[at] in _OPENING:
            try:
                value, at = json.JSONDecoder().raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"argument {len(found) + 1}: {text[at : at + 40]!r}: {error}") from None
            found.append(value)
            continue
        end = next((here for here in range(at, len(text)) if text[here].isspace() or text[here] == ","), len(text))
        found.append(_word(text[at:end]))
        at = end
    return found


def _word(word: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


@frozen
class Offered:
    """What a port serves: method -> its entry in the OpenRPC document."""

    methods: Mapping[str, Mapping[str, Any]] = field(factory=dict)

    @classmethod
    def of(cls, document: Any) -> "Offered":
        """:param document: what ``rpc_discover`` answered."""
        return cls({entry["name"]: entry for entry in document["methods"]})

    def complete(self, before: str, word: str) -> list[str]:
        """Return how *word* could go on; *before* stands before it on the line."""
        typed = before.split()
        if not typed or typed[0] == "help":
            names = [*self.methods, *(VERBS if not typed else ())]
        else:
            names = self._values(typed[0], len(typed) - 1)
        return sorted(name for name in names if name.startswith(word))

    def _values(self, method: str, index: int) -> list[str]:
        """The words that parameter *index* may be."""
        params = self.methods.get(method, {}).get("params", ())
        return list(_words(params[index]["schema"])) if index < len(params) else []

    def describe(self, method: str | None) -> str:
        """Return the help on a method, or on all; ValueError if there is no such method."""
        if method is None:
            lines = [self._line(name) for name in sorted(self.methods)]
            return "\n".join([*lines, "", *VERBS.values()])
        if method in VERBS:
            return VERBS[method]
        entry = self.methods.get(method)
        if entry is None:
            raise ValueError(f"there is no method {method!r:.80}; help lists them")
        lines = [self._line(method), f"  {entry.get('summary', '')}"]
        for param in entry["params"]:
            needed = "" if param.get("required") else " (optional)"
            lines.append(f"  {param['name']}{needed}: {json.dumps(param['schema'])}")
        return "\n".join(lines)

    def _line(self, method: str) -> str:
        params = self.methods[method]["params"]
        return " ".join([method, *(one["name"] if one.get("required") else f"[{one['name']}]" for one in params)])


def _words(schema: Mapping[str, Any]) -> Sequence[str]:
    """The words that a JSON Schema lists."""
    found = [word for word in schema.get("enum", ()) if isinstance(word, str)]
    for member in ("oneOf", "anyOf"):
        for one in schema.get(member, ()):
            found += _words(one)
    if schema.get("type") == "boolean":
        found += ["true", "false"]
    return found
