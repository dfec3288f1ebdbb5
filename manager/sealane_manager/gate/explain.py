"""Explains a stored judgement, and makes it again from what it saw. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane_manager.gate.budget import WATCH
from sealane_manager.gate.record import recorded
from sealane_manager.gate.ruling import decide

if TYPE_CHECKING:
    from sealane_manager.gate.types import Finding, Judgement


@dataclass(frozen=True, slots=True)
class Line:
    """What one check found.

    Attributes:
        level: how far its evidence got: 0 is none, 1 is what it takes alone.
        verdict: harm, growing or clear.
    """

    check: str
    level: float
    verdict: str
    mode: str
    words: str


def explained(inputs: bytes) -> tuple[Line, ...]:
    """What each check of a judgement found."""
    _, _, found = decide(recorded(inputs))
    return lines(found)


def lines(found: Judgement) -> tuple[Line, ...]:
    """What each check found."""
    return tuple(_line(each) for each in found.findings)


def replayed(inputs: bytes) -> tuple[str, str]:
    """The verdict and the reason that follow from what was seen."""
    verdict, reason, _ = decide(recorded(inputs))
    return verdict, reason


def _line(finding: Finding) -> Line:
    verdict = "clear"
    if finding.breached:
        verdict = "harm"
    elif finding.level >= WATCH:
        verdict = "growing"
    return Line(finding.name, finding.level, verdict, finding.mode, finding.words)
