"""Prints what a window of telemetry costs: bytes on the wire, and time to encode, read and merge.

Eight inputs of 22 bins, ten classes, latency, queue and batch sizes, and the machine itself.
`python tests/bench/telemetry_size.py`: times are this machine's, to be compared with each other.
"""

from __future__ import annotations

import gzip
import random
import sys
import time
from typing import TYPE_CHECKING

from sealane.names import SlotName
from sealane.telemetry.bins import CONFIDENCE_BINS, Bins
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.histogram import record
from sealane.telemetry.merging import merge
from sealane.telemetry.types import (
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = tuple(f"image:{index}" for index in range(8))


def window(requests: int, minute: int, dice: random.Random) -> Window:
    """A minute of one device with this many requests."""
    model = ModelWindow(
        slot=SlotName("cam"),
        release="vision/defect@7",
        arm=Arm.ACTIVE,
        requests=requests,
        errors={ErrorKind.FAILED: 2},
        timings=Timings(
            latency=record(dice.lognormvariate(9.4, 0.4) for _ in range(requests)),
            queue=record(dice.lognormvariate(5.7, 0.4) for _ in range(requests)),
            batch=record(float(dice.randint(1, 4)) for _ in range(requests)),
        ),
        predictions=Predictions(
            classes=_spread(requests, 10, dice), confidence=_bins(requests, CONFIDENCE_BINS, dice)
        ),
        inputs={name: _bins(requests, 22, dice) for name in INPUTS},
    )
    return Window(1_760_000_000 + 60 * minute, 60, (model,), _host(dice))


def _bins(total: int, bins: int, dice: random.Random) -> Bins:
    return Bins(_spread(total, bins, dice))


def _spread(total: int, bins: int, dice: random.Random) -> tuple[int, ...]:
    counts = [0] * bins
    for _ in range(total):
        counts[dice.randrange(bins)] += 1
    return tuple(counts)


def _host(dice: random.Random) -> HostWindow:
    return HostWindow(
        cpu=_level(6, 350, dice),
        memory=_level(6, 512, dice),
        disk=Level.of(600),
        temperature=_level(6, 550, dice),
        throttled=0,
        restarts=0,
    )


def _level(samples: int, around: int, dice: random.Random) -> Level:
    values = [around + dice.randint(-20, 20) for _ in range(samples)]
    return Level(samples, sum(values), min(values), max(values))


def _micros(work: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, time.perf_counter() - began)
    return best / times * 1e6


def main() -> None:
    """Print a table, one row for each rate of requests."""
    dice = random.Random(7)  # noqa: S311 - made-up traffic
    sys.stdout.write(
        "requests/min  one window  of 60  gzip of 60  encode µs  decode µs  merge µs\n"
    )
    for requests in (60, 600, 6000):
        _report(requests, [window(requests, minute, dice) for minute in range(60)])


def _report(requests: int, hour: list[Window]) -> None:
    body = encode_windows(hour)
    cells = (
        f"{requests:12}",
        f"{len(encode_windows(hour[:1])):8} B",
        f"{len(body) / 60:3.0f} B",
        f"{len(gzip.compress(body)) / 60:8.0f} B",
        f"{_micros(lambda: encode_windows(hour), 10) / 60:9.0f}",
        f"{_micros(lambda: decode_windows(body), 10) / 60:9.0f}",
        f"{_micros(lambda: merge(hour[0], hour[1]), 300):8.0f}",
    )
    sys.stdout.write("  ".join(cells) + "\n")


if __name__ == "__main__":
    main()
