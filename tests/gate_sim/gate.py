"""Walks the product's gate through a simulated stage, one look a minute, as the manager does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from gate_sim.world import BOUNDS, LOOKS, MINUTES, Run
from sealane_manager.gate.difference import Unit
from sealane_manager.gate.judge import judge
from sealane_manager.gate.odds import Split, Stratum
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.shift import Predicted, last_look
from sealane_manager.gate.types import Arms, Checks, Kind, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.gate.types import Judgement


@dataclass(frozen=True)
class Ended:
    """How a stage ended, and in which minute: `fail`, `pass`, or `hold` when it never did."""

    word: str
    minute: int
    asked: bool
    by: tuple[Kind, ...] = ()


def walk(run: Run, checks: Checks, soak: int = 30) -> Ended:
    """Look each minute until the release is stopped or passes."""
    asked = False
    for minute, judgement in looks(run, checks):
        asked = asked or any(f.counts and f.kind is Kind.PREDICTIONS for f in judgement.findings)
        if judgement.fails:
            by = tuple(f.kind for f in judgement.findings if f.counts)
            return Ended("fail", minute, asked, by)
        if checks.prove and minute >= soak and not judgement.holds:
            return Ended("pass", minute, asked)
    return Ended("hold", MINUTES, asked)


def looks(run: Run, checks: Checks) -> Iterator[tuple[int, Judgement]]:
    """What the gate says after each minute."""
    splits: dict[object, Split] = {}
    sums = _Sums(run)
    for minute in range(MINUTES):
        if run.fleet.split:
            _split_minute(run, checks, minute, splits)
        yield minute + 1, judge(checks, sums.seen(minute, splits))


class _Sums:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.requests = run.requests.cumsum(axis=1)
        self.errors = run.errors.cumsum(axis=1)
        self.slow = run.slow.cumsum(axis=2)
        self.joined = np.linspace(1, 10, run.fleet.treated).astype(int)

    def seen(self, minute: int, splits: dict[object, Split]) -> Seen:
        whole = not self.run.fleet.split
        errors = self.arms(self.errors, self.run.past_errors, minute) if whole else Arms()
        latency = {
            bound: self.arms(self.slow[index], self.run.past_slow[index], minute)
            if whole
            else Arms(split=splits.get(bound))
            for index, bound in enumerate(BOUNDS)
        }
        seen = Seen(
            stages=1,
            minutes=minute + 1,
            outcomes=self.outcomes(minute),
            errors=errors if whole else replace(errors, split=splits.get("errors")),
            latency=latency,
            seed=int(self.run.past_errors.sum()),
            split=not whole,
        )
        treated, control = self.predicted(minute)
        return replace(seen, treated=treated, control=control)

    def arms(self, bad: np.ndarray, past: np.ndarray, minute: int) -> Arms:
        now = (bad[:, minute].tolist(), self.requests[:, minute].tolist())
        units = list(map(Unit, *now, past.tolist(), self.run.past_requests.tolist()))
        cut = self.run.fleet.treated
        return Arms(treated=tuple(units[:cut]), control=tuple(units[cut:]))

    def outcomes(self, minute: int) -> dict[str, Outcomes]:
        judged = self.joined <= minute + 1
        return {"": Outcomes(int((self.run.failed & judged).sum()), int(judged.sum()))}

    def predicted(self, minute: int) -> tuple[tuple[Predicted, ...], tuple[Predicted, ...]]:
        look = last_look(minute + 1)
        if look is None or minute + 1 != look[0]:  # between looks the last answer stands
            return (), ()
        now = self.run.classes[LOOKS.index(look[0])]
        every = tuple(
            Predicted(tuple(map(int, past)), tuple(map(int, new)))
            for past, new in zip(self.run.past_classes, now, strict=True)
        )
        cut = self.run.fleet.treated
        return every[:cut], every[cut:]


def _split_minute(run: Run, checks: Checks, minute: int, splits: dict[object, Split]) -> None:
    arrays = {"errors": (Kind.ERRORS, run.errors, run.other_errors)} | {
        bound: (Kind.LATENCY, run.slow[index], run.other_slow[index])
        for index, bound in enumerate(BOUNDS)
    }
    for name, (kind, bad, other_bad) in arrays.items():
        check = checks.of(kind)
        if check is None:
            continue
        split = splits.get(name) or check.bets.nothing()
        for device in range(run.fleet.treated):
            stratum = Stratum(
                int(run.requests[device, minute]),
                int(bad[device, minute]),
                int(run.other_requests[device, minute]),
                int(other_bad[device, minute]),
            )
            split = split.add(stratum, check.bets)
        splits[name] = split
