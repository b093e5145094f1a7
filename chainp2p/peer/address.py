"""How people and files name a node: ``enr:...`` or ``PEERID@host:port``."""

from attrs import frozen

from chainp2p.errors import SettingsError
from chainp2p.peer.enr import Enr, EnrError

__all__ = ["NodeAddress", "parse_node", "split_host_port"]


@frozen
class NodeAddress:
    """Whom to dial where; *enr* is the record that said so, if one did."""

    peer_id: bytes
    host: str
    port: int
    enr: Enr | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.peer_id.hex()}@{host}:{self.port}"


def split_host_port(text: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``; SettingsError if it is neither."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsError(f"{text!r}: an IPv6 address stands in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingsError(f"{text!r}: host:port is expected")
    return host, int(port)


def parse_node(text: str) -> NodeAddress:
    """Read either form; SettingsError says what is wrong with it."""
    if text.startswith("enr:"):
        try:
            enr = Enr.from_text(text)
        except EnrError as error:
            raise SettingsError(f"{text[:20]}...: {error}") from None
        if enr.tcp_endpoint is None:
            raise SettingsError(f"{text[:20]}...: the record has no address and TCP port to dial")
        return NodeAddress(enr.peer_id, *enr.tcp_endpoint, enr)
    peer_id, at, endpoint = text.partition("@")
    try:
        raw_id = bytes.fromhex(peer_id)
    except ValueError:
        raw_id = b""
    if not at or len(raw_id) != 32:
        raise SettingsError(f"{text!r}: enr:... or PEERID@host:port is expected, PEERID being 64 hex digits")
    return NodeAddress(raw_id, *split_host_port(endpoint))
