"""Reads messages as clients write them, three times as fast as :mod:`~chainp2p.rpc.core` reads any. Pure.

The usual form is decoded and checked in one go by msgspec: the members that JSON-RPC knows; ids that are integers of
64 bits, strings or null; parameters by position that are strings, booleans, null, or an object or a list of such. Types
end there, so nothing nests deeper. Numbers among parameters are not of that form, for their text has to survive. All
else, no JSON included, is nobody's fault here: it is read the strict way, and judged there alone.
"""

from json.encoder import encode_basestring_ascii
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, MsgspecError, Struct, UnsetType
from msgspec.json import Decoder

from chainp2p.rpc.core import MAX_ID_LENGTH, Batch, Message, Request, parse, too_many_values

__all__ = ["read"]

_Plain: TypeAlias = str | bool | None
_Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Id: TypeAlias = _Integer | Annotated[str, Meta(max_length=MAX_ID_LENGTH)] | None | UnsetType


class _Call(Struct, forbid_unknown_fields=True, gc=False):
    jsonrpc: Literal["2.0"]
    method: str
    id: _Id = UNSET
    params: list[_Plain | list[_Plain] | dict[str, _Plain | list[str]]] | None = None


_decode = Decoder(_Call | list[_Call]).decode


def read(text: bytes) -> Message:
    """Read one message as :func:`~chainp2p.rpc.core.parse` does; in a batch, equal lists of strings are one list."""
    if too_many_values(text):
        return parse(text)
    try:
        found = _decode(text)
    except (MsgspecError, UnicodeDecodeError):
        return parse(text)
    if isinstance(found, _Call):
        return Request(_echo(found.id), found.method, found.params)
    if not found:
        return parse(text)
    known: dict[tuple[Any, ...], list[Any]] = {}
    requests = []
    for call in found:
        id, params = call.id, call.params
        if params is not None:
            try:
                params = known.setdefault(tuple(params), params)
            except TypeError:
                pass  # an object or a list is among them
        requests.append(Request(str(id) if type(id) is int else _echo(id), call.method, params))
    return Batch(tuple(requests))


def _echo(id: _Id) -> str | None:
    """The text of an id; None if there is none."""
    if id is UNSET:
        return None
    if id is None:
        return "null"
    return encode_basestring_ascii(id) if isinstance(id, str) else str(id)
