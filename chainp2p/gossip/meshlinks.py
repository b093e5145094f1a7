"""The mesh over links: its beat, who asks in and out, and what that costs."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainp2p.errors import Penalty, Reason
from chainp2p.gossip.mesh import BACKOFF, Asked, Beat, Mesh
from chainp2p.peer.link import Link
from chainp2p.wire.messages import MESH, Graft, Prune

if TYPE_CHECKING:
    import random as random_module

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["MeshLinks"]

#: Seconds between two beats, in every profile (chain design, "Gossip").
BEAT = 1.0


class MeshLinks:
    """Which links get new blocks at once.

    1. All, until there are more than 20 that know the mesh; then its members, and those that do not know it.
    2. The heart beats only while the mesh is awake, at once when it wakes.
    3. A peer that asks in when it may not is useless; one that goes on is malicious. A ``Prune`` costs nothing: whoever
       leaves harms itself, and how many come is bounded by its quota.

    :param changed: told of a link that is told at once from now on, or is not any more.
    """

    def __init__(
        self,
        reactor: "IReactorTime",
        random: "random_module.Random",
        changed: Callable[[Link, bool], None],
    ) -> None:
        self._reactor = reactor
        self._changed = changed
        self._mesh: Mesh[Link] = Mesh(random, lambda link: link.useless)
        self._links: dict[Link, bool] = {}
        self._timer: IDelayedCall | None = None

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {Graft: self._graft, Prune: self._prune}

    @property
    def awake(self) -> bool:
        """Whether there are so many peers that only some are told at once."""
        return self._mesh.awake

    @property
    def members(self) -> tuple[Link, ...]:
        """Those in the mesh."""
        return self._mesh.members

    def at_once(self, link: Link) -> bool:
        """Whether *link* is to be told of a block at once."""
        return self._links.get(link, False)

    def joined(self, link: Link) -> None:
        """A link is ready."""
        self._links[link] = False
        if link.status.features & MESH:
            self._mesh.joined(link, link.outbound)
        self._settle()

    def left(self, link: Link) -> None:
        """It is gone."""
        if self._links.pop(link, None) is not None:
            self._mesh.left(link)
            self._settle()

    def stop(self) -> None:
        """Cancel the timer and forget the links."""
        self._silence()
        for link in tuple(self._links):
            del self._links[link]
            self._mesh.left(link)

    def first(self, link: Link) -> None:
        """*link* brought a good block before all others."""
        self._mesh.first(link, self._reactor.seconds())

    def _settle(self) -> None:
        """Bring the timer, and who is told at once, to where they should be."""
        if not self._mesh.awake:
            self._silence()
        elif self._timer is None:
            self._beat()
            return
        for link, before in tuple(self._links.items()):
            now = not self._mesh.awake or link in self._mesh or not link.status.features & MESH
            if now is not before:
                self._links[link] = now
                self._changed(link, now)

    def _silence(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self) -> None:
        self._timer = self._reactor.callLater(BEAT, self._beat)
        beat: Beat[Link] = self._mesh.beat(self._reactor.seconds())
        for link in beat.put_out:
            link.send(Prune(int(BACKOFF)))
        for link in beat.asked:
            link.send(Graft())
        self._settle()

    # what others say

    def _graft(self, link: Link, message: Graft) -> None:
        if link not in self._links:
            return
        asked = self._mesh.asked(link, self._reactor.seconds())
        if asked is not Asked.TAKEN:
            link.send(Prune(int(BACKOFF)))
        if asked in (Asked.EARLY, Asked.HOSTILE):
            penalty = Penalty.USELESS if asked is Asked.EARLY else Penalty.MALICIOUS
            link.fault(Reason.MISBEHAVED, "asks into the mesh again before its time", penalty)
        self._settle()

    def _prune(self, link: Link, message: Prune) -> None:
        self._mesh.put_out(link, float(message.seconds), self._reactor.seconds())
        self._settle()
