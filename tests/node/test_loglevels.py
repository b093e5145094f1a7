"""What the log tells."""

from typing import Any

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.loglevels import LogLevels


class Levels(SynchronousTestCase):
    def test_they_are_changed_while_it_runs(self) -> None:
        told: list[str] = []

        def observe(event: Any) -> None:
            told.append(event["log_format"])

        publisher = LogPublisher()
        levels = LogLevels(publisher)
        publisher.addObserver(observe)
        sync, net = (Logger(f"chainp2p.{name}", observer=publisher) for name in ("sync.service", "net"))

        def tell() -> list[str]:
            told.clear()
            for log in (sync, net):
                log.debug(f"{log.namespace} debug")
                log.warn(f"{log.namespace} warn")
            return list(told)

        self.assertEqual(len(tell()), 4)
        levels.set("info", "")
        self.assertEqual(tell(), ["chainp2p.sync.service warn", "chainp2p.net warn"])
        levels.set("debug", "chainp2p.sync")
        self.assertEqual(tell(), ["chainp2p.sync.service debug", "chainp2p.sync.service warn", "chainp2p.net warn"])
        levels.set("critical", "chainp2p.net")
        levels.set("debug", "")
        self.assertEqual(tell(), ["chainp2p.sync.service debug", "chainp2p.sync.service warn"])
