"""Sends one blob: not at all if it is there, whole if it is small, in parts if it is large."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.bundle.layout import blob_path, open_regular
from sealane.errors import BundleError
from sealane.limits import MIB

from sealane_manager.errors import RegistryError, Unreachable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from sealane.bundle.types import Layer

    from sealane_manager.registry.receive import Patience
    from sealane_manager.registry.repository import Opened, Repository

PART_BYTES: Final = 8 * MIB
"""One part of a large blob; a smaller blob goes in one request."""

LARGEST_PART_BYTES: Final = 128 * MIB
"""The least size of a part that a registry may ask for: it is held in memory."""

TRIES: Final = 5
"""Broken connections in a row after which an upload is given up."""


class Way(StrEnum):
    """How a blob got into the repository."""

    HELD = "held"
    MOUNTED = "mounted"
    SENT = "sent"


class Sender:
    """Sends the blobs of one layout to one repository."""

    def __init__(
        self, repository: Repository, layout: Path, source: str, patience: Patience
    ) -> None:
        """`source`: a repository of the same registry that may hold blobs already, or empty."""
        self._repository, self._layout = repository, layout
        self._source, self._patience = source, patience

    def send(self, layer: Layer) -> Way:
        """Bring one blob there; raises BundleError or what the repository raises."""
        if self._repository.has(layer.digest, layer.size):
            self._patience.progress(layer.size)
            return Way.HELD
        opened = self._repository.begin_upload(layer.digest, self._source)
        if opened is None:
            self._patience.progress(layer.size)
            return Way.MOUNTED
        with open_regular(blob_path(self._layout, layer.digest)) as file:
            opened, start = self._send_parts(opened, file, layer)
            rest = _read(file, start, layer.size - start, layer)
        self._repository.finish_upload(opened, layer.digest, rest)
        self._patience.progress(len(rest))
        return Way.SENT

    def _send_parts(self, opened: Opened, file: BinaryIO, layer: Layer) -> tuple[Opened, int]:
        """All but the last part; where the upload goes on, and how much the registry has."""
        start, failed = 0, 0
        while layer.size - start > (length := _part_bytes(opened)):
            part = _read(file, start, length, layer)
            try:
                opened, start = self._repository.send_part(opened, start, part), start + length
            except Unreachable:
                failed += 1
                if failed >= TRIES:
                    raise
                self._patience.pause(2.0**failed)
                before = start
                opened, start = self._repository.received(opened)
                self._patience.progress(start - before)
            else:
                failed = 0
                self._patience.progress(length)
        return opened, start


def _part_bytes(opened: Opened) -> int:
    if opened.least > LARGEST_PART_BYTES:
        raise RegistryError(
            f"the registry wants parts of {opened.least} bytes, more than {LARGEST_PART_BYTES}"
        )
    return max(PART_BYTES, opened.least)


def _read(file: BinaryIO, start: int, length: int, layer: Layer) -> bytes:
    file.seek(start)
    content = file.read(length)
    if len(content) != length:
        raise BundleError(f"{layer.path} changed while it was sent")
    return content
