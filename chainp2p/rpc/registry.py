"""Dispatches by the same values that document: :class:`Namespace` in, calls out. Pure.

Errors and texts about arguments are go-ethereum's (``rpc/json.go`` ``parsePositionalArguments``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from chainp2p.namespaces import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Method,
    Namespace,
    Param,
    RpcError,
    Stream,
    Subscription,
)

__all__ = ["Begin", "Registry", "Subscribe", "Unsubscribe", "bind"]

#: Characters of a method's name that is told back (geth ``rpc/json.go``).
MAX_NAME = 2_048


@frozen
class Subscribe:
    """``<namespace>_subscribe``: the connection is to open this subscription."""

    namespace: str
    subscription: Subscription
    arguments: tuple[Any, ...]
    key: str  #: equal for subscriptions that see the same events


@frozen
class Begin:
    """The same for a namespace with a stream: *flow* makes a subscriber's, on its way to it."""

    namespace: str
    flow: Callable[[Any], Any]


@frozen
class Unsubscribe:
    """``<namespace>_unsubscribe``."""

    namespace: str
    id: str


class Registry:
    """All methods of one port by their full names. Names are ASCII: they are spliced into answers as they are."""

    def __init__(self, namespaces: Sequence[Namespace]) -> None:
        self.namespaces = tuple(namespaces)
        self._methods: dict[str, Method] = {}
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        self._streams: dict[str, Stream] = {}
        for namespace in namespaces:
            for method in namespace.methods:
                self._methods[f"{namespace.name}_{method.name}"] = method
            if namespace.subscriptions:
                self._subscriptions[namespace.name] = {one.name: one for one in namespace.subscriptions}
            if namespace.stream is not None:
                self._streams[namespace.name] = namespace.stream
        if "rpc_discover" in self._methods:
            # the name that the OpenRPC specification asks for
            self._methods["rpc.discover"] = self._methods["rpc_discover"]
        #: Methods that say of themselves that they only read.
        self.reads = frozenset(name for name, method in self._methods.items() if method.reads)

    def invoke(
        self, method: str, params: "Sequence[Any] | Mapping[str, Any] | None", subscriptions: bool = False
    ) -> Any:
        """Call *method*; answers its result, a Deferred, a coroutine, or a :class:`Subscribe`, :class:`Begin` (by a
        coroutine) or :class:`Unsubscribe` that only a connection can carry out. Raises :exc:`RpcError`.

        :param subscriptions: whether the caller is a connection that can.
        """
        found = self._methods.get(method)
        if found is not None:
            return found.handler(*bind(found.params, params)) if params or found.params else found.handler()
        namespace, _, verb = method.rpartition("_")
        subscribes = namespace in self._subscriptions or namespace in self._streams
        if subscribes and verb in ("subscribe", "unsubscribe"):
            if not subscriptions:
                raise RpcError(METHOD_NOT_FOUND, "notifications not supported")
            if verb == "unsubscribe":
                return _unsubscribe(namespace, params)
            return (self._begin if namespace in self._streams else self._subscribe)(namespace, params)
        if len(method) > MAX_NAME:
            raise RpcError(INVALID_REQUEST, f"method name too long: {len(method)} > {MAX_NAME}")
        raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")

    def knows(self, method: str) -> bool:
        """Whether there is such a method, or such a way to subscribe."""
        if method in self._methods:
            return True
        namespace, _, verb = method.rpartition("_")
        return verb in ("subscribe", "unsubscribe") and (namespace in self._subscriptions or namespace in self._streams)

    def cost(self, method: str, params: "Sequence[Any] | Mapping[str, Any] | None" = None) -> int:
        """Units of the fair-use limits that a call takes."""
        found = self._methods.get(method)
        if found is None:
            return 1
        if found.extra is None:
            return found.cost
        try:
            return found.cost + found.extra(*bind(found.params, params))
        except RpcError:
            return found.cost  # the call will be refused for the same reason

    def _subscribe(self, namespace: str, params: "Sequence[Any] | Mapping[str, Any] | None") -> Subscribe:
        if isinstance(params, Mapping):
            raise RpcError(INVALID_PARAMS, "non-array args")
        given = list(params or ())
        if not given:
            raise RpcError(INVALID_PARAMS, "missing value for required argument 0")
        name = given[0]
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "expected subscription name as first argument")
        found = self._subscriptions[namespace].get(name)
        if found is None:
            raise RpcError(METHOD_NOT_FOUND, f'no "{name:.80}" subscription in {namespace} namespace')
        arguments = bind(found.params, given[1:], first=1)
        return Subscribe(namespace, found, tuple(arguments), f"{namespace} {name} {arguments!r}")

    async def _begin(self, namespace: str, params: "Sequence[Any] | Mapping[str, Any] | None") -> Begin:
        stream = self._streams[namespace]
        return Begin(namespace, await stream.prepare(*bind(stream.params, params)))


def _unsubscribe(namespace: str, params: "Sequence[Any] | Mapping[str, Any] | None") -> Unsubscribe:
    (id,) = bind((Param("id", parse=_text),), params)
    return Unsubscribe(namespace, id)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("json: cannot unmarshal non-string into Go value of type rpc.ID")
    return value


def bind(declared: Sequence[Param], given: "Sequence[Any] | Mapping[str, Any] | None", first: int = 0) -> list[Any]:
    """Return the arguments for a handler from what the caller gave; raises :exc:`RpcError` with geth's texts.

    :param first: number of the first argument in texts.
    """
    if not isinstance(given, list) and isinstance(given, Mapping):
        given = _by_name(declared, given)
    given = given or ()
    count = len(given)
    if count > len(declared):
        raise RpcError(INVALID_PARAMS, f"too many arguments, want at most {len(declared) + first}")
    arguments: list[Any] = []
    for index, param in enumerate(declared):
        value = given[index] if index < count else None
        if value is None:
            if param.required:
                raise RpcError(INVALID_PARAMS, f"missing value for required argument {index + first}")
            arguments.append(param.default)
            continue
        try:
            arguments.append(param.parse(value))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise RpcError(INVALID_PARAMS, f"invalid argument {index + first}: {error}") from None
    return arguments


def _by_name(declared: Sequence[Param], given: Mapping[str, Any]) -> list[Any]:
    names = [param.name for param in declared]
    for name in given:
        if name not in names:
            raise RpcError(INVALID_PARAMS, f"unknown argument {name!r:.80}")
    return [given.get(name) for name in names]
