"""How many attacks were tried, for the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = "tests/attacks/"


def lines(reports: Iterable[object]) -> list[str]:
    """One line when attacks were tried: so many, and what came of them."""
    tried = Counter(
        outcome
        for report in reports
        if str(getattr(report, "nodeid", "")).startswith(FOLDER)
        and (outcome := _outcome(report)) is not None
    )
    if not tried:
        return []
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tried.items()))
    return [f"attacks: {sum(tried.values())} tried, {told}"]


def _outcome(report: object) -> str | None:
    """Of the test itself; what only set it up counts when it was skipped or broke."""
    outcome, when = getattr(report, "outcome", None), getattr(report, "when", "")
    if when == "call" or outcome in ("skipped", "failed"):
        return {"passed": "repelled", "failed": "NOT REPELLED"}.get(str(outcome), str(outcome))
    return None
