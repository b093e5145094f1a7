"""What sync says of itself, for people: bars, what is awaited, what failed."""

from typing import Any

__all__ = ["bar", "failed_line", "object_of", "waiting_line", "ways"]

#: Characters of a bar.
_WIDTH = 30
#: Phases in which something is behind.
_BEHIND = ("headers", "state", "blocks")


def bar(done: float, total: float, words: str) -> str:
    """Return a bar, how much that is, and *words*; it is full only when all is done."""
    share = min(1.0, done / total) if total else 0.0
    full = int(share * _WIDTH)
    percent = f"{share:.1%}" if share in (0.0, 1.0) else f"{min(share, 0.999):.1%}"
    return f"[{'#' * full}{'.' * (_WIDTH - full)}] {words}, {percent}"


def ways(sync: dict[str, Any]) -> list[tuple[str, object]]:
    """Return a line for each thing that is on its way: headers, a state, blocks; and when the last comes."""
    current, highest = sync["current"], sync["highest"]
    if sync["phase"] not in _BEHIND or current >= highest:
        return []
    lines: list[tuple[str, object]] = []
    headers = sync.get("headers", 0)
    if headers:
        lines.append(("headers", bar(headers, highest, f"{headers} of {highest}")))
    state = sync.get("state")
    if state is not None:
        words = f"of block {state['height']}, {state['entries']} accounts in {state['chunks']} chunks"
        lines.append(("state", bar(state["share"], 1.0, words)))
    lines.append(("blocks", bar(current, highest, f"{current} of {highest}")))
    if sync["eta"] is not None:
        rate = "" if sync["rate"] is None else f" at {sync['rate']:.1f} blocks/s"
        lines.append(("eta", f"{sync['eta']:.0f} s{rate}" if state is None else f"{sync['eta']:.0f} s for the state"))
    return lines


def object_of(wait: dict[str, Any]) -> str:
    """Say what is awaited."""
    if wait["what"] == "headers":
        return f"headers after {str(wait['hash']).removeprefix('0x')[:8]}"
    return f"{wait['what']} from {wait['height']} ({wait['count']})"


def waiting_line(wait: dict[str, Any]) -> str:
    """Say one thing that is awaited, in a line."""
    who = "nobody" if wait["peer"] is None else str(wait["peer"]).removeprefix("0x")[:8]
    words = f"{object_of(wait)}, of {who}, for {wait['age']:.1f} s"
    return words if wait["left"] is None else f"{words}; in {wait['left']:.1f} s: {wait['otherwise']}"


def failed_line(failed: dict[str, Any]) -> str:
    """Say which block failed, and whose it was, in a line."""
    whose = "" if failed["signer"] is None else f" of signer {failed['signer']}"
    return f"block {failed['header']['height']} {failed['header']['hash']}{whose}: {failed['reason']}"
