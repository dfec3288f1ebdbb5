"""Counts the cases of a crash enumeration that ran on several processes, for the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PROPERTY: Final = "crash enumeration"
"""Of a test: its act, its group of faults, and its operations, cases and runs."""


def lines(reports: Iterable[Any]) -> list[str]:
    """One line for each group of faults, one for all; none without an enumeration."""
    rows = [
        value
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if not rows:
        return []
    groups = sorted({group for _, group, *_ in rows})
    operations = {act: count for act, _, count, _, _ in rows}
    return [
        "crash enumeration (a case is a fault at an operation; equal states are run once)",
        *(_line(name, [row for row in rows if row[1] == name]) for name in groups),
        f"{_line('all', rows)}, at {sum(operations.values())} operations of {len(operations)} acts",
    ]


def _line(name: str, rows: list[Any]) -> str:
    cases, runs = sum(row[3] for row in rows), sum(row[4] for row in rows)
    return f"{name:>12}: {cases:5} cases, {runs:5} runs"
