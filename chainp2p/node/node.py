"""The service that a Twisted application adds to its own tree."""

from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from chainp2p.chain.interfaces import AdmissionResult, IChain, ITransactionPool
from chainp2p.errors import SettingsError
from chainp2p.events import EventBus
from chainp2p.net.finding import Discovery
from chainp2p.net.talking import TalkHandler
from chainp2p.node.config import prepared
from chainp2p.node.facts import Finding
from chainp2p.node.platform import Platform, production_platform
from chainp2p.node.running import Bound, Running
from chainp2p.settings import Settings

__all__ = ["Bound", "Node"]


class Node(MultiService):
    """A peer-to-peer node.

    Constructing it opens nothing. Starting takes the lock, the databases, threads and ports; :meth:`ready` tells when
    they are there. It can be stopped and started again, and several live in one process.

    :param chain: an :class:`IChain` of the host's; else the plug-in that the settings name makes one at each start.
    :param platform: what to take from the world; the simulator gives its own.
    :raises SettingsError: if a setting is wrong.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, settings: Settings | None = None, chain: Any = None, platform: Platform | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if chain is not None and not IChain.providedBy(chain):
            raise SettingsError(f"chain: {chain!r} does not provide IChain")
        self.settings = prepared(settings or Settings(), own_chain=chain is not None)
        #: What happens to peers and chain, as values; subscriptions survive a stop and a start.
        self.events = EventBus(lambda error: self.log.failure("a subscriber failed", Failure(error)))  # type: ignore[no-untyped-call]
        #: By protocol: they survive a stop and a start, too.
        self._talk: dict[bytes, TalkHandler] = {}
        self._own_chain = chain
        self._platform = platform or production_platform(reactor)
        self._run: Running | None = None
        self._starting: Deferred[None] | None = None
        self._outcome: Bound | Failure | None = None
        self._waiting: list[Deferred[Bound]] = []

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._outcome = None
        self._run = run = Running(self.settings, self._own_chain, self._platform, self.events, self._talk)
        self._starting = Deferred.fromCoroutine(self._start(run))

    async def _start(self, run: Running) -> None:
        outcome: Bound | Failure
        try:
            outcome = await run.start()
        except Exception:
            outcome = Failure()  # type: ignore[no-untyped-call]
            self._run = None
            if not self._waiting:
                self.log.failure("the node did not start", outcome)
        self._outcome = outcome
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(outcome)

    def ready(self) -> "Deferred[Bound]":
        """Fire with the bound addresses once the node has started, or fail with why it could not."""
        if isinstance(self._outcome, Bound):
            return succeed(self._outcome)
        if self._outcome is not None:
            return fail(self._outcome)
        done: Deferred[Bound] = Deferred(self._waiting.remove)
        self._waiting.append(done)
        return done

    def stopService(self) -> "Deferred[None]":
        """Stop in order: RPC, sealing, peers (who are told), writer, databases, lock. Takes less than five seconds."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._starting is not None:
            # what is half open cannot be closed in order
            await self._starting
            self._starting = None
        run, self._run = self._run, None
        self._outcome = None
        if run is not None:
            await run.stop()

    def reload(self) -> None:
        """Read again what may change while it runs: the allow-list."""
        if self._run is not None and self._outcome is not None:
            self._run.reload()

    def _running(self) -> Running:
        if self._run is None or self._outcome is None:
            raise RuntimeError("the node does not run")
        return self._run

    @property
    def chain(self) -> Any:
        """The ``IChain``; RuntimeError unless the node runs, like those below."""
        return self._running().chain

    @property
    def network(self) -> Any:
        return self._running().network

    @property
    def sync(self) -> Any:
        return self._running().sync

    @property
    def gossip(self) -> Any:
        return self._running().gossip

    @property
    def health(self) -> Any:
        return self._running().health

    @property
    def discovery(self) -> Discovery:
        """Lookups and requests of other protocols by datagram; RuntimeError also where discovery is switched off.

        Handlers of other protocols survive a stop and a start, as subscriptions do.
        """
        found: Discovery = self._running().network.discovery
        if found.shell is None:
            raise RuntimeError("discovery is switched off (network.enable_discovery)")
        return found

    def peers(self) -> list[Any]:
        """The connected peers, as frozen ``PeerView`` values; none while the node does not run."""
        return list(self.network.peers()) if self._run is not None and self._outcome is not None else []

    def findings(self) -> "Deferred[list[Finding]]":
        """Examine node and machine: what is wrong, the worst first, with the remedy (``chainp2p doctor``)."""
        return Deferred.fromCoroutine(self._running().checkup.findings())

    def submit_transaction(self, raw: bytes) -> "Deferred[AdmissionResult]":
        """Check a transaction, keep it in the pool and announce it to the peers."""
        chain = self.chain
        if not ITransactionPool.providedBy(chain):
            raise TypeError("this chain has no pool of transactions")
        admitted: Deferred[AdmissionResult] = chain.admit(raw, True)
        return admitted
