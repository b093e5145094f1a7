"""What is wrong with a node or its machine, and what to do about it: pure checks over gathered facts."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from chainp2p.errors import Reason
from chainp2p.node.facts import Facts, Finding, Severity, ids_text
from chainp2p.node.machine import allow_list, descriptors, disk, genesis, secrets
from chainp2p.peer.causes import Evidence
from chainp2p.peer.votes import is_loopback, is_private

__all__ = ["CHECKS", "diagnose", "median_offset"]

#: A clock this far (seconds) from those of the peers is wrong: blocks of quick chains are refused from there on. NTP
#: holds milliseconds; Bitcoin Core warns at ten minutes (``node/timeoffsets.h``), which no slot of ours would survive.
CLOCK_LIMIT = 5.0
#: Peers whose clocks are asked: five, so that two liars do not decide; three where there are not more to ask.
CLOCKS_PUBLIC, CLOCKS_SMALL = 5, 3
#: Seconds without a single caller after which the port is suspected: some rounds of peer exchange and feelers.
QUIET_PUBLIC, QUIET_SMALL = 600.0, 60.0
#: Seconds within which ends of links count, and after which a node without peers is worth a word.
RECENT, ALONE = 3600.0, 60.0


def median_offset(offsets: Sequence[float]) -> float:
    """Return the median; of the two in the middle of an even number the one nearer to 0, so that doubt warns nobody."""
    ordered = sorted(offsets)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return min(low, high, key=abs)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _late(offset: float) -> str:
    return f"{abs(offset):.1f} s {'behind' if offset > 0 else 'ahead'}"


_SET_CLOCK = "turn on time synchronisation (timedatectl set-ntp true, or chronyd); the node never sets the clock itself"


def clock(facts: Facts) -> Iterator[Finding]:
    """Our clock against the median of the peers', and each of theirs against the same."""
    network = facts.network
    told = [] if network is None else [peer for peer in network.peers if peer.clock_offset is not None]
    if network is None or not told:
        return
    offsets = [peer.clock_offset or 0.0 for peer in told]
    median = median_offset(offsets)
    evidence: Evidence = {"peers": len(told), "offset": round(median, 3)}
    if len(told) < (CLOCKS_PUBLIC if network.public else CLOCKS_SMALL):
        if abs(median) > CLOCK_LIMIT:
            yield Finding(
                "clocks_differ",
                Severity.NOTE,
                f"this machine's clock is {_late(median)} of {_count(len(told), 'peer')}: too few to say who is wrong",
                f"compare the clocks of all machines; where one is wrong {_SET_CLOCK}",
                evidence,
            )
        return
    if abs(median) > CLOCK_LIMIT:
        yield Finding(
            "wrong_clock",
            Severity.WARNING,
            f"this machine's clock is {_late(median)} of the median of {len(told)} peers",
            f"{_SET_CLOCK}; until then blocks made here may be refused, and good ones may look early or late",
            evidence,
        )
    strangers = [peer.peer_id for peer in told if abs((peer.clock_offset or 0.0) - median) > CLOCK_LIMIT]
    if strangers:
        yield Finding(
            "peer_clock",
            Severity.NOTE,
            f"the clock of {_count(len(strangers), 'peer')} is more than {CLOCK_LIMIT:g} s off: {ids_text(strangers)}",
            "tell their operators; nothing is wrong here",
            {"peers": len(strangers)},
        )


def address(facts: Facts) -> Iterator[Finding]:
    """The address in our record must mean something to those who read it."""
    network = facts.network
    if network is None or network.advertised is None:
        return
    ip, port = network.advertised
    remedy = "set --external to the address by which others reach this machine"
    evidence: Evidence = {"address": ip, "port": port}
    if network.public and is_private(ip):
        yield Finding(
            "private_address",
            Severity.WARNING,
            f"the advertised address {ip} means nothing outside this network: nobody on the Internet can call back",
            remedy,
            evidence,
        )
    elif is_loopback(ip) and any(not is_loopback(peer.ip) for peer in network.peers):
        yield Finding(
            "private_address",
            Severity.WARNING,
            f"the advertised address {ip} means this machine only, but there are peers on others",
            remedy,
            evidence,
        )


def port(facts: Facts) -> Iterator[Finding]:
    """Nobody has ever come in, and our own call does not get through either."""
    network = facts.network
    if network is None or network.callers or not network.peers:
        return
    if network.uptime < (QUIET_PUBLIC if network.public else QUIET_SMALL):
        return
    minutes = network.uptime / 60
    evidence: Evidence = {"uptime": round(network.uptime), "peers": len(network.peers)}
    if network.advertised is None:
        yield Finding(
            "no_address",
            Severity.NOTE,
            f"no address is advertised, for peers do not agree on one, and none has called in {minutes:.0f} min",
            "set --external ADDRESS[:PORT] if this node shall be reached from outside",
            evidence,
        )
        return
    ip, number = network.advertised
    if network.port_open is False:
        yield Finding(
            "port_unreachable",
            Severity.WARNING,
            f"{ip}:{number} cannot be reached: nobody has called in {minutes:.0f} min, and this node's own call to it "
            "fails too",
            f"open TCP port {number} in the firewall and forward it on the router to this machine (--nat asks it "
            "to), or set --external to the address and port that are forwarded; until then others must be called from "
            "here",
            {**evidence, "address": ip, "port": number},
        )


