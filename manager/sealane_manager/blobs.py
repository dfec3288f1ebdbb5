"""Keeps the blobs of bundles in a folder, each under its digest.

A blob is written beside its place, hashed on the way, made durable and then renamed, so that
whatever has a digest for a name also has that content.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from sealane.errors import BundleError
from sealane.fileio import make_folder, rename
from sealane.limits import BLOB_BYTES, MIB
from sealane.names import Digest, hex_of

from sealane_manager.errors import NoSpace, NotKnown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealane_manager.layout import StateFolder

RESERVE_BYTES: Final = 64 * MIB
"""Disk that no upload may take: the database must be able to go on."""


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class BlobStore:
    """The blobs of one manager."""

    def __init__(self, state: StateFolder, free: Callable[[Path], int] = _free_bytes) -> None:
        self._state, self._free = state, free

    def prepare(self) -> None:
        """Make the folders and forget uploads that a crash cut off."""
        shutil.rmtree(self._state.uploads, ignore_errors=True)
        make_folder(self._state.uploads)
        make_folder(self._state.blob(Digest("sha256:0")).parent)

    def missing(self, digests: Iterable[Digest]) -> tuple[Digest, ...]:
        """Those that are not here, in order, each once."""
        return tuple(d for d in dict.fromkeys(digests) if not self._state.blob(d).is_file())

    def receive(self, digest: Digest, size: int) -> Upload:
        """Begin a blob of `size` bytes; raises BundleError or NoSpace."""
        if size > BLOB_BYTES:
            raise BundleError(
                f"a blob of {size} bytes is larger than the limit of {BLOB_BYTES}",
                hint="export the model with external data files",
            )
        _check_space(self._free(self._state.uploads), size)
        return Upload(self._state, digest, size)

    def open(self, digest: Digest, offset: int = 0) -> BinaryIO:
        """The blob from an offset; raises NotKnown, also for an offset past its end."""
        try:
            file = self._state.blob(digest).open("rb")
        except FileNotFoundError as error:
            raise NotKnown(f"the manager does not hold blob {digest}") from error
        if offset > os.fstat(file.fileno()).st_size:
            file.close()
            raise NotKnown(f"blob {digest} ends before byte {offset}")
        file.seek(offset)
        return file

    def small(self, digest: Digest, limit: int) -> bytes | None:
        """A blob as a whole, None above `limit` bytes; raises NotKnown."""
        with self.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            return file.read() if size <= limit else None

    def content(self, digest: Digest, limit: int) -> bytes:
        """A small blob as a whole; raises NotKnown, or BundleError above `limit` bytes."""
        with self.open(digest) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise BundleError(f"blob {digest} is larger than {limit} bytes")
        return content


class Upload:
    """One blob on its way in; leaving the context without `finish` forgets it."""

    def __init__(self, state: StateFolder, digest: Digest, size: int) -> None:
        self._state, self._digest, self._size = state, digest, size
        self._hash, self._written = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=state.uploads, prefix=hex_of(digest)[:16])
        self._path, self._file = Path(name), os.fdopen(descriptor, "wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Add bytes; raises BundleError when they are too many, NoSpace when the disk is full."""
        self._written += len(chunk)
        if self._written > self._size:
            raise BundleError(f"blob {self._digest} is longer than its {self._size} bytes")
        self._hash.update(chunk)
        try:
            _write_all(self._file, chunk)
        except OSError as error:
            raise _full(error) from error

    def finish(self) -> None:
        """Check size and digest and make the blob durable; raises BundleError or NoSpace."""
        if self._written != self._size:
            raise BundleError(
                f"blob {self._digest} ended after {self._written} of {self._size} bytes",
                hint="send it again",
            )
        if f"sha256:{self._hash.hexdigest()}" != self._digest:
            raise BundleError(
                f"the bytes sent for {self._digest} have another digest",
                hint="the file changed or was damaged: pack the bundle again",
            )
        os.fsync(self._file.fileno())
        rename(self._path, self._state.blob(self._digest))


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _full(error: OSError) -> Exception:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace("the manager's disk is full", hint="free some space, then send it again")
    return error


def _check_space(free: int, size: int) -> None:
    if size + RESERVE_BYTES > free:
        raise NoSpace(
            f"the manager's disk has {free // MIB} MiB left: too little for {size // MIB} MiB more",
            hint="free some space, then send it again",
        )
