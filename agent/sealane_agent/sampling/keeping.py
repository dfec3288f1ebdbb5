"""Keeps sealed samples in a folder until they are sent, within a budget of bytes a day.

A file `sampling.never` in the state folder overrides everybody: while it is there nothing is kept,
what waits is deleted, and nothing is sent. Only whoever may write the folder can make or remove it.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sealane import fileio
from sealane.errors import SampleError
from sealane.limits import MIB
from sealane.sampling.sealed import SAMPLE_BYTES, read_label

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.layout import StateFolder

WAITING_BYTES: Final = 64 * MIB
"""Samples that wait on this device: beyond it nothing more is kept."""

WAITING_FILES: Final = 4096

_DAY: Final = 86_400
_SUFFIX: Final = ".sample"


class Samples:
    """The samples of one device; the endpoint keeps, the supervisor sends and deletes."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder, self._never = folder.samples, folder.never_sample
        self._spent = self._folder / "spent.json"

    @property
    def forbidden(self) -> bool:
        """Whether this device's owner lets nothing be kept; when nobody can tell, too."""
        try:
            return self._never.exists() or self._never.is_symlink()
        except OSError:
            return True

    def keep(self, sealed: bytes, bytes_per_day: int, now: int) -> bool:
        """Keep a sample; False when it must not be, or no budget is left. Raises OSError.

        What it costs is written down first: a death in between costs budget, never exceeds it.
        """
        if self.forbidden or len(sealed) > SAMPLE_BYTES:
            return False
        label = read_label(sealed)
        spent = self._read_spent(now // _DAY)
        used = spent.get(label.slot, 0) + len(sealed)
        waiting = self.waiting()
        room = WAITING_BYTES - sum(path.stat().st_size for path in waiting) - len(sealed)
        if used > bytes_per_day or room < 0 or len(waiting) >= WAITING_FILES:
            return False
        fileio.make_folder(self._folder)
        spent[label.slot] = used
        content = {"day": now // _DAY, "slots": spent}
        fileio.replace(self._spent, json.dumps(content).encode())
        name = f"{label.taken:012d}-{secrets.token_hex(8)}{_SUFFIX}"
        fileio.replace(self._folder / name, sealed)
        if self.forbidden:  # it came while we wrote
            self.clear()
            return False
        return True

    def waiting(self) -> tuple[Path, ...]:
        """The samples that wait, the oldest first."""
        if not self._folder.is_dir():
            return ()
        return tuple(sorted(self._folder.glob(f"*{_SUFFIX}")))

    def sweep(self, now: int) -> int:
        """Delete what must not be here any longer; returns how many. Raises OSError."""
        if self.forbidden:
            return self.clear()
        gone = [path for path in self.waiting() if _is_over(path, now)]
        for path in gone:
            fileio.remove(path)
        return len(gone)

    def clear(self) -> int:
        """Delete every sample; returns how many. Raises OSError."""
        found = self.waiting()
        for path in found:
            fileio.remove(path)
        return len(found)

    def _read_spent(self, day: int) -> dict[str, int]:
        """Bytes kept of each slot today; a damaged file has spent nothing and is replaced."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found: Any = json.loads(self._spent.read_bytes())
            if found["day"] == day:
                return {str(slot): int(used) for slot, used in found["slots"].items()}
        return {}


def _is_over(path: Path, now: int) -> bool:
    try:
        return read_label(path.read_bytes()).keep_until <= now
    except SampleError:
        return True
