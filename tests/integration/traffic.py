"""Transfers signed here and sent to nodes one after the other, until told to stop."""

import threading
from collections.abc import Callable

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.ledger.formats.transaction import sign_transaction
from tests.integration.processes import call

__all__ = ["RECIPIENT", "Traffic", "transfer"]

RECIPIENT = bytes.fromhex("00000000000000000000000000000000000000aa")
CHAIN_ID = 31337


def transfer(account: int, nonce: int, value: int = 1, to: bytes = RECIPIENT) -> str:
    """A signed transfer of one of the funded accounts, as 0x-hex."""
    raw = sign_transaction(
        DEV_KEYS[account], chain_id=CHAIN_ID, nonce=nonce, to=to, value=value, max_fee=10**11, max_priority_fee=10**9
    )
    return "0x" + raw.hex()


class Traffic:
    """Sends transfers in a thread of its own; a node that does not answer is passed over.

    :param urls: answers the RPC URLs of the nodes that may take one; none: wait.
    """

    def __init__(self, account: int, urls: Callable[[], list[str]], pause: float = 0.1) -> None:
        self._account = account
        self._urls = urls
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent: list[str] = []

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        nonce = 0
        while not self._stop.wait(self._pause):
            urls = self._urls()
            if not urls:
                continue
            try:
                sent = call(urls[nonce % len(urls)], "eth_sendRawTransaction", transfer(self._account, nonce))
            except (OSError, AssertionError):
                continue
            self.sent.append(sent)
            nonce += 1
