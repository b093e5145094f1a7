"""The type of options and arguments that name a file or a directory."""

from pathlib import Path
from typing import Any

import click

__all__ = ["PATH"]


class _PathType(click.ParamType):
    """A path, with ``~`` resolved; whether it exists is for the command to say."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return Path(value).expanduser()


PATH = _PathType()
