"""Reads named code blocks out of the documentation."""

import re
import textwrap
from pathlib import Path

__all__ = ["commands_of", "named_blocks"]

_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n   :name: ([\w-]+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def named_blocks(page: Path) -> dict[str, tuple[str, str]]:
    """Return name -> (language, text) of the code blocks of *page* that have a name."""
    return {name: (language, textwrap.dedent(text)) for language, name, text in _BLOCK.findall(page.read_text())}


def commands_of(console: str) -> list[tuple[str, str]]:
    """Return (command, what is printed) of a block that shows a shell."""
    found: list[tuple[str, str]] = []
    more = False
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif more:
            found[-1] = (f"{found[-1][0]}\n{line}", "")
        elif line:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
        more = line.endswith("\\")
    return found
