"""What tests measured on their way, said in the summary whichever process ran them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FIGURE: Final = "figure"
"""The property of a test under which it records a sentence with what it measured."""


def lines(reports: Iterable[Any]) -> list[str]:
    """Every sentence once."""
    return [
        str(value)
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == FIGURE
    ]
