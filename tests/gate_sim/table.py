"""Prints what each rule does with good and bad releases, side by side on the same runs.

PYTHONPATH=tests .venv/bin/python -m gate_sim.table 400
"""

from __future__ import annotations

import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gate_sim.anchors import ANCHORS
from gate_sim.gate import walk
from gate_sim.world import FINE, WORLDS, Effect, Fleet, simulate
from sealane_manager.gate.types import Checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EFFECTS = {
    "fine": FINE,
    "1.5x errors": Effect(errors=1.5),
    "2x errors": Effect(errors=2.0),
    "3x errors": Effect(errors=3.0),
    "5x errors": Effect(errors=5.0),
    "10x errors": Effect(errors=10.0),
    "1.2x slower": Effect(latency=1.2),
    "1.5x slower": Effect(latency=1.5),
    "half do not start": Effect(broken=0.5),
    "40 % of a class flip": Effect(flipped=0.4),
}
OURS, SPLIT = "Sealane, whole devices", "Sealane, half of the requests"


def stops(fleet: Fleet, effect: Effect, seed: int) -> Mapping[str, int | None]:
    """In which minute each rule stops this run."""
    run = simulate(fleet, effect, seed)
    found = {name: rule(run) for name, rule in ANCHORS.items()}
    for name, share in ((OURS, 0.0), (SPLIT, 0.5)):
        ended = walk(simulate(replace(fleet, split=share), effect, seed), Checks())
        found[name] = ended.minute if ended.word == "fail" else None
    return found


def main(runs: int) -> None:
    """Print a block a fleet: false alarms in every world, then what is found."""
    with ProcessPoolExecutor() as pool:
        for size in (Fleet(20, 3), Fleet(50, 5), Fleet(200, 20)):
            print(f"\n{size.devices} devices, {size.treated} with the release, {runs} runs a row")
            for world, fleet in WORLDS.items():
                shaped = replace(fleet, devices=size.devices, treated=size.treated)
                _row(f"fine, {world}", pool.map(partial(stops, shaped, FINE), range(runs)))
            for name, effect in EFFECTS.items():
                _row(name, pool.map(partial(stops, size, effect), range(10_000, 10_000 + runs)))


def _row(title: str, found: Iterable[Mapping[str, int | None]]) -> None:
    results = list(found)
    print(f"  {title}")
    for rule in results[0]:
        stopped = [minute for each in results if (minute := each[rule]) is not None]
        when = f"median {statistics.median(stopped):.0f} min" if stopped else ""
        print(f"    {rule:32} {len(stopped) / len(results):7.1%}  {when}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
