"""The values by which RPC methods are described: one description dispatches, documents and measures them.

A chain plug-in, ``ethapi`` and ``rpc/methods`` all hand over :class:`Namespace` values; ``rpc`` serves them.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import Factory, field, frozen

__all__ = ["Method", "Namespace", "Param", "RpcError", "Stream", "Subscription"]

#: JSON-RPC 2.0, section 5.1, and EIP-1474.
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
SERVER_ERROR = -32000
#: EIP-1474, "Limit exceeded": viem, for one, knows by it that the call may be tried again.
LIMIT_EXCEEDED = -32005
#: geth's answer, too, where a block of the chain is not kept.
PRUNED = 4444


class RpcError(Exception):
    """The answer of a call is this error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data


@frozen
class Param:
    """One positional parameter.

    :param parse: turns the JSON value into what the handler takes; raises ``ValueError`` with a text that the caller
        sees as ``invalid argument N: TEXT`` (code -32602).
    :param schema: JSON Schema of the value, for ``rpc_discover``.
    """

    name: str
    parse: Callable[[Any], Any] = lambda value: value
    required: bool = True
    default: Any = None
    schema: Mapping[str, Any] = field(default=Factory(dict))


@frozen
class Method:
    """One method; *handler* takes the parsed parameters, answers a JSON value, a Deferred or a coroutine."""

    name: str  #: without the namespace: ``blockNumber``
    handler: Callable[..., Any]
    params: tuple[Param, ...] = ()
    result: Mapping[str, Any] = field(default=Factory(dict))  #: JSON Schema
    doc: str = ""
    cost: int = 1  #: units of the fair-use limits; a trivial read is 1
    extra: Callable[..., int] | None = None  #: units beside *cost* for these parsed parameters
    reads: bool = False  #: only what is at hand, and answers shortly: a batch that repeats the call makes it once


@frozen
class Subscription:
    """A kind of ``<namespace>_subscribe``: ``open(emit, *params)`` starts events and answers a function that ends them.

    *emit* takes one JSON value per event and never blocks.
    """

    name: str
    open: Callable[..., Callable[[], None]]
    params: tuple[Param, ...] = ()
    doc: str = ""


@frozen
class Stream:
    """What ``<namespace>_subscribe`` is where each subscriber has a pace of its own.

    ``prepare(*params)`` is a coroutine; what it answers is called with the subscriber's ``Outlet`` and answers its
    ``Flow`` (both: :mod:`chainp2p.rpc.subscriptions.hub`).
    """

    prepare: Callable[..., Coroutine[Any, Any, Any]]
    params: tuple[Param, ...]
    doc: str = ""


@frozen
class Namespace:
    """The methods that share a prefix, ``eth`` for ``eth_blockNumber``; subscriptions of one kind or the other."""

    name: str
    methods: tuple[Method, ...]
    subscriptions: tuple[Subscription, ...] = ()
    stream: Stream | None = None
