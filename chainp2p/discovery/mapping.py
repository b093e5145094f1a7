"""Keeps our ports mapped at a gateway that speaks PCP or NAT-PMP: what to send when, and what has come of it."""

from collections.abc import Iterable
from ipaddress import ip_address

from attrs import define, frozen

from chainp2p.discovery.gateway import (
    UNSUPPORTED_VERSION,
    Answer,
    Dialect,
    Kind,
    Question,
    encode_question,
    parse_answer,
)
from chainp2p.peer.votes import is_private

__all__ = ["LIFETIME", "Ask", "Epoch", "Failed", "Mapped", "Mapper", "Output", "Removed", "useless_address"]

#: How long a mapping is asked for (seconds). RFC 6886, 3.3 recommends two hours; after a ``kill -9`` a port of ours
#: would stay open so long, so Bitcoin Core's 40 minutes (``common/mapport.cpp``) are taken.
LIFETIME = 2_400
#: A gateway may grant less or more: less than the one is renewed as if it were it, more than the other is not believed
#: (seconds; RFC 6887, 15, has a day).
LIFETIME_MIN, LIFETIME_MAX = 120, 86_400
#: The first pause before a question is repeated (seconds); it doubles (RFC 6886, 3.1; PCP's three seconds are for
#: servers further away than the next box).
PAUSE = 0.25
#: Times that a question is asked: the answer has 15.75 seconds. RFC 6886 has nine, and then the user waits a minute.
TRIES = 6
#: Seconds between two looks whether the gateway still remembers. Its announcements (RFC 6886, 3.2.1) are multicast,
#: which many networks swallow; a datagram of 2 or 24 bytes a minute is cheap.
PROBE_INTERVAL = 60.0
#: When the removal is said again, and when it is given up (seconds): a node that stops has not much time.
REMOVAL_AGAIN, REMOVAL_LIMIT = 0.25, 0.75


@frozen
class Ask:
    """Send this to the gateway."""

    data: bytes


@frozen
class Mapped:
    """We can be reached there; said again when it changes and after each renewal.

    :param udp: None if UDP was not asked for, or is refused.
    :param lifetime: seconds.
    """

    dialect: Dialect
    ip: str
    tcp: int
    udp: int | None
    lifetime: int


@frozen
class Failed:
    """There is no mapping, or none any more, and the mapper has ended.

    :param rule: ``silent``, ``refused`` or ``useless`` (the address is none that others can reach).
    """

    rule: str
    text: str


@frozen
class Removed:
    """The mappings are gone, or there is no more time to ask for it."""


Output = Ask | Mapped | Failed | Removed


def useless_address(ip: str, private: bool) -> str:
    """Return why nobody outside can use an address, in words; empty if it is good.

    :param private: addresses of a private network will do.
    """
    address = ip_address(ip)
    if address.is_unspecified:
        return "the gateway has no address outside"
    if address.is_loopback or address.is_multicast or address.is_link_local or address.is_reserved:
        return f"{ip} is no address of a gateway"
    if not private and is_private(ip):
        return f"{ip} is a private address, so another NAT stands before the gateway"
    return ""


@define
class Epoch:
    """Whether a gateway still remembers what it has granted, by the seconds that it says it has been up.

    PCP's rule (RFC 6887, 8.5): its clock may not go back by more than a second, nor run faster or slower than ours by
    more than a sixteenth and two seconds. NAT-PMP's (RFC 6886, 3.6): it may lag behind 7/8 of ours by two seconds.
    """

    _last: tuple[int, float] | None = None

    def restarted(self, answer: Answer, now: float) -> bool:
        """Take the epoch of *answer*; True if the mappings made before it are lost."""
        last, self._last = self._last, (answer.epoch, now)
        if last is None:
            return False
        theirs, ours = answer.epoch - last[0], now - last[1]
        if answer.dialect is Dialect.NAT_PMP:
            return theirs < ours * 7 / 8 - 2
        return theirs < -1 or ours + 2 < theirs - theirs / 16 or theirs + 2 < ours - ours / 16


