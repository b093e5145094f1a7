"""``chainp2p sim``: a network of production nodes in virtual time."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from chainp2p.cli.output import json_option, print_json, print_table
from chainp2p.errors import SettingsError

if TYPE_CHECKING:
    from chainp2p.testing.playing import Outcome
    from chainp2p.testing.scenario import Scenario

__all__ = ["sim"]


@click.command()
@click.argument("scenario", required=False)
@click.option("--seed", type=int, default=1, show_default=True, help="Where all chance comes from.")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Play so many seeds, from --seed on."
)
@click.option("--nodes", type=click.IntRange(1, 1000), help="Another number of nodes than the scenario says.")
@click.option("--report", type=click.Path(file_okay=False), help="Write event logs and outcomes there.")
@click.option("--list", "list_", is_flag=True, help="List the scenarios that ship.")
@click.option("--suite", help="Play all scenarios of a suite (ci, all).")
@json_option
def sim(
    scenario: str | None,
    seed: int,
    seeds: int,
    nodes: int | None,
    report: str | None,
    list_: bool,
    suite: str | None,
    as_json: bool,
) -> None:
    """Run the production code on a virtual clock.

    SCENARIO is a TOML file, or the name of one that ships. The same seed gives the same events: the last line is the
    hash of them.

    \b
    Examples:
      chainp2p sim --list
      chainp2p sim quickstart --seed 7
      chainp2p sim twenty --seeds 10 --report out
      chainp2p sim --suite ci --json
    """
    from chainp2p.testing.scenario import find_scenario, shipped

    if list_:
        _print_list(shipped(), as_json)
        return
    if suite is not None:
        chosen = [one for one in shipped() if suite == "all" or suite in one.suites]
        if not chosen:
            raise SettingsError(f"--suite: no scenario is in suite {suite!r}")
    elif scenario is None:
        raise click.UsageError("name a scenario (see --list), or a --suite")
    else:
        chosen = [find_scenario(scenario)]
    outcomes = _play(chosen, range(seed, seed + seeds), nodes, Path(report) if report else None, as_json)
    failures = [outcome for outcome in outcomes if outcome.failure is not None]
    if as_json:
        print_json(_document(outcomes))
    else:
        for outcome in failures:
            click.echo(f"{outcome.scenario}: {outcome.failure}", err=True)
        click.echo(f"event log: {_event_log(outcomes)}")
    if failures:
        raise click.exceptions.Exit(1)


def _play(
    scenarios: "list[Scenario]", seeds: range, nodes: int | None, report: Path | None, quiet: bool
) -> "list[Outcome]":
    from chainp2p.testing.playing import play

    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for scenario in scenarios:
        for seed in seeds:
            outcome = play(scenario, seed, nodes=nodes, keep_log=report is not None)
            if report is not None:
                _write_report(report, outcome)
            if not quiet:
                _print_outcome(outcome, steps=len(seeds) == 1)
            outcomes.append(outcome)
    return outcomes


def _print_list(scenarios: "list[Scenario]", as_json: bool) -> None:
    if as_json:
        print_json(
            [{"name": one.name, "text": one.text, "nodes": one.nodes, "suites": list(one.suites)} for one in scenarios]
        )
    else:
        print_table(("SCENARIO", "NODES", "WHAT"), [(one.name, one.nodes, one.text) for one in scenarios])


def _print_outcome(outcome: "Outcome", steps: bool) -> None:
    if steps:
        for text, seconds in outcome.steps:
            click.echo(f"  {seconds:9.2f} s  {text}")
    state = "failed" if outcome.failure is not None else "ok"
    click.echo(
        f"{outcome.scenario}, seed {outcome.seed}: {state}, {outcome.nodes} nodes, height {outcome.height}, "
        f"{outcome.seconds:.1f} virtual seconds, {outcome.events} events"
    )


def _write_report(folder: Path, outcome: "Outcome") -> None:
    name = f"{outcome.scenario}-{outcome.seed}"
    (folder / f"{name}.log").write_text("".join(f"{line}\n" for line in outcome.lines), encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(_outcome(outcome), indent=1) + "\n", encoding="utf-8")


def _outcome(outcome: "Outcome") -> dict[str, Any]:
    values = asdict(outcome)
    values.pop("lines")
    values["eventLog"] = values.pop("event_log")
    values["steps"] = [{"step": text, "seconds": round(seconds, 6)} for text, seconds in outcome.steps]
    return values


def _document(outcomes: "list[Outcome]") -> dict[str, Any]:
    if len(outcomes) == 1:
        return _outcome(outcomes[0])
    return {"runs": [_outcome(outcome) for outcome in outcomes], "eventLog": _event_log(outcomes)}


def _event_log(outcomes: "list[Outcome]") -> str:
    """The hash of one run, or of the hashes of several."""
    from hashlib import sha256

    if len(outcomes) == 1:
        return outcomes[0].event_log
    return sha256("".join(outcome.event_log for outcome in outcomes).encode()).hexdigest()
