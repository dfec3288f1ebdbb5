"""What a worker asks of its machine: to die with its parent, memory, processors, priority."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from sealane_agent.serving.control_groups import own_folder
from sealane_agent.worker.priority import LOWER

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_PR_SET_PDEATHSIG: Final = 1
_OUT_OF_MEMORY: Final = Path("/proc/self/oom_score_adj")
_FIRST_TO_GO: Final = "500"
_QUOTA: Final = "cpu.max"
_KIB: Final = 1024


def die_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when its parent ends; False when it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def be_first_to_go() -> None:
    """Have the kernel end this process before its parent when memory runs out."""
    with contextlib.suppress(OSError):
        _OUT_OF_MEMORY.write_text(_FIRST_TO_GO, encoding="ascii")


def return_free_memory() -> None:
    """Give what the allocator kept back to the machine: loading leaves as much again behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def memory_bytes(process: int | str = "self") -> int:
    """Proportional set size of a process of this user; raises OSError when it is gone."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIB
    return 0


def peak_bytes() -> int:
    """The most that this process has held, without what it shares with others by now."""
    told = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    sizes = {
        key: int(rest.split()[0]) * _KIB
        for key, _, rest in (line.partition(":") for line in told.splitlines())
        if key in {"VmHWM", "VmRSS"}
    }
    held = memory_bytes()
    return max(held, sizes.get("VmHWM", 0) - max(0, sizes.get("VmRSS", 0) - held))


def usable_processors() -> int:
    """Processors that this process may use, by affinity and by the quota of its control group."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = (own_folder() / _QUOTA).read_text(encoding="ascii").split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return allowed


def at_low_priority(work: Callable[[], Result]) -> Result:
    """Do it in a thread that yields to the line.

    Only for work that starts no threads: an engine's threads would keep the low priority, and
    without a privilege nobody could raise it again.
    """
    results: list[Result] = []
    faults: list[BaseException] = []

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWER)
        try:
            results.append(work())
        except BaseException as fault:  # noqa: BLE001 - raised again in the thread that asked
            faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return results[0]
