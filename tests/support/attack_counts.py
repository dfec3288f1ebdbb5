"""How many attacks and how many cases of TUF were tried, for the end of a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS: Final = (
    ("attacks", "tests/attacks/", {"passed": "repelled", "failed": "NOT REPELLED"}),
    ("cases of TUF's conformance", "tests/conformance/tuf/", {"failed": "NOT PASSED"}),
)
"""What is counted, the folder of its tests, and other words for what came of them."""


def lines(reports: Iterable[object]) -> list[str]:
    """One line for each kind of which any was tried: so many, and what came of them."""
    known = list(reports)
    found = [(kind, _counted(known, folder, words)) for kind, folder, words in _KINDS]
    return [f"{kind}: {tried.total()} tried, {_told(tried)}" for kind, tried in found if tried]


def _counted(reports: Iterable[object], folder: str, words: dict[str, str]) -> Counter[str]:
    return Counter(
        words.get(outcome, outcome)
        for report in reports
        if str(getattr(report, "nodeid", "")).startswith(folder)
        and (outcome := _outcome(report)) is not None
    )


def _told(tried: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(tried.items()))


def _outcome(report: object) -> str | None:
    """Of the test itself; what only set it up counts when it was skipped or broke."""
    outcome, when = getattr(report, "outcome", None), getattr(report, "when", "")
    return str(outcome) if when == "call" or outcome in ("skipped", "failed") else None
