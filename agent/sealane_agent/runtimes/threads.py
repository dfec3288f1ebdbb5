"""What the threads of an engine may take from those that are at work already."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_OWN: Final = Path("/proc/self/task")


def own_threads() -> frozenset[int]:
    """The threads of this process, by the kernel's numbers."""
    return frozenset(int(each.name) for each in _OWN.iterdir())


def never_push_in(threads: Iterable[int]) -> None:
    """Let them begin on a processor that is free, or when their turn comes; never in between.

    Their share of a busy processor and their nice value stay the same. A kernel that does not
    allow it leaves them as they are.
    """
    for thread in threads:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
