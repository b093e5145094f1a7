"""Scenario files: what a simulated network is made of and what happens to it, in TOML."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from attrs import frozen

from chainp2p.errors import SettingsError
from chainp2p.settings import PROFILES
from chainp2p.testing.network import Weather

__all__ = ["EXPECTATIONS", "Scenario", "Step", "find_scenario", "parse_scenario", "shipped"]

#: Verb of a step -> what else the step may say.
_VERBS: dict[str, tuple[str, ...]] = {
    "run": (),
    "expect": ("within", "peers", "height", "heads"),
    "transfers": ("every", "at"),
    "partition": (),
    "heal": (),
    "weather": (),
    "drop": (),
    "kill": (),
    "start": (),
    "stop": (),
}
#: What a step can wait for.
EXPECTATIONS = ("linked", "one head", "heads", "height", "included", "agreement")
_NETWORK = ("nodes", "signers", "period", "profile", "delay", "loss", "bandwidth")
#: More machines would be a typing error.
_NODES_MAX = 1_000
#: The dev accounts that can seal.
_SIGNERS_MAX = 10


@frozen
class Step:
    """One step: *verb*, its *value*, and what else it says."""

    verb: str
    value: Any
    more: Mapping[str, Any]

    def __str__(self) -> str:
        return " ".join([f"{self.verb} {self.value}", *(f"{name} {value}" for name, value in self.more.items())])


@frozen(kw_only=True)
class Scenario:
    """See the module. *period* is in seconds; the first *signers* nodes seal; all know only the first node."""

    name: str
    text: str
    suites: tuple[str, ...]
    nodes: int
    signers: int
    period: float
    profile: str
    weather: Weather
    steps: tuple[Step, ...]


def _shipped_files() -> dict[str, Any]:
    folder = files("chainp2p.testing") / "scenarios"
    found = {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
    # the one to begin with comes first
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "quickstart", name))}


def shipped() -> list[Scenario]:
    """The scenarios of the package."""
    return [parse_scenario(entry.read_text("utf-8"), name) for name, entry in _shipped_files().items()]


def find_scenario(name: str) -> Scenario:
    """A scenario by the path of its file, or by the name of a shipped one; SettingsError if there is none."""
    known = _shipped_files()
    if name in known:
        return parse_scenario(known[name].read_text("utf-8"), name)
    path = Path(name)
    if path.suffix != ".toml":
        raise SettingsError(f"scenario {name!r} is neither a TOML file nor one of: {', '.join(known)}")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"scenario {name}: {error}") from None
    return parse_scenario(text, path.stem)


def parse_scenario(text: str, name: str) -> Scenario:
    """Read a scenario; SettingsError names what is wrong."""
    where = f"scenario {name}"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
    _known(where, document, ("text", "suites", "network", "step"))
    network = _typed(where, document, "network", dict, {})
    _known(f"{where}: network", network, _NETWORK)
    steps = _typed(where, document, "step", list, [])
    nodes = _number(f"{where}: network", network, "nodes", 4, whole=True, low=1, high=_NODES_MAX)
    profile = _typed(f"{where}: network", network, "profile", str, "private")
    if profile not in PROFILES:
        raise SettingsError(f"{where}: network.profile: {profile!r} is none of {', '.join(PROFILES)}")
    scenario = Scenario(
        name=name,
        text=_typed(where, document, "text", str, ""),
        suites=tuple(_typed(where, document, "suites", list, [])),
        nodes=nodes,
        signers=_number(f"{where}: network", network, "signers", 1, whole=True, low=1, high=min(nodes, _SIGNERS_MAX)),
        period=_number(f"{where}: network", network, "period", 1.0),
        profile=profile,
        weather=_weather(f"{where}: network", network),
        steps=tuple(_step(f"{where}: step {number}", step) for number, step in enumerate(steps, 1)),
    )
    return scenario


def _known(where: str, table: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for key in table:
        if key not in names:
            raise SettingsError(f"{where}: unknown key {key!r}; known: {', '.join(names)}")


def _typed(where: str, table: Mapping[str, Any], key: str, kind: type[Any], default: Any) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise SettingsError(f"{where}.{key}: {value!r} is no {kind.__name__}")
    return value


def _number(
    where: str,
    table: Mapping[str, Any],
    key: str,
    default: Any,
    *,
    whole: bool = False,
    low: float = 0.0,
    high: float = 1e9,
) -> Any:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        raise SettingsError(
            f"{where}.{key}: {value!r} is no {'whole ' if whole else ''}number from {low:g} to {high:g}"
        )
    return value


def _weather(where: str, table: Mapping[str, Any]) -> Weather:
    delay = table.get("delay", [0.01, 0.05])
    if isinstance(delay, int | float):
        delay = [delay, delay]
    if not isinstance(delay, list) or len(delay) != 2:
        raise SettingsError(f"{where}.delay: seconds, or the least and the most of them, are expected")
    low, high = (_number(where, {"delay": one}, "delay", 0) for one in delay)
    bandwidth = _number(where, table, "bandwidth", 0, low=1) if "bandwidth" in table else None
    return Weather(low=low, high=high, loss=_number(where, table, "loss", 0, high=0.99), bandwidth=bandwidth)


def _step(where: str, step: Any) -> Step:
    if not isinstance(step, dict):
        raise SettingsError(f"{where}: a table is expected")
    verbs = [key for key in step if key in _VERBS]
    if len(verbs) != 1:
        raise SettingsError(f"{where}: exactly one of these is expected: {', '.join(_VERBS)}")
    verb = verbs[0]
    value = step[verb]
    more = {key: what for key, what in step.items() if key != verb}
    _known(where, more, _VERBS[verb])
    for key in more:
        _number(where, more, key, 0)
    match verb:
        case "run":
            _number(where, step, verb, 0)
        case "transfers":
            _number(where, step, verb, 0, whole=True)
        case "expect":
            if value not in EXPECTATIONS:
                raise SettingsError(f"{where}: {value!r} is none of {', '.join(EXPECTATIONS)}")
        case "weather":
            _known(where, _typed(where, step, verb, dict, {}), ("delay", "loss", "bandwidth"))
            value = _weather(where, value)
        case "partition":
            if value != "alternate" and not (isinstance(value, list) and all(_numbers(group) for group in value)):
                raise SettingsError(f"{where}: groups of node numbers, or 'alternate', are expected")
        case "kill" | "start" | "stop":
            if not _numbers(value):
                raise SettingsError(f"{where}: node numbers are expected")
    return Step(verb, value, more)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) and item >= 1 for item in value)
