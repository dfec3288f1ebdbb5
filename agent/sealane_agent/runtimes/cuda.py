"""Finds out why CUDA cannot be used here: asks the driver, then the libraries that an engine needs.

Only a worker or a probe asks: the driver's library stays in the process for good.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane_agent.runtimes.base import AcceleratorFailed

if TYPE_CHECKING:
    from typing import Any

DRIVER: Final = "libcuda.so.1"
_BRIDGE: Final = "libonnxruntime_providers_shared.so"
_PROVIDER: Final = "libonnxruntime_providers_cuda.so"

_INSTALL: Final = "install NVIDIA's driver (Debian: nvidia-driver), then restart the machine"
_NEWER: Final = "install a newer driver of NVIDIA, then restart the machine"
_MAJOR: Final = 1000
_RESTART: Final = "restart the machine: the driver's parts have different versions after an update"
_LOOK: Final = "is the card there (lspci)? the kernel's log (dmesg) says why it was lost"
_DEVICES: Final = "may this user open /dev/nvidia*? units need the drop-in of the runtime's package"

_CODES: Final = {
    2: ("the driver has no memory left on the card", "stop what else uses the card"),
    34: ("only a stub of NVIDIA's driver is installed", _INSTALL),
    46: ("the card is busy or in exclusive use", "stop what else uses the card"),
    100: ("the driver finds no card", _DEVICES),
    101: ("the driver finds no card", _DEVICES),
    802: ("the card is still being started", "wait for nvidia-fabricmanager, or start it"),
    803: ("the driver's library and its kernel module have different versions", _RESTART),
    804: ("the driver does not support this card", _INSTALL),
    999: ("the driver does not answer", _LOOK),
}
"""What the driver's first call comes to (CUresult in cuda.h)."""


@dataclass(frozen=True, slots=True)
class DriverReading:
    """What the driver said.

    Attributes:
        code: of its first call; None when there is no driver.
        cards: how many it has.
        version: of CUDA that it is for, as it writes it: 13000 is 13.0; 0 when it does not say.
    """

    code: int | None
    cards: int = 0
    version: int = 0


def cuda_trouble(engine: Any) -> AcceleratorFailed | None:
    """What keeps this onnxruntime from CUDA on this machine; None when nothing does."""
    built_with = str(getattr(engine, "cuda_version", "")).partition(".")[0]
    needs = int(built_with) if built_with.isdigit() else 0
    return judge_driver(read_driver(), needs) or missing_library(engine)


def judge_driver(read: DriverReading, needs: int = 0) -> AcceleratorFailed | None:
    """What keeps CUDA from being used, as far as the driver knows. Pure.

    `needs`: the first number of the CUDA that an engine was built with; a later one will do.
    """
    if read.code is None:
        return AcceleratorFailed(
            f"NVIDIA's driver is not installed ({DRIVER} is missing)", hint=_INSTALL
        )
    if read.code:
        says, hint = _CODES.get(read.code, (f"the driver failed with {read.code}", _LOOK))
        return AcceleratorFailed(says, hint=hint)
    if read.version and read.version // _MAJOR < needs:
        is_for = f"{read.version // _MAJOR}.{read.version % _MAJOR // 10}"
        return AcceleratorFailed(
            f"NVIDIA's driver is for CUDA {is_for} at most, the engine needs {needs}", hint=_NEWER
        )
    return None if read.cards else AcceleratorFailed("the driver finds no card", hint=_DEVICES)


def read_driver() -> DriverReading:
    """Ask the driver of this machine."""
    try:
        driver = ctypes.CDLL(DRIVER)
        code, count = int(driver.cuInit(0)), ctypes.c_int(0)
        code = code or int(driver.cuDeviceGetCount(ctypes.byref(count)))
        version = ctypes.c_int(0)
        driver.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return DriverReading(None)
    return DriverReading(code, count.value, version.value)


def missing_library(engine: Any) -> AcceleratorFailed | None:
    """What this onnxruntime's part for CUDA does not find here."""
    folder = Path(engine.__file__).parent / "capi"
    # It tells of each library that it does not find on the standard output.
    with contextlib.redirect_stdout(sys.stderr):
        engine.preload_dlls(directory="")
    try:
        ctypes.CDLL(str(folder / _BRIDGE), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / _PROVIDER))
    except OSError as error:
        return judge_library(str(error))
    return None


def judge_library(said: str) -> AcceleratorFailed:
    """What the linker's complaint means. Pure."""
    if "undefined symbol: cu" in said:
        lacks = said.rpartition(": ")[2]
        return AcceleratorFailed(
            f"NVIDIA's driver is older than the engine: it has no {lacks}", hint=_NEWER
        )
    return AcceleratorFailed(
        f"the engine's part for CUDA lacks the library {said.partition(':')[0]}",
        hint="install CUDA's and cuDNN's libraries with it: the package sealane-runtime-cuda "
        "has them (docs/packages.md)",
    )
