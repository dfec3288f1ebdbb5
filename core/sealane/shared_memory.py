"""Memory that a client shares with the endpoint on its machine: tensors lie in it, not in messages.

A file in the system's folder for shared memory, of the client's own user, locked as long as its
maker lives. Its name goes when the client closes, or ends; what a killed client left behind is
removed by the next one that makes a region.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sealane.errors import SealaneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - where the system keeps shared memory

_PREFIX: Final = "sealane-client-"


class NoSharedMemory(SealaneError):  # noqa: N818 - the word says what is wrong
    """The system gives no shared memory."""


class SharedRegion:
    """One region; its memory stays as long as an array lies in it.

    Attributes:
        name: of the region and of its file.
        byte_size: of all of it.
        content: its bytes.
    """

    def __init__(self, byte_size: int) -> None:
        """Make a region; raises NoSharedMemory."""
        self.name = _PREFIX + secrets.token_hex(8)
        self.byte_size = byte_size
        try:
            _sweep()
            descriptor = _make(self.name, byte_size)
            self.content: NDArray[np.uint8] = np.frombuffer(
                mmap.mmap(descriptor, byte_size), np.uint8
            )
        except OSError as error:
            raise NoSharedMemory(
                f"no shared memory of {byte_size} bytes: {str(error.strerror).lower()}",
                hint=f"is {FOLDER} there, and not full?",
            ) from error
        self._begin = _address(self.content)
        self.forget = weakref.finalize(self, _forget, self.name, descriptor, os.getpid())

    def offset_of(self, array: NDArray[Any]) -> int | None:
        """Where an array in C order lies in it; None when it lies elsewhere."""
        at = _address(array) - self._begin
        return at if at >= 0 and at + array.nbytes <= self.byte_size else None


def find(regions: Iterable[SharedRegion], array: NDArray[Any]) -> tuple[str, int] | None:
    """The name of the region in which an array in C order lies, and where in it."""
    for region in regions:
        offset = region.offset_of(array)
        if offset is not None and array.nbytes:
            return region.name, offset
    return None


def _address(array: NDArray[Any]) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def _make(name: str, byte_size: int) -> int:
    """A file that is locked before it has a name, so that nobody takes it for left behind."""
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(descriptor, 0, byte_size)
            source = f"/proc/self/fd/{descriptor}"
            os.link(source, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        except BaseException:
            os.close(descriptor)
            raise
    finally:
        os.close(folder)
    return descriptor


def _sweep() -> None:
    """Remove what clients of this user left behind that were killed."""
    for left in FOLDER.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(descriptor)


def _forget(name: str, descriptor: int, maker: int) -> None:
    if os.getpid() != maker:
        return  # a fork of the maker has a copy of all this, and ends earlier
    with contextlib.suppress(OSError):
        (FOLDER / name).unlink()
    os.close(descriptor)
