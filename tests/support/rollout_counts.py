"""Counts the steps of the rollout machine, for the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ROLLOUT_STEPS: Final = "rollout steps"


def lines(reports: Iterable[Any]) -> list[str]:
    """How many steps were taken in which no budget was exceeded; none when it did not run."""
    steps = sum(
        value
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == ROLLOUT_STEPS
    )
    return [f"rollout machine: {steps} steps, no budget exceeded"] if steps else []
