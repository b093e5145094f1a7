"""A reader that stands still for ten minutes while blocks flow costs at most 1 MB, and nobody else anything."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import BlockProduced
from chainp2p.errors import Reason
from chainp2p.peer.link import PeerLeft
from chainp2p.testing.copies import Copies
from chainp2p.testing.network import Weather
from chainp2p.testing.planting import with_network
from chainp2p.testing.relaying import Bare
from chainp2p.testing.simulator import Simulation

#: Bytes that it may cost, in our queue and in the buffer of our transport.
COST = 1_000_000
#: How long it stands still, and between two blocks (seconds).
FROZEN, PERIOD = 600.0, 4.0
#: By then all that was written before the cut has left (seconds).
MEETING = 8.0


class FrozenReader(SynchronousTestCase):
    def play(self, transactions: list[bytes]) -> int:
        """Let whole blocks flow past one that stands still; answers the most that its link held at any time."""
        copies = Copies()
        simulation = Simulation(
            7,
            make_chain=lambda parts: Bare(now=parts.now, copies=copies),
            weather=Weather(low=0.02, high=0.03, bandwidth=2_500_000.0),
        )
        self.addCleanup(simulation._end)

        def quiet(settings: Any) -> Any:
            return with_network(settings, enable_pex=False)

        source = simulation.add_node("source", settings=quiet)
        reader = simulation.add_node("reader", static=[source], settings=quiet)
        frozen = simulation.add_node("frozen", static=[source], settings=quiet)
        simulation.start()
        simulation.run_for(MEETING)
        assert source.node is not None
        ends: list[PeerLeft] = []
        source.node.events.subscribe(PeerLeft, ends.append)
        links = {link.peer_id: link for link in source.node.network.links()}
        link = links[frozen.key.peer_id]
        simulation.partition([frozen])
        most, start = 0, simulation.clock.seconds()
        pool = {source.chain.transaction_hash(raw): raw for raw in transactions}
        for _ in range(round(FROZEN / PERIOD)):
            reader.chain._pool.update(pool)
            raw = source.chain.make(transactions=transactions, time=int(simulation.clock.seconds() * 1000))
            source.chain._submit(raw)
            source.chain.events.publish(BlockProduced(source.chain.head, raw))
            simulation.run_for(PERIOD)
            most = max(most, sum(link.queued().values()) + link.transport._buffered)
        self.assertEqual(round(simulation.clock.seconds() - start), FROZEN)
        self.assertEqual(reader.head.hash, source.head.hash)
        self.assertEqual([(end.peer_id, end.reason) for end in ends], [(frozen.key.peer_id, Reason.NOT_READING)])
        simulation.heal()
        simulation.expect("it has all", lambda: frozen.head.hash == source.head.hash, 60.0)
        return most

    def test_whole_blocks(self) -> None:
        most = self.play([bytes(40_000) for _ in range(5)])
        self.assertTrue(300_000 < most <= COST, most)
