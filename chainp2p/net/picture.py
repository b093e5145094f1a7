"""Draws the life of a link from its machine, for the documentation."""

from collections.abc import Iterator

from chainp2p.net.life import Phase, owned, transitions

__all__ = ["render_life"]

#: Of a box, and of the room between two, in pixels.
_WIDTH, _HEIGHT, _GAP = 112, 48, 76
#: How much higher an arc is for each state that it passes.
_RISE = 34
_INK, _SOFT = "#1f2937", "#6b7280"


def _text(x: float, y: float, text: str, size: int, colour: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}">{text}</text>'


def _ways() -> dict[tuple[int, int], str]:
    """Return the events that lead from one state to another, by their numbers."""
    order = [phase.value for phase in Phase]
    ways: dict[tuple[int, int], str] = {}
    for old, event, new in transitions():
        pair = order.index(old), order.index(new)
        ways[pair] = f"{ways[pair]}, {event}" if pair in ways else event
    return ways


def _arrow(start: int, end: int, event: str, top: float) -> Iterator[str]:
    """One way: straight to the next state, in an arc over all others."""
    step = _WIDTH + _GAP
    stroke = f'fill="none" stroke="{_INK}" stroke-width="1.3" marker-end="url(#tip)"'
    if end == start + 1:
        x, y = _GAP / 2 + start * step + _WIDTH, top + _HEIGHT / 2
        yield f'<path d="M {x:g} {y:g} h {_GAP - 7}" {stroke}/>'
        yield _text(x + _GAP / 2, y - 7, event, 12, _INK)
        return
    left, right = (_GAP / 2 + number * step + _WIDTH / 2 for number in (start, end))
    rise = _RISE * (end - start)
    right -= 8 * (end - start - 1)
    curve = f"M {left:g} {top:g} C {left:g} {top - rise:g} {right:g} {top - rise:g} {right:g} {top - 6:g}"
    yield f'<path d="{curve}" {stroke}/>'
    yield _text((left + right) / 2, top - rise * 0.75 - 6, event, 12, _INK)


def render_life() -> str:
    """Return the machine of :mod:`chainp2p.net.life` as an SVG picture: states, events, and what each state owns."""
    step, ways, owns = _WIDTH + _GAP, _ways(), owned()
    top = _RISE * max(end - start for start, end in ways) * 0.75 + 36
    width, height = step * len(Phase), top + _HEIGHT + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-family="sans-serif"'
        ' text-anchor="middle">',
        f'<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="2" refY="3" orient="auto">'
        f'<path d="M0 0 L7 3 L0 6 z" fill="{_INK}"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
    ]
    for number, phase in enumerate(Phase):
        x = _GAP / 2 + number * step
        parts.append(
            f'<rect x="{x:g}" y="{top:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#eef2ff" stroke="{_INK}"/>'
        )
        parts.append(_text(x + _WIDTH / 2, top + _HEIGHT / 2 + 5, phase.value, 15, _INK))
        parts.append(_text(x + _WIDTH / 2, top + _HEIGHT + 20, owns.get(phase.value, ""), 11, _SOFT))
    for (start, end), event in ways.items():
        parts.extend(_arrow(start, end, event, top))
    return "\n".join([*parts, "</svg>", ""])
