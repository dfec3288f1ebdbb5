"""Twelve days without a manager, minute by minute on a clock of the test's own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from sealane.names import SlotName
from sealane.telemetry.bins import Bins
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.histogram import record
from sealane.telemetry.merging import merge_models
from sealane.telemetry.types import (
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    TelemetryAck,
    Timings,
    Window,
)
from sealane_agent.telemetry.spool import Spool
from support.figures import FIGURE
from support.telemetry import START

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

MINUTES = 12 * 24 * 60
INPUTS = tuple(f"feature-{number}" for number in range(8))


def window(minute: int, dice: random.Random) -> Window:
    """A minute of one model with eight inputs of 20 bins and ten classes."""
    requests = dice.randint(20, 60)
    timings = Timings(latency=record(dice.lognormvariate(9, 0.4) for _ in range(requests)))
    model = ModelWindow(
        slot=SlotName("cam"),
        release="vision/defect@7",
        arm=Arm.ACTIVE,
        requests=requests,
        errors={ErrorKind.FAILED: 1} if minute % 97 == 0 else {},
        timings=timings,
        predictions=Predictions(classes=spread(requests, 10, dice)),
        inputs={name: Bins(spread(requests, 20, dice)) for name in INPUTS},
    )
    return Window(START + 60 * minute, 60, (model,), HostWindow(cpu=Level.of(dice.randint(0, 999))))


def spread(total: int, bins: int, dice: random.Random) -> tuple[int, ...]:
    counts = [0] * bins
    for _ in range(total):
        counts[dice.randrange(bins)] += 1
    return tuple(counts)


def test_twelve_days_offline_keep_every_count(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    dice = random.Random(12)  # noqa: S311 - made-up traffic
    spool = Spool(tmp_path / "telemetry.db", "boot")
    recorded: ModelWindow | None = None
    raw, days = 0, []
    for ten in range(0, MINUTES, 10):
        minutes = [window(minute, dice) for minute in range(ten, ten + 10)]
        for item in minutes:
            raw += len(encode_windows((item,)))
            recorded = merge_models(recorded, item.models[0]) if recorded else item.models[0]
        spool.put(minutes)
        spool.compact(START + 60 * (ten + 10))
        if (ten + 10) % (3 * 1440) == 0:
            days.append(spool.bytes_used // 1024)
    received, batches, sent = drain(spool)
    lost = spool.lost
    spool.close()
    record_property(
        FIGURE,
        f"twelve days offline: {days} KiB of disk after 3, 6, 9 and 12 days "
        f"({raw // 1024} KiB as recorded), sent in {batches} batches of {sent // 1024} KiB",
    )
    assert received == recorded
    assert lost == 0
    assert days[-1] < 1024


def drain(spool: Spool) -> tuple[ModelWindow | None, int, int]:
    """What a manager counts that comes back after twelve days; batches and their bytes."""
    received: ModelWindow | None = None
    batches = sent = 0
    while (batch := spool.next_batch()) is not None:
        batches, sent = batches + 1, sent + len(batch.body)
        for item in decode_windows(batch.body):
            received = merge_models(received, item.models[0]) if received else item.models[0]
        spool.acknowledge(TelemetryAck(batch.boot, batch.sequence))
    return received, batches, sent
