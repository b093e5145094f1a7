"""``admin_subscribe("peerEvents")``: peers that come and go, in go-ethereum's shape (``p2p.PeerEvent``)."""

from collections.abc import Callable
from typing import Any

from chainp2p.events import EventBus
from chainp2p.namespaces import Subscription
from chainp2p.peer.link import PeerJoined, PeerLeft

__all__ = ["peer_events"]


def peer_events(events: EventBus) -> Subscription:
    """:param events: the bus on which peers come and go."""

    def open(emit: Callable[[Any], None]) -> Callable[[], None]:
        def joined(event: PeerJoined) -> None:
            emit(_event("add", event))

        def left(event: PeerLeft) -> None:
            why = f"{event.reason.code}: {event.detail}" if event.detail else event.reason.code
            emit({**_event("drop", event), "error": why})

        closers = [events.subscribe(PeerJoined, joined), events.subscribe(PeerLeft, left)]

        def close() -> None:
            for closer in closers:
                closer()

        return close

    return Subscription("peerEvents", open, (), "Peers that join (add) and leave (drop, with the reason as error).")


def _event(type: str, event: PeerJoined | PeerLeft) -> dict[str, str]:
    host, port = event.address
    return {
        "type": type,
        "peer": event.peer_id.hex(),
        "remote": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    }
