"""Finds what is left in a node of links that are gone: a leak that no other test sees before memory runs out."""

import types
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from chainp2p.net.life import Phase
from chainp2p.net.protocol import PeerProtocol

__all__ = ["OUTLIVES", "traces"]

#: What may remember the id of a peer that is gone (a class, or one of its attributes), and why; a link itself may
#: outlive nowhere.
OUTLIVES: dict[str, str] = {
    "AddressBook": "is there to dial it again",
    "BookKeeper": "writes the book",
    "NodeAddress": "was named by the operator",
    "Bootstrap": "was named by the operator",
    "EndpointVotes": "counts votes by datagram for ten minutes; bounded",
    "Discv5": "asks nodes by datagram, whether there is a link or not; bounded",
    "ConductKeeper": "bans outlast links",
    "CauseKeeper": "tells people why it left",
    "EndLedger": "tells people how it left",
    "Admission": "keeps away whom the operator has removed, and knows the allow-list",
    "PeerStore": "writes what is to survive a restart",
    "Replacements": "recognises a key that is used by two machines",
    "Door._met_ids": "tells newcomers from old acquaintances; bounded",
    "PeerExchange._verified": "checks no signature of a record twice; bounded",
    "AllowList.roles": "is the operator's allow-list",
    "Provenance": "tells people where transactions came from; bounded",
}

#: Objects of these packages are looked into, and of these not: beyond lie the clock, other machines, and the chain,
#: which no call of ``IChain`` tells anything about peers.
_INSIDE = ("chainp2p.", "twisted.internet.defer", "twisted.python.failure")
_OUTSIDE = ("chainp2p.testing.", "chainp2p.chain.", "chainp2p.ledger.", "chainp2p.primitives.")
_ID_BYTES = 32


def _inside(module: str | None) -> bool:
    return module is not None and module.startswith(_INSIDE) and not module.startswith(_OUTSIDE)


def _slots(thing: Any) -> Iterator[str]:
    for cls in type(thing).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """What *thing* refers to, each with how one gets there."""
    match thing:
        case dict():
            for key, value in list(thing.items()):
                yield ".key", key
                yield f"[{key.hex()[:8] if isinstance(key, bytes) else key!r:.40}]", value
        case list() | tuple() | set() | frozenset() | deque():
            for item in list(thing):
                yield "[]", item
        case types.FunctionType() if _inside(thing.__module__):
            for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
                try:
                    yield f"<{name}>", cell.cell_contents
                except ValueError:  # of a name that has no value yet
                    continue
            yield "<defaults>", thing.__defaults__
        case types.MethodType():
            yield ".self", thing.__self__
        case partial():
            yield "<partial>", (thing.func, thing.args, thing.keywords)
        case types.CoroutineType():
            if thing.cr_frame is not None:
                for name, value in dict(thing.cr_frame.f_locals).items():
                    yield f"<{thing.__name__}>.{name}", value
            yield "<await>", thing.cr_await
        case types.GeneratorType():
            if thing.gi_frame is not None:
                for name, value in dict(thing.gi_frame.f_locals).items():
                    yield f"<{thing.__name__}>.{name}", value
            yield "<yield>", thing.gi_yieldfrom
        case _ if _inside(type(thing).__module__):
            yield from ((f".{name}", value) for name, value in list(getattr(thing, "__dict__", {}).items()))
            yield from ((f".{name}", getattr(thing, name)) for name in _slots(thing) if hasattr(thing, name))


def traces(roots: dict[str, Any], ids: frozenset[bytes], peer_id: bytes | None = None) -> list[str]:
    """Return the ways from *roots* to links that are gone, and to the *ids* of peers without a link where nothing of
    :data:`OUTLIVES` lies between; the shortest way to each.

    :param peer_id: look for links with this peer only.
    """
    found: list[str] = []
    kept: list[Any] = []  # what is made on the way must not be freed, or its id would be used again
    seen: set[tuple[int, bool]] = set()
    queue: deque[tuple[str, Any, bool]] = deque((name, root, False) for name, root in roots.items())
    while queue:
        path, thing, outlives = queue.popleft()
        if isinstance(thing, bytes):
            if not outlives and len(thing) == _ID_BYTES and thing in ids:
                found.append(f"{path}: id {thing.hex()[:8]}")
            continue
        if (
            thing is None
            or isinstance(thing, str | int | float | type | types.ModuleType)
            or (id(thing), outlives) in seen
        ):
            continue
        seen.add((id(thing), outlives))
        kept.append(thing)
        if isinstance(thing, PeerProtocol) and thing.phase is Phase.GONE:
            if peer_id in (None, thing.peer_id):
                found.append(f"{path}: link with {thing.peer_id.hex()[:8] or thing.address}")
            continue
        name = type(thing).__name__
        outlives = outlives or name in OUTLIVES
        queue.extend((path + step, part, outlives or name + step in OUTLIVES) for step, part in _parts(thing))
    return found
