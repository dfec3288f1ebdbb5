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


@pytest.mark.parametrize(
    "board", ["sys/devices/gpu.0/load", "sys/devices/platform/17000000.gpu/load"]
)
def test_a_busy_gpu_of_a_board_is_seen(machine: Path, board: str) -> None:
    write(machine, board, "512\n")
    assert Host(machine, machine).measure().accelerator == Level.of(512)


def test_a_neural_processor_was_busy_for_a_share_of_the_time_that_passed(machine: Path) -> None:
    busy = "sys/class/accel/accel0/device/npu_busy_time_us"
    write(machine, busy, "1000000\n")
    moments = iter((0.0, 10.0, 10.0, 20.0))
    host = Host(machine, machine, lambda: next(moments))

    write(machine, busy, "3500000\n")
    assert host.measure().accelerator == Level.of(250)
    assert host.measure().accelerator is None
    write(machine, busy, "1000\n")  # it was reset
    assert host.measure().accelerator == Level.of(0)


def test_a_sensor_of_the_board_counts_as_those_of_the_processor(machine: Path) -> None:
    write(machine, "sys/class/hwmon/hwmon2/temp1_input", "71500\n")
    assert Host(machine, machine).measure().temperature == Level.of(715)


@pytest.mark.parametrize(("state", "seconds"), [("0\n", 0), ("3\n", 10)])
def test_a_board_that_counts_no_time_says_whether_it_is_slowed_now(
    machine: Path, state: str, seconds: int
) -> None:
    (machine / CORE).unlink()
    write(machine, "sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    write(machine, "sys/class/thermal/cooling_device0/cur_state", state)
    write(machine, "sys/class/thermal/cooling_device1/type", "pwm-fan\n")
    write(machine, "sys/class/thermal/cooling_device1/cur_state", "7\n")
    moments = iter((0.0, 10.0))
    assert Host(machine, machine, lambda: next(moments)).measure().throttled == seconds


def test_a_fan_slows_nothing_down(machine: Path) -> None:
    (machine / CORE).unlink()
    write(machine, "sys/class/thermal/cooling_device1/type", "pwm-fan\n")
    write(machine, "sys/class/thermal/cooling_device1/cur_state", "7\n")
    assert Host(machine, machine).measure().throttled is None


def test_what_a_machine_does_not_show_is_not_measured(tmp_path: Path) -> None:
    measured = Host(tmp_path / "nowhere", tmp_path).measure()
    assert measured == HostWindow()


def test_this_machine_can_be_measured(tmp_path: Path) -> None:
    measured = Host(tmp_path).measure()
    assert measured.memory is not None
    assert measured.disk is not None
    assert 0 < measured.memory.low <= 1000
