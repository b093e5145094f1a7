"""Reference pages that are written from code: settings with their options, and RPC methods."""

from attrs import asdict

from chainp2p.node.limits import render_limits
from chainp2p.node.options import OPTIONS, TABLES, Kind, Option
from chainp2p.settings import Settings

__all__ = ["render_rpc", "render_settings"]


def _row(cells: list[str]) -> list[str]:
    return [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(cells)]


def _flags(option: Option) -> str:
    flags = []
    if option.flag:
        flags.append(f"``--{option.flag}{' ' + option.metavar if option.metavar else ''}``")
    if option.off:
        flags.append(f"``--{option.off}``")
    return ", ".join(flags) or "TOML only"


def render_settings() -> str:
    """One table per TOML table, in reStructuredText."""
    defaults = asdict(Settings())
    lines = [
        "Each setting has one key in the file that ``--config`` names and, but for the rare ones, one option; the",
        "command line wins. ``chainp2p config`` prints what is in force.",
    ]
    for table in TABLES:
        lines += ["", f"``[{table}]``", "-" * (len(table) + 6), "", ".. list-table::", "   :header-rows: 1", ""]
        lines += _row(["key", "option", "type", "default", "meaning"])
        for option in OPTIONS:
            if option.table == table:
                default = defaults[table][option.key]
                shown = "" if default is None or default == () else f"``{_shown(default)}``"
                lines += _row([f"``{option.key}``", _flags(option), _kind(option.kind), shown, option.text])
    lines += ["", "``[rpc.limits]``", "-" * 16, "", "TOML only; bytes, seconds and counts, with their defaults::", ""]
    lines += [f"   {line}" for line in render_limits(())]
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(kind: Kind) -> str:
    return kind.value.split(" (")[0]


def render_rpc() -> str:
    """One section per namespace, from the registry that dispatches."""
    from chainp2p.node.surface import documented_namespaces
    from chainp2p.rpc import reference

    intro = (
        "Methods of the two ports; ``admin`` and ``debug`` are served on the admin port only. Parameters in brackets "
        "may be missing. The cost is in units of the fair-use limits. ``rpc_discover`` answers the same for programs."
    )
    return f"{intro}\n\n{reference.render_rpc(documented_namespaces())}"
