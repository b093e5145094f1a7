"""What one client may take from the server, each with its reason (design, "RPC": limits)."""

from attrs import frozen

__all__ = ["Limits"]


@frozen(kw_only=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body: int = 5 * 1024 * 1024  #: of one request or WebSocket message: geth's limit, which tools are built for
    held: int = 128 * 1024 * 1024  #: of all requests and answers above 64 KiB that are in memory: five of the largest
    frames: int = (
        4_096  #: of one WebSocket message: 5 MiB in pieces of 1,280 bytes, but not in endlessly many empty ones
    )
    header_block: int = 8 * 1024  #: request line and headers
    headers: int = 100
    batch: int = 1_000  #: entries of one batch
    batch_answers: int = 25_000_000  #: of all answers to one batch
    deadline: float = 30.0  #: absolute, from the first byte of a request to the end of its call
    idle: float = 120.0  #: of a kept-alive HTTP connection: longer than proxies keep theirs
    connections: int = 1_024
    connections_per_address: int = 128  #: loopback is exempt: proxies and local tools come from there
    calls_in_flight: int = 16  #: of one connection; the next waits, and reading stops
    subscriptions: int = 64  #: of one connection
    ring_events: int = 256  #: notifications that wait for one slow connection
    ring_bytes: int = 1024 * 1024
    ping: float = 20.0  #: between WebSocket pings
    pong: float = 40.0  #: until an unanswered ping ends the connection
    not_reading: float = 60.0  #: a WebSocket that takes nothing for so long is aborted
    cost_rate: float = 1_000.0  #: units a second that a connection's debt decays by: a tenth of what the node has
    cost_soft: float = 5_000.0  #: units above which its messages wait: a batch of 1,000 calls passes at once
    cost_hard: float = 20_000.0  #: units above which its calls are refused
    subnet_cost_rate: float = 2_000.0  #: the same for a /24 (IPv6: /48), an office or a cloud's address range
    subnet_cost_soft: float = 10_000.0
    subnet_cost_hard: float = 40_000.0
    slice: float = 0.01  #: a batch lets others run after so long on the reactor thread
    linger: float = 2.0  #: how long the rest of a refused body is read, so that the client sees the refusal


#: The admin port serves operators, not wallets.
ADMIN_CONNECTIONS = 16
