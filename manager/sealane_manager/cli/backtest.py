"""`sealane gate backtest`: what the gate would have done on this fleet's own telemetry."""

from __future__ import annotations

import math
import random
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from sealane.errors import SealaneError
from sealane.names import parse_slot

from sealane_manager.cli.arguments import parse_duration
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, emit_one, reported
from sealane_manager.gate.types import ALPHA, Checks
from sealane_manager.rollout.backtest import FACTORS, FOUND, Terms, collected, replay, scenes
from sealane_manager.rpc.exports import DEVICES
from sealane_manager.store.telemetry.records import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_manager.rollout.backtest import Replayed, Scene

LastOption = Annotated[str, typer.Option(help="how far back: 14d")]

_RULE_OF_THREE: Final = 3
"""Of none in n, the share is below 3/n at 95 %."""


def backtest(
    slot: Annotated[str, typer.Option(help="whose telemetry")],
    last: LastOption = "14d",
    selector: Annotated[str, typer.Option(help="which devices; all without one")] = "",
    treated: Annotated[int, typer.Option(min=2, help="devices in a fake group")] = 5,
    hours: Annotated[int, typer.Option(min=1, max=24, help="that each replay lasts")] = 4,
    runs: Annotated[int, typer.Option(min=20, max=10_000, help="replays")] = 200,
    alpha: Annotated[float, typer.Option(help="agreed chance of a false abort")] = ALPHA,
    seed: Annotated[int, typer.Option(help="the same seed draws the same groups")] = 1,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Replay stored telemetry with fake groups: how often would the gate stop for nothing?

    Prints this fleet's own rate of false aborts with its standard error, and the smallest harm that
    the gate would have found. The last day of each replay's past must be there.
    """
    now = int(datetime.now(UTC).timestamp())
    span = Span(now - int(parse_duration(last).total_seconds()), now + 1)
    terms = Terms(Checks(alpha), treated, hours, runs)
    with reported(), connect(context) as manager:
        stored = manager.exports.telemetry(DEVICES, span, selector)
        windows = ((each.device, each.window) for each in stored)
        histories = collected(windows, parse_slot(slot))
        found = scenes(histories, terms)
        if not found:
            raise SealaneError(
                f"no {hours} hours were found, after a day of the past, in which {treated + 2}"
                f" devices answered in {slot} with one release each",
                hint="look farther back with --last, or make the fake groups smaller",
            )
        _print(found, terms, seed, output)


def _print(found: Sequence[Scene], terms: Terms, seed: int, output: Format) -> None:
    chance = random.Random(seed)  # noqa: S311 - a simulation, which shall come out alike
    placebo = replay(found, terms, 1.0, chance)
    harmed = {factor: replay(found, terms, factor, chance) for factor in FACTORS}
    smallest = next((factor for factor in FACTORS if harmed[factor].share >= FOUND), None)
    if output is Format.JSON:
        emit_one(_whole(placebo, harmed, smallest, len(found)), output)
        return
    typer.echo(
        f"{placebo.runs} replays of {terms.hours} h from {len(found)} beginnings,"
        f" {terms.treated} devices in each fake group\n"
    )
    typer.echo(f"stopped for nothing: {_rate(placebo)}; agreed: {terms.checks.alpha:.1%}")
    typer.echo(f"smallest harm found in {FOUND:.0%}: {_smallest(smallest)}\n")
    rows = [
        {"times_as_many_errors": f"{factor:g}", "stopped": _rate(each)}
        for factor, each in harmed.items()
    ]
    emit(rows, ("times_as_many_errors", "stopped"), output)


def _smallest(factor: float | None) -> str:
    return f"{factor:g} times as many errors" if factor else f"above {FACTORS[-1]:g} times"


def _rate(each: Replayed) -> str:
    by = ", ".join(f"{name} {count}" for name, count in sorted(each.by.items()))
    share = f"{each.share:.1%}"
    if not each.stopped:
        share += f" (below {_RULE_OF_THREE / each.runs:.1%})"
    elif not math.isnan(each.error):
        share += f" ± {each.error:.1%}"
    return f"{share} ({by})" if by else share


def _whole(
    placebo: Replayed, harmed: dict[float, Replayed], smallest: float | None, beginnings: int
) -> dict[str, Any]:
    return {
        "beginnings": beginnings,
        "placebo": _row(placebo),
        "smallest_detectable": smallest,
        "harm": [{"factor": factor, **_row(each)} for factor, each in harmed.items()],
    }


def _row(each: Replayed) -> dict[str, Any]:
    error = None if math.isnan(each.error) else each.error
    return {**asdict(each), "share": each.share, "error": error}
