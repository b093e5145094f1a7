"""Runs the ``chainp2p`` command inside the test's process."""

import contextlib
import io
import sys
from typing import Any

from attrs import frozen

from chainp2p.cli.main import main

__all__ = ["Outcome", "run"]


@frozen
class Outcome:
    code: Any
    out: str
    err: str


def run(*words: object) -> Outcome:
    """Return exit code and output of ``chainp2p WORDS``."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["chainp2p", *map(str, words)]
    code: Any = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as error:
        code = error.code
    finally:
        sys.argv = before
    return Outcome(code, out.getvalue(), err.getvalue())
