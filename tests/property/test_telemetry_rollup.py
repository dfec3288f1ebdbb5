"""Whatever devices send and however often it is rolled up: every request stays counted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from sealane.names import DeviceId
from sealane.telemetry.merging import merge, merge_models
from sealane_manager.store.telemetry.ingest import ANSWERS
from sealane_manager.store.telemetry.records import CohortFilter, Span
from sealane_manager.store.telemetry.retention import Keeping
from support.recorded import Known, a_telemetry, arrived, put
from support.telemetry import START, plain_window, windows

if TYPE_CHECKING:
    from sealane.telemetry.types import ModelWindow, Window
    from sealane_manager.store.telemetry import Telemetry

ALWAYS = Span(START // 86_400 * 86_400, START + 4 * 86_400)
DEVICES = (DeviceId("box-1"), DeviceId("box-2"))
AGES = st.integers(0, 3 * 86_400)


def all_of(telemetry: Telemetry, device: DeviceId) -> Window | None:
    found = telemetry.readings.device_windows(device, ALWAYS)
    return reduce(merge, found) if found else None


def counted(model: ModelWindow | None) -> tuple[object, ...]:
    if model is None:
        return (0,)
    inputs = {name: bins for name, bins in model.inputs.items() if bins.seen or bins.counts}
    return (model.requests, dict(model.errors), model.timings, model.predictions, inputs)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(DEVICES), windows(), AGES, st.booleans()), min_size=1, max_size=8
    )
)
def test_rolling_up_changes_no_count(
    sent: list[tuple[DeviceId, Window, int, bool]],
) -> None:
    with a_telemetry(Known({"box-1": "berlin"})) as telemetry:
        for number, (device, window, age, roll) in enumerate(sent, 1):
            moved = replace(window, start=START + age)
            put(telemetry, replace(arrived(number, moved, device=device), first=True))
            if roll:
                telemetry.keep_house(
                    datetime.fromtimestamp(START + age, UTC), Keeping(minutes=3600, hours=86_400)
                )

        for device in DEVICES:
            mine = [replace(w, start=START + age) for d, w, age, _ in sent if d == device]
            stored = all_of(telemetry, device)
            assert stored == (reduce(merge, mine) if mine else None)
        models = [m for _, window, _, _ in sent for m in window.models]
        answers = [model for model in models if model.arm in ANSWERS]
        total = telemetry.readings.totals(ALWAYS)
        assert total.requests == sum(model.requests for model in answers)
        assert total.errors == sum(model.failed for model in answers)
        assert total.latency.count == sum(model.timings.latency.count for model in answers)
        expected = reduce(merge_models, answers) if answers else None
        assert counted(telemetry.readings.cohort(CohortFilter(), ALWAYS)) == counted(expected)


@settings(deadline=None, max_examples=30)
@given(st.permutations([1, 2, 3, 4, 1, 2, 3, 4]), st.integers(0, 8))
def test_duplicates_and_reordering_change_nothing(order: list[int], damaged: int) -> None:
    batches = {number: arrived(number, plain_window(number, number)) for number in (1, 2, 3, 4)}
    with a_telemetry() as telemetry:
        for at, number in enumerate(order):
            batch = batches[number]
            if at == damaged:
                put(telemetry, replace(batch, sequence=99, body=batch.body[:-1]))
            put(telemetry, batch)
        for number in (1, 2, 3, 4):  # what was not acknowledged is sent again, in order
            put(telemetry, batches[number])

        assert telemetry.readings.totals(ALWAYS).requests == 10
        assert len(telemetry.readings.device_windows(DEVICES[0], ALWAYS)) == 4
