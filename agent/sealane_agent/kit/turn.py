"""One import at a time: who copies a kit to the shelf holds the shelf's folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sealane.errors import KitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def my_turn(folder: Path) -> Iterator[None]:
    """Hold a folder as long as the process lives; raises KitError when another one holds it."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError(
                "another kit is being imported here", hint="wait until that import has ended"
            ) from error
        yield
    finally:
        os.close(held)
