"""Decides what an engine's error says of the accelerator, by its text: engines have no types. Pure.

the text says                     what it is            so that
--------------------------------  --------------------  ----------------------------------------
its memory is full                MemoryError           the release is not at fault; one request
it is busy, lost, not supported   AcceleratorFailed     the release is not at fault; the process
                                                        ends, for none can succeed in it
anything else                     nothing               the model or the request is at fault
"""

from __future__ import annotations

import re
from typing import Final

from sealane_agent.runtimes.base import AcceleratorFailed, first_line

_FULL: Final = re.compile(
    r"CUDA (?:failure|error) 2\b|out of memory|BFCArena.*Failed to allocate memory"
    r"|(?:CUBLAS|CUDNN)_STATUS_ALLOC_FAILED|CUDNN_STATUS_NOT_ENOUGH_WORKSPACE"
    r"|CL_OUT_OF_(?:RESOURCES|HOST_MEMORY)|CL_MEM_OBJECT_ALLOCATION_FAILURE"
    r"|out of GPU resources|Exceeded max size of memory|ERROR_OUT_OF_(?:DEVICE|HOST)_MEMORY",
    re.IGNORECASE | re.DOTALL,
)

_RESTART: Final = "see the kernel's log (dmesg); a restart of the machine may bring it back"
_DRIVER: Final = "install a driver that is new enough, then restart the machine"
_SHARED: Final = "another program holds it: stop that, or leave the variant out of the bundle"

_STATES: Final = (
    (46, "it is busy or in exclusive use", _SHARED),
    (35, "its driver is older than the CUDA libraries need", _DRIVER),
    (36, "its driver is older than the CUDA libraries need", _DRIVER),
    (803, "its driver and the driver's library have different versions", _DRIVER),
    (209, "the engine has no code for a card of its kind", "use a card that the engine supports"),
    (100, "no card is there any more", _RESTART),
    (38, "no card is there any more", _RESTART),
    (214, "its memory has an error that cannot be corrected", _RESTART),
    (700, "it stopped after an illegal access", _RESTART),
    (702, "it stopped: an inference took too long", _RESTART),
    (717, "it stopped after an illegal access", _RESTART),
    (719, "it stopped in the middle of an inference", _RESTART),
    (721, "it stopped in the middle of an inference", _RESTART),
    (999, "its driver does not answer", _RESTART),
)
"""CUDA's numbers (driver_types.h), and what they say to people."""

_NUMBERED: Final = re.compile(r"CUDA (?:failure|error) (\d+)\b:? ?([^;\n]*)", re.IGNORECASE)
_LOST: Final = re.compile(
    r"CL_DEVICE_NOT_(?:AVAILABLE|FOUND)|CL_INVALID_CONTEXT|ERROR_DEVICE_(?:LOST|REQUIRES_RESET)"
    r"|CUDNN_STATUS_NOT_INITIALIZED|CUBLAS_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)


def accelerator_fault(error: Exception) -> AcceleratorFailed | MemoryError | None:
    """What the accelerator did, if this error tells of it."""
    text = str(error)
    numbered = _NUMBERED.search(text)
    if _FULL.search(text):
        return MemoryError(f"the accelerator's memory is full: {first_line(error)}")
    if numbered:
        return _state(int(numbered[1]), first_line(numbered[2] or error))
    if _LOST.search(text):
        return AcceleratorFailed(f"the accelerator was lost: {first_line(error)}", hint=_RESTART)
    return None


def _state(number: int, told: str) -> AcceleratorFailed:
    for known, says, hint in _STATES:
        if number == known:
            return AcceleratorFailed(f"the accelerator cannot be used: {says}", hint=hint)
    return AcceleratorFailed(f"the accelerator cannot be used: {number}, {told}", hint=_RESTART)
