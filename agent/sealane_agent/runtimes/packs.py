"""Where an engine lies that only variants for one accelerator use.

An engine with CUDA has the import name of the one without, and is ten times as large. So it lies in
a folder of its own, which only a process that needs it puts before all others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "SEALANE_RUNTIMES"
"""Names another folder of packs than that of the packages."""

_USUAL: Final = "/usr/lib/sealane-runtimes"

_PACKS: Final[Mapping[tuple[str, str], str]] = {("onnxruntime", "gpu"): "cuda"}
"""Runtime and accelerator to the pack that has their engine."""


def packs_folder() -> Path:
    """Where packs lie, each in a folder of its own."""
    return Path(os.environ.get(VARIABLE, _USUAL))


def packed(runtime: str) -> tuple[str, ...]:
    """Accelerators for which this runtime has an engine of its own here."""
    return tuple(
        accelerator
        for name, accelerator in _PACKS
        if name == runtime and pack_folder(name, accelerator) is not None
    )


def pack_folder(runtime: str, accelerator: str) -> Path | None:
    """The folder of the pack; None where there is none, or none is needed."""
    pack = _PACKS.get((runtime, accelerator))
    folder = packs_folder() / pack if pack else None
    return folder if folder is not None and folder.is_dir() else None


def put_first(runtime: str, accelerator: str) -> None:
    """Let this process import the engine from its pack; before anything imports it."""
    folder = pack_folder(runtime, accelerator)
    if folder is not None:
        sys.path.insert(0, str(folder))
