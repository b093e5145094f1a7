"""Scenario files are read strictly, and what they promise is checked when they are played."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.testing import find_scenario, parse_scenario, play, shipped
from chainp2p.testing.network import Weather

SMALL = """
text = "small"
[network]
nodes = 3
signers = 2
period = 0.5
delay = 0.01
"""


class ParseTests(SynchronousTestCase):
    def test_shipped_ones(self) -> None:
        names = [scenario.name for scenario in shipped()]
        self.assertEqual(names[0], "quickstart")
        self.assertTrue(all(scenario.text and scenario.steps for scenario in shipped()))
        self.assertEqual(find_scenario("quickstart").name, "quickstart")

    def test_defaults(self) -> None:
        scenario = parse_scenario("", "empty")
        self.assertEqual((scenario.nodes, scenario.signers, scenario.period), (4, 1, 1.0))
        self.assertEqual(scenario.steps, ())

    def test_steps(self) -> None:
        scenario = parse_scenario(SMALL + "[[step]]\nweather = {delay = [0, 1], loss = 0.1}", "x")
        self.assertEqual(scenario.steps[0].value, Weather(high=1.0, loss=0.1))
        self.assertIn("weather", str(scenario.steps[0]))

    def test_a_file(self) -> None:
        path = Path(self.mktemp() + ".toml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SMALL)
        self.assertEqual(find_scenario(str(path)).text, "small")
        self.assertRaises(SettingsError, find_scenario, "nowhere.toml")
        error = self.assertRaises(SettingsError, find_scenario, "nonsense")
        self.assertIn("quickstart", str(error))

    def test_mistakes_are_named(self) -> None:
        for text, named in (
            ("nonsense =", "scenario x"),
            ("color = 1", "'color'"),
            ("text = 1", "text"),
            ("[network]\nknots = 1", "'knots'"),
            ("[network]\nnodes = 0", "nodes"),
            ("[network]\nnodes = true", "nodes"),
            ("[network]\nnodes = 2\nsigners = 3", "signers"),
            ("[network]\nperiod = 'x'", "period"),
            ("[network]\nprofile = 'secret'", "secret"),
            ("[network]\ndelay = [1]", "delay"),
            ("[network]\ndelay = [-1, 1]", "delay"),
            ("[network]\nbandwidth = 0", "bandwidth"),
            ("[network]\nloss = 'much'", "loss"),
            ("step = [1]", "step 1"),
            ("[[step]]", "step 1"),
            ("[[step]]\nrun = 1\nheal = true", "exactly one"),
            ("[[step]]\nrun = 'long'", "run"),
            ("[[step]]\nrun = 1\nwithin = 2", "within"),
            ("[[step]]\ntransfers = 1.5", "transfers"),
            ("[[step]]\nexpect = 'peace'", "peace"),
            ("[[step]]\nexpect = 'height'\nheight = 'high'", "height"),
            ("[[step]]\nweather = 'fine'", "weather"),
            ("[[step]]\nweather = {fog = 1}", "fog"),
            ("[[step]]\npartition = 'some'", "groups"),
            ("[[step]]\npartition = [['a']]", "groups"),
            ("[[step]]\nkill = 3", "node numbers"),
            ("[[step]]\nstart = [0]", "node numbers"),
        ):
            with self.subTest(text=text):
                error = self.assertRaises(SettingsError, parse_scenario, text, "x")
                self.assertIn(named, str(error))


class PlayTests(SynchronousTestCase):
    def test_every_verb(self) -> None:
        scenario = parse_scenario(
            SMALL
            + """
[[step]]
expect = "linked"
[[step]]
expect = "height"
height = 2
within = 60
[[step]]
transfers = 2
at = 2
every = 0.5
[[step]]
weather = {delay = [0.001, 0.02]}
[[step]]
drop = true
[[step]]
kill = [3]
[[step]]
start = [3]
[[step]]
stop = [2]
[[step]]
run = 1
[[step]]
start = [2]
[[step]]
partition = [[1], [2, 3]]
[[step]]
run = 2
[[step]]
expect = "heads"
heads = 2
[[step]]
heal = true
[[step]]
expect = "one head"
[[step]]
expect = "included"
[[step]]
expect = "agreement"
""",
            "verbs",
        )
        outcome = play(scenario, 1, keep_log=True)
        self.assertIsNone(outcome.failure)
        self.assertEqual(len(outcome.steps), len(scenario.steps))
        log = "\n".join(outcome.lines)
        for what in (
            "cut node1 / node2 node3",
            "healed",
            "node3 killed",
            "node2 stopped",
            "dropped 3 links",
            "delay 0.001",
        ):
            self.assertIn(what, log)

    def test_other_numbers_of_nodes(self) -> None:
        scenario = parse_scenario(SMALL + "[[step]]\nexpect = 'linked'\npeers = 9\nwithin = 60", "x")
        self.assertEqual(play(scenario, 1, nodes=5).nodes, 5)
        alone = play(scenario, 1, nodes=1)
        self.assertEqual((alone.nodes, alone.failure), (1, None))

    def test_a_broken_promise(self) -> None:
        scenario = parse_scenario(SMALL + "[[step]]\nexpect = 'height'\nheight = 1000\nwithin = 5", "x")
        failure = play(scenario, 3).failure
        assert failure is not None
        self.assertIn("seed 3: not within 5 s: expect height height 1000", failure)
        self.assertIn("node1: head", failure)

    def test_a_node_that_there_is_not(self) -> None:
        scenario = parse_scenario(SMALL + "[[step]]\nkill = [7]", "x")
        self.assertRaises(SettingsError, play, scenario, 1)
