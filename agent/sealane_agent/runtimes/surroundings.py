"""What a process in which an engine runs finds in its environment, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_agent.runtimes.packs import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT: Final = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", VARIABLE)
"""Variables that a worker inherits; no home folder, no credentials, no engine's own switches."""

SETTINGS: Final[Mapping[str, str]] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONFAULTHANDLER": "1",
}
"""Engines' threads are set by the worker itself; these keep libraries from starting their own."""
