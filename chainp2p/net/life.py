"""The life of a link as a machine: what may follow what, and the timer or Deferred that each state owns."""

from enum import Enum
from typing import Any, Protocol, get_type_hints

from attrs import frozen
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chainp2p.net.alarm import Alarm

__all__ = ["LinkLife", "Living", "Phase", "begin_accepted", "begin_dialing", "owned", "transitions"]


class Phase(Enum):
    """Where a link is in its life, for people and for the one comparison that each message costs."""

    DIALING = "dialing"
    SECURING = "securing"
    GREETING = "greeting"
    READY = "ready"
    CLOSING = "closing"
    GONE = "gone"


class Living:
    """What the machine moves: the base of a link. The machine asks it for what a state owns, and stops it."""

    phase = Phase.SECURING

    def plan_deadline(self) -> IDelayedCall:
        """Start the time that is left for the handshake."""
        raise NotImplementedError

    def set_alarm(self) -> Alarm:
        """Make the timer of a ready link: requests, keep-alive, stalls."""
        raise NotImplementedError

    def plan_cut(self) -> IDelayedCall:
        """Start the time that the last words have to leave."""
        raise NotImplementedError


class LinkLife(Protocol):
    """Dialing, securing, greeting, ready, closing, gone; no way back.

    1. A link that we dial begins in ``dialing``, one that is dialled in ``securing``.
    2. Entering a state starts what it owns, leaving it stops that: nothing of a link runs once it is gone.
    3. Only these five events go through the machine, each at most once in a link's life. Frames never do: a transition
       costs ten times what the table of the greeting does.
    """

    def connected(self) -> None:
        """The connection that we dialled stands."""

    def secured(self) -> None:
        """The transport has proven who is there."""

    def greeted(self) -> None:
        """Both ``Status`` are exchanged."""

    def ended(self) -> None:
        """The link ends, for whatever reason."""

    def lost(self) -> None:
        """The connection is closed, or the attempt to make one has failed."""


@frozen
class _Dialing:
    """attempt to connect"""

    attempt: "Deferred[Any]"


@frozen
class _Shaking:
    """handshake deadline"""

    deadline: IDelayedCall


@frozen
class _Ready:
    """alarm"""

    alarm: Alarm


@frozen
class _Closing:
    """cut"""

    cut: IDelayedCall


def _dial(life: LinkLife, link: Living) -> _Dialing:
    raise AssertionError("no state leads to dialing")


def _shake(life: LinkLife, link: Living) -> _Shaking:
    return _Shaking(link.plan_deadline())


def _get_ready(life: LinkLife, link: Living) -> _Ready:
    return _Ready(link.set_alarm())


def _close(life: LinkLife, link: Living) -> _Closing:
    return _Closing(link.plan_cut())


_builder = TypeMachineBuilder(LinkLife, Living)
_gone = _builder.state("gone")  # first, for Automat wants one without data there; lives begin as said below
_dialing = _builder.state("dialing", _dial)
_securing = _builder.state("securing", _shake)
_greeting = _builder.state("greeting", _shake)
_ready = _builder.state("ready", _get_ready)
_closing = _builder.state("closing", _close)


def _stop(call: IDelayedCall) -> None:
    if call.active():
        call.cancel()


@_dialing.upon(LinkLife.connected).to(_securing)
def _connected(life: LinkLife, link: Living, dialing: _Dialing) -> None:
    link.phase = Phase.SECURING


@_dialing.upon(LinkLife.ended).to(_gone)
def _given_up(life: LinkLife, link: Living, dialing: _Dialing) -> None:
    link.phase = Phase.GONE
    dialing.attempt.cancel()


@_dialing.upon(LinkLife.lost).to(_gone)
def _failed(life: LinkLife, link: Living, dialing: _Dialing) -> None:
    link.phase = Phase.GONE


@_securing.upon(LinkLife.secured).to(_greeting)
def _secured(life: LinkLife, link: Living, securing: _Shaking) -> None:
    securing.deadline.cancel()
    link.phase = Phase.GREETING


@_greeting.upon(LinkLife.greeted).to(_ready)
def _greeted(life: LinkLife, link: Living, greeting: _Shaking) -> None:
    greeting.deadline.cancel()
    link.phase = Phase.READY


@_securing.upon(LinkLife.ended).to(_closing)
@_greeting.upon(LinkLife.ended).to(_closing)
def _turned_away(life: LinkLife, link: Living, shaking: _Shaking) -> None:
    _stop(shaking.deadline)
    link.phase = Phase.CLOSING


@_ready.upon(LinkLife.ended).to(_closing)
def _ended(life: LinkLife, link: Living, ready: _Ready) -> None:
    ready.alarm.stop()
    link.phase = Phase.CLOSING


@_closing.upon(LinkLife.lost).to(_gone)
def _lost(life: LinkLife, link: Living, closing: _Closing) -> None:
    _stop(closing.cut)
    link.phase = Phase.GONE


_gone.upon(LinkLife.lost).loop().returns(None)  # of an attempt that was given up

_machine = _builder.build()


def begin_dialing(link: Living, attempt: "Deferred[Any]") -> LinkLife:
    """Return the life of a link whose connection is being made."""
    link.phase = Phase.DIALING
    return _machine(link, _dialing, lambda life, link: _Dialing(attempt))


def begin_accepted(link: Living) -> LinkLife:
    """Return the life of a link whose connection stands."""
    return _machine(link, _securing, _shake)


def transitions() -> list[tuple[str, str, str]]:
    """Return (state, event, next state) of the machine, for its picture."""
    order = [phase.value for phase in Phase]
    ways = _machine.__automat_automaton__.allTransitions()
    found = [(old.name, event, new.name) for old, event, new, _ in ways if old is not new]
    return sorted(found, key=lambda way: (order.index(way[0]), order.index(way[2]), way[1]))


def owned() -> dict[str, str]:
    """Return what each state owns, in a word or two, for the picture."""
    data = {state.name: state.factory for state in (_dialing, _securing, _greeting, _ready, _closing)}
    return {name: get_type_hints(factory)["return"].__doc__ or "" for name, factory in data.items()}
