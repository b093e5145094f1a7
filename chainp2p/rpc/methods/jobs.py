"""``admin_exportChain``, ``admin_importChain``, ``admin_job`` and ``admin_cancelJob``: the chain to a file and back."""

from collections.abc import Callable
from typing import Any, Protocol

from chainp2p.namespaces import METHOD_NOT_FOUND, SERVER_ERROR, Method, Param, RpcError
from chainp2p.rpc.values import BOOLEAN, STRING, members, text

__all__ = ["JobsView", "job_methods"]

_JOB = members(
    *(
        "id",
        "kind",
        "file",
        "state",
        "error",
        "first",
        "last",
        "done",
        "total",
        "skipped",
        "seconds",
        "blocksPerSecond",
    ),
    *("eta", "connected"),
)

#: Heights that are asked for.
HEIGHT_MAX = 2**63 - 1


class JobsView(Protocol):
    """What is asked of the jobs; a ``ValueError`` says why there can be none."""

    def export(self, name: str, first: int = 1, last: int = 0) -> str: ...

    def restore(self, name: str) -> str: ...

    def job(self, id: str) -> dict[str, Any] | None: ...

    def cancel(self, id: str) -> bool: ...


def _height(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HEIGHT_MAX:
        raise ValueError("a height is expected")
    return value


def job_methods(jobs: JobsView | None) -> tuple[Method, ...]:
    """Return the methods of namespace ``admin``."""

    def there() -> JobsView:
        if jobs is None:
            raise RpcError(METHOD_NOT_FOUND, "no chain is written to files here")
        return jobs

    def start(f: Callable[..., str], *args: Any) -> str:
        try:
            return f(*args)
        except (ValueError, OSError) as error:
            raise RpcError(SERVER_ERROR, str(error)) from None

    def export_chain(name: str, first: int, last: int) -> str:
        return start(there().export, name, first, last)

    def import_chain(name: str) -> str:
        return start(there().restore, name)

    def job(id: str) -> dict[str, Any]:
        found = there().job(id)
        if found is None:
            raise RpcError(SERVER_ERROR, f"there is no job {id!r}")
        return found

    def cancel(id: str) -> bool:
        return there().cancel(id)

    file = Param("file", text, schema={"type": "string", "description": "name of a file in DATA/export/"})
    number = {"type": "integer", "minimum": 0}
    first = Param("first", _height, required=False, default=1, schema=number)
    last = Param("last", _height, required=False, default=0, schema=number)
    one = Param("id", text, schema=STRING)
    return (
        Method(
            "exportChain",
            export_chain,
            (file, first, last),
            STRING,
            "Write the best chain, or some of its heights, to a new file in DATA/export/; answers a job id.",
        ),
        Method("importChain", import_chain, (file,), STRING, "Take the blocks of such a file; answers a job id."),
        Method("job", job, (one,), _JOB, "State and progress of an export or import."),
        Method("cancelJob", cancel, (one,), BOOLEAN, "Stop an export or import; what was imported stays."),
    )
