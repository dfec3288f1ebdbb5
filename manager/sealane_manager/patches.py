"""Makes patches between blobs when a device asks for one, once for the whole fleet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from sealane import patches
from sealane.fileio import make_folder, replace
from sealane.limits import PATCH_BYTES
from sealane.names import hex_of

from sealane_manager.errors import NotKnown

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.names import Digest

    from sealane_manager.blobs import BlobStore

WORTH: Final = 0.8
"""A patch larger than this share of the blob is not worth its work on the device."""

SMALLEST_BYTES: Final = 4096
"""Of a blob: below it a patch saves less than a packet."""


class Patches:
    """Patches in a folder; every method blocks on the disk and may be called from any thread."""

    def __init__(self, folder: Path, blobs: BlobStore) -> None:
        self._folder, self._blobs = folder, blobs
        self._making = threading.Lock()

    def between(self, base: Digest, blob: Digest) -> Path | None:
        """A file with the patch; None when there is none that is worth it."""
        path = self._path(base, blob)
        with self._making:  # one at a time: it takes the memory of both blobs
            if not path.is_file() and not self._make(path, base, blob):
                return None
        return path if path.stat().st_size else None

    def known(self, base: Digest, blob: Digest) -> int | None:
        """Bytes of the patch that was made already; 0: none is worth it; None: not made yet."""
        path = self._path(base, blob)
        return path.stat().st_size if path.is_file() else None

    def _path(self, base: Digest, blob: Digest) -> Path:
        return self._folder / f"{hex_of(base)[:32]}-{hex_of(blob)[:32]}"

    def _make(self, path: Path, base: Digest, blob: Digest) -> bool:
        try:
            old, new = (self._blobs.small(each, PATCH_BYTES) for each in (base, blob))
        except NotKnown:
            return False
        if old is None or new is None or len(new) < SMALLEST_BYTES:
            return False
        patch = patches.made(old, new)
        make_folder(self._folder)
        # An empty file remembers that it is not worth it.
        replace(path, patch if len(patch) < WORTH * len(new) else b"")
        return True
