"""The life of a link as a machine: what may follow what, and the timer that the last phase owns."""

from enum import Enum
from typing import Protocol

from attrs import frozen
from automat import TypeMachineBuilder
from twisted.internet.interfaces import IDelayedCall

__all__ = ["LinkLife", "Living", "Phase", "link_life"]


class Phase(Enum):
    """Where a link is in its life, for people and for the one comparison that each message costs."""

    SECURING = "securing"
    GREETING = "greeting"
    READY = "ready"
    CLOSING = "closing"
    GONE = "gone"


class Living:
    """What the machine moves: the base of a link."""

    phase = Phase.SECURING

    def plan_cut(self) -> IDelayedCall:
        """Start the time that the last words have to leave."""
        raise NotImplementedError


class LinkLife(Protocol):
    """Securing, greeting, ready, closing, gone; no way back. Dialling comes before it and is the dialer's."""

    def secured(self) -> None:
        """The transport has proven who is there."""

    def greeted(self) -> None:
        """Both ``Status`` are exchanged."""

    def ended(self) -> bool:
        """The link ends; False if it had ended before: the first reason is the one that counts."""

    def lost(self) -> None:
        """The connection is closed; the end has been told before."""


@frozen
class _Closing:
    """Entering starts the time to flush, leaving stops it."""

    cut: IDelayedCall


def _plan(life: LinkLife, link: Living) -> _Closing:
    return _Closing(link.plan_cut())


_builder = TypeMachineBuilder(LinkLife, Living)
_securing = _builder.state("securing")
_greeting = _builder.state("greeting")
_ready = _builder.state("ready")
_closing = _builder.state("closing", _plan)
_gone = _builder.state("gone")


@_securing.upon(LinkLife.secured).to(_greeting)
def _secured(life: LinkLife, link: Living) -> None:
    link.phase = Phase.GREETING


@_greeting.upon(LinkLife.greeted).to(_ready)
def _greeted(life: LinkLife, link: Living) -> None:
    link.phase = Phase.READY


@_securing.upon(LinkLife.ended).to(_closing)
@_greeting.upon(LinkLife.ended).to(_closing)
@_ready.upon(LinkLife.ended).to(_closing)
def _ended(life: LinkLife, link: Living) -> bool:
    link.phase = Phase.CLOSING
    return True


_closing.upon(LinkLife.ended).loop().returns(False)
_gone.upon(LinkLife.ended).loop().returns(False)


@_closing.upon(LinkLife.lost).to(_gone)
def _lost(life: LinkLife, link: Living, closing: _Closing) -> None:
    if closing.cut.active():
        closing.cut.cancel()
    link.phase = Phase.GONE


#: Makes the life of a link, which begins in ``securing``.
link_life = _builder.build()
