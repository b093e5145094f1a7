"""``genesis check``: what is wrong with a genesis file, before a node says so."""

from pathlib import Path

import click

from chainp2p.cli.output import json_option, print_json, print_pairs
from chainp2p.cli.paths import PATH
from chainp2p.errors import SettingsError
from chainp2p.ledger.formats.genesis import Genesis, Pow

__all__ = ["genesis"]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _consensus(parsed: Genesis) -> dict[str, object]:
    """Who may add blocks, and how often."""
    rules = parsed.consensus
    if isinstance(rules, Pow):
        return {
            "consensus": "proof of work",
            "periodMs": rules.period_ms,
            "halfLife": rules.half_life,
            "reward": rules.reward,
            "difficulty": parsed.header.difficulty,
        }
    signers = len(rules.changes[0].signers)
    return {"consensus": "proof of authority", "periodMs": rules.period_ms, "signers": signers}


@click.group()
def genesis() -> None:
    """Tools for genesis files.

    \b
    Example:
      chainp2p genesis check genesis.json
    """


@genesis.command()
@click.argument("file", type=PATH)
@click.option("--schedule", type=PATH, metavar="FILE", help="Scheduled changes of the consensus settings.")
@json_option
def check(file: Path, schedule: Path | None, as_json: bool) -> None:
    """Check FILE and print the identity of its network; a wrong or unknown field is named.

    \b
    Examples:
      chainp2p genesis check genesis.json
      chainp2p genesis check genesis.json --schedule signers.json --json
    """
    try:
        parsed = Genesis.parse(_read(file), _read(schedule) if schedule is not None else None)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
    facts = {
        "hash": "0x" + parsed.hash.hex(),
        "network": parsed.hash[:4].hex(),
        "chainId": parsed.chain_id,
        **_consensus(parsed),
    }
    if as_json:
        print_json(facts)
    else:
        print_pairs(list(facts.items()))
