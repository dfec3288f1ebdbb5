"""What is still missing before a release may be called harmless. Pure.

The bet runs the other way: against "at least `proceed_below` times as bad". Requests that are split
within devices prove it exactly; otherwise the difference between devices does, by its model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane_manager.gate import budget, difference, evidence
from sealane_manager.gate.looks import slow_arms
from sealane_manager.gate.types import Kind, Mode

if TYPE_CHECKING:
    from sealane_manager.gate.types import Arms, Check, Checks, Seen


def missing_proof(checks: Checks, seen: Seen) -> str:
    """Which metric has not been shown to be harmless yet; empty when all were."""
    metrics = ((Kind.ERRORS, seen.errors), (Kind.LATENCY, slow_arms(seen)))
    for kind, arms in metrics:
        check = checks.of(kind)
        if check and check.mode is Mode.ENFORCE and not _shown(check, arms):
            return (
                f"not shown yet: {kind.value.replace('_', ' ')} below"
                f" {check.proceed_below:g} times that of devices without it"
            )
    return ""


def _shown(check: Check, arms: Arms | None) -> bool:
    if arms is None:
        return False
    if arms.split and evidence.mean(arms.split.harmless) >= budget.harmless():
        return True
    found = difference.compare(arms.treated, arms.control, check.proceed_below)
    below = not found.above and found is not difference.NOTHING
    return below and found.log_e >= budget.harmless_between()
