"""The example chain of ``examples/counter``, as a user has it on the path; the path is as before afterwards."""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).parents[2] / "examples" / "counter")
sys.path.insert(0, _FOLDER)
try:
    from counter import CounterRules
finally:
    sys.path.remove(_FOLDER)

__all__ = ["CounterRules"]