class Mapper:
    """One machine's mappings at one gateway, until they fail or are removed.

    1. PCP first. A gateway that says it speaks NAT-PMP, or nothing, is spoken to in NAT-PMP.
    2. One question at a time, TCP before UDP; each is repeated :data:`TRIES` times with doubling pauses. Without TCP
       there is no mapping; without UDP there is one of TCP. If only its answers got lost it is asked again in a minute.
    3. Renewal at half of the time granted; a gateway that is silent then is asked again at half of what is left, and so
       on until nothing is (RFC 6887, 11.2.1). The port outside that was granted is the one that is asked for again.
    4. Once a minute it is asked whether it still lives. If it has started anew (:class:`Epoch`), or its address is
       another, everything is mapped again at once. Once a look: a gateway whose clock is nonsense makes no flood.
    5. An address that others cannot use is no success: what was mapped is removed.

    Cost: at most one datagram a pause, and a few values.

    :param client: our IPv4 address towards the gateway.
    :param tcp: the port that we listen on.
    :param udp: that of discovery, if there is one.
    :param nonce: 12 bytes that nobody can guess.
    :param private: a private address outside will do.
    """

    def __init__(self, client: str, tcp: int, udp: int | None, nonce: bytes, private: bool) -> None:
        self._client = client
        self._wanted = {Kind.TCP: tcp, **({} if udp is None else {Kind.UDP: udp})}
        self._nonce = nonce
        self._private = private
        self._dialect = Dialect.PCP
        self._settled = False  #: whether the gateway has shown that it speaks the dialect
        self._epoch = Epoch()
        self._todo: list[Question] = []
        self._answers: dict[Kind, Answer] = {}
        self._asked: Question | None = None
        self._tries = 0
        self._deadline: float | None = None  #: of the question, or of the removal
        self._full = False  #: whether mappings are asked for, not only a sign of life
        self._again = False  #: whether this round follows from a restart
        self._ip = ""
        self._ports: dict[Kind, int] = {}  #: granted, by kind
        self._expires = 0.0
        self._renew = self._probe = 0.0
        self._removing: set[Kind] = set()
        self._over = False

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over

    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        if self._over:
            return None
        return self._deadline if self._deadline is not None else min(self._renew, self._probe)

    def start(self, now: float) -> list[Output]:
        """Begin to ask."""
        return self._map(now)

    def stop(self, now: float) -> list[Output]:
        """Remove what may have been mapped; ends with :class:`Removed`."""
        if self._over:
            return []
        self._asked, self._todo = None, []
        if not self._removing or not self._settled:
            # who has not answered yet may still do what it was asked, and reads this after it
            self._over = True
            return [*self._removals(), Removed()]
        self._tries, self._deadline = 0, now + REMOVAL_AGAIN
        return self._removals()

    def expire(self, now: float) -> list[Output]:
        """Do what is due."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if self._asked is not None:
            return self._repeat(now)
        if self._deadline is not None:
            return self._stop_again(now)
        if now >= self._renew:
            return self._map(now)
        self._begin([Question(Kind.ADDRESS)], full=False)
        return self._ask_next(now)

    def received(self, data: bytes, now: float) -> list[Output]:
        """Take a datagram of the gateway."""
        answer = None if self._over else parse_answer(data)
        if answer is None:
            return []
        asked = self._asked
        if asked is None:
            return self._removed(answer)
        if answer.code == UNSUPPORTED_VERSION and self._dialect is Dialect.PCP and not self._settled:
            return self._change(now)
        if answer.dialect is not self._dialect:
            return []
        if answer.kind is not asked.kind or (not answer.code and answer.internal != asked.internal):
            return []
        if answer.kind is not Kind.ADDRESS and answer.dialect is Dialect.PCP and answer.nonce != self._nonce:
            return []
        self._settled = True
        if self._epoch.restarted(answer, now) and self._ports and not self._again:
            return self._map(now, again=True)
        self._answers[answer.kind] = answer
        return self._ask_next(now)

    def refused(self, now: float) -> list[Output]:
        """Nobody listens at the gateway's port: neither protocol is to be had there."""
        if self._over or self._asked is None or self._settled:
            return []
        return self._fail("silent", "nobody listens at the gateway's port")

    # -- rounds of questions

    def _map(self, now: float, again: bool = False) -> list[Output]:
        questions = [Question(kind, port, self._ports.get(kind, port), LIFETIME) for kind, port in self._wanted.items()]
        if self._dialect is Dialect.NAT_PMP:
            questions.insert(0, Question(Kind.ADDRESS))
        self._begin(questions, full=True, again=again)
        return self._ask_next(now)

    def _begin(self, questions: Iterable[Question], full: bool, again: bool = False) -> None:
        self._todo = list(questions)
        self._answers = {}
        self._full, self._again = full, again

    def _ask_next(self, now: float) -> list[Output]:
        answer = self._answers.get(self._asked.kind) if self._asked is not None else None
        if answer is not None and self._full and self._is_fatal(answer):
            self._todo = []
        if not self._todo:
            self._asked = self._deadline = None
            return self._mapped(now) if self._full else self._alive(now)
        self._asked = self._todo.pop(0)
        if self._asked.kind is not Kind.ADDRESS:
            self._removing.add(self._asked.kind)
        self._tries = 0
        return self._send(now)

    def _is_fatal(self, answer: Answer) -> bool:
        """Whether the round has failed with this answer."""
        if answer.kind is Kind.UDP:
            return False
        return bool(_refusal(answer) or (answer.ip is not None and useless_address(answer.ip, self._private)))

    def _send(self, now: float) -> list[Output]:
        assert self._asked is not None
        self._deadline = now + PAUSE * 2**self._tries
        self._tries += 1
        return [Ask(encode_question(self._asked, self._dialect, self._client, self._nonce))]

    def _repeat(self, now: float) -> list[Output]:
        if self._tries < TRIES:
            return self._send(now)
        assert self._asked is not None
        if not self._settled and self._dialect is Dialect.PCP:
            return self._change(now)
        if not self._full or self._asked.kind is Kind.UDP:
            return self._ask_next(now)
        self._asked = self._deadline = None
        if now >= self._expires:
            return self._fail("silent", f"the gateway does not answer{' any more' if self._ports else ''}")
        self._renew = min(self._expires, now + max((self._expires - now) / 2, PAUSE * 2**TRIES))
        self._probe = self._expires
        return []

    def _change(self, now: float) -> list[Output]:
        """Speak NAT-PMP from now on."""
        self._dialect = Dialect.NAT_PMP
        self._epoch = Epoch()
        self._asked = None
        return self._map(now)

    # -- what comes of them

    def _alive(self, now: float) -> list[Output]:
        """The gateway has shown that it lives, or has not; only a renewal that fails has consequences."""
        self._probe = now + PROBE_INTERVAL
        answer = self._answers.get(Kind.ADDRESS)
        if answer is not None and answer.ip is not None and answer.ip != self._ip:
            return self._map(now, again=True)
        return []

    def _mapped(self, now: float) -> list[Output]:
        tcp, udp = self._answers.get(Kind.TCP), self._answers.get(Kind.UDP)
        address = self._answers.get(Kind.ADDRESS)
        for answer in (address, tcp):
            if answer is not None and (text := _refusal(answer)):
                return self._fail("refused", text)
        where = address if address is not None else tcp
        ip = where.ip if where is not None and where.ip is not None else "0.0.0.0"
        if text := useless_address(ip, self._private):
            return self._fail("useless", text)
        assert tcp is not None, "a silent gateway has been dealt with"
        granted = [tcp] if udp is None or _refusal(udp) else [tcp, udp]
        kept = self._ports if udp is None else {}
        self._ip = ip
        self._ports = {**kept, **{answer.kind: answer.external for answer in granted}}
        lifetime = min(LIFETIME_MAX, *(answer.lifetime for answer in granted))
        wait = max(lifetime, LIFETIME_MIN) / 2
        self._renew = now + (wait if len(granted) == len(self._wanted) or udp is not None else PROBE_INTERVAL)
        self._expires = now + lifetime
        self._probe = now + PROBE_INTERVAL
        return [Mapped(self._dialect, ip, tcp.external, self._ports.get(Kind.UDP), lifetime)]

    def _fail(self, rule: str, text: str) -> list[Output]:
        self._over = True
        removals = self._removals() if rule == "useless" else []
        return [*removals, Failed(rule, text)]

    # -- removal

    def _removals(self) -> list[Output]:
        return [
            Ask(encode_question(Question(kind, self._wanted[kind]), self._dialect, self._client, self._nonce))
            for kind in sorted(self._removing)
        ]

    def _stop_again(self, now: float) -> list[Output]:
        if self._tries:
            self._over = True
            return [Removed()]
        self._tries, self._deadline = 1, now + REMOVAL_LIMIT - REMOVAL_AGAIN
        return self._removals()

    def _removed(self, answer: Answer) -> list[Output]:
        if self._deadline is None or answer.dialect is not self._dialect or answer.lifetime:
            return []
        if answer.dialect is Dialect.PCP and answer.nonce != self._nonce:
            return []
        self._removing.discard(answer.kind)
        if self._removing:
            return []
        self._over = True
        return [Removed()]


def _refusal(answer: Answer) -> str:
    """Why a gateway's answer is no; a yes that gives nothing is none."""
    if answer.code:
        return answer.refusal
    if answer.kind is not Kind.ADDRESS and not (answer.external and answer.lifetime):
        return "it grants no port, or for no time"
    return ""
