"""Prints what a rollout would do before it starts: stages, sites, devices, and what a gate sees."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import typer

from sealane_manager.cli.output import Format, emit, emit_one
from sealane_manager.cli.table import counted
from sealane_manager.gate.power import HOURS, Stage, power
from sealane_manager.rollout.placement import stage_text
from sealane_manager.rollout.prospect import NOTHING, Load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sealane_manager.gate.power import Power
    from sealane_manager.views import PlannedView, PlanView

RUNS: Final = 60
"""Simulated stages for each factor: a share of half is known to within 13 points."""

FACTORS: Final = (1.5, 2.0, 3.0, 5.0)
NAMED: Final = 20
"""Devices of each kind that a table names; JSON has them all."""

_KIB: Final = 1024
_LEAST_TO_COMPARE: Final = 2


def show(plan: PlanView, output: Format) -> None:
    """Print a plan."""
    seen = powers(plan)
    if output is Format.JSON:
        emit_one(_whole(plan, seen), output)
        return
    _print_stages(plan)
    typer.echo()
    sites = by_site(plan.devices).items()
    rows = [
        {
            "site": site or "-",
            "devices": count,
            "bytes": _size(load.whole),
            "with_patches": _size(load.patched),
        }
        for site, (count, load) in sites
    ]
    emit(rows, ("site", "devices", "bytes", "with_patches"), output)
    typer.echo()
    for line in _device_lines(plan):
        typer.echo(line)
    typer.echo()
    for line in power_lines(plan, seen):
        typer.echo(line)


def _print_stages(plan: PlanView) -> None:
    typer.echo(f"{plan.spec.release} in {plan.spec.slot}, as {plan.id} if it starts now\n")
    sizes = Counter(each.stage for each in plan.devices)
    rows = []
    for index, stage in enumerate(plan.spec.stages):
        time = plan.times[index] if index < len(plan.times) else None
        rows.append(
            {
                "stage": f"{index + 1} ({stage_text(stage)})",
                "devices": sizes[index],
                "begins": _moment(time.begins if time else None),
                "serve": _moment(time.serves if time else None),
                "soaked": _moment(time.ends if time else None),
            }
        )
    emit(rows, ("stage", "devices", "begins", "serve", "soaked"), Format.TABLE)


def _device_lines(plan: PlanView) -> Iterator[str]:
    """The devices by what becomes of them."""
    groups: dict[str, list[PlannedView]] = {}
    for each in plan.devices:
        groups.setdefault(_becomes(each), []).append(each)
    for words, devices in sorted(groups.items()):
        names = ", ".join(each.device for each in devices[:NAMED])
        more = f" and {len(devices) - NAMED} more" if len(devices) > NAMED else ""
        yield f"{words}: {names}{more}"


def _becomes(each: PlannedView) -> str:
    if each.stage is None:
        return f"not in it ({each.why})"
    if each.fails:
        return f"stage {each.stage + 1}, would fail ({each.why})"
    variants = " or ".join(each.variants) or "runs it"
    waits = f", waits ({each.why})" if each.why else ""
    return f"stage {each.stage + 1}, {variants}{waits}"


def powers(plan: PlanView) -> tuple[Power, ...]:
    """What the gate of the first stage would see; the same for the same plan."""
    chance = random.Random(plan.id)  # noqa: S311 - a simulation, which shall come out alike
    checks, share = plan.spec.gate.checks, plan.spec.terms.trial.share
    if share == 1 and min(len(plan.treated), len(plan.control)) < _LEAST_TO_COMPARE:
        return ()
    stage = Stage(plan.treated, plan.control, checks, len(plan.spec.stages), share)
    return tuple(power(stage, factor, RUNS, chance) for factor in FACTORS)


def power_lines(plan: PlanView, seen: Sequence[Power]) -> Iterator[str]:
    """What the gate of the first stage would see, in words."""
    if not seen:
        yield (
            "errors: the first stage cannot be compared, with"
            f" {counted(len(plan.treated))} with the release and {len(plan.control)} without:"
            " make it 2 or more, or split requests with --split"
        )
        return
    known = plan.measured
    basis = (
        f"as {known} of its devices answer now"
        if known
        else "if devices answer 30 requests a minute and fail 0.5 % of them: nothing is known yet"
    )
    how = "with requests split" if plan.spec.terms.trial.share < 1 else "beside those that wait"
    yield f"errors seen in stage 1, {counted(len(plan.treated))} {how}, {basis}:"
    for each in seen:
        yield f"  {_power_words(each)}"


def _power_words(each: Power) -> str:
    many = f"{each.factor:g} times as many"
    if each.minutes is None:
        return f"{many}: in none of {each.runs} simulated stages within {HOURS} h"
    share = f"{each.seen / each.runs:.0%} of {each.runs} simulated stages within {HOURS} h"
    return f"{many}: in {share}, half of these by {each.minutes:.0f} min"


def _whole(plan: PlanView, seen: Sequence[Power]) -> dict[str, Any]:
    return {
        "id": plan.id,
        "release": str(plan.spec.release),
        "slot": plan.spec.slot,
        "stages": [
            {
                "stage": stage_text(stage),
                "begins": time.begins,
                "serve": time.serves,
                "soaked": time.ends,
            }
            for stage, time in zip(plan.spec.stages, plan.times, strict=False)
        ],
        "sites": {
            site: {"devices": count, "bytes": load.whole, "with_patches": load.patched}
            for site, (count, load) in by_site(plan.devices).items()
        },
        "devices": [
            {
                "device": each.device,
                "site": each.site,
                "stage": None if each.stage is None else each.stage + 1,
                "variants": each.variants,
                "why": each.why,
                "fails": each.fails,
                "bytes": each.load.whole,
                "with_patches": each.load.patched,
            }
            for each in plan.devices
        ],
        "errors": [
            {"factor": p.factor, "seen": p.seen, "runs": p.runs, "minutes": p.minutes} for p in seen
        ],
        "measured": plan.measured,
    }


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"


def _size(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _KIB or unit == "GiB":
            break
        size /= _KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def by_site(planned: Iterable[PlannedView]) -> dict[str, tuple[int, Load]]:
    """Devices and bytes of each site, the most bytes first."""
    found: dict[str, tuple[int, Load]] = {}
    for each in planned:
        if each.stage is not None:
            count, load = found.get(each.site, (0, NOTHING))
            more = Load(load.whole + each.load.whole, load.patched + each.load.patched)
            found[each.site] = (count + 1, more)
    return dict(sorted(found.items(), key=lambda item: (-item[1][1].patched, item[0])))
