"""``admin_why``: why a peer is here or not, by which rule it is kept away, why a transaction is in no block."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any, Protocol

from chainp2p.errors import SettingsError
from chainp2p.namespaces import INVALID_PARAMS, METHOD_NOT_FOUND, Method, Param, RpcError
from chainp2p.peer.address import split_host_port
from chainp2p.rpc.methods.bans import peer_key
from chainp2p.rpc.values import STRING, members, text

__all__ = ["WhyView", "why_method"]

#: Digits of a peer id that have to be given at least; tables show 8.
PREFIX_MIN = 4
#: What can be asked about; ``sync`` is told by ``admin_explainSync``.
KINDS = ("peer", "ban", "tx")
#: What an argument may be.
_DESCRIBED = (
    "peer id or the first digits of one, enr:..., PEERID@host:port; for peer also an IP address, with port;"
    " for tx the hash of a transaction"
)
#: Causes in one answer, the newest.
HISTORY = 100


class Explains(Protocol):
    """See :class:`chainp2p.net.why.Explainer`."""

    def why(self, kind: str, subject: bytes) -> Any: ...

    def why_address(self, host: str, port: int | None) -> Any: ...

    def find(self, prefix: str) -> Sequence[bytes]: ...


class WhyView(Protocol):
    """What is asked of the network."""

    @property
    def explainer(self) -> Explains: ...


def _kind(value: Any) -> str:
    word = text(value)
    if word == "sync":
        raise ValueError("what sync does and waits for is told by admin_explainSync")
    if word not in KINDS:
        raise ValueError(f"{word!r}: one of {', '.join(KINDS)} is expected")
    return word


def _address(word: str) -> tuple[str, int | None] | None:
    """Read an IP address, with or without a port."""
    host, port = word, None
    try:
        host, port = split_host_port(word)
    except SettingsError:
        pass
    try:
        return ip_address(host).compressed, port
    except ValueError:
        return None


def _subject(value: Any) -> tuple[str, int | None] | str | bytes:
    """Read an address, the first digits of an id, or what names a peer."""
    word = text(value)
    address = _address(word)
    if address is not None:
        return address
    digits = word.removeprefix("0x").lower()
    if PREFIX_MIN <= len(digits) < 64 and not set(digits) - set("0123456789abcdef"):
        return digits
    try:
        return peer_key(word)
    except ValueError:
        raise ValueError(f"{word!r:.80}: {_DESCRIBED} is expected") from None


def _cause(one: Any) -> dict[str, Any]:
    host, port = one.address
    return {
        "when": one.when,
        "since": one.since,
        "count": one.count,
        "kind": one.kind.value,
        "code": one.code,
        "id": None if one.peer_id is None else one.peer_id.hex(),
        "meant": None if one.meant is None else one.meant.hex(),
        "address": None if not host else f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "text": one.text,
        "evidence": dict(one.evidence),
    }


def _answer(one: Any, written: Callable[[Any], dict[str, Any]] = _cause) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "state": one.state.value,
        "code": one.code,
        "line": one.line,
        "evidence": dict(one.evidence),
        "history": [written(cause) for cause in one.history[:HISTORY]],
    }


def _happening(one: Any) -> dict[str, Any]:
    return {
        "when": one.when,
        "since": one.since,
        "count": one.times,
        "kind": one.stage.value,
        "code": one.code,
        "id": None if one.peer_id is None else one.peer_id.hex(),
        "meant": None,
        "address": None,
        "text": one.text,
        "evidence": {},
    }


def why_method(view: WhyView, transaction: Callable[[bytes], Awaitable[Any]] | None = None) -> Method:
    """Return method ``why`` of namespace ``admin``.

    :param transaction: answers why a transaction is where it is; what it answers is None where there is no pool.
    """

    async def why_transaction(hash: bytes) -> dict[str, Any]:
        found = None if transaction is None else await transaction(hash)
        if found is None:
            raise RpcError(METHOD_NOT_FOUND, "this chain has no pool of transactions")
        return _answer(found, _happening)

    def why(
        kind: str, id: tuple[str, int | None] | str | bytes
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        if kind == "tx":
            if not isinstance(id, bytes):
                raise RpcError(INVALID_PARAMS, "a transaction is called by all 64 digits of its hash")
            return why_transaction(id)
        explainer = view.explainer
        if isinstance(id, tuple):
            if kind == "ban":
                raise RpcError(INVALID_PARAMS, "bans are of keys, never of addresses: give a peer id")
            return _answer(explainer.why_address(*id))
        if isinstance(id, str):
            found = explainer.find(id)
            if len(found) != 1:
                known = "more than one peer is" if found else "no peer that is remembered is"
                raise RpcError(INVALID_PARAMS, f"{known} called {id}...: give all 64 digits of the id")
            (id,) = found
        return _answer(explainer.why(kind, id))

    about = {"type": "string", "enum": list(KINDS)}
    return Method(
        "why",
        why,
        (Param("kind", _kind, schema=about), Param("id", _subject, schema={**STRING, "description": _DESCRIBED})),
        members("subject", "state", "code", "line", "evidence", "history"),
        "Why a peer is here or not, or is banned; where a transaction came from, and why it is in no block.",
    )
