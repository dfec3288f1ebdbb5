"""Says what the agent does to systemd's journal, field by field, so that it can be searched.

The journal's native protocol: one datagram of fields a message. `journalctl SEALANE_SLOT=cam` finds
what a slot did, `journalctl -o json` shows every field.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane_agent.log import plain_line

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET: Final = "/run/systemd/journal/socket"
VALUE_BYTES: Final = 16 * 1024
"""What of a value is kept: a datagram has a limit, and a log line is no place for more."""

_PRIORITY: Final = b"6"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Z0-9]+")


def is_read_by_journal(environment: Mapping[str, str], stream: int) -> bool:
    """Whether an open file is the journal's, as the service manager says that it made it."""
    with suppress(OSError, ValueError):
        device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(stream)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    return False


class JournalLog:
    """Sends to the journal; one that is full or gone stops nobody."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def __call__(self, event: str, **fields: object) -> None:
        """One message."""
        shown = {name: str(value) for name, value in fields.items() if value not in ("", None)}
        datagram = message({"event": event, **shown})
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0)
            line.sendto(datagram, self._path)


def message(shown: Mapping[str, str]) -> bytes:
    """One datagram: the line that people read, and every field under a name of ours."""
    parts = [
        _field("MESSAGE", plain_line(shown).encode()),
        _field("PRIORITY", _PRIORITY),
        _field("SYSLOG_IDENTIFIER", b"sealane-agent"),
    ]
    for name, value in shown.items():
        known = _NOT_IN_A_NAME.sub("_", name.upper()).strip("_")
        parts.append(_field(f"SEALANE_{known}", value.encode()))
    return b"".join(parts)


def _field(name: str, value: bytes) -> bytes:
    cut = value[:VALUE_BYTES]
    if b"\n" in cut:
        return name.encode() + b"\n" + len(cut).to_bytes(8, "little") + cut + b"\n"
    return name.encode() + b"=" + cut + b"\n"


def here() -> bool:
    """Whether the journal reads what this process says, and takes fields."""
    return Path(SOCKET).is_socket() and is_read_by_journal(os.environ, 2)
