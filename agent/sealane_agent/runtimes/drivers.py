"""Tells what accelerators a machine has, and when their drivers change, from files alone.

Nothing is loaded: engines are asked again when this says something else than before.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane_agent.runtimes.packs import packs_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NODES: Final = ("dev/nvidia*", "dev/dri/renderD*", "dev/accel/accel*")
_MULTIARCH: Final = "usr/lib/*-linux-gnu*"
_LIBRARIES: Final = (
    *(f"{_MULTIARCH}/libcuda.so.1", "usr/lib64/libcuda.so.1", "usr/lib/libcuda.so.1"),
    *(f"{_MULTIARCH}/libOpenCL.so.1", "etc/OpenCL/vendors/*.icd"),
    f"{_MULTIARCH}/libze_intel_*.so.1",
)
_KERNEL: Final = "sys/module/nvidia/version"
_BOOT: Final = "proc/sys/kernel/random/boot_id"

_NVIDIA: Final = "0x10de"
_INTEL: Final = "0x8086"
_DISPLAY: Final = "0x03"
_ACCELERATOR: Final = "0x12"
"""Classes of PCI functions, as their codes begin."""

_CARDS: Final[Mapping[tuple[str, str], tuple[str, str, str]]] = {
    (_NVIDIA, _DISPLAY): ("onnxruntime", "gpu", "a GPU of NVIDIA"),
    (_INTEL, _DISPLAY): ("openvino", "gpu", "a GPU of Intel"),
    (_INTEL, _ACCELERATOR): ("openvino", "npu", "an NPU of Intel"),
}
"""Vendor and class to who could use it: runtime, accelerator, what people call it."""


def drivers(root: Path = Path("/"), packs: Path | None = None) -> str:
    """What would be another text with other drivers; empty where no accelerator shows at all.

    Where there is one, each boot of the machine counts: a card may be lost without a file's change.
    """
    found = [str(path.relative_to(root)) for path in _all(root, _NODES)]
    found += [f"{path.name}={os.path.realpath(path)}" for path in _all(root, _LIBRARIES)]
    # Each pack's engines have their versions in these names.
    found += [path.name for path in sorted((packs or packs_folder()).glob("*/*.dist-info"))]
    with suppress(OSError):
        found.append((root / _KERNEL).read_text().strip())
    if not found:
        return ""
    with suppress(OSError):
        found.append((root / _BOOT).read_text().strip())
    return " ".join(found)


def cards(root: Path = Path("/")) -> dict[tuple[str, str], str]:
    """Runtime and accelerator to the card that this machine has for them."""
    found = {}
    for device in sorted(root.glob("sys/bus/pci/devices/*")):
        with suppress(OSError):
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()[: len(_DISPLAY)]
            if (vendor, kind) in _CARDS:
                runtime, accelerator, says = _CARDS[vendor, kind]
                found[runtime, accelerator] = says
    return found


def _all(root: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(root.glob(pattern))
