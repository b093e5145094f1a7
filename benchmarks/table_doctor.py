"""Sets one clock wrong in small and public networks and prints who is told so.

    python benchmarks/table_doctor.py --seeds 100 --jobs 2

Each row is a network of four signers (private) or of seven nodes (public), how far the clock of one of them is off, and
how slow the links are. ``told`` counts the runs in which the doctor of that node found ``wrong_clock``, ``named`` those
in which all others named it, ``false`` the warnings of any other node, and ``left`` the links that ended meanwhile.
Exit code 1 if a clock that is off by more than the limit and the delay together was missed, one off by less was warned
of, or anybody else was warned.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from attrs import frozen
from sweep_partition import start_logging

from chainp2p.ledger.formats.devkeys import DEV_KEYS
from chainp2p.node.doctor import CLOCK_LIMIT
from chainp2p.node.facts import Finding
from chainp2p.testing import Simulation, Weather, ledger_chain, ledger_genesis
from chainp2p.testing.machines import Machine

#: Seconds by which one clock is off.
OFFSETS = (0.0, 4.0, -4.0, 8.0, -8.0, 3600.0, -3600.0)
#: Slowest delivery (seconds), one way.
DELAYS = (0.05, 2.0)
#: Virtual seconds that the network runs before its nodes are asked.
LENGTH = 60.0


@frozen
class Task:
    seed: int
    public: bool
    offset: float
    delay: float


@frozen
class Outcome:
    told: bool
    named: bool
    false: int
    left: int


def run(task: Task) -> Outcome:
    """Play one network."""
    weather = Weather(low=0.01, high=task.delay)
    simulation = Simulation(task.seed, make_chain=ledger_chain(ledger_genesis(4, 2.0)), weather=weather)
    try:
        machines: list[Machine] = []
        for number in range(7 if task.public else 4):
            machine = simulation.add_node(
                signer=DEV_KEYS[number] if number < 4 else None,
                bootstrap=machines[:],
                profile="public" if task.public else "private",
                ip=f"52.{number + 1}.0.1" if task.public else None,
                offset=task.offset if number == 3 else 0.0,
            )
            machines.append(machine)
        simulation.start()
        simulation.expect("linked", lambda: simulation.linked(len(machines) - 1), 300)
        links = sum(machine.peers for machine in machines)
        simulation.run_for(LENGTH)
        odd = machines[3]
        found = {machine.name: _findings(simulation, machine) for machine in machines}
        others = [found[machine.name] for machine in machines if machine is not odd]
        return Outcome(
            told="wrong_clock" in found[odd.name],
            named=all("peer_clock" in one for one in others),
            false=sum("wrong_clock" in one for one in others),
            left=links - sum(machine.peers for machine in machines),
        )
    finally:
        simulation.close()


def _findings(simulation: Simulation, machine: Machine) -> dict[str, Finding]:
    assert machine.node is not None
    return {finding.code: finding for finding in simulation.wait(machine.node.findings())}


def main() -> int:
    """Play all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    print(f"{'network':<9}{'offset s':>9}{'delay s':>9}{'runs':>6}{'told':>6}{'named':>7}{'false':>7}{'left':>6}")
    wrong = 0
    with ProcessPoolExecutor(options.jobs, initializer=start_logging) as pool:
        for public in (False, True):
            for delay in DELAYS:
                for offset in OFFSETS:
                    seeds = range(options.first, options.first + options.seeds)
                    tasks = [Task(seed, public, offset, delay) for seed in seeds]
                    outcomes = list(pool.map(run, tasks, chunksize=4))
                    told = sum(one.told for one in outcomes)
                    false = sum(one.false for one in outcomes)
                    wrong += false
                    if abs(offset) > CLOCK_LIMIT + delay:
                        wrong += len(outcomes) - told
                    elif abs(offset) + delay < CLOCK_LIMIT:
                        wrong += told
                    print(
                        f"{'public' if public else 'private':<9}{offset:>9g}{delay:>9g}{len(outcomes):>6}{told:>6}"
                        f"{sum(one.named for one in outcomes):>7}{false:>7}{sum(one.left for one in outcomes):>6}",
                        flush=True,
                    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
