"""What a supervisor is spared: optional parts of its libraries that it would never call.

Each of these libraries does without the part where it is not installed, so it is made to look as if
it were not while they are imported. Whoever really needs it later imports it as ever: a key in a
token, for one.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS: Final = (
    "pkcs11",  # securesystemslib signs with it; a supervisor only verifies: 2.4 MB
    "ssl",  # asyncio's TLS; all TLS here is gRPC's: 0.8 MB
)


@contextmanager
def spared() -> Iterator[None]:
    """Import the supervisor inside, before anything else imports these parts."""
    barred = [name for name in PARTS if name not in sys.modules]
    for name in barred:
        sys.modules[name] = None  # type: ignore[assignment]  # None bars the import
    try:
        yield
    finally:
        for name in barred:
            del sys.modules[name]
