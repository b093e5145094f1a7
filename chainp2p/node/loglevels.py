"""What a process's log tells, by the modules that tell it, changed while it runs."""

from typing import Any

from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, LogPublisher, globalLogPublisher

__all__ = ["LogLevels"]


class LogLevels:
    """Stands before all observers of *publisher* once a level is set: ``twist`` begins its log after its services."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher
        self._predicate: LogLevelFilterPredicate | None = None

    def set(self, level: str, module: str) -> None:
        """Tell only events of *level* and above of a *module* or package; empty: of all that have none of their own."""
        if self._predicate is None:
            self._predicate = self._installed()
        self._predicate.setLogLevelForNamespace(module, LogLevel.levelWithName(level))

    def _installed(self) -> LogLevelFilterPredicate:
        predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.debug)
        observers: list[Any] = list(self._publisher._observers)
        for observer in observers:
            self._publisher.removeObserver(observer)
            self._publisher.addObserver(FilteringLogObserver(observer, [predicate]))
        return predicate
