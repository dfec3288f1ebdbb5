"""Loads the ordered variant and proves it; each way to fail becomes a typed failure."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.types import Measure
from sealane.errors import BundleError
from sealane.failure import FailureKind

from sealane_agent.runtimes.base import (
    AcceleratorFailed,
    Hints,
    InferenceFailed,
    ModelRefused,
    RuntimeMissing,
    obstacle,
)
from sealane_agent.runtimes.packs import put_first
from sealane_agent.runtimes.registry import find_runtime
from sealane_agent.worker.contract import read_variant
from sealane_agent.worker.hands import batches_for, hands_for
from sealane_agent.worker.host import (
    at_low_priority,
    memory_bytes,
    peak_bytes,
    return_free_memory,
    usable_processors,
)
from sealane_agent.worker.orders import Evidence, load_failed
from sealane_agent.worker.proof import (
    NotGolden,
    largest_error,
    one_row,
    read_golden,
    rows_again,
    rows_per_s,
    times_us,
)
from sealane_agent.worker.timing import has_too_few_rows, is_too_slow, middle_us, p95_us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.bundle.types import Deployment, Variant

    from sealane_agent.runtimes.base import Model, Runtime
    from sealane_agent.serving.messages import Bar
    from sealane_agent.worker.orders import Order
    from sealane_agent.worker.priority import Priority
    from sealane_agent.worker.proof import Golden

ACCELERATOR: Final = "accelerator"
"""The component of a failure when the variant's accelerator is missing, lost, busy or full."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A proven model and what the proof measured; `models`: the same one for each hand."""

    models: tuple[Model, ...]
    deployment: Deployment
    evidence: Evidence


def load(order: Order, priority: Priority) -> Loaded:
    """Load, prove, warm up, measure; raises LoadFailed.

    What has lost by then is proved like the others, but neither warmed up nor measured further.
    """
    deployment, variant = read_variant(order.view, order.variant)
    model = _load_model(order.view, deployment, variant)
    with priority.as_usual():
        golden, evidence = _prove(model, deployment, variant, order)
    models: tuple[Model, ...] = (model,)
    if not evidence.given_up:
        models = _warm_up(model, golden, (deployment, variant, evidence))
        with priority.as_usual(), _told(variant):
            evidence = replace(evidence, **_at_work(models, golden, deployment, order.bar))
    del golden
    gc.collect()
    gc.freeze()
    return_free_memory()
    measured = replace(evidence, memory_bytes=memory_bytes(), peak_bytes=peak_bytes())
    return Loaded(models, deployment, measured)


def _load_model(view: Path, deployment: Deployment, variant: Variant) -> Model:
    runtime = _find(variant)
    hints = Hints(
        outputs=tuple(spec.name for spec in deployment.outputs),
        accelerator=variant.accelerator,
        precision=variant.precision,
        threads=usable_processors(),
        memory_bytes=variant.memory_bytes,
    )
    path = view / variant.model
    try:
        path.stat()
        with _told(variant):
            return runtime.load(path, hints)
    except OSError as error:
        raise load_failed(FailureKind.ENVIRONMENTAL, "store", variant.model, error) from error


@contextmanager
def _told(variant: Variant) -> Iterator[None]:
    """What goes wrong with an engine becomes a failure, whose kind says who is at fault."""
    try:
        yield
    except AcceleratorFailed as fault:
        raise load_failed(FailureKind.ENVIRONMENTAL, ACCELERATOR, variant.name, fault) from fault
    except MemoryError as fault:
        component = "runtime" if variant.accelerator == "cpu" else ACCELERATOR
        raise load_failed(FailureKind.ENVIRONMENTAL, component, variant.name, fault) from fault
    except (ModelRefused, InferenceFailed) as fault:
        raise load_failed(FailureKind.PERMANENT, "runtime", variant.name, fault) from fault


def _find(variant: Variant) -> Runtime:
    put_first(variant.runtime, variant.accelerator)
    try:
        # Importing an engine takes half a second of a processor and starts no threads.
        runtime = at_low_priority(lambda: find_runtime(variant.runtime))
    except RuntimeMissing as error:
        raise load_failed(FailureKind.ENVIRONMENTAL, "runtime", variant.runtime, error) from error
    if (missing := obstacle(runtime, variant.accelerator)) is not None:
        with _told(variant):
            raise missing
    return runtime


def _prove(
    model: Model, deployment: Deployment, variant: Variant, order: Order
) -> tuple[Golden, Evidence]:
    try:
        with _told(variant):
            golden = read_golden(deployment, order.view)
            error = largest_error(model, golden, variant)
            taken = times_us(model, one_row(golden), order.bar)
    except (BundleError, NotGolden) as fault:
        raise load_failed(FailureKind.PERMANENT, "golden", variant.name, fault) from fault
    lost = is_too_slow(taken, order.bar)
    found = Evidence(model.version, error, middle_us(taken), 0, p95_us=p95_us(taken))
    return golden, replace(found, given_up=lost)


def _at_work(
    models: tuple[Model, ...], golden: Golden, deployment: Deployment, bar: Bar
) -> dict[str, Any]:
    """What all hands compute at once, where variants are ranked by it."""
    if deployment.objective.by is not Measure.THROUGHPUT:
        return {}
    batch = deployment.batch_rows if golden.divisible else 0
    rows = rows_per_s(models, rows_again(golden, batch) if batch else one_row(golden), bar)
    return {"rows_per_s": rows, "given_up": has_too_few_rows(rows, bar)}


def _warm_up(
    model: Model, golden: Golden, facts: tuple[Deployment, Variant, Evidence]
) -> tuple[Model, ...]:
    """The model for each hand, with all that an engine does at its first calls done.

    One thread warms all of it up: OpenVINO can deadlock when several do. Then the hands compute at
    once, so that the memory which that takes is measured.
    """
    deployment, variant, evidence = facts
    batching = golden.divisible and deployment.batch_rows
    count = 1 if batching else hands_for(variant, evidence.latency_us, usable_processors())
    models = (model, *(model.share() for _ in range(count - 1)))
    row = one_row(golden)
    with _told(variant):
        for size in batches_for(deployment.batch_rows) if batching else ():
            model.infer(rows_again(golden, size))
        for each in models[1:]:
            each.infer(row)
        if count > 1:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda each: each.infer(row), models))
    return models
