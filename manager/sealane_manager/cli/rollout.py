"""`sealane rollout`: bring a release to devices in stages, watch it, stop it, take it back."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from sealane.names import ReleaseName, parse_slot

from sealane_manager.cli import evidence, report
from sealane_manager.cli.apply import OptionalFile, read_file
from sealane_manager.cli.arguments import (
    parse_duration,
    parse_limit,
    parse_times,
    parse_trial,
)
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Exit, Format, OutputOption, emit, emit_one, reported
from sealane_manager.cli.plan import show as show_plan
from sealane_manager.cli.table import word
from sealane_manager.cli.watch import SHOWN_DEVICES, follow, follow_lines, foremost, lasting
from sealane_manager.gate.types import ALPHA, CHECKS, Check, Checks, Kind, Mode
from sealane_manager.rollout.forecast import Lines
from sealane_manager.rollout.placement import parse_stages
from sealane_manager.rollout.terms import OnConflict, Pace, Retries, Terms
from sealane_manager.rollout.types import (
    GatePolicy,
    OnFailure,
    Operation,
    RolloutSpec,
    RolloutState,
)
from sealane_manager.rollout_file import dumping, writing
from sealane_manager.rollout_file.applying import Wish
from sealane_manager.rollout_file.reading import RolloutFile

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from sealane_manager.views import RolloutView

app = typer.Typer(no_args_is_help=True, help="Bring a release to devices, in stages.")

app.add_typer(evidence.app, name="evidence")
app.command("report")(report.report)

SHOWN_LINES: Final = 200
"""Lines of the log in a table: the last ones."""

_COLUMNS = ("id", "release", "slot", "selector", "state", "stage", "phase", "reason")

ReasonOption = Annotated[str, typer.Option("--reason", help="why, for the decision log")]
EvidenceOption = Annotated[
    bool, typer.Option("--by-evidence", help="evidence says how many devices may fail")
]
ProveOption = Annotated[
    bool, typer.Option("--prove", help="pass a stage only when harmlessness is shown")
]
DryRunOption = Annotated[
    list[Kind] | None, typer.Option(help="a check that only says what it would do")
]
AtOnceOption = Annotated[
    int | None, typer.Option(min=1, help="devices at risk at once; a stage limits them too")
]
RampOption = Annotated[
    int | None, typer.Option(min=1, help="so many at first, one more for each that serves")
]
LimitOption = Annotated[
    list[str] | None, typer.Option(help="at once: site=2, site/line=1, 'line per site=2'")
]
RetriesOption = Annotated[
    int, typer.Option(min=0, help="a device whose failure may pass is tried again so often")
]
RetryDelayOption = Annotated[
    str, typer.Option(help="longest pause before the first time, doubled each time")
]
CalendarOption = Annotated[
    list[str] | None, typer.Option(help="keep to this calendar; all for every one")
]
FreezeOption = Annotated[
    list[str] | None, typer.Option(help="no places on these days: 2026-12-24..2027-01-02")
]
ConflictOption = Annotated[OnConflict, typer.Option(help="with a rollout in the way")]
JoinOption = Annotated[
    bool, typer.Option("--join", help="devices that match later join while it runs")
]
SplitOption = Annotated[
    str, typer.Option(help="of a device's requests while it is on probation, like 50%")
]
SplitForOption = Annotated[str, typer.Option(help="probation in a split lasts at least so long")]
ShadowOption = Annotated[
    str, typer.Option(help="before it answers, copies of requests go to it for so long")
]
ChallengeOption = Annotated[
    str, typer.Option(help="beside the release before, until the gate's verdict: at least 2h")
]
FailureOption = Annotated[OnFailure, typer.Option(help="what a failed gate does")]


class Shown(StrEnum):
    """What `--output` takes where a rollout can be shown as its file."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@app.command()
