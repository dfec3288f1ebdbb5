"""Small file systems of their own, so that a disk can really be full."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import pytest
from sealane.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_REMOUNT: Final = 32


class Disk:
    """A file system in memory, mounted on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def resize(self, mebibytes: int) -> None:
        """Give it another size; raises OSError when what lies on it is larger."""
        libc = ctypes.CDLL(None, use_errno=True)  # at once: a command would come too late
        options = f"size={mebibytes}m".encode()
        if libc.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", _REMOUNT, options):
            raise OSError(ctypes.get_errno(), "the disk cannot have that size")

    def used_bytes(self) -> int:
        """What lies on it."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bavail) * found.f_frsize

    def shrink_around(self) -> None:
        """Leave no more than two mebibytes beside what lies on it, while that grows."""
        for _ in range(1000):
            with suppress(OSError):
                return self.resize(self.used_bytes() // MIB + 2)
        raise AssertionError("the disk grew faster than it shrank")

    def fill(self) -> None:
        """Take every byte that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (MIB, 4096, 1):
                self._take(file.fileno(), size)

    @staticmethod
    def _take(file: int, size: int) -> None:
        block = bytes(size)
        try:
            while os.write(file, block):
                pass
        except OSError:
            return

    def empty(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()


@contextmanager
def mounted(folder: Path, mebibytes: int) -> Iterator[Disk]:
    """A disk of that size; only root may mount one."""
    folder.mkdir(parents=True)
    options = ("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs")
    command = ["/bin/mount", *options, os.fspath(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this root may mount nothing: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["/bin/umount", "--lazy", os.fspath(folder)], check=True)
