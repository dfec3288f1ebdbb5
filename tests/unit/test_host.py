from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.telemetry.types import HostWindow, Level
from sealane_agent.telemetry.host import Host

if TYPE_CHECKING:
    from pathlib import Path

CORE = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_total_time_ms"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with the files of a kernel."""
    write(tmp_path, "proc/stat", "cpu 100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")
    write(tmp_path, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 250 kB\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "48123\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "61950\n")
    write(tmp_path, CORE, "5000\n")
    return tmp_path


def write(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def test_shares_of_time_are_since_the_last_measurement(machine: Path) -> None:
    host = Host(machine, machine)
    write(machine, "proc/stat", "cpu 130 0 100 760 110 0 0 0 0 0\n")
    assert host.measure().cpu == Level.of(300)
    write(machine, "proc/stat", "cpu 230 0 100 760 110 0 0 0 0 0\n")
    assert host.measure().cpu == Level.of(1000)


def test_memory_is_what_nobody_else_could_get(machine: Path) -> None:
    assert Host(machine, machine).measure().memory == Level.of(750)


def test_the_hottest_sensor_counts_and_a_broken_one_does_not(machine: Path) -> None:
    write(machine, "sys/class/thermal/thermal_zone2/temp", "-274000\n")
    write(machine, "sys/class/thermal/thermal_zone3/temp", "none\n")
    assert Host(machine, machine).measure().temperature == Level.of(620)


def test_slowed_down_time_is_counted_in_whole_seconds_and_nothing_is_lost(machine: Path) -> None:
    host = Host(machine, machine)
    for milliseconds, seconds in ((5900, 0), (6100, 1), (9000, 3), (9000, 0)):
        write(machine, CORE, f"{milliseconds}\n")
        assert host.measure().throttled == seconds


def test_a_busy_accelerator_is_seen(machine: Path) -> None:
    write(machine, "sys/class/drm/card0/device/gpu_busy_percent", "37\n")
    assert Host(machine, machine).measure().accelerator == Level.of(370)


def test_what_a_machine_does_not_show_is_not_measured(tmp_path: Path) -> None:
    measured = Host(tmp_path / "nowhere", tmp_path).measure()
    assert measured == HostWindow()


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    measured = Host(tmp_path).measure()
    assert measured.memory is not None
    assert measured.disk is not None
    assert 0 < measured.memory.low <= 1000
