"""Describes namespaces to programs (OpenRPC). Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from chainp2p.namespaces import Namespace, Param

__all__ = ["discover"]

#: Of the OpenRPC specification that the document follows.
OPENRPC_VERSION = "1.3.2"
#: See :meth:`chainp2p.rpc.subscriptions.hub.Hub.new_id`.
_SUBSCRIPTION_ID = {"type": "string", "pattern": "^0x[1-9a-f][0-9a-f]{31}$"}


def discover(namespaces: Sequence[Namespace], version: str) -> dict[str, Any]:
    """Return the OpenRPC document of what *namespaces* serve."""
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": "chainp2p", "version": version},
        "methods": [entry for namespace in namespaces for entry in _methods(namespace)],
    }


def _methods(namespace: Namespace) -> Iterator[dict[str, Any]]:
    for method in namespace.methods:
        yield {
            "name": f"{namespace.name}_{method.name}",
            "summary": method.doc,
            "paramStructure": "either",
            "params": [_param(param) for param in method.params],
            "result": {"name": "result", "schema": dict(method.result)},
            "x-cost": method.cost,
        }
    if namespace.subscriptions:
        names = [subscription.name for subscription in namespace.subscriptions]
        yield {
            "name": f"{namespace.name}_subscribe",
            "summary": "Start a subscription; WebSocket only. Answers its id.",
            "params": [
                {"name": "name", "required": True, "schema": {"type": "string", "enum": names}},
                {"name": "options", "required": False, "schema": {}},
            ],
            "result": {"name": "id", "schema": dict(_SUBSCRIPTION_ID)},
        }
    if namespace.stream is not None:
        yield {
            "name": f"{namespace.name}_subscribe",
            "summary": f"{namespace.stream.doc} WebSocket only. Answers the subscription's id.",
            "paramStructure": "either",
            "params": [_param(param) for param in namespace.stream.params],
            "result": {"name": "id", "schema": dict(_SUBSCRIPTION_ID)},
        }
    if namespace.subscriptions or namespace.stream is not None:
        yield {
            "name": f"{namespace.name}_unsubscribe",
            "summary": "End a subscription of this connection.",
            "params": [{"name": "id", "required": True, "schema": {"type": "string"}}],
            "result": {"name": "ended", "schema": {"type": "boolean"}},
        }


def _param(param: Param) -> dict[str, Any]:
    return {"name": param.name, "required": param.required, "schema": dict(param.schema)}
