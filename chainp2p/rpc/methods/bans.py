"""``admin_bans``, ``admin_ban`` and ``admin_unban``: who is kept away, by which rule, and the operator's own say."""

from collections.abc import Iterable
from typing import Any, Protocol

from chainp2p.errors import SettingsError
from chainp2p.namespaces import Method, Param
from chainp2p.peer.address import parse_node
from chainp2p.peer.conduct import BAN_TIME
from chainp2p.rpc.values import BOOLEAN, members, text

__all__ = ["ban_methods", "peer_key"]

#: The longest ban that can be asked for (seconds): ten years. Who means for ever removes the peer.
LONGEST = 10 * 365 * 86_400


class BansView(Protocol):
    """What is asked of the network."""

    def bans(self) -> Iterable[Any]:
        """Running :class:`~chainp2p.peer.conduct.Sentence` values, times in Unix seconds."""
        ...

    def removed(self) -> Iterable[bytes]: ...

    def ban_peer(self, peer_id: bytes, seconds: float) -> bool: ...

    def unban_peer(self, peer_id: bytes) -> bool: ...


def peer_key(value: Any) -> bytes:
    """Read a peer: its id of 64 hex digits, or whatever names a node."""
    word = text(value)
    digits = word.removeprefix("0x")
    if len(digits) == 64 and "@" not in word:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            raise ValueError("a peer id has 64 hex digits") from None
    try:
        return parse_node(word).peer_id
    except SettingsError as error:
        raise ValueError(str(error)) from None


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= LONGEST:
        raise ValueError(f"seconds are a number from 1 to {LONGEST}")
    return float(value)


def _sentence(one: Any) -> dict[str, Any]:
    return {
        "id": one.peer_id.hex(),
        "kind": one.kind.value,
        "rule": one.rule,
        "reason": one.reason,
        "detail": one.detail,
        "since": one.since,
        "until": one.until,
        "count": one.count,
    }


def _removal(peer_id: bytes) -> dict[str, Any]:
    return {
        "id": peer_id.hex(),
        "kind": "removed",
        "rule": "removed",
        "reason": "removed",
        "detail": "by the operator, until it is added or unbanned",
        "since": None,
        "until": None,
        "count": 1,
    }


def ban_methods(network: BansView) -> tuple[Method, ...]:
    """Return the methods of namespace ``admin`` about bans."""

    def bans() -> list[dict[str, Any]]:
        return [*map(_sentence, network.bans()), *map(_removal, network.removed())]

    def ban(peer_id: bytes, seconds: float) -> bool:
        return network.ban_peer(peer_id, seconds)

    def unban(peer_id: bytes) -> bool:
        return network.unban_peer(peer_id)

    peer = Param("peer", peer_key, schema={"type": "string", "description": "peer id, enr:... or PEERID@host:port"})
    seconds = Param("seconds", _seconds, required=False, default=BAN_TIME, schema={"type": "number"})
    objects = {"type": "array", "items": members("id", "kind", "rule", "reason", "detail", "since", "until", "count")}
    return (
        Method("bans", bans, (), objects, "Who is kept away until when, and why; the operator's removals last."),
        Method("ban", ban, (peer, seconds), BOOLEAN, "Keep this peer away for a time; a day by default."),
        Method("unban", unban, (peer,), BOOLEAN, "Lift a ban, a wait or a removal."),
    )
