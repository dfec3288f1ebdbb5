"""Brings one blob into a file: from where an earlier try ended, hashed on the way, bounded.

A file gets its final name only when size and digest are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from sealane.bundle.layout import open_regular
from sealane.errors import BundleError
from sealane.fileio import appending, rename
from sealane.limits import KIB, MIB
from sealane.names import hex_of

from sealane_manager.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sealane.bundle.types import Layer
    from sealane.names import Digest

TRIES: Final = 5
"""Tries in a row that bring nothing, after which a blob is given up for now."""

SLOW_BYTES: Final = 64 * KIB
SLOW_SECONDS: Final = 60.0
"""Fewer bytes than that in so long is a registry that only pretends to send."""

_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Patience:
    """The clock of a transfer: what waits, what measures, and who is told of bytes."""

    pause: Callable[[float], None]
    monotonic: Callable[[], float]
    progress: Callable[[int], None]


class _Pace:
    """How long it takes until enough bytes came; the time between two answers does not count."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._arrived, self._seconds = 0, 0.0

    def watched(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """The same parts; raises Unreachable when too little comes for too long."""
        before = self._monotonic()
        for part in parts:
            now = self._monotonic()
            self._arrived, self._seconds = self._arrived + len(part), self._seconds + now - before
            before = now
            if self._arrived >= SLOW_BYTES:
                self._arrived, self._seconds = 0, 0.0
            elif self._seconds > SLOW_SECONDS:
                raise Unreachable("the registry sends too slowly", hint="try again later")
            yield part


class _Partial:
    """A file that grows, and the hash of what is in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self._hash = path, 0, sha256()
        if path.exists():
            with open_regular(path) as file:
                while part := file.read(MIB):
                    self._hash.update(part)
                    self.size += len(part)

    def append(self, parts: Iterator[bytes], layer: Layer) -> Iterator[int]:
        """Take bytes, telling how many; raises BundleError as soon as they are too many."""
        with appending(self.path, _MODE) as file:
            for part in parts:
                self.size += len(part)
                if self.size > layer.size:
                    raise _wrong(layer)
                self._hash.update(part)
                file.write(part)
                yield len(part)

    def discard(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)
        self.size, self._hash = 0, sha256()

    def is_right(self, layer: Layer) -> bool:
        """Whether the whole blob is here, and nothing else."""
        return self.size == layer.size and self._hash.hexdigest() == hex_of(layer.digest)


class Blobs(Protocol):
    """The part of a repository that gives blobs."""

    def blob(
        self, digest: Digest, size: int, offset: int
    ) -> AbstractContextManager[tuple[int, Parts]]:
        """From where the bytes begin, `offset` or 0, and the answer that holds them."""
        ...


class Parts(Protocol):
    """An answer whose bytes come one part after the other."""

    def parts(self) -> Iterator[bytes]:
        """The bytes; raises Unreachable."""
        ...


class Receiver:
    """Brings blobs of one repository into one folder."""

    def __init__(self, repository: Blobs, folder: Path, patience: Patience) -> None:
        self._repository, self._folder, self._patience = repository, folder, patience

    def receive(self, layer: Layer) -> None:
        """Bring a blob under its digits; what is there already is not fetched again.

        Raises BundleError when the registry sends other bytes (nothing is kept of them), or what
        the repository raises (what has arrived is kept).
        """
        final = self._folder / hex_of(layer.digest)
        if final.exists():
            self._patience.progress(layer.size)
            return
        partial = _Partial(final.with_suffix(".partial"))
        resumed = partial.size > 0
        self._patience.progress(partial.size)
        try:
            self._fill(partial, layer)
            if resumed and not partial.is_right(layer):
                # Nobody knows whether the bytes of the earlier try are wrong or the new ones.
                self._forget(partial)
                self._fill(partial, layer)
            if not partial.is_right(layer):
                raise _wrong(layer)
        except BundleError:
            self._forget(partial)
            raise
        rename(partial.path, final)

    def _fill(self, partial: _Partial, layer: Layer) -> None:
        """Until the size is reached, over any number of broken connections that brought bytes."""
        pace, failed = _Pace(self._patience.monotonic), 0
        while partial.size < layer.size or not partial.path.exists():
            before = partial.size
            try:
                self._append(partial, layer, pace)
            except Unreachable:
                failed = 0 if partial.size > before else failed + 1
                if failed >= TRIES:
                    raise
                self._patience.pause(2.0**failed)

    def _append(self, partial: _Partial, layer: Layer, pace: _Pace) -> None:
        """Take what one answer gives."""
        offset = partial.size
        with self._repository.blob(layer.digest, layer.size, offset) as (begun, answer):
            if begun != offset:
                self._forget(partial)
            for count in partial.append(pace.watched(answer.parts()), layer):
                self._patience.progress(count)
        if partial.size < layer.size:
            raise Unreachable(
                f"the registry ended {layer.path} after {partial.size} of {layer.size} bytes",
                hint="try again later: what has arrived is kept",
            )

    def _forget(self, partial: _Partial) -> None:
        self._patience.progress(-partial.size)
        partial.discard()


def _wrong(layer: Layer) -> BundleError:
    return BundleError(
        f"the registry sends other bytes than {layer.digest} for {layer.path}",
        hint="its store is damaged, or somebody changed it: nothing was kept of them",
    )
