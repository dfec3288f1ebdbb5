"""Measures the machine from what its kernel shows as files: no library, no other process.

What a machine does not show is not measured. Shares are in thousandths, temperatures in tenths of
a degree Celsius.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final

from sealane.telemetry.types import HostWindow, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLDEST_MC: Final = -60_000
HOTTEST_MC: Final = 150_000
"""Thousandths of a degree: a sensor that says more or less is not connected."""

_THERMAL: Final = ("sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input")
_THROTTLED_MS: Final = (
    "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/package_throttle_total_time_ms"
)
_COOLING: Final = "sys/class/thermal/cooling_device*"
_SLOWED: Final = ("cpufreq", "processor")
"""Kinds of cooling that slow the processor down, by how they begin in lower case."""

_PERCENT: Final = "sys/class/drm/card*/device/gpu_busy_percent"
_THOUSANDTHS: Final = ("sys/devices/gpu.[0-9]*/load", "sys/devices/platform/*.gpu/load")
_BUSY_US: Final = "sys/class/accel/accel*/device/npu_busy_time_us"
_IDLE_FIELDS: Final = slice(3, 5)
_COUNTED_FIELDS: Final = 8


class Host:
    """Measures this machine; shares of time are since the last measurement.

    `seconds` is a clock that never goes back.
    """

    def __init__(
        self, disk: Path, root: Path = Path("/"), seconds: Callable[[], float] = monotonic
    ) -> None:
        self._disk, self._root, self._seconds = disk, root, seconds
        self._at = seconds()
        self._cpu = self._cpu_times()
        self._busy = self._busy_us()
        self._throttled = self._throttled_ms()

    def measure(self) -> HostWindow:
        """One sample of everything."""
        before, self._at = self._at, self._seconds()
        passed = self._at - before
        return HostWindow(
            cpu=_level(self._cpu_share()),
            memory=_level(self._memory_share()),
            disk=_level(self._disk_share()),
            temperature=_level(self._temperature()),
            accelerator=_level(self._accelerator(passed)),
            throttled=self._throttled_s(passed),
        )

    def _cpu_share(self) -> int | None:
        before, self._cpu = self._cpu, self._cpu_times()
        if before is None or self._cpu is None:
            return None
        total, idle = (now - then for now, then in zip(self._cpu, before, strict=True))
        return _share(total - idle, total)

    def _cpu_times(self) -> tuple[int, int] | None:
        """All ticks of all cores, and those in which they had nothing to do."""
        with suppress(OSError, ValueError, IndexError):
            line = self._read("proc/stat").splitlines()[0].split()
            ticks = [int(part) for part in line[1:]][:_COUNTED_FIELDS]
            return sum(ticks), sum(ticks[_IDLE_FIELDS])
        return None

    def _memory_share(self) -> int | None:
        with suppress(OSError, ValueError, IndexError, KeyError):
            lines = (line.split() for line in self._read("proc/meminfo").splitlines())
            sizes = {parts[0]: int(parts[1]) for parts in lines}
            total = sizes["MemTotal:"]
            return _share(total - sizes["MemAvailable:"], total)
        return None

    def _disk_share(self) -> int | None:
        with suppress(OSError):
            found = os.statvfs(self._disk)
            return _share(found.f_blocks - found.f_bavail, found.f_blocks)
        return None

    def _temperature(self) -> int | None:
        every = chain.from_iterable(map(self._numbers, _THERMAL))
        found = [value for value in every if COLDEST_MC < value < HOTTEST_MC]
        return round(max(found) / 100) if found else None

    def _accelerator(self, passed: float) -> int | None:
        """The busiest one: GPUs of AMD and of Tegra boards, NPUs of Intel."""
        percents = (value * 10 for value in self._numbers(_PERCENT))
        thousandths = chain.from_iterable(map(self._numbers, _THOUSANDTHS))
        found = [min(1000, max(0, each)) for each in chain(percents, thousandths)]
        before, self._busy = self._busy, self._busy_us()
        if before is not None and self._busy is not None and passed > 0:
            found.append(min(1000, max(0, round((self._busy - before) / passed / 1000))))
        return max(found, default=None)

    def _busy_us(self) -> int | None:
        return max(self._numbers(_BUSY_US), default=None)

    def _throttled_s(self, passed: float) -> int | None:
        """Whole seconds; what is left counts the next time.

        Where the kernel counts no time, all that passed counts when the processor is slowed now.
        """
        now = self._throttled_ms()
        if now is None or self._throttled is None:
            self._throttled = now
            return self._slowed(passed) if now is None else None
        seconds = max(0, now - self._throttled) // 1000
        self._throttled = min(now, self._throttled + seconds * 1000)
        return seconds

    def _slowed(self, passed: float) -> int | None:
        states = []
        for device in self._root.glob(_COOLING):
            with suppress(OSError, ValueError):
                if (device / "type").read_text().lower().startswith(_SLOWED):
                    states.append(int((device / "cur_state").read_text()))
        return (round(passed) if any(states) else 0) if states else None

    def _throttled_ms(self) -> int | None:
        return max(self._numbers(_THROTTLED_MS), default=None)

    def _numbers(self, pattern: str) -> Iterator[int]:
        for path in self._root.glob(pattern):
            with suppress(OSError, ValueError):
                yield int(path.read_text())

    def _read(self, name: str) -> str:
        return (self._root / name).read_text()


def _share(part: int, whole: int) -> int | None:
    return min(1000, max(0, round(1000 * part / whole))) if whole > 0 else None


def _level(value: int | None) -> Level | None:
    return None if value is None else Level.of(value)
