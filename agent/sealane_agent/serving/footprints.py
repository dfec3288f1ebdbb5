"""Keeps on the device what models took of its memory, and says what a load will need."""

from __future__ import annotations

import contextlib
import logging
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from sealane_agent.log import plain_line
from sealane_agent.recollection import Recollection, with_one_more
from sealane_agent.runtimes.inventory import installed_runtimes
from sealane_agent.serving.footprint import (
    believed,
    decode,
    expected,
    foreseen,
    name_of,
)
from sealane_agent.serving.types import LoadFailed
from sealane_agent.worker.contract import read_variant

if TYPE_CHECKING:
    from sealane.bundle.types import Variant

    from sealane_agent.layout import Pointer, StateFolder
    from sealane_agent.serving.admission import Need
    from sealane_agent.serving.footprint import Footprint

_log = logging.getLogger(__name__)


class Footprints:
    """Those of one state folder, on a machine with so many bytes of memory.

    Its methods may be called from any thread.
    """

    def __init__(self, folder: StateFolder, machine: int) -> None:
        self._folder, self._machine = folder, machine
        self._file = Recollection(folder.footprints, _tell)
        self._known = self._file.read(decode)
        self._lock = threading.Lock()

    def note(self, pointer: Pointer, variant: Variant, measured: Footprint) -> None:
        """Remember the most that its workers took, until `keep` for this process alone."""
        name, need = self._name(pointer, variant), self._foreseen(pointer, variant)
        with self._lock:
            before = believed(self._known.get(name), need, self._machine)
            most = before.widened(measured) if before else measured
            self._known = with_one_more(self._known, name, most)

    def keep(self) -> None:
        """Make durable what was noted; blocks. Without it models are measured again."""
        with self._lock:
            self._file.write(self._known)

    def expected(self, pointer: Pointer) -> Need:
        """What a load of this variant needs; blocks. What cannot be read will fail to load."""
        try:
            _, variant = read_variant(self._folder.view(pointer.manifest), pointer.variant)
        except LoadFailed:
            return foreseen(0, 0)
        need = self._foreseen(pointer, variant)
        known = self._known.get(self._name(pointer, variant))
        return expected(believed(known, need, self._machine), need)

    def _foreseen(self, pointer: Pointer, variant: Variant) -> Need:
        view, size = self._folder.view(pointer.manifest), 0
        for path in variant.files:
            with contextlib.suppress(OSError):
                size += (view / path).stat().st_size
        return foreseen(variant.memory_bytes, size)

    def _name(self, pointer: Pointer, variant: Variant) -> str:
        engine = f"{variant.runtime} {self._engines.get(variant.runtime, '')}"
        return name_of(pointer.manifest, pointer.variant, engine)

    @cached_property
    def _engines(self) -> dict[str, str]:
        return {fact.name: fact.version for fact in installed_runtimes()}


def _tell(event: str, **fields: object) -> None:
    told = {name: str(value) for name, value in fields.items()}
    _log.warning("%s", plain_line({"event": event, **told}))
