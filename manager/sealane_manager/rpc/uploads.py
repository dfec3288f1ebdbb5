"""Takes one blob from an operator's stream into the blob store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sealane.errors import BundleError
from sealane.names import parse_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealane.wire.v1 import operator_pb2 as wire

    from sealane_manager.blobs import BlobStore


async def take_upload(messages: AsyncIterator[wire.UploadBlobRequest], blobs: BlobStore) -> None:
    """Store the blob; raises BundleError, InvalidName or NoSpace, and then keeps nothing."""
    first = await anext(messages, None)
    if first is None or first.WhichOneof("message") != "header":
        raise BundleError("an upload begins with the blob's digest and size")
    digest, size = parse_digest(first.header.digest), first.header.size
    with await asyncio.to_thread(blobs.receive, digest, size) as upload:
        async for message in messages:
            if message.WhichOneof("message") != "chunk":
                raise BundleError("after its header an upload carries nothing but bytes")
            await asyncio.to_thread(upload.write, message.chunk)
        await asyncio.to_thread(upload.finish)
