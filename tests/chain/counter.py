"""The example chain of ``examples/counter``, as a user has it on the path."""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).parents[2] / "examples" / "counter")
if _FOLDER not in sys.path:
    sys.path.insert(0, _FOLDER)

from counter import CounterRules  # noqa: E402

__all__ = ["CounterRules"]
