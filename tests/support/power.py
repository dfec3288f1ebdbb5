"""A real file system whose power can be cut at any moment, as often as wanted.

An ext4 image lies on a btrfs. A clone of the image is what the disk holds at that moment: whatever
the kernel still keeps in memory for the ext4 is not in it. Mounting the clone recovers its journal,
as after a power cut.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = {"mkfs.btrfs": "btrfs-progs", "mkfs.ext4": "e2fsprogs", "losetup": "mount"}
"""Programs, and the Debian packages that bring them."""

OPTIONS: Final = "loop,noauto_da_alloc,commit=300"
"""The least that ext4 does by itself: no flush at a rename, and none every five seconds."""

_BUSY_TRIES: Final = 50
_FICLONE: Final = 0x40049409
_OUTER_BYTES: Final = 1024 * 2**20
_INNER_BYTES: Final = 160 * 2**20
"""The agent leaves 64 MiB free for its journal."""


def missing() -> str:
    """What this machine lacks, as one sentence; empty when nothing."""
    if os.geteuid() != 0:
        return "not root"
    lacking = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if lacking:
        return f"apt-get install {' '.join(lacking)}"
    try:
        with lab() as found, found.after_cut():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no file system of our own can be made and mounted: {error}"


class Lab:
    """The image, mounted on `root`."""

    def __init__(self, folder: Path) -> None:
        self._image, self._cut = folder / "outer" / "disk.img", folder / "outer" / "cut.img"
        self.root, self._rest = folder / "disk", folder / "rest"
        for path in (self.root, self._rest):
            path.mkdir()

    def make(self) -> None:
        """Make the file system; raises CalledProcessError."""
        _sized(self._image, _INNER_BYTES)
        _run("mkfs.ext4", "-q", "-F", self._image)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """With the file system on `root`."""
        with _mounted(self._image, self.root, OPTIONS):
            yield

    @contextmanager
    def after_cut(self) -> Iterator[Path]:
        """The disk as it would be found if the power went now."""
        with self._image.open("rb") as source, self._cut.open("wb") as target:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        with _mounted(self._cut, self._rest, OPTIONS):
            yield self._rest
        self._cut.unlink()


@contextmanager
def lab() -> Iterator[Lab]:
    """A laboratory in memory where there is one; raises OSError or CalledProcessError."""
    memory = Path("/dev/shm")
    with ExitStack() as stack:
        kept = TemporaryDirectory(prefix="power-", dir=memory if memory.is_dir() else None)
        folder = Path(stack.enter_context(kept))
        outer = folder / "outer.img"
        _sized(outer, _OUTER_BYTES)
        _run("mkfs.btrfs", "-q", "-f", outer)
        (folder / "outer").mkdir()
        stack.enter_context(_mounted(outer, folder / "outer", "loop"))
        found = Lab(folder)
        found.make()
        stack.enter_context(found.mounted())
        yield found


@contextmanager
def _mounted(image: Path, folder: Path, options: str) -> Iterator[None]:
    _run("mount", "-o", options, image, folder)
    try:
        yield
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """The kernel may still be taking away the loop device of an image that lies on it."""
    for _ in range(_BUSY_TRIES):
        if subprocess.run(["umount", folder], capture_output=True, check=False).returncode == 0:  # noqa: S607 - as the system finds it
            return
        time.sleep(0.1)
    _run("umount", "--lazy", folder)


def _sized(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
