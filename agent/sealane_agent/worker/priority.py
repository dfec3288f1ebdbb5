"""Lets workers that only could answer go behind those that do, and behind the line's own programs.

A process may always step back; whether it may come back is the machine's to allow: by the limit on
nice values (`LimitNICE=+0` in a unit of systemd, `ulimit -e 20`), or by a privilege, which counts
outside containers only. So it is tried. Where it does not work nobody steps back: who could not
come back would be worse than one that is in the way.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LOWER: Final = 10
"""Nice levels behind the usual one: a tenth of a busy processor, so that loading still ends."""

_LOWEST: Final = 19


class Priority:
    """The priority of one process, with all its threads; `usual` is the nice value that it has."""

    def __init__(self, process: int, usual: int) -> None:
        self._process = process
        self._usual = usual
        self._low = min(_LOWEST, usual + LOWER) if _may_return_to(usual) else usual
        self.is_low = False

    def lower(self) -> None:
        """Step back, where it may come back."""
        if self._low != self._usual:
            self.is_low = True
            _set(self._process, self._low)

    def restore(self) -> None:
        """Come back."""
        if self.is_low:
            self.is_low = False
            _set(self._process, self._usual)

    @contextlib.contextmanager
    def as_usual(self) -> Iterator[None]:
        """What is measured meanwhile is what it takes when it serves."""
        was_low = self.is_low
        self.restore()
        try:
            yield
        finally:
            if was_low:
                self.lower()


def own_nice() -> int:
    """The nice value of this thread."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def _may_return_to(nice: int) -> bool:
    """Tried by a thread that ends with it, so that nothing is left low."""
    returned: list[int] = []

    def leave_and_return() -> None:
        thread = threading.get_native_id()
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, min(_LOWEST, nice + 1))
            os.setpriority(os.PRIO_PROCESS, thread, nice)
            returned.append(nice)

    trying = threading.Thread(target=leave_and_return)
    trying.start()
    trying.join()
    return bool(returned)


def _set(process: int, nice: int) -> None:
    """Of every thread, also of those that begin meanwhile; the process may be gone."""
    threads, done = Path(f"/proc/{process}/task"), set[str]()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while new := {each.name for each in threads.iterdir()} - done:
            for thread in new:
                with contextlib.suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, int(thread), nice)
            done |= new
