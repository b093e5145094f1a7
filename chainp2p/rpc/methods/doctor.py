"""``admin_doctor`` and ``admin_reload``: what is wrong with this node, and reading again what may change."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from chainp2p.errors import SettingsError
from chainp2p.namespaces import METHOD_NOT_FOUND, SERVER_ERROR, Method, RpcError
from chainp2p.rpc.values import members

__all__ = ["doctor_methods", "finding_json"]


def finding_json(finding: Any) -> dict[str, Any]:
    """Write a ``chainp2p.node.doctor.Finding``."""
    return {
        "code": finding.code,
        "severity": finding.severity.name.lower(),
        "text": finding.text,
        "remedy": finding.remedy,
        "evidence": dict(finding.evidence),
    }


def doctor_methods(
    findings: Callable[[], Awaitable[Iterable[Any]]] | None, reload: Callable[[], Awaitable[int | None]] | None
) -> tuple[Method, ...]:
    """Return the two methods of namespace ``admin``.

    :param findings: looks what is wrong, the worst first.
    :param reload: reads the allow-list again and answers how many keys it has, None without one; SettingsError.
    """

    async def doctor() -> list[dict[str, Any]]:
        if findings is None:
            raise RpcError(METHOD_NOT_FOUND, "nothing is examined here")
        return [finding_json(finding) for finding in await findings()]

    async def reload_list() -> int | None:
        if reload is None:
            raise RpcError(METHOD_NOT_FOUND, "nothing can be read again here")
        try:
            return await reload()
        except SettingsError as error:
            raise RpcError(SERVER_ERROR, f"the former list stays in force: {error}") from None

    objects = {"type": "array", "items": members("code", "severity", "text", "remedy", "evidence")}
    number = {"type": ["integer", "null"]}
    return (
        Method("doctor", doctor, (), objects, "What is wrong with this node, the worst first, with the remedy."),
        Method("reload", reload_list, (), number, "Read the allow-list again; answers how many keys it has."),
    )
