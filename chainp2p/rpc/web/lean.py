"""What connections do without while they only listen: thousands do, and most of what they would hold is never read.

Autobahn gives each of its protocols a hundred attributes, its settings and the texts of the handshake among them, and
twisted.web's channel keeps its parser and the request that became a WebSocket.

1. What is the same for all connections is an attribute of their class: a setting, and a flag as it is at the start.
   Setting it gives the one connection its own again, as always in Python.
2. What was about the handshake goes when that is over.
3. What changes with every message has slots, which take a tenth of what a dictionary takes.
"""

from collections.abc import Collection
from typing import Any

__all__ = ["MESSAGE_SLOTS", "keep_only", "settle", "share_settings"]

#: What Autobahn sets for each message and frame.
MESSAGE_SLOTS = (
    "_isMessageCompressed",
    "control_frame_data",
    "current_frame",
    "current_frame_masker",
    "data",
    "failedByMe",
    "frame_data",
    "frame_length",
    "inside_message",
    "is_closed",
    "message_data",
    "message_data_total_length",
    "message_is_binary",
    "state",
    "transport",
    "utf8validateIncomingCurrentMessage",
    "utf8validateLast",
    "utf8validator",
)
#: What it keeps of the handshake, and of the connection as that was before.
_HANDSHAKE = ("http_", "websocket_")
_BEFORE = frozenset({"send_queue", "_results", "_transport_details", "_valid_events", "_wskey", "is_open", "peer"})
#: What only counts: for all connections together.
_FOR_ALL = frozenset({"trafficStats"})


def share_settings(kind: Any, factory: Any) -> None:
    """Let all connections of a class have one *factory* and its settings.

    :param kind: a class of Autobahn's protocols that is used by this factory alone.
    """
    for name in kind.CONFIG_ATTRS:
        value = getattr(factory, name)
        setattr(kind, name, staticmethod(value) if callable(value) else value)
    kind.factory = factory
    kind.send_queue = ()  # of synchronous writes, which there are none of
    kind.websocket_version = 13  # only an ancient draft (0) would make a difference


def settle(connection: Any) -> None:
    """Free what a connection does not need once it is open; the first of its class says what all have in common."""
    kind = type(connection)
    own = {}
    for name, value in vars(connection).items():
        if name.startswith(_HANDSHAKE) or name in _BEFORE:
            continue
        if (value is None or isinstance(value, (bool, int)) or name in _FOR_ALL) and not hasattr(kind, name):
            setattr(kind, name, value)
        if name not in _FOR_ALL and getattr(kind, name, connection) is not value:
            own[name] = value
    connection.__dict__ = own


def keep_only(one: Any, names: Collection[str]) -> None:
    """Forget what an object was given, all but *names*; what its class has too is as there from now on."""
    one.__dict__ = {name: value for name, value in vars(one).items() if name in names}
