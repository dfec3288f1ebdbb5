"""The verdict on a stage: limits, evidence, what is missing, the soak, in this order. Pure.

Everything that the verdict follows from is in `Facts` and `Seen`; both are stored with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sealane_manager.gate.judge import judge

if TYPE_CHECKING:
    from sealane_manager.gate.types import Checks, Judgement, Seen


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105 - not a password
    HOLD = "hold"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Facts:
    """What became of the devices that were given a place.

    Attributes:
        lost: devices that failed or fell silent; `named` says which, for people.
        serving: devices that proved the release.
        running: whether a device is still on its way.
        limit: more lost devices than this fail the stage; None leaves it to evidence.
        missing: what has to be known before the stage can pass; empty when nothing.
        soaked: whether it was watched long enough.
    """

    lost: int
    named: str
    serving: int
    running: bool
    limit: int | None
    missing: str
    soaked: bool


@dataclass(frozen=True, slots=True)
class Case:
    """All that a verdict follows from."""

    facts: Facts
    checks: Checks
    seen: Seen


def decide(case: Case) -> tuple[Verdict, str, Judgement]:
    """The verdict, its reason in one sentence, and what each check found.

    What people are asked is said first, also while a device is still on its way. Failures are
    tolerated only beside successes: when every judged device failed, the gate fails.
    """
    facts, found = case.facts, judge(case.checks, case.seen)
    judged = facts.lost + facts.serving
    only_lost = facts.lost and not facts.serving and not facts.running
    if only_lost or (facts.limit is not None and facts.lost > facts.limit):
        reason = f"{facts.lost} of {judged} judged devices failed: {facts.named}"
        return Verdict.FAIL, reason, found
    if found.fails:
        return Verdict.FAIL, found.fails, found
    if facts.missing or found.holds:
        return Verdict.HOLD, found.asks or facts.missing or found.holds, found
    if not facts.soaked:
        return Verdict.HOLD, f"{facts.serving} of {judged} judged devices serve; soaks", found
    return Verdict.PASS, f"{facts.serving} of {judged} judged devices serve", found
