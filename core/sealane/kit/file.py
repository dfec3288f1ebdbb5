"""Reads and writes kits; whoever reads one checks what comes out."""

from __future__ import annotations

import os
import stat
from threading import Lock
from typing import TYPE_CHECKING, Self

from sealane.errors import KitError
from sealane.kit.index import INDEX_BYTES, MAGIC, parse_index
from sealane.limits import BLOB_CHUNK_BYTES
from sealane.trust.source import MetadataMissing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from sealane.kit.index import Index
    from sealane.names import DeviceId, Digest

_HINT = "copy the file again, or ask for another kit"


class Kit:
    """One open kit; a source of metadata and of blobs, for any number of threads."""

    def __init__(self, file: BinaryIO, index: Index, begins: int) -> None:
        self._file, self.index = file, index
        # A number of a file that is closed meanwhile may be another file's.
        self._reading = Lock()
        self._offsets: dict[tuple[str, str], tuple[int, int]] = {}
        for kind in ("documents", "metadata", "blobs"):
            for name, size in getattr(index, kind).items():
                self._offsets[kind, name] = begins, size
                begins += size

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """Read the index; the file is the kit's from then on. Raises KitError or OSError."""
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise KitError("a kit is a file", hint="name the file, not a folder or a device")
        if file.read(len(MAGIC)) != MAGIC:
            raise KitError("this is no kit", hint="`sealane kit export` makes them")
        line = file.readline(INDEX_BYTES + 1)
        if len(line) > INDEX_BYTES or not line.endswith(b"\n"):
            raise KitError("its index is cut off or too large", hint=_HINT)
        index, begins = parse_index(line), len(MAGIC) + len(line)
        if begins + index.content_bytes != found.st_size:
            message = (
                f"it has {found.st_size} bytes, its index names {begins + index.content_bytes}"
            )
            raise KitError(message, hint=_HINT)
        return cls(file, index, begins)

    def close(self) -> None:
        """Close the file; whoever reads on gets a ValueError."""
        with self._reading:
            self._file.close()

    def document(self, device: DeviceId) -> bytes:
        """The director's document for a device; raises KitError when there is none."""
        if device not in self.index.documents:
            raise KitError(
                f"{self.index.id} holds nothing for {device}",
                hint="export it for this device: sealane kit export --device",
            )
        return b"".join(self._content("documents", device))

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        """One file of the trust repository; raises MetadataMissing."""
        if self.index.metadata.get(name, limit + 1) > limit:
            raise MetadataMissing(name)
        return self._content("metadata", name)

    def blob(self, digest: Digest, offset: int = 0) -> Iterator[bytes]:
        """One blob from an offset, in chunks; raises KeyError when it is not in the kit."""
        return self._content("blobs", digest, offset)

    def _content(self, kind: str, name: str, offset: int = 0) -> Iterator[bytes]:
        begins, size = self._offsets[kind, name]
        return self._chunks(begins + min(offset, size), begins + size)

    def _chunks(self, at: int, end: int) -> Iterator[bytes]:
        while at < end:
            with self._reading:
                chunk = os.pread(self._file.fileno(), min(BLOB_CHUNK_BYTES, end - at), at)
            if not chunk:
                raise KitError("it became shorter while it was read", hint=_HINT)
            at += len(chunk)
            yield chunk


def contents(kit: Kit, index: Index) -> Iterator[bytes]:
    """A kit with a part of another's documents, metadata and blobs, in its order."""
    yield index.encode()
    for device in index.documents:
        yield kit.document(device)
    for name, size in index.metadata.items():
        yield from kit.fetch(name, size)
    for digest in index.blobs:
        yield from kit.blob(digest)
