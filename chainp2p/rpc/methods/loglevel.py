"""``admin_setLogLevel``: what the log of a running node tells."""

from collections.abc import Callable
from typing import Any

from chainp2p.namespaces import METHOD_NOT_FOUND, Method, Param, RpcError
from chainp2p.rpc.values import BOOLEAN, text

__all__ = ["LEVELS", "log_level_method"]

#: Names of Twisted's levels, from the most to the least that is told.
LEVELS = ("debug", "info", "warn", "error", "critical")


def _level(value: Any) -> str:
    word = text(value)
    if word not in LEVELS:
        raise ValueError(f"{word!r:.80}: one of {', '.join(LEVELS)} is expected")
    return word


def log_level_method(set_level: Callable[[str, str], None] | None) -> Method:
    """Return method ``setLogLevel`` of namespace ``admin``.

    :param set_level: takes a level and the name of the modules it is for; None: the log is the host's.
    """

    def set_log_level(level: str, module: str) -> bool:
        if set_level is None:
            raise RpcError(METHOD_NOT_FOUND, "the log belongs to the application that this node is part of")
        set_level(level, module)
        return True

    return Method(
        "setLogLevel",
        set_log_level,
        (
            Param("level", _level, schema={"type": "string", "enum": list(LEVELS)}),
            Param("module", text, required=False, default="", schema={"type": "string", "description": "or a package"}),
        ),
        BOOLEAN,
        "Tell only events of this level and above, of everything or of one module, until the node ends.",
    )
