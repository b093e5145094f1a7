"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Bar", "json_option", "print_json", "print_pairs", "print_table"]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print *value* as indented JSON."""
    click.echo(json.dumps(value, indent=1))


#: Columns of the widest row: an ENR has at most 404 characters, beside it stand ids and addresses.
_WIDTH = 1000


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table without a frame; long values are never cut, so that they can be copied."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, no_wrap=True)
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    Console(width=_WIDTH, soft_wrap=True, highlight=False, markup=False, emoji=False).print(made)


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


class _Rate(TextColumn):
    """Blocks a second, lately."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} blocks/s" if task.speed else "")


class Bar:
    """A progress bar on stderr, with rate and time left; nothing where nobody looks (no terminal)."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            _Rate(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID | None = None

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int, skipped: int = 0) -> None:
        """*done* of *total* blocks; those *skipped* of them took no time, and the rate is without them."""
        if not total:
            return
        if self._task is None:
            self._task = self._progress.add_task("", total=total, completed=skipped)
        self._progress.update(self._task, total=total, completed=done)
