"""Everything at once, at random: cuts, kills, power failures, bad links; in the end the network is one again, and at no
time is anything left of peers that are gone."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import FinalizedChanged, HeaderInfo
from chainp2p.testing import Machine, Simulation, Weather, ledger_chain, ledger_genesis

#: Seconds after the last blow within which all must be well: the longest pause between dials and some more.
RECOVERY = 90


class ChaosTests(SynchronousTestCase):
    def test_the_network_recovers(self) -> None:
        for seed in range(6):
            with self.subTest(seed=seed):
                self.storm(seed)

    def storm(self, seed: int, blows: int = 12) -> None:
        chance = Random(seed)
        signers = chance.randint(2, 4)
        simulation = Simulation(
            seed,
            make_chain=ledger_chain(ledger_genesis(signers, chance.choice([0.25, 0.5, 1.0]))),
            weather=self.weather(chance),
        )
        self.addCleanup(simulation.close)
        nodes = simulation.add_nodes(signers + chance.randint(0, 3), signers=signers)
        simulation.start()
        finalized: list[HeaderInfo] = []
        for node in nodes:
            self.watch(node, finalized)
        for _ in range(blows):
            self.blow(simulation, chance, finalized)
            simulation.run_for(chance.uniform(0, 15))
            simulation.check_empty()
        simulation.heal()
        simulation.set_weather(Weather(low=0.001, high=0.03))
        for node in nodes:
            if node.node is None:
                simulation.start(node)
        simulation.expect("linked", lambda: simulation.linked(2), RECOVERY)
        simulation.expect("one head", simulation.one_head, RECOVERY)
        simulation.expect("included", simulation.included, RECOVERY)
        height = nodes[0].chain.finalized.height
        simulation.expect("finality goes on", lambda: nodes[0].chain.finalized.height > height + 2, RECOVERY)
        simulation.expect("one head", simulation.one_head, RECOVERY)
        for header in finalized:
            self.assertEqual(simulation.wait(nodes[0].chain.hash_at(header.height)), header.hash)
        self.assertTrue(simulation.finalized_agree())
        self.assertEqual(simulation.errors, [])

    def weather(self, chance: Random) -> Weather:
        return Weather(low=0.001, high=chance.choice([0.01, 0.1, 1.0]), loss=chance.choice([0.0, 0.05, 0.2]))

    def watch(self, machine: Machine, finalized: list[HeaderInfo]) -> None:
        assert machine.node is not None
        machine.node.events.subscribe(FinalizedChanged, lambda event: finalized.append(event.header))

    def blow(self, simulation: Simulation, chance: Random, finalized: list[HeaderInfo]) -> None:
        machines, running = simulation.machines, simulation.running
        down = [machine for machine in machines if machine.node is None]
        match chance.randrange(7):
            case 0:
                half = chance.sample(machines, chance.randint(1, len(machines) - 1))
                simulation.partition(half, [machine for machine in machines if machine not in half])
            case 1:
                simulation.heal()
            case 2:
                simulation.set_weather(self.weather(chance))
            case 3 if len(running) > 1:
                chance.choice(running).kill(silent=chance.random() < 0.5)
            case 4 if down:
                machine = chance.choice(down)
                simulation.start(machine)
                self.watch(machine, finalized)
            case 5:
                simulation.drop_links()
            case _:
                machine = chance.choice(running)
                for _ in range(chance.randint(1, 5)):
                    simulation.transfer(machine, 8)
