"""The model of the disk keeps what a real one keeps, and loses what a real one may lose."""

from __future__ import annotations

import asyncio
import errno
from random import Random
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from support.crash_disk import TROUBLE_S, Died, Fault, FaultyDisk
from support.crash_loop import SteadyLoop
from support.crash_model import Loss, Model
from support.trust import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "pointer").write_bytes(b"old")
    return tmp_path / "disk"


def disk_at(root: Path, fault: Fault | None = None, at: int = 0) -> FaultyDisk:
    return FaultyDisk(Model(root), ManualClock(), fault, at)


def left(disk: FaultyDisk, loss: Loss) -> dict[str, bytes]:
    image = disk.model.after_power_cut(loss, Random(0))  # noqa: S311 - a test's own chance
    return {name: content for name, (_, content) in image.files.items()}


def test_what_was_replaced_survives_a_power_cut(root: Path) -> None:
    with fileio.using(disk := disk_at(root)):
        fileio.replace(root / "pointer", b"new")
    assert left(disk, Loss.ALL) == {"pointer": b"new"}
    kinds = [operation.kind for operation in disk.operations]
    assert kinds == ["open", "write", "sync", "rename", "sync folder"]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_until_the_rename_the_old_content_is_left(root: Path, at: int) -> None:
    disk = disk_at(root, Fault.CUT_ALL, at)
    with fileio.using(disk), pytest.raises(Died):
        fileio.replace(root / "pointer", b"new")
    assert disk.found is not None
    assert {name: content for name, (_, content) in disk.found.files.items()} == {"pointer": b"old"}


def test_a_name_without_its_fsync_is_lost_or_empty(root: Path) -> None:
    disk = disk_at(root)
    descriptor = disk.open(root / "new", 0o101, 0o600)
    disk.write(descriptor, b"content")
    assert left(disk, Loss.ALL) == {"pointer": b"old"}
    assert left(disk, Loss.CONTENTS) == {"pointer": b"old", "new": b""}


def test_what_an_fsync_failed_on_is_lost_although_the_next_one_succeeds(root: Path) -> None:
    disk = disk_at(root, Fault.IO_ERROR, 3)
    descriptor = disk.open(root / "new", 0o101, 0o600)
    disk.write(descriptor, b"content")
    with pytest.raises(OSError, match="Input/output"):
        disk.sync(descriptor)
    disk.sync(descriptor)
    disk.sync_folder(root)
    assert (root / "new").read_bytes() == b"content"
    assert left(disk, Loss.ALL)["new"] == b""


def test_a_full_disk_stays_full_for_a_while(root: Path) -> None:
    disk = disk_at(root, Fault.NO_SPACE, 1)
    for _ in range(2):
        with fileio.using(disk), pytest.raises(OSError, match="No space") as caught:
            fileio.replace(root / "pointer", b"new")
        assert caught.value.errno == errno.ENOSPC
    disk.clock.ticks += TROUBLE_S
    with fileio.using(disk):
        fileio.replace(root / "pointer", b"new")


def test_nothing_happens_after_death(root: Path) -> None:
    disk = disk_at(root, Fault.KILL_BEFORE, 4)
    with fileio.using(disk), pytest.raises(Died):
        fileio.replace(root / "pointer", b"new")
    with pytest.raises(Died):
        disk.unlink(root / "pointer")
    assert (root / ".pointer.new").exists(), "a killed process cleans nothing up"


def test_two_names_of_a_file_stay_one_file(root: Path, tmp_path: Path) -> None:
    disk = disk_at(root)
    disk.link(root / "pointer", root / "second")
    disk.sync_folder(root)
    disk.model.after_power_cut(Loss.ALL, Random(0)).write(tmp_path / "after")  # noqa: S311 - see above
    assert (tmp_path / "after" / "second").samefile(tmp_path / "after" / "pointer")


def test_in_the_loop_of_the_cases_nobody_waits() -> None:
    clock = ManualClock()
    with asyncio.Runner(loop_factory=lambda: SteadyLoop(clock)) as runner:
        runner.run(asyncio.sleep(3600))
        assert runner.run(asyncio.to_thread(lambda: "here")) == "here"
    assert clock.ticks == pytest.approx(4600, abs=1)
