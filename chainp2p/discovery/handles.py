"""What a request of ours was for, until it is answered."""

from typing import Any

from attrs import define, frozen

from chainp2p.discovery.lookup import Lookup
from chainp2p.peer.enr import Enr

__all__ = ["Checking", "Looking", "RunningLookup", "Sowing", "Talking", "Updating"]


@define(eq=False)
class RunningLookup:
    """A lookup and who waits for it; *handle* None: nobody."""

    lookup: Lookup
    handle: Any


@frozen
class Checking:
    """Is it there?"""

    enr: Enr


@frozen
class Updating:
    """It has a newer record."""

    enr: Enr


@frozen
class Looking:
    """A question of a lookup; only records at these distances count."""

    running: RunningLookup
    enr: Enr
    distances: tuple[int, ...]


@frozen
class Sowing:
    """A seed is asked whom it knows at these distances."""

    enr: Enr
    distances: tuple[int, ...]


@frozen
class Talking:
    """A request of another protocol."""

    handle: Any
