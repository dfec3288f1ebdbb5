"""Serves what devices fetch: TUF metadata, manifests and blobs, in chunks.

Transport is not trusted: the device checks every byte against what two authorities signed. So this
part needs neither the database nor any key, and can run in a process of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sealane.limits import BLOB_CHUNK_BYTES, KIB
from sealane.names import parse_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealane_manager.blobs import BlobStore
    from sealane_manager.patches import Patches
    from sealane_manager.repository import Repository


FIRST_CHUNK_BYTES: Final = 64 * KIB
"""A whole chunk arrives or nothing of it; on a line of 1 Mbit/s this one takes half a second."""


class Content:
    """The files of one manager's repository and blob store."""

    def __init__(self, repository: Repository, blobs: BlobStore, patches: Patches) -> None:
        self._repository, self._blobs, self._patches = repository, blobs, patches

    async def metadata(self, name: str) -> AsyncIterator[bytes]:
        """One file of the repository; raises InvalidName or NotKnown."""
        content = await asyncio.to_thread(self._repository.read, name)
        for start in range(0, len(content), BLOB_CHUNK_BYTES):
            yield content[start : start + BLOB_CHUNK_BYTES]

    async def blob(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        """One blob from an offset; raises InvalidName or NotKnown.

        Chunks begin small and double: what a cut takes with it is never much more than what the
        delivery has brought, and on a good line it costs four messages more.
        """
        name, size = parse_digest(digest), FIRST_CHUNK_BYTES
        with await asyncio.to_thread(self._blobs.open, name, offset) as file:
            while chunk := await asyncio.to_thread(file.read, size):
                yield chunk
                size = min(2 * size, BLOB_CHUNK_BYTES)

    async def patch(self, digest: str, base: str) -> AsyncIterator[bytes]:
        """A patch that makes the blob of another; nothing when there is none worth it."""
        found = await asyncio.to_thread(
            self._patches.between, parse_digest(base), parse_digest(digest)
        )
        if found is None:
            return
        with await asyncio.to_thread(found.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, BLOB_CHUNK_BYTES):
                yield chunk
