"""Windows of telemetry: any that a device may report, and one that is easy to read."""

from __future__ import annotations

from hypothesis import strategies as st
from sealane.names import SlotName
from sealane.telemetry.bins import CONFIDENCE_BINS, MAX_BINS, Bins
from sealane.telemetry.histogram import LARGEST, Histogram, record
from sealane.telemetry.types import (
    MAX_CLASSES,
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)

START = 1_760_000_000

COUNTS = st.integers(0, 2**20)
VALUES = st.floats(0, LARGEST) | st.sampled_from([0.0, 1.0, 2.0, 4096.0])


def histograms() -> st.SearchStrategy[Histogram]:
    """Of a few values, on any of the grids that agents used or will use."""
    return st.builds(record, st.lists(VALUES, max_size=12), st.integers(2, 5))


def bins(most: int = MAX_BINS) -> st.SearchStrategy[Bins]:
    """Of any length, empty ones included."""
    return st.builds(Bins, st.lists(COUNTS, max_size=most).map(tuple), COUNTS, COUNTS)


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    """With as many disagreements as comparisons at most."""
    compared = draw(COUNTS)
    return Predictions(
        classes=tuple(draw(st.lists(COUNTS, max_size=MAX_CLASSES))),
        other_classes=draw(COUNTS),
        confidence=draw(bins(CONFIDENCE_BINS)),
        compared=compared,
        disagreed=draw(st.integers(0, compared)),
    )


def models() -> st.SearchStrategy[ModelWindow]:
    """Of few slots and releases, so that some windows have the same."""
    return st.builds(
        ModelWindow,
        slot=st.sampled_from([SlotName("cam"), SlotName("line.2")]),
        release=st.sampled_from(["vision/defect@7", "vision/defect@8"]),
        arm=st.sampled_from(Arm),
        requests=COUNTS,
        errors=st.dictionaries(st.sampled_from(ErrorKind), COUNTS.filter(bool), max_size=3),
        fallbacks=COUNTS,
        timings=st.builds(Timings, histograms(), histograms(), histograms()),
        predictions=predictions(),
        inputs=st.dictionaries(st.sampled_from(["x", "y", "Bild[0]"]), bins(), max_size=2),
    )


@st.composite
def levels(draw: st.DrawFn) -> Level:
    """Of one to five samples, negative ones included."""
    samples = draw(st.lists(st.integers(-2000, 2000), min_size=1, max_size=5))
    return Level(len(samples), sum(samples), min(samples), max(samples))


def hosts() -> st.SearchStrategy[HostWindow]:
    """Machines that measure some things and not others."""
    measured = st.none() | levels()
    return st.builds(
        HostWindow,
        cpu=measured,
        memory=measured,
        disk=measured,
        temperature=measured,
        accelerator=measured,
        clock_offset=measured,
        throttled=st.none() | COUNTS,
        restarts=st.none() | COUNTS,
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Of up to three models, in order."""
    found = draw(st.lists(models(), max_size=3, unique_by=lambda model: model.key))
    return Window(
        start=START + draw(st.integers(0, 10_000)),
        seconds=draw(st.integers(1, 3600)),
        models=tuple(sorted(found, key=lambda model: model.key)),
        host=draw(st.none() | hosts()),
    )


def plain_model(requests: int = 100, **changes: object) -> ModelWindow:
    """One model that answered everything in a millisecond."""
    timings = Timings(latency=record([1000.0] * requests))
    named = {"requests": requests, "timings": timings, **changes}
    return ModelWindow(SlotName("cam"), "vision/defect@7", Arm.ACTIVE, **named)  # type: ignore[arg-type]  # a test names the fields it changes


def plain_window(requests: int = 100, minute: int = 0) -> Window:
    """One minute of one model."""
    return Window(START + 60 * minute, 60, (plain_model(requests),), HostWindow(cpu=Level.of(350)))
