from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.limits import MIB
from sealane_agent.serving.admission import RESERVE_LEAST
from sealane_agent.serving.machine_memory import MachineMemory

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = "MemTotal:        1048576 kB\nMemFree:  1 kB\nMemAvailable:     524288 kB\n"
FREE = 512 * MIB - RESERVE_LEAST


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text(MEMINFO)
    return file


def group(folder: Path, limit: str, used: int = 0, cached: int = 0) -> Path:
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached * MIB}\n")
    return folder


def test_the_machine_gives_what_is_available_less_the_reserve(meminfo: Path) -> None:
    assert MachineMemory((), meminfo).available() == FREE


def test_a_group_around_limits_it_and_what_it_only_caches_makes_room(
    meminfo: Path, tmp_path: Path
) -> None:
    inner = group(tmp_path / "inner", "max")
    outer = group(tmp_path / "outer", str(300 * MIB), used=150, cached=50)
    memory = MachineMemory((inner, outer), meminfo)
    assert memory.available() == 200 * MIB - RESERVE_LEAST


def test_a_group_without_files_of_memory_limits_nothing(meminfo: Path, tmp_path: Path) -> None:
    assert MachineMemory((tmp_path / "nothing",), meminfo).available() == FREE


def test_a_machine_that_does_not_say_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    with pytest.raises(OSError, match="MemAvailable"):
        MachineMemory((), tmp_path / "meminfo").available()
