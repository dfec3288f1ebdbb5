"""Inflates bodies of requests, and deflates those of answers for clients that ask for just that.

Pure. On one machine compressing costs more than it saves, so a list of codings, which most clients
send unasked, is not taken for a wish.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from sealane_agent.oip.http_reader import BODY_BYTES, HttpRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW_BITS: Final = {b"gzip": 31, b"deflate": 15}
"""How zlib calls the two codings; "deflate" means zlib's own format."""

_LEVEL: Final = 1
"""The fastest."""


def coding_wished(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The one coding that a client asks for; None when it names none, or several."""
    named = headers.get(b"accept-encoding")
    if named is None:
        return None
    coding = named.strip().lower()
    return coding if coding in WINDOW_BITS else None


def deflate(parts: Iterable[bytes | memoryview], window_bits: int) -> bytes:
    """Compress a body."""
    deflater = zlib.compressobj(_LEVEL, wbits=window_bits)
    return b"".join([*map(deflater.compress, parts), deflater.flush()])


def inflate(body: bytes | memoryview, window_bits: int) -> bytes:
    """Decompress, at most to the largest body; raises HttpRefused."""
    inflater = zlib.decompressobj(window_bits)
    try:
        content = inflater.decompress(body, BODY_BYTES)
    except zlib.error:
        raise HttpRefused(400, "the compressed body is damaged") from None
    if inflater.unconsumed_tail:
        raise HttpRefused(413, f"a body is at most {BODY_BYTES} bytes, also when inflated")
    if not inflater.eof:
        raise HttpRefused(400, "the compressed body ends too early")
    return content
