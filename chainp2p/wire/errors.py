"""The one error of the wire."""

from chainp2p.errors import PeerFault, Penalty, Reason

__all__ = ["WireError"]


class WireError(PeerFault):
    """Bytes that no honest peer sends: reason ``malformed_message``, ``malformed_frame`` or ``oversize``."""

    def __init__(
        self,
        detail: str,
        reason: Reason = Reason.MALFORMED_MESSAGE,
        penalty: Penalty = Penalty.MALICIOUS,
    ) -> None:
        super().__init__(reason, detail, penalty)