def start(
    release: Annotated[str, typer.Argument(help="family/model@version")],
    slot: Annotated[str, typer.Option(help="where it shall serve")],
    selector: Annotated[str, typer.Option(help="which devices; all without one")] = "",
    stages: Annotated[str, typer.Option(help="devices or shares, comma-separated")] = "1,40%,100%",
    soak: Annotated[str, typer.Option(help="how long a stage is watched")] = "30s",
    max_failed: Annotated[int, typer.Option(min=0, help="devices that may fail")] = 0,
    max_failed_percent: Annotated[int, typer.Option(min=0, max=100, help="share that may")] = 0,
    min_requests: Annotated[int, typer.Option(min=0, help="each receipt shows so many")] = 0,
    silent_after: Annotated[str, typer.Option(help="a device silent for so long failed")] = "15m",
    by_evidence: EvidenceOption = False,
    prove: ProveOption = False,
    alpha: Annotated[float, typer.Option(help="chance of stopping a good release")] = ALPHA,
    dry_run: DryRunOption = None,
    on_failure: FailureOption = OnFailure.REVERT,
    at_once: AtOnceOption = None,
    ramp: RampOption = None,
    limit: LimitOption = None,
    start_at: Annotated[str, typer.Option(help="not before, like 2026-12-24T06:00+01:00")] = "",
    deadline: Annotated[str, typer.Option(help="the gate fails when it takes longer")] = "",
    stage_deadline: Annotated[str, typer.Option(help="the same of each stage")] = "",
    freeze: FreezeOption = None,
    calendar: CalendarOption = None,
    retries: RetriesOption = 0,
    retry_delay: RetryDelayOption = "1m",
    approvals: Annotated[int, typer.Option(min=0, help="people who must agree first")] = 0,
    on_conflict: ConflictOption = OnConflict.REJECT,
    join: JoinOption = False,
    split: SplitOption = "",
    split_for: SplitForOption = "",
    shadow_for: ShadowOption = "",
    challenge_for: ChallengeOption = "",
    reason: ReasonOption = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Start a rollout."""
    checks = Checks(alpha, prove, tuple(_mode(check, dry_run or ()) for check in CHECKS))
    silent, soaked = parse_duration(silent_after), parse_duration(soak)
    gate = GatePolicy(max_failed, max_failed_percent, silent, min_requests, by_evidence, checks)
    terms = Terms(
        Pace(at_once, ramp, tuple(parse_limit(text) for text in limit or ())),
        parse_times(start_at, (deadline, stage_deadline), freeze, calendar),
        approvals,
        on_conflict,
        join,
        parse_trial(split, split_for, shadow_for),
        Retries(retries, parse_duration(retry_delay)),
        parse_duration(challenge_for) if challenge_for else None,
    )
    with reported(), connect(context) as manager:
        what = ReleaseName.parse(release), parse_slot(slot), selector, parse_stages(stages)
        spec = RolloutSpec(*what, soaked, gate, on_failure, terms)
        _emit_rollout(manager.create_rollout(spec, reason), output)


def _mode(check: Check, dry_run: Collection[Kind]) -> Check:
    return replace(check, mode=Mode.DRY_RUN) if check.kind in dry_run else check


@app.command()
def plan(
    release: Annotated[str, typer.Argument(help="family/model@version; none with a file")] = "",
    file: OptionalFile = None,
    slot: Annotated[str, typer.Option(help="where it shall serve")] = "",
    selector: Annotated[str, typer.Option(help="which devices; all without one")] = "",
    stages: Annotated[str, typer.Option(help="devices or shares, comma-separated")] = "1,40%,100%",
    soak: Annotated[str, typer.Option(help="how long a stage is watched")] = "30s",
    at_once: AtOnceOption = None,
    ramp: RampOption = None,
    limit: LimitOption = None,
    split: SplitOption = "",
    link: Annotated[
        int, typer.Option(min=1, help="kbit/s of lines without a label link-kbit")
    ] = Lines().link_kbit,
    zone: Annotated[str, typer.Option(help="of the devices' clocks")] = Lines().zone,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Show what a rollout would do before it starts: devices, variants, bytes, times, detection.

    Everything else that a rollout can be asked to be stands in a file.
    """
    if not (file or (release and slot)):
        raise typer.BadParameter("name a release and its --slot, or a file with --file")
    limits = tuple(parse_limit(text) for text in limit or ())
    soaked, tried = parse_duration(soak), parse_trial(split, "", "")
    with reported(), connect(context) as manager:
        if file:
            asked = read_file(file)
            wish = Wish(asked.name, asked.spec)
        else:
            spec = RolloutSpec(
                release=ReleaseName.parse(release),
                slot=parse_slot(slot),
                selector=selector,
                stages=parse_stages(stages),
                soak=soaked,
                terms=Terms(Pace(at_once, ramp, limits), trial=tried),
            )
            wish = Wish("", spec)
        show_plan(manager.plans.plan(wish, Lines(link, zone)), output)


@app.command("list")
def list_rollouts(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List rollouts, the newest first."""
    with reported(), connect(context) as manager:
        rows = [_row(rollout) for rollout in manager.list_rollouts()]
        if output is Format.TABLE:
            rows = [row | {"stage": f"{row['stage'] + 1}/{len(row['stages'])}"} for row in rows]
        emit(rows, _COLUMNS, output)


@app.command()
def show(
    rollout: str,
    output: Annotated[Shown, typer.Option("--output", "-o", help="table, json or yaml")] = (
        Shown.TABLE
    ),
    context: ContextOption = None,
) -> None:
    """Show one rollout with its devices and its decision log; as yaml, what it was asked to be.

    That is a file which `sealane apply` takes, and which changes nothing.
    """
    with reported(), connect(context) as manager:
        found = manager.get_rollout(rollout)
    if output is Shown.YAML:
        typer.echo(dumping.text(RolloutFile(found.name or found.id, found.asked)), nl=False)
    else:
        _emit_rollout(found, Format(output))


@app.command()
def watch(rollout: str, context: ContextOption = None) -> None:
    """Follow a rollout until it has ended: exit code 0 when it succeeded, 3 otherwise."""
    with reported(), connect(context) as manager:
        changes = lasting(lambda: manager.watch_rollout(rollout), time.sleep)
        last = follow(changes) if sys.stdout.isatty() else follow_lines(changes)
    if last is None or last.state is not RolloutState.SUCCEEDED:
        raise typer.Exit(Exit.REFUSED)


@app.command()
def pause(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """Grant no device any more until `resume`."""
    _control(rollout, Operation.PAUSE, reason, context)


@app.command()
def resume(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """Go on; the failures seen so far are accepted."""
    _control(rollout, Operation.RESUME, reason, context)


@app.command()
def promote(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """End this stage's soak now."""
    _control(rollout, Operation.PROMOTE, reason, context)


@app.command()
def approve(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """Agree to a rollout that somebody else started."""
    _control(rollout, Operation.APPROVE, reason, context)


@app.command("write-off")
def write_off(
    rollout: str, device: str, reason: ReasonOption = "", context: ContextOption = None
) -> None:
    """Give up one lost device: its place is free, and it goes back when it is seen."""
    with reported(), connect(context) as manager:
        found = manager.control_rollout(rollout, Operation.WRITE_OFF, reason, device)
        typer.echo(_standing(found))


@app.command()
def abort(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """End the rollout; devices keep what they serve."""
    _control(rollout, Operation.ABORT, reason, context)


@app.command()
def revert(rollout: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """End the rollout; devices get back what they served before."""
    _control(rollout, Operation.REVERT, reason, context)


def _control(rollout: str, operation: Operation, reason: str, context: Path | None) -> None:
    with reported(), connect(context) as manager:
        found = manager.control_rollout(rollout, operation, reason)
        typer.echo(_standing(found))


def _standing(found: RolloutView) -> str:
    return f"{found.id}  {found.state}  {word(found.reason)}".rstrip()


def _row(rollout: RolloutView) -> dict[str, Any]:
    asked = writing.written(RolloutFile(rollout.name or rollout.id, rollout.asked))
    return asdict(rollout) | {"release": str(rollout.release), "asked": dict(asked)}


def _emit_rollout(rollout: RolloutView, output: Format) -> None:
    if output is Format.JSON:
        emit_one(_row(rollout), output)
        return
    shown, lines = foremost(rollout.devices, SHOWN_DEVICES), rollout.decisions[-SHOWN_LINES:]
    row = _row(replace(rollout, devices=shown, decisions=lines))
    devices, decisions = row.pop("devices"), row.pop("decisions")
    row.pop("asked")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(row.pop("counts").items()))
    stages = ", ".join(rollout.stages)
    emit_one(row | {"stage": rollout.stage + 1, "stages": stages, "devices": counts}, output)
    if devices:
        typer.echo()
        devices = [device | {"stage": device["stage"] + 1} for device in devices]
        emit(devices, ("device", "stage", "state", "requests", "detail"), output)
        _say_more(len(rollout.devices) - len(devices), "devices")
    if decisions:
        typer.echo()
        _say_more(len(rollout.decisions) - len(decisions), "earlier lines")
        emit(decisions, ("at", "actor", "action", "detail"), output)


def _say_more(count: int, what: str) -> None:
    if count:
        typer.echo(f"and {count} {what} more: `--output json` has them all")
