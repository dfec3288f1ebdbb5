"""How a change is told to people: what it does, what to check, who signed, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer
from sealane.clock import SystemClock

from sealane_manager.errors import Refused
from sealane_manager.shown import LINE_CHARS, shown
from sealane_manager.trust.describe import key_name
from sealane_manager.trust.scrutiny import judge_change, judge_current

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sealane_manager.trust.changes import Change, Demand, Outcome
    from sealane_manager.trust.proposals import Look

_GROUP: Final = 4
_GROUPS: Final = 6


def tell(found: Look, change: Change) -> None:
    """Print one waiting change."""
    for line in lines(found, change):
        typer.echo(shown(line, LINE_CHARS))


def judge(found: Look, change: Change) -> None:
    """Raise Refused unless everything that a change says is shown, and may be said."""
    judge_current(found.current)
    judge_change(change.role, change.document, found.current, SystemClock().now())


def lines(found: Look, change: Change) -> Iterator[str]:
    """One waiting change, as people read it."""
    why = f": {change.reason}" if change.reason else ""
    version = change.document.signed.version
    yield f"change of {change.role} to version {version}"
    yield f"  proposed by {change.proposer}, {change.proposed:%Y-%m-%d %H:%M} UTC{why}"
    if change.role not in found.pending:
        yield "  stale: something else was published meanwhile; propose it again, or withdraw it"
        return
    if objection := _objection(found, change):
        yield f"  nobody may sign it: {objection}"
        return
    yield f"  fingerprint {short(change.fingerprint)}"
    yield "  what it does:"
    yield from (f"    - {sentence}" for sentence in found.describe(change.role))
    brought = {given.keyid: given for given in change.given}
    for demand in found.demands(change.role):
        for keyid, holder in sorted(demand.signed.items(), key=lambda item: item[1]):
            when = f", {brought[keyid].at:%Y-%m-%d %H:%M} UTC" if keyid in brought else ""
            yield f"  signed by {key_name(keyid, holder)}{when}"
        yield f"  {_needs(demand)}"
    if not any(demand.missing for demand in found.demands(change.role)):
        yield "  it has its signatures, and waits for what must be published with it"


def _objection(found: Look, change: Change) -> str:
    try:
        judge(found, change)
    except Refused as refusal:
        return str(refusal)
    return ""


def missing(found: Look, change: Change) -> str:
    """What a change still waits for, in one sentence."""
    demands = found.demands(change.role)
    return "; ".join(_needs(demand) for demand in demands if demand.missing) or "complete"


def row(found: Look, change: Change) -> dict[str, Any]:
    """One waiting change, for programs."""
    stale = change.role not in found.pending
    shown = not stale and not _objection(found, change)
    return {
        "role": change.role,
        "version": change.document.signed.version,
        "fingerprint": change.fingerprint,
        "reason": change.reason,
        "proposer": change.proposer,
        "proposed": change.proposed,
        "stale": stale,
        "objection": "" if stale else _objection(found, change),
        "does": list(found.describe(change.role)) if shown else [],
        "demands": [] if stale else [_demand(demand) for demand in found.demands(change.role)],
    }


def tell_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Print what came of submissions, and what comes next."""
    published = [role for outcome in outcomes for role in outcome.published]
    if published:
        roles = shown(", ".join(published), LINE_CHARS)
        typer.echo(f"published: {roles}; devices follow at their next question")
        return
    typer.echo("nothing is published yet: the change waits for signatures")
    typer.echo("next: the holders look at it and sign, each on their own machine:")
    typer.echo("        sealane trust sign --key THEIR-KEY")
    typer.echo("      or without a network: sealane trust export FILE, sign FILE, submit FILE")
    typer.echo("      `sealane trust status` shows who has signed; it publishes by itself")


def short(fingerprint: str) -> str:
    """As much of a fingerprint as two people read out to each other."""
    groups = (fingerprint[at : at + _GROUP] for at in range(0, _GROUP * _GROUPS, _GROUP))
    return " ".join(groups)


def _needs(demand: Demand) -> str:
    who = ", ".join(
        key_name(keyid, holder)
        for keyid, holder in sorted(demand.unsigned.items(), key=lambda item: item[1])
    )
    rule = f"{demand.threshold} of {demand.authority}"
    if not demand.missing:
        return f"needs {rule}: it has them"
    return f"needs {rule}: {demand.missing} more, from {who}"


def _demand(demand: Demand) -> dict[str, Any]:
    return {
        "authority": demand.authority,
        "threshold": demand.threshold,
        "missing": demand.missing,
        "signed": dict(demand.signed),
        "unsigned": dict(demand.unsigned),
    }
