"""Whole nodes on public addresses: groups, links for blocks only, anchors over a restart, a tip that gets stale."""

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.peer import outbound
from chainp2p.peer.netgroup import netgroup
from chainp2p.peer.outbound import Purpose
from chainp2p.testing.simulator import Simulation, ledger_chain, ledger_genesis

NODES = 14
#: Slots of each node: few, so that the network is no full mesh.
FULL, BLOCKS = 3, 2


def dialled(machine, *purposes):
    """The ready links that a machine opened for one of these purposes."""
    return [link for link in machine.node.network.links() if link.purpose in purposes]


class OutboundTest(SynchronousTestCase):
    def setUp(self):
        self.patch(outbound, "FULL_SLOTS", FULL)
        self.patch(outbound, "BLOCK_SLOTS", BLOCKS)

    def build(self, seed):
        """A network in which every third machine shares its group with the one before; the first one seals."""
        simulation = Simulation(seed, make_chain=ledger_chain(ledger_genesis(signers=1, period=4.0)))
        self.addCleanup(simulation.close)
        for number in range(NODES):
            signer = DEV_KEYS[0] if number == 0 else None
            ip = f"{20 + number - (number % 3 == 2)}.1.{number}.1"
            simulation.add_node(signer=signer, bootstrap=simulation.machines[:1], ip=ip)
        simulation.start()
        simulation.run_for(25)
        return simulation

    def test_groups_transactions_and_anchors(self):
        for seed in (1, 2):
            self.play(self.build(seed))

    def play(self, simulation):
        quiet = 0
        for machine in simulation.machines:
            learnt = dialled(machine, Purpose.FULL, Purpose.BLOCKS)
            groups = [netgroup(link.address[0]) for link in learnt]
            self.assertEqual(len(groups), len(set(groups)), (simulation.seed, machine.name))
            self.assertLessEqual(len(dialled(machine, Purpose.FULL)), FULL)
            quiet += len(dialled(machine, Purpose.BLOCKS))
        self.assertGreater(quiet, NODES // 2)
        hashes = [simulation.transfer(machine, number) for number, machine in enumerate(simulation.machines[1:6])]
        simulation.expect("all transfers are in blocks", lambda: simulation.included(hashes), within=40)
        simulation.expect("one head", simulation.one_head, within=10)
        one = next(machine for machine in simulation.machines[1:] if len(dialled(machine, Purpose.BLOCKS)) == BLOCKS)
        before = {link.peer_id for link in dialled(one, Purpose.BLOCKS)}
        simulation.stop(one)
        simulation.start(one)
        simulation.run_for(3)
        here = {link.peer_id for link in one.node.network.links()}
        self.assertLessEqual(before, here, (simulation.seed, one.name))
        simulation.expect("one head", simulation.one_head, within=10)
        self.assertEqual(simulation.errors, [])

    def test_a_partition_makes_the_tip_stale_and_healing_ends_it(self):
        simulation = self.build(4)
        simulation.run_for(30)
        half = simulation.machines[NODES // 2 :]
        simulation.partition(simulation.machines[: NODES // 2], half)
        watches = [machine.node.network._dialer._outbound._tip for machine in half]
        now = simulation.clock.seconds
        simulation.expect(
            "the cut half finds its tip stale", lambda: all(w.is_stale(now()) for w in watches), within=70
        )
        simulation.heal()
        simulation.expect("one head", simulation.one_head, within=60)
        self.assertEqual(simulation.errors, [])
