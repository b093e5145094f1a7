"""The blocks below a state that was downloaded, fetched when nothing else is to be done."""

from collections.abc import Callable, Sequence

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.states import IStateTarget
from chainp2p.errors import PeerFault, Reason
from chainp2p.peer.tasks import Bell
from chainp2p.sync.asking import UNANSWERED
from chainp2p.sync.claims import PATIENCE_MAX
from chainp2p.sync.shared import Shared
from chainp2p.wire.messages import GetBlocks, NotFound

__all__ = ["Backfill"]

#: Asked for at once, of one peer at a time: as many as are served.
RUN = 128
#: Seconds between two requests, so that what is urgent comes first; and between two looks when there is nothing to ask.
PAUSE, REST = 0.1, 5.0
#: Who does not have them is not asked for so long. Seconds.
LACKS = 300.0


class Backfill:
    """Asks for what is missing, oldest first, until nothing is; what it has brought is not asked for after a restart.

    Bodies are checked against the headers that are here, and not run: there are no receipts for them. Who sends another
    one than was asked for, or one that does not match its header, loses the link.

    :param wanted: whether it should do anything at all.
    """

    def __init__(self, shared: Shared, wanted: bool) -> None:
        self._shared = shared
        self._bell = Bell(shared.reactor)
        self._lacks: dict[bytes, float] = {}
        #: It has nothing (more) to do.
        self.over = not wanted or not IStateTarget.providedBy(shared.chain)

    async def run(self, quiet: Callable[[], bool]) -> None:
        """Work while *quiet* says that nothing else is to be done."""
        while not self.over:
            wait = REST
            if quiet():
                missing: Sequence[HeaderInfo] = await self._shared.chain.missing_bodies(RUN)
                self.over = not missing and self._shared.chain.head.height > 0
                if missing and await self._ask(missing):
                    wait = PAUSE
            await self._bell.sleep(wait)

    async def _ask(self, missing: Sequence[HeaderInfo]) -> bool:
        """Ask the next peer; answer whether something came."""
        now = self._shared.seconds()
        sources = [one for one in self._shared.claims.sources(now) if self._lacks.get(one.key.peer_id, 0.0) <= now]
        if not sources:
            return False
        link = min(sources, key=lambda one: (one.failed, one.standing)).key
        self._lacks = {peer: until for peer, until in self._lacks.items() if until > now}
        run = [info for at, info in enumerate(missing) if info.height == missing[0].height + at]
        try:
            reply = await link.request(GetBlocks(run[0].hash, len(run)), PATIENCE_MAX)
            if isinstance(reply, NotFound) or not reply.blocks:
                self._lacks[link.peer_id] = now + LACKS
                return False
            wanted = [info.hash for info in run[: len(reply.blocks)]]
            if self._shared.asking.hashes(reply.blocks) != wanted:
                raise PeerFault(Reason.MISBEHAVED, "another block than the one asked for")
            if not all(await self._shared.chain.add_bodies(reply.blocks)):
                raise PeerFault(Reason.MISBEHAVED, "block: it does not match its header")
        except UNANSWERED as error:
            self._shared.asking.failed(link, error)
            return False
        return True
