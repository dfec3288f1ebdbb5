"""Judges what was seen of a release: every check, then all together. Pure and replayable.

1. Exact evidence of harm, averaged over its checks, stops the release when it is enough.
2. Evidence between devices stops it by itself, when its guard is satisfied.
3. Changed predictions ask people, or stop it when the rollout says so.
4. A stage does not pass while evidence of harm grows, telemetry is missing, or everything else got
   worse too; and, if proof was asked for, before harmlessness was shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.gate import budget, evidence, looks
from sealane_manager.gate.proof import missing_proof
from sealane_manager.gate.types import Breach, Finding, Judgement, Kind, Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealane_manager.gate.types import Checks, Seen

LEAST_REPORTING: Final = 0.9
"""Share of devices with the release whose telemetry must arrive."""

SHOCK: Final = 3.0
"""Factor by which devices without the release get worse before it is an incident of everybody."""


def judge(checks: Checks, seen: Seen) -> Judgement:
    """Say what each check found, and why the release must be stopped or must not pass yet."""
    bets = _exact_bets(checks, seen)
    needed = budget.exact(checks.alpha, seen.stages, split=seen.split)
    findings = (
        *_exact_findings(bets, needed),
        *looks.between_devices(checks, seen),
        *looks.predictions_in_split(checks, seen),
        *looks.predictions(checks, seen),
    )
    fails, asks = (_breached(findings, breach) for breach in (Breach.FAIL, Breach.HOLD))
    return Judgement(findings, fails, asks or _holds(checks, seen, findings), asks)


def _breached(findings: Sequence[Finding], breach: Breach) -> str:
    return "; ".join(each.words for each in findings if each.counts and each.breach is breach)


# Exact evidence


def _exact_bets(checks: Checks, seen: Seen) -> tuple[looks.Bet, ...]:
    made = ((checks.of(kind), look) for kind, look in _LOOKS.items())
    return tuple(look(check, seen) for check, look in made if check)


_LOOKS: Final = {
    Kind.OUTCOMES: looks.outcomes_of_devices,
    Kind.AFTERWARDS: looks.afterwards,
    Kind.ERRORS: looks.errors_in_split,
    Kind.LATENCY: looks.latency_in_split,
    Kind.DISAGREEMENT: looks.disagreement,
}


def _average(bets: Sequence[looks.Bet]) -> float:
    counted = [bet for bet in bets if bet.check.mode is Mode.ENFORCE]
    weights = [budget.WEIGHTS[bet.check.kind] for bet in counted]
    return evidence.mean([bet.log_e for bet in counted], weights) if counted else evidence.NONE


def _exact_findings(bets: Sequence[looks.Bet], needed: float) -> Iterable[Finding]:
    """What each bet says; when their average is enough, the strongest and the strong are named."""
    enough = _average(bets) >= needed
    deciding = [_alone(bet) for bet in bets if bet.check.mode is Mode.ENFORCE]
    named = min(budget.WATCH * needed, max(deciding, default=needed))
    for bet in bets:
        alone, check = _alone(bet), bet.check
        dry = check.mode is Mode.DRY_RUN
        breached = alone >= needed if dry else enough and alone >= named
        level = max(0.0, alone / needed)
        where = looks.WITHIN if check.kind in looks.IN_TWO_WAYS else ""
        yield Finding(check.kind, level, breached, bet.words, check.mode, check.breach, where)


def _alone(bet: looks.Bet) -> float:
    """What the average would be if nothing else were seen."""
    return evidence.mean([bet.log_e], [budget.WEIGHTS[bet.check.kind]])


# What keeps a stage from passing


def _holds(checks: Checks, seen: Seen, findings: Sequence[Finding]) -> str:
    if seen.active and seen.reporting < LEAST_REPORTING * seen.active:
        return f"telemetry arrives from {seen.reporting} of {seen.active} devices with the release"
    if seen.shock >= SHOCK:
        return f"devices without the release got {seen.shock:.1f} times worse too: an incident"
    growing = [e for e in findings if e.mode is Mode.ENFORCE and budget.WATCH <= e.level < 1]
    if growing:
        return f"evidence of harm grows: {growing[0].words}"
    return missing_proof(checks, seen) if checks.prove else ""
