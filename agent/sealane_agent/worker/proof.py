"""Proves a loaded model: its golden outputs within tolerance, and what warm rows cost."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import comparable
from sealane.bundle.golden import largest_deviation, read_tensor
from sealane.bundle.types import Tolerance
from sealane.errors import BundleError, SealaneError

from sealane_agent.worker.timing import EARLY_US, MEASURED_US, has_too_few_rows, is_timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane.bundle.types import DataType, Deployment, TensorSpec, Variant

    from sealane_agent.runtimes.base import Model
    from sealane_agent.serving.messages import Bar

    Arrays = Mapping[str, NDArray[Any]]

ROWS_AT_ONCE: Final = 32
"""Golden rows in one inference: an engine keeps the memory of its largest batch for ever."""

_EXACT: Final = Tolerance(0, 0)
"""For an output whose tolerance the bundle forgot."""


class NotGolden(SealaneError):  # noqa: N818 - the word says what is wrong
    """The model does not give its golden outputs here."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Golden tensors, read."""

    inputs: Arrays
    outputs: Arrays
    rows: int
    divisible: bool
    datatypes: Mapping[str, DataType]


def read_golden(deployment: Deployment, view: Path) -> Golden:
    """Read the golden files; raises BundleError."""
    golden = deployment.golden

    def read(specs: tuple[TensorSpec, ...], files: Mapping[str, str]) -> Arrays:
        if missing := {spec.name for spec in specs} - set(files):
            raise BundleError(f"the bundle has no golden file for {', '.join(sorted(missing))}")
        return {
            spec.name: read_tensor(view / files[spec.name], spec, golden.rows) for spec in specs
        }

    specs = (*deployment.inputs, *deployment.outputs)
    return Golden(
        read(deployment.inputs, golden.inputs),
        read(deployment.outputs, golden.outputs),
        golden.rows,
        divisible=all(spec.shape[:1] == (-1,) for spec in specs),
        datatypes={spec.name: spec.datatype for spec in deployment.outputs},
    )


def largest_error(model: Model, golden: Golden, variant: Variant) -> float:
    """The largest deviation; raises NotGolden or InferenceFailed.

    The first inference here is the first that the engine makes, and one thread makes it: OpenVINO
    can deadlock when several do.
    """
    model.infer(one_row(golden))
    worst = 0.0
    for inputs, wanted in _batches(golden):
        answer = model.infer(inputs)
        for name, want in wanted.items():
            worst = max(worst, _deviation(name, (answer, want), golden, variant))
    return worst


def one_row(golden: Golden) -> Arrays:
    """The first golden row; all rows of a model whose batch is fixed."""
    return _slice(golden.inputs, 0, 1) if golden.divisible else golden.inputs


def rows_again(golden: Golden, count: int) -> Arrays:
    """So many golden rows, from the first on, over and over."""
    return {name: array[np.arange(count) % golden.rows] for name, array in golden.inputs.items()}


def times_us(model: Model, row: Arrays, bar: Bar) -> Sequence[int]:
    """What warm inferences of one row take, in microseconds, until that is known well enough."""
    taken: list[int] = []
    while not is_timed(taken, bar):
        start = time.perf_counter_ns()
        model.infer(row)
        taken.append(round((time.perf_counter_ns() - start) / 1000))
    return taken


def rows_per_s(models: Sequence[Model], inputs: Arrays, bar: Bar) -> float:
    """Of these inputs, again and again, by all hands at once until that is known well enough."""
    rows, spent_s, calls = len(next(iter(inputs.values()))), 0.0, 0
    with ThreadPoolExecutor(len(models)) as pool:
        for until_us in (EARLY_US, MEASURED_US):
            begun = time.monotonic()
            until = partial(_calls_until, begun + until_us / 1e6 - spent_s, inputs)
            calls += sum(pool.map(until, models))
            spent_s += time.monotonic() - begun
            if has_too_few_rows(rows * calls / spent_s, bar):
                break
    return rows * calls / spent_s


def _calls_until(end: float, inputs: Arrays, model: Model) -> int:
    """One at least."""
    calls = 0
    while not calls or time.monotonic() < end:
        model.infer(inputs)
        calls += 1
    return calls


def _batches(golden: Golden) -> Iterator[tuple[Arrays, Arrays]]:
    step = ROWS_AT_ONCE if golden.divisible else golden.rows
    for start in range(0, golden.rows, step):
        stop = start + step
        yield _slice(golden.inputs, start, stop), _slice(golden.outputs, start, stop)


def _slice(arrays: Arrays, start: int, stop: int) -> Arrays:
    return {name: array[start:stop] for name, array in arrays.items()}


def _deviation(
    name: str, pair: tuple[Arrays, NDArray[Any]], golden: Golden, variant: Variant
) -> float:
    answer, want = pair
    got = answer[name]
    if got.dtype != want.dtype or got.shape != want.shape:
        raise NotGolden(
            f"output {name} is {got.dtype}{list(got.shape)}, "
            f"its golden file holds {want.dtype}{list(want.shape)}"
        )
    ours, theirs = (comparable(each, golden.datatypes[name]) for each in (got, want))
    within, deviation = largest_deviation(ours, theirs, variant.tolerance.get(name, _EXACT))
    if not within:
        raise NotGolden(
            f"output {name} deviates by {deviation:.3g} from its golden values, "
            f"more than variant {variant.name} allows",
            hint="the model answers otherwise on this device: choose another variant or precision",
        )
    return deviation
