"""Signer lists that change at a height, and somebody who has not been told."""

import json

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.ledger.formats.devkeys import DEV_ADDRESSES, DEV_CHAIN_ID, DEV_KEYS, ETHER
from chainp2p.ledger.formats.genesis import Genesis, genesis_json
from chainp2p.peer.conduct import SentenceKind
from chainp2p.peer.link import PeerLeft
from chainp2p.testing import Simulation, Weather
from chainp2p.testing.machines import ChainMaker, Machine
from chainp2p.testing.simulator import EPOCH, ledger_chain

#: From there on a fifth signer takes part.
CHANGE = 20


def chain(scheduled: bool) -> ChainMaker:
    plain = genesis_json(
        chain_id=DEV_CHAIN_ID,
        signers=DEV_ADDRESSES[:4],
        period_ms=500,
        alloc=dict.fromkeys(DEV_ADDRESSES, ETHER),
        timestamp=int(EPOCH),
    )
    signers = ["0x" + address.hex() for address in DEV_ADDRESSES[:5]]
    planned = json.dumps({"changes": [{"height": CHANGE, "signers": signers}]})
    return ledger_chain(Genesis.parse(plain, planned if scheduled else None))


class ForgottenTests(SynchronousTestCase):
    def play(self, signer: bool) -> tuple[Simulation, list[Machine], Machine, list[tuple[str, str, str]]]:
        """Four or five signers know of the change, one node does not, which may be one of the four."""
        simulation = Simulation(3, weather=Weather(low=0.005, high=0.05))
        self.addCleanup(simulation.close)
        told: list[Machine] = []
        for index in (1, 2, 3, 4) if signer else range(5):
            told.append(simulation.add_node(signer=DEV_KEYS[index], bootstrap=told[:2], make_chain=chain(True)))
        key = DEV_KEYS[0] if signer else None
        forgotten = simulation.add_node("forgotten", signer=key, bootstrap=told[:2], make_chain=chain(False))
        simulation.start()
        left: list[tuple[str, str, str]] = []
        for machine in (*told, forgotten):
            assert machine.node is not None
            machine.node.events.subscribe(
                PeerLeft,
                lambda event, name=machine.name: left.append(
                    (name, simulation.names[event.peer_id], event.reason.code)
                ),
            )
        simulation.expect("linked", lambda: simulation.linked(4), 60)
        simulation.expect("before", lambda: simulation.height(CHANGE - 8), 60)
        left.clear()
        simulation.expect("beyond", lambda: all(one.head.height > CHANGE + 20 for one in told), 60)
        return simulation, told, forgotten, left

    def check(self, signer: bool) -> None:
        simulation, told, forgotten, left = self.play(signer)
        self.assertEqual(len({one.head.hash for one in told}), 1)
        self.assertGreater(min(one.chain.finalized.height for one in told), CHANGE + 5)
        self.assertTrue(left)
        self.assertEqual({why for _, _, why in left}, {"wrong_settings"})
        self.assertTrue(all("forgotten" in (one, other) for one, other, _ in left))
        assert forgotten.node is not None
        ends = [end for end in forgotten.node.network.ends() if end.reason.code == "wrong_settings"]
        self.assertIn(f"from height {CHANGE} on", ends[0].detail)
        for machine in (*told, forgotten):
            assert machine.node is not None
            self.assertEqual({one.kind for one in machine.node.network.bans()} - {SentenceKind.REDIAL}, set())

    def test_a_node_that_does_not_seal(self) -> None:
        self.check(signer=False)

    def test_a_signer(self) -> None:
        self.check(signer=True)
