"""Transfers signed here and sent to nodes one after the other, until told to stop."""

import threading
from collections.abc import Callable
from typing import Self

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.ledger.formats.transaction import sign_transaction
from chainp2p.primitives.keccak import keccak256
from tests.integration.processes import call

__all__ = ["RECIPIENT", "Repeated", "Traffic", "transfer"]

RECIPIENT = bytes.fromhex("00000000000000000000000000000000000000aa")
CHAIN_ID = 31337


def transfer(account: int, nonce: int, value: int = 1, to: bytes = RECIPIENT) -> str:
    """A signed transfer of one of the funded accounts, as 0x-hex."""
    raw = sign_transaction(
        DEV_KEYS[account], chain_id=CHAIN_ID, nonce=nonce, to=to, value=value, max_fee=10**11, max_priority_fee=10**9
    )
    return "0x" + raw.hex()


class Repeated:
    """Does its :meth:`step` in a thread of its own, every *pause* seconds, as long as the ``with`` lasts."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self.step()

    def step(self) -> None:
        raise NotImplementedError


class Traffic(Repeated):
    """Sends transfers in a thread of its own; a node that does not answer is passed over.

    :param urls: answers the RPC URLs of the nodes that may take one; none: wait.
    """

    def __init__(self, account: int, urls: Callable[[], list[str]], pause: float = 0.1) -> None:
        super().__init__(pause)
        self._account = account
        self._urls = urls
        self.sent: list[str] = []

    def step(self) -> None:
        urls, nonce = self._urls(), len(self.sent)
        if not urls:
            return
        raw = transfer(self._account, nonce)
        try:
            sent = call(urls[nonce % len(urls)], "eth_sendRawTransaction", raw)
        except (OSError, AssertionError) as error:
            if not any(text in str(error) for text in ("already known", "nonce too low")):
                return
            sent = "0x" + keccak256(bytes.fromhex(raw[2:])).hex()  # taken, but the answer was lost
        self.sent.append(sent)
