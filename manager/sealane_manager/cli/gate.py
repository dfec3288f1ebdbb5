"""`sealane gate`: why a gate said what it said, and whether it follows from what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.errors import SealaneError

from sealane_manager.cli.backtest import backtest
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Exit, Format, OutputOption, emit, reported
from sealane_manager.cli.table import word
from sealane_manager.gate.explain import explained, replayed
from sealane_manager.gate.record import digest

if TYPE_CHECKING:
    from sealane_manager.gate.explain import Line
    from sealane_manager.store.records import JudgementRecord

app = typer.Typer(no_args_is_help=True, help="Explain, replay and try what gates decide.")
app.command("backtest")(backtest)

NumberOption = Annotated[int, typer.Option("--number", min=0, help="which one; 0 is the last")]

_CHECKS = ("check", "level", "verdict", "mode", "finding")
_REPLAYS = ("at", "stage", "verdict", "replayed", "inputs")


@app.command()
def explain(
    rollout: str,
    number: NumberOption = 0,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Show each check of a judgement: how far its evidence got, and in words what it saw."""
    with reported(), connect(context) as manager:
        judgement = _chosen(rollout, manager.judgements(rollout), number)
        rows = [_row(each) for each in explained(judgement.inputs)]
        if output is Format.TABLE:
            typer.echo(
                f"{judgement.at:%Y-%m-%d %H:%M:%S}  stage {judgement.stage + 1}"
                f"  {judgement.verdict}: {word(judgement.reason)}\n"
            )
        emit(rows, _CHECKS, output)


@app.command()
def replay(
    rollout: str, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Judge again from what was stored: exit code 0 when every judgement comes out alike."""
    with reported(), connect(context) as manager:
        judgements = manager.judgements(rollout)
    rows = [
        {
            "at": each.at,
            "stage": each.stage + 1,
            "verdict": each.verdict,
            "replayed": _compared(each),
            "inputs": digest(each.inputs),
        }
        for each in judgements
    ]
    emit(rows, _REPLAYS, output)
    if any(row["replayed"] != "alike" for row in rows):
        raise typer.Exit(Exit.FAILED)


def _compared(said: JudgementRecord) -> str:
    alike = replayed(said.inputs) == (said.verdict, said.reason)
    return "alike" if alike else "differs"


def _chosen(rollout: str, judgements: tuple[JudgementRecord, ...], number: int) -> JudgementRecord:
    if not judgements:
        raise SealaneError(
            f"the gate of {rollout} has judged nothing so far",
            hint="it speaks when it moves a rollout: see `sealane rollout show`",
        )
    if number >= len(judgements):
        raise SealaneError(
            f"the gate of {rollout} has said {len(judgements)} things so far",
            hint="--number counts back from the last, which is 0",
        )
    return judgements[-1 - number]


def _row(line: Line) -> dict[str, Any]:
    return {
        "check": line.check,
        "level": f"{line.level:.0%}",
        "verdict": line.verdict,
        "mode": line.mode,
        "finding": line.words,
    }