#: Reason of an end -> what it says of us, when many say it, and the remedy.
_DISAGREEMENTS: Mapping[Reason, tuple[str, str]] = {
    Reason.WRONG_GENESIS: (
        "another genesis",
        "compare --genesis (chainp2p genesis check FILE prints the network's identity) and the bootstrap nodes with "
        "those of the network that is meant",
    ),
    Reason.WRONG_SETTINGS: (
        "other consensus settings",
        "compare genesis and --schedule with theirs; the first line of the reason names the height and both hashes",
    ),
    Reason.WRONG_VERSION: (
        "a version of the protocol that cannot be spoken here",
        "update the side with the older version",
    ),
    Reason.NOT_ALLOWED: (
        "an allow-list without the key of this node",
        "ask their operators to add this node's peer id (chainp2p key show) to their allow-list",
    ),
}


def disagreement(facts: Facts) -> Iterator[Finding]:
    """Peers that left because something that must be equal is not: we are wrong when they are many, they when few."""
    network = facts.network
    if network is None:
        return
    for reason, (what, remedy) in _DISAGREEMENTS.items():
        ends = [
            end
            for end in network.ends
            if end.reason is reason
            and network.now - end.when <= RECENT
            and not (reason is Reason.NOT_ALLOWED and end.by_us)
        ]
        who = list(dict.fromkeys(end.peer_id or end.address[0].encode() for end in ends))
        if not who:
            continue
        here = len(network.peers)
        severity = Severity.ERROR if not here else Severity.WARNING if len(who) > here else Severity.NOTE
        named = list(dict.fromkeys(end.peer_id for end in ends if end.peer_id))
        yield Finding(
            reason.code,
            severity,
            f"{_count(len(who), 'node')} with {what} met in the last hour"
            + (f" ({ids_text(named)})" if named else "")
            + f", against {_count(here, 'peer')}",
            remedy if severity else "nothing is wrong here; it is for their operators to mend",
            {"nodes": len(who), "peers": here, "detail": ends[0].detail, "genesis": network.genesis.hex()[:16]},
        )


def coming_settings(facts: Facts) -> Iterator[Finding]:
    """Peers with which we will part at a known height."""
    peers = () if facts.network is None else facts.network.peers
    parting = [peer for peer in peers if peer.warning]
    if parting:
        yield Finding(
            "settings_will_differ",
            Severity.WARNING,
            f"{_count(len(parting), 'peer')} of {len(peers)} will part: {parting[0].warning}",
            "give all nodes the same --schedule before that height is reached",
            {"peers": len(parting)},
        )


def same_key(facts: Facts) -> Iterator[Finding]:
    """Somebody else uses the key of this node."""
    network = facts.network
    ends = [] if network is None else [end for end in network.ends if end.reason is Reason.DUPLICATE_KEY]
    theirs = [end for end in ends if not end.by_us]
    if theirs:
        yield Finding(
            "duplicate_key",
            Severity.ERROR,
            f"the key of this node is in use on another machine, says {(theirs[0].peer_id or b'').hex()[:8]}",
            "stop one of the two and remove its node.key: it makes a new one at its next start",
            {"ends": len(theirs)},
        )


def alone(facts: Facts) -> Iterator[Finding]:
    """No peer at all, and what came of the attempts."""
    network = facts.network
    if network is None or network.peers or network.uptime < ALONE:
        return
    codes = Counter(end.code for end in network.ends if network.now - end.when <= RECENT)
    severity = Severity.WARNING
    if codes:
        common = ", ".join(f"{code} {number}x" for code, number in codes.most_common(3))
        text, remedy = (
            f"no peer; attempts ended with {common}",
            "ask chainp2p why peer ID about those that are expected",
        )
    elif network.known:
        text, remedy = "no peer, though addresses are known", "look at the log: every dial is noted there"
    else:
        # the first node of a network is no reason to worry
        severity = Severity.NOTE
        text, remedy = "no peer, and no address to call", "give --bootstrap or --static with a node of the network"
    yield Finding("no_peers", severity, text, remedy, {"known": network.known, **codes})


def lists(facts: Facts) -> Iterator[Finding]:
    """Lists in DNS that cannot be read; a note while there are peers all the same."""
    network = facts.network
    if network is None:
        return
    for domain, cause in network.lists.items():
        yield Finding(
            "list_unreadable",
            Severity.NOTE if network.peers else Severity.WARNING,
            f"the list of nodes at {domain} cannot be read: {cause}",
            "compare the enrtree:// text of --bootstrap with what the owner of the list publishes, and look at DNS",
            {"domain": domain, "cause": cause},
        )


#: All checks, in the order of the page in the docs.
CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    clock,
    address,
    port,
    disagreement,
    coming_settings,
    same_key,
    alone,
    lists,
    disk,
    descriptors,
    secrets,
    genesis,
    allow_list,
)


def diagnose(facts: Facts) -> list[Finding]:
    """Return what is wrong, the worst first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: -finding.severity)
