"""What may be wrong with the machine of a node and with its files: checks for :mod:`chainp2p.node.doctor`."""

from collections.abc import Iterator

from chainp2p.node.facts import Facts, Finding, Severity, ids_text

__all__ = ["allow_list", "descriptors", "disk", "genesis", "secrets"]

#: Free bytes below which ``/readyz`` fails, and below which the next commit may (each of the three databases may
#: have a log of 16 MiB).
DISK_LOW, DISK_FULL = 1 << 30, 128 << 20
#: Share of the descriptors in use from which the next connection is in danger.
DESCRIPTORS_SHORT = 0.9


def disk(facts: Facts) -> Iterator[Finding]:
    """Space for the next blocks."""
    found = facts.disk
    if found is None or found.free >= DISK_LOW:
        return
    full = found.free < DISK_FULL
    yield Finding(
        "disk_full" if full else "disk_low",
        Severity.ERROR if full else Severity.WARNING,
        f"{found.free >> 20} MiB free in {found.folder}, {DISK_LOW >> 20} are needed",
        "free space there, or stop the node and move its directory to a larger disk (--data-dir)",
        {"free": found.free},
    )


def descriptors(facts: Facts) -> Iterator[Finding]:
    """Each connection and each file takes one descriptor."""
    found = facts.descriptors
    if found is None:
        return
    short = found.used is not None and found.used > found.limit * DESCRIPTORS_SHORT
    if not short and found.limit >= found.needed:
        return
    used = "" if found.used is None else f", {found.used} are open"
    yield Finding(
        "few_descriptors",
        Severity.ERROR if short else Severity.WARNING,
        f"the process may open {found.limit} files and connections{used}; the settings may need {found.needed}",
        f"raise the hard limit (ulimit -Hn {found.needed}, or LimitNOFILE={found.needed} for systemd) and start "
        "again, or lower --max-peers and rpc.limits.connections",
        {"limit": found.limit, "needed": found.needed},
    )


def secrets(facts: Facts) -> Iterator[Finding]:
    """Keys that others on this machine may read or replace."""
    for file in facts.secrets:
        if file.mode & 0o077:
            yield Finding(
                "key_permissions",
                Severity.WARNING,
                f"{file.path} can be used by other users of this machine (mode {file.mode:04o})",
                f"chmod 600 {file.path}; if they are not trusted, make a new key",
                {"mode": f"{file.mode:04o}"},
            )


def genesis(facts: Facts) -> Iterator[Finding]:
    """The settings and the databases must be of one network."""
    found = facts.genesis
    if found is None:
        return
    if found.error:
        yield Finding(
            "genesis_unreadable",
            Severity.ERROR,
            f"the genesis cannot be read: {found.error}",
            "chainp2p genesis check FILE names every wrong field",
        )
    elif found.settings is not None and found.stored is not None and found.settings != found.stored:
        ours, stored = found.settings.hex()[:16], found.stored.hex()[:16]
        yield Finding(
            "other_database",
            Severity.ERROR,
            f"the databases are of the network {stored}, the settings are of {ours}: the node will not start",
            "give the --genesis that belongs to this data directory, or another --data-dir",
            {"settings": found.settings.hex(), "stored": found.stored.hex()},
        )


def allow_list(facts: Facts) -> Iterator[Finding]:
    """The file of allowed keys is in force and makes sense."""
    found = facts.allow_list
    if found is None:
        return
    if found.error:
        yield Finding(
            "allow_list_unreadable",
            Severity.ERROR,
            f"the allow-list is not in force as it stands, the former {found.count} keys are: {found.error}",
            f"correct {found.path}, then send SIGHUP or call admin_reload",
        )
    if found.held:
        yield Finding(
            "held_unlisted",
            Severity.WARNING,
            f"the settings name nodes that {found.path} does not let in: {ids_text(found.held)}",
            "add them to the file, or take them out of --bootstrap and --static",
            {"nodes": len(found.held)},
        )
    if not found.lists_us:
        yield Finding(
            "own_key_unlisted",
            Severity.NOTE,
            f"{found.path} does not name this node: whoever uses the same file refuses it",
            "add this node's peer id (chainp2p key show) to the file of all members",
        )
