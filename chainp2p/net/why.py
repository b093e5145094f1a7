"""Gathers what a node knows of a peer, and asks :mod:`chainp2p.peer.why` what that means."""

from collections.abc import Callable
from typing import Any

from chainp2p.net.admission import Admission
from chainp2p.net.causes import CauseKeeper
from chainp2p.net.conduct import ConductKeeper
from chainp2p.net.protocol import PeerProtocol
from chainp2p.net.roster import Roster
from chainp2p.peer.book import AddressBook
from chainp2p.peer.known import address_group
from chainp2p.peer.why import Answer, KnownNow, LinkNow, PeerFacts, why_address, why_ban, why_peer

__all__ = ["Explainer", "WHY_KINDS"]

#: Digits of a peer id that have to be given at least; ids are shown with 8.
PREFIX_MIN = 4

WHY_KINDS = {"peer": why_peer, "ban": why_ban}


class Explainer:
    """Answers ``why``: looks at everything, changes nothing.

    :param now: answers Unix time in seconds.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float],
        own_id: bytes,
        causes: CauseKeeper,
        book: AddressBook,
        roster: Roster,
        admission: Admission,
        conduct: ConductKeeper,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._own_id = own_id
        self._causes = causes
        self._book = book
        self._roster = roster
        self._admission = admission
        self._conduct = conduct

    def why(self, kind: str, subject: bytes) -> Answer:
        """Answer about a peer; *kind*: one of :data:`WHY_KINDS`."""
        return WHY_KINDS[kind](self.facts(subject))

    def why_address(self, host: str, port: int | None) -> Answer:
        """Answer about an address."""
        return why_address(host if port is None else f"{host}:{port}", self._causes.at(host, port), self._now())

    def find(self, prefix: str) -> list[bytes]:
        """Return the ids that begin with these hex digits: peers that are here, kept away, or had something happen."""
        ids = {self._own_id, *self._roster.ids(), *self._admission.removed()}
        ids |= {one.peer_id for one in self._conduct.bans()}
        for cause in self._causes.newest():
            ids |= {one for one in (cause.peer_id, cause.meant) if one is not None}
        return sorted(one for one in ids if one.hex().startswith(prefix))

    def facts(self, peer_id: bytes) -> PeerFacts:
        """Return all that is known of a peer."""
        return PeerFacts(
            now=self._now(),
            peer_id=peer_id,
            ourselves=peer_id == self._own_id,
            link=self._link(peer_id),
            removed=self._admission.is_removed(peer_id),
            allowed=self._admission.is_allowed(peer_id),
            sentence=next((one for one in self._conduct.bans() if one.peer_id == peer_id), None),
            known=self._known(peer_id),
            room=self._admission.room_to_dial(),
            clocks=[ahead for link in self._roster.current if (ahead := self._ahead(link)) is not None],
            causes=self._causes.about(peer_id),
        )

    def _ahead(self, link: PeerProtocol) -> float | None:
        """Return by how many seconds the clock of a peer is ahead of ours."""
        return None if link.clock is None else link.clock + self._reactor.seconds() - self._now()

    def _link(self, peer_id: bytes) -> LinkNow | None:
        ready = self._roster.get(peer_id)
        if ready is not None:
            agent, ahead = ready.status.agent, self._ahead(ready)
            return LinkNow(ready.connected_at, ready.outbound, ready.address, agent, ready.warning, ahead)
        for link in self._roster.live():
            if link.peer_id == peer_id:
                return LinkNow(None, link.outbound, link.address)
        return None

    def _known(self, peer_id: bytes) -> KnownNow | None:
        known = self._book.get(peer_id)
        if known is None:
            return None
        offset = self._now() - self._reactor.seconds()
        host, port = known.address.host, known.address.port
        return KnownNow(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            known.held,
            known.failures,
            known.not_before + offset,
            None if known.reached_at is None else known.reached_at + offset,
            known.group in {address_group(link.address[0]) for link in self._roster.live() if link.outbound},
        )
