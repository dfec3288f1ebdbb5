"""What each check of a gate sees, as evidence with words for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.gate import budget, difference, evidence, mix, outcomes, shift
from sealane_manager.gate.types import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane_manager.gate.odds import Split
    from sealane_manager.gate.types import Arms, Check, Checks, Seen


WITHIN: Final = "within devices"
BETWEEN: Final = "between devices"
IN_TWO_WAYS: Final = frozenset({Kind.ERRORS, Kind.LATENCY})
"""Checks of requests that are split within devices, and of devices with and without it."""


@dataclass(frozen=True, slots=True)
class Bet:
    """Exact evidence of one check."""

    check: Check
    log_e: float
    words: str


def outcomes_of_devices(check: Check, seen: Seen) -> Bet:
    """Devices that could not be brought to serve."""
    return _devices(check, seen.outcomes, seen.classes, "could not serve it")


def afterwards(check: Check, seen: Seen) -> Bet:
    """Devices that served and then crashed or fell silent."""
    return _devices(check, seen.afterwards, seen.classes, "crashed or fell silent with it")


def _devices(check: Check, seen: Mapping[str, outcomes.Outcomes], classes: int, what: str) -> Bet:
    log_e = outcomes.log_evidence_by_class(seen, classes, check.tolerate)
    failed = sum(each.failed for each in seen.values())
    judged = sum(each.judged for each in seen.values())
    words = f"{failed} of {judged} devices {what}"
    worst = max(sorted(seen), key=lambda name: seen[name].failed, default="")
    if worst and len(seen) > 1 and failed:
        one = seen[worst]
        words += f", {one.failed} of them among {one.judged} of {worst or 'no class'}"
    return Bet(check, log_e, words)


def errors_in_split(check: Check, seen: Seen) -> Bet:
    """Requests that it did not answer, beside the release that serves the others."""
    split = seen.errors.split
    words = f"{_split_words(split)} failed" if split else "no requests are split"
    return Bet(check, _split_evidence(split), words)


def latency_in_split(check: Check, seen: Seen) -> Bet:
    """Requests above each bound, the bounds averaged."""
    splits = {share: arms.split for share, arms in sorted(seen.latency.items()) if arms.split}
    found = {share: _split_evidence(split) for share, split in splits.items()}
    log_e = evidence.mean([*found.values()])
    if not splits:
        return Bet(check, log_e, "no requests are split")
    worst = max(found, key=found.__getitem__)
    words = f"{_split_words(splits[worst])} took longer than {_all_but(worst)} did before"
    return Bet(check, log_e, words)


def _split_evidence(split: Split | None) -> float:
    return evidence.mean(split.harm) if split else evidence.NONE


def _split_words(split: Split) -> str:
    total = split.total
    return (
        f"{total.candidate_bad} of its {total.candidate} requests and {total.active_bad} of the"
        f" {total.active} of the release beside it"
    )


def disagreement(check: Check, seen: Seen) -> Bet:
    """Shadow answers that differ; devices are averaged, so that none counts for all."""
    logs = [
        outcomes.log_evidence(outcomes.Outcomes(each.differed, each.compared), check.tolerate)
        for each in seen.shadow
    ]
    differed = sum(each.differed for each in seen.shadow)
    compared = sum(each.compared for each in seen.shadow)
    words = f"it answers {differed} of {compared} compared requests differently"
    return Bet(check, evidence.mean(logs), words)


# Between devices


def between_devices(checks: Checks, seen: Seen) -> Iterable[Finding]:
    """Errors and slow requests of devices that have it, against devices that do not."""
    metrics = (
        (checks.of(Kind.ERRORS), seen.errors, "requests fail"),
        (checks.of(Kind.LATENCY), slow_arms(seen), "requests are slow"),
    )
    for check, arms, what in metrics:
        if check and arms:
            needed = budget.modelled(checks.alpha, seen.stages, check.kind, split=seen.split)
            yield _between(check, arms, needed, what)


def slow_arms(seen: Seen) -> Arms | None:
    """The bound that devices are compared by: the one that enough, but not all requests exceed."""
    usable = sorted(seen.latency, key=lambda share: (abs(share - 0.9), share))
    return seen.latency[usable[0]] if usable else None


def _between(check: Check, arms: Arms, needed: float, what: str) -> Finding:
    found = difference.compare(arms.treated, arms.control, check.tolerate)
    harmful = found.above and not found.guarded
    log_e = found.log_e if harmful else evidence.NONE
    words = f"{found.ratio:.1f} times as many {what} as on devices without it"
    if found.guarded:
        words = found.guarded
    level, breached = max(0.0, log_e / needed), log_e >= needed
    return Finding(check.kind, level, breached, words, check.mode, check.breach, BETWEEN)


# Predictions


def predictions_in_split(checks: Checks, seen: Seen) -> Iterable[Finding]:
    """What it predicted beside the release that answered the others, on the same devices."""
    check = checks.of(Kind.PREDICTIONS)
    if check is None or not seen.mix:
        return
    level = max(0.0, mix.log_evidence(seen.mix) / budget.asked_within(seen.stages))
    found = mix.apart(seen.mix)
    place, moved = found.moved
    words = (
        f"it predicts otherwise than the release beside it (distance {found.distance:.2f}): class"
        f" {place} comes {abs(moved):.0%} {'more' if moved > 0 else 'less'} often"
    )
    breached = level >= 1 and found.distance >= check.tolerate
    level = min(level, found.distance / check.tolerate)
    yield Finding(check.kind, level, breached, words, check.mode, check.breach)


def predictions(checks: Checks, seen: Seen) -> Iterable[Finding]:
    """What it predicted until the latest look that is due; it stands until the next."""
    check = checks.of(Kind.PREDICTIONS)
    look = shift.last_look(seen.minutes)
    if check is None or look is None or not seen.treated:
        return
    found = shift.compare(seen.treated, seen.control, seen.seed)
    limit = budget.asked(look[1], seen.stages, split=seen.split)
    breached = found.p <= limit and found.distance >= check.tolerate
    place, moved = found.moved
    words = (
        f"predictions changed (distance {found.distance:.2f}): class {place} comes"
        f" {abs(moved):.0%} {'more' if moved > 0 else 'less'} often"
    )
    level = min(1.0, limit / found.p) * min(1.0, found.distance / check.tolerate)
    yield Finding(check.kind, level, breached, words, check.mode, check.breach)


def _all_but(share: float) -> str:
    return f"{share:.0%} of requests"
