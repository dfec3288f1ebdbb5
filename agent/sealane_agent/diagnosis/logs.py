"""Brings the newest lines that the agent said: from systemd's journal, or from a file."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from sealane_agent.diagnosis.loglines import concerns, read_entry, read_line
from sealane_agent.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sealane_agent.diagnosis.loglines import LogLine

TAIL_BYTES: Final = 8 * 1024 * 1024
"""How much of a file's end is looked at."""

_JOURNAL_S: Final = 30.0
_UNITS: Final = ("sealane-agent.service", "sealane-endpoint.service")


def of_file(path: Path) -> list[LogLine]:
    """The lines at the end of a file, oldest first; raises OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        if file.tell():
            file.readline()  # half a line
        lines = file.read(TAIL_BYTES).decode(errors="replace").splitlines()
    return [line for text in lines if (line := read_line(text)) is not None]


def of_journal(most: int) -> list[LogLine]:
    """The newest entries of the agent's units, oldest first; raises Unreachable."""
    units = [f"--unit={unit}" for unit in _UNITS]
    command = ["journalctl", "--output=json", "--quiet", f"--lines={most}", *units]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_JOURNAL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"systemd's journal cannot be read: {error}", hint=_HINT) from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Unreachable(
            f"systemd's journal cannot be read: {said[-1] if said else done.returncode}", hint=_HINT
        )
    return [line for text in done.stdout.splitlines() if (line := read_entry(text)) is not None]


def newest(lines: Iterable[LogLine], slot: str, most: int) -> list[LogLine]:
    """The last of those that concern a slot."""
    return [line for line in lines if concerns(line, slot)][-most:]


_HINT: Final = "run it as root; without systemd name the file that the agent writes to: --file"
