"""Decides which of a bundle's variants is the best by its objective, and what a next one must beat.

Pure. Variants that answer within the objective's limit come before those that do not, whatever else
they are; where none does, the one that comes closest serves: a limit ranks, it refuses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.bundle.types import Measure
from sealane.limits import MIB

from sealane_agent.serving.messages import Bar

if TYPE_CHECKING:
    from sealane.bundle.types import Objective

    from sealane_agent.serving.messages import Proved

Rank = tuple[float, ...]

_MOST: Final = {
    Measure.LATENCY: "lowest latency",
    Measure.THROUGHPUT: "highest throughput",
    Measure.MEMORY: "least memory",
}


def rank(objective: Objective, proved: Proved) -> Rank:
    """The lower, the better; what was not measured to the end is behind all that was."""
    if not keeps_limit(objective, proved):
        return proved.given_up, True, _p95_us(proved), proved.memory_bytes
    if objective.by is Measure.THROUGHPUT:
        best = -proved.rows_per_s, proved.latency_us, proved.memory_bytes
    elif objective.by is Measure.MEMORY:
        best = proved.memory_bytes, proved.latency_us, 0
    else:
        best = proved.latency_us, proved.memory_bytes, 0
    return proved.given_up, False, *best


def keeps_limit(objective: Objective, proved: Proved) -> bool:
    """Whether 95 of 100 inferences took no longer than they may."""
    return not objective.within_ms or _p95_us(proved) <= _limit_us(objective)


def bar(objective: Objective, best: Proved | None) -> Bar:
    """What the next variant must beat; nothing while there is no best one."""
    if best is None:
        return Bar()
    if not keeps_limit(objective, best):
        return Bar(_p95_us(best))
    if objective.by is Measure.LATENCY:
        return Bar(best.latency_us)
    rows = best.rows_per_s if objective.by is Measure.THROUGHPUT else 0.0
    return Bar(_limit_us(objective), rows)


def why(objective: Objective, best: Proved, proved: int) -> str:
    """Why the best one serves, of so many that proved themselves, for people."""
    if proved == 1:
        return f"the only one that proved itself, {_said(Measure.LATENCY, best)}"
    if not keeps_limit(objective, best):
        late = _milliseconds(_p95_us(best))
        return f"closest to {objective.within_ms:g} ms, of {proved} that miss it: p95 {late}"
    within = f" within {objective.within_ms:g} ms" if objective.within_ms else ""
    return f"{_MOST[objective.by]} of {proved}{within}: {_said(objective.by, best)}"


def _said(by: Measure, best: Proved) -> str:
    if by is Measure.THROUGHPUT:
        return f"{best.rows_per_s:,.1f} rows/s"
    if by is Measure.MEMORY:
        return f"{-(-best.memory_bytes // MIB)} MiB"
    return _milliseconds(best.latency_us)


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.3g} ms"


def _limit_us(objective: Objective) -> int:
    return round(1000 * objective.within_ms)


def _p95_us(proved: Proved) -> int:
    """As an endpoint of an earlier version says it: its median."""
    return proved.p95_us or proved.latency_us
