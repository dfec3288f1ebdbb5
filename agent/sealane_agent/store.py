"""The content-addressed store: blobs by digest, views that give them their names again.

A blob has its final name only after its bytes were hashed and are durable. A view is made of hard
links, after every blob was hashed once more.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager, suppress
from hashlib import sha256
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from sealane import fileio
from sealane.failure import Failure, FailureKind
from sealane.limits import MIB
from sealane.names import hex_of

from sealane_agent.errors import Failed
from sealane_agent.hashing import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from sealane.bundle.types import Layer
    from sealane.names import Digest

    from sealane_agent.hashing import Sha256
    from sealane_agent.layout import StateFolder

RESERVE_BYTES: Final = 64 * MIB
"""Left free on the disk: the journal and the logs need to write while a blob is refused."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong: nobody wants the blob any more
    """A fetch was given up because the director wants something else."""


class WrongBytes(Exception):  # noqa: N818 - the word says what is wrong
    """What arrived is not what the digest says."""


class Store:
    """The blobs of one agent; every method blocks on the disk."""

    def __init__(
        self, folder: StateFolder, free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        self._folder = folder
        self._free_bytes = free_bytes or _free
        self._alone: WeakValueDictionary[Digest, Lock] = WeakValueDictionary()
        self._choosing = Lock()
        self._doubted: set[Path] = set()
        for path in (folder.blobs, folder.views, folder.partial):
            fileio.make_folder(path)

    def alone(self, digest: Digest) -> Lock:
        """Held while a blob is fetched: two slots may want the same one.

        It is known for as long as somebody holds it or waits for it.
        """
        with self._choosing:
            return self._alone.setdefault(digest, Lock())

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here under its final name."""
        return self._folder.blob(digest).is_file()

    def path(self, digest: Digest) -> Path:
        """Where the blob lies."""
        return self._folder.blob(digest)

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a small blob that is in memory already; raises WrongBytes."""
        if sha256(content).hexdigest() != hex_of(digest):
            raise WrongBytes(digest)
        if not self.has(digest):
            fileio.replace(self._folder.blob(digest), content)

    def partial_bytes(self, layer: Layer) -> int:
        """How much of a blob is here from an earlier try."""
        partial = self._partial(layer)
        return partial.stat().st_size if partial.is_file() else 0

    def require_space(self, layers: Iterable[Layer]) -> None:
        """Raise Failed when the disk cannot take what is missing of these blobs."""
        missing = {item.digest: item for item in layers if not self.has(item.digest)}
        needed = sum(item.size - self.partial_bytes(item) for item in missing.values())
        free = self._free_bytes(self._folder.blobs)
        if missing and needed + RESERVE_BYTES > free:
            raise Failed(_disk_full(needed, free))

    def receive(
        self, layer: Layer, chunks: Callable[[int], Iterator[bytes]], stop: Callable[[], bool]
    ) -> None:
        """Append what is missing of a blob, and give it its name when the bytes are right.

        `chunks` delivers from an offset. Raises WrongBytes (the partial is gone then), Stopped,
        Failed when the disk is full, or whatever `chunks` raises (the partial stays).
        """
        partial = self._partial(layer)
        if partial in self._doubted:
            self._discard(partial)
        with self._trouble(partial), fileio.appending(partial) as file:
            digest, length = _begun(partial)
            for chunk in chunks(length) if length < layer.size else ():
                if stop():
                    raise Stopped
                length += len(chunk)
                if length > layer.size:
                    break
                digest.update(chunk)
                file.write(chunk)
        if length < layer.size:
            return
        if length > layer.size or digest.hexdigest() != hex_of(layer.digest):
            fileio.remove(partial)
            raise WrongBytes(layer.digest)
        fileio.rename(partial, self._folder.blob(layer.digest))

    def view(self, manifest: Digest, layers: Collection[Layer]) -> Path:
        """The folder with these files under their own names, durable, every blob hashed again.

        Raises WrongBytes when a blob has changed on the disk; it is removed then.
        """
        for layer in layers:
            self._check(layer)
        view = self._folder.view(manifest)
        if not self._is_complete(view, layers):
            self._build(view, layers)
        # Whoever gave them their names may have died, or failed, before the names were durable.
        for folder in (self._folder.blobs, self._folder.views):
            fileio.sync_folder(folder)
        return view

    def check(self, layers: Iterable[Layer]) -> None:
        """Hash blobs again; raises WrongBytes for one that has changed, and removes it."""
        for layer in layers:
            self._check(layer)

    def require_bytes(self, needed: int) -> None:
        """Raise Failed when the disk cannot take so many bytes beside the reserve."""
        free = self._free_bytes(self._folder.blobs)
        if needed + RESERVE_BYTES > free:
            raise Failed(_disk_full(needed, free))

    def collect(self, blobs: Collection[Digest], views: Collection[Digest]) -> int:
        """Remove everything but these; returns how many files and views went."""
        keep = {hex_of(digest) for digest in blobs}
        stale = [
            path
            for folder in (self._folder.blobs, self._folder.partial)
            for path in folder.iterdir()
            if path.name not in keep
        ]
        for path in stale:
            fileio.remove(path)
        kept_views = {hex_of(digest) for digest in views}
        old = [path for path in self._folder.views.iterdir() if path.name not in kept_views]
        for path in old:
            fileio.remove_tree(path)
        return len(stale) + len(old)

    def _partial(self, layer: Layer) -> Path:
        return self._folder.partial / hex_of(layer.digest)

    def _check(self, layer: Layer) -> None:
        path = self._folder.blob(layer.digest)
        if not path.is_file():
            raise WrongBytes(layer.digest)
        with path.open("rb") as blob:
            found = file_sha256(blob).hexdigest()
        if found != hex_of(layer.digest):
            fileio.remove(path)
            raise WrongBytes(layer.digest)

    def _is_complete(self, view: Path, layers: Iterable[Layer]) -> bool:
        return all(
            (view / layer.path).is_file()
            and (view / layer.path).samefile(self._folder.blob(layer.digest))
            for layer in layers
        )

    def _build(self, view: Path, layers: Iterable[Layer]) -> None:
        building = view.with_name(f".{view.name}.new")
        fileio.remove_tree(building)
        for layer in layers:
            target = building / layer.path
            fileio.make_folder(target.parent)
            fileio.link(self._folder.blob(layer.digest), target)
        folders = {(building / layer.path).parent for layer in layers} | {building}
        for folder in sorted(folders):  # in the same order each time, so that it can be repeated
            fileio.sync_folder(folder)
        fileio.remove_tree(view)
        fileio.rename(building, view)

    @contextmanager
    def _trouble(self, partial: Path) -> Iterator[None]:
        """After an fsync that failed nobody knows what is on the disk, whatever can be read."""
        try:
            yield
        except OSError as error:
            self._doubted.add(partial)
            begun = partial.stat().st_size if partial.is_file() else 0
            with suppress(OSError):
                self._discard(partial)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise Failed(_disk_full(begun, self._free_bytes(self._folder.blobs))) from error

    def _discard(self, partial: Path) -> None:
        fileio.remove(partial)
        self._doubted.discard(partial)


def _begun(partial: Path) -> tuple[Sha256, int]:
    """The hash and the length of what arrived before."""
    with partial.open("rb") as file:
        return file_sha256(file), file.tell()


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free


def _disk_full(needed: int, free: int) -> Failure:
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase="fetching",
        component="store",
        element="disk",
        message=f"the disk is full: {needed} bytes and a reserve of {RESERVE_BYTES} are needed, "
        f"{free} are free",
        hint="free some space on the device's state folder; what serves keeps serving",
    )
