"""Writes to an open file without ever waiting for whoever reads it.

A log's reader that stands still must not stop what is logged about: what it does not take is lost,
and once it takes something again, it reads how much.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import Final

STDERR: Final = 2


class LossyStream:
    """A text stream on a descriptor that stays its owner's; any thread may write.

    A descriptor that can be written takes `PIPE_BUF` bytes without waiting (pipe(7)).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._writing = threading.Lock()
        self._lost = 0

    def write(self, text: str) -> int:
        """Write what the reader has room for; returns the characters, as a text stream does."""
        content = text.encode(errors="backslashreplace")
        with self._writing:
            if self._lost and self._left(_said(self._lost)) == 0:
                self._lost = 0
            self._lost += len(content) if self._lost else self._left(content)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""

    def _left(self, content: bytes) -> int:
        """Write; how many bytes found no room."""
        written = 0
        with suppress(OSError):  # who went away is told nothing
            while written < len(content) and self._room.poll(0):
                piece = content[written : written + select.PIPE_BUF]
                written += os.write(self._descriptor, piece)
        return len(content) - written


def _said(lost: int) -> bytes:
    return f"\n{lost} bytes of the log were lost: its reader stood still\n".encode()
