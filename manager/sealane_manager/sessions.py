"""Which devices hold a session now, and the way to say something to them.

Each device has at most one session: a newer one ends the older. Every method may be called from
any thread; what it says reaches a session on the session's own loop.
"""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealane.names import DeviceId


class Ending(StrEnum):
    """Why the manager ends a session."""

    REPLACED = "a newer session of this device replaced this one"
    REVOKED = "this device was revoked"
    QUARANTINED = "this device is in quarantine"
    EXPIRED = "the device's certificate has expired"
    SILENT = "the device said nothing for too long"
    STOPPING = "the manager stops"


class Line(Protocol):
    """One open session; both calls may come from any thread."""

    def changed(self, generation: int) -> None:
        """Tell the device that there is something new for it."""
        ...

    def hang_up(self, ending: Ending) -> None:
        """End the session."""
        ...


class Sessions:
    """The open sessions of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[DeviceId, Line] = {}

    def opened(self, device: DeviceId, line: Line) -> None:
        """A device opened a session; an older one of the same device ends."""
        with self._lock:
            older = self._lines.get(device)
            self._lines[device] = line
        if older:
            older.hang_up(Ending.REPLACED)

    def closed(self, device: DeviceId, line: Line) -> None:
        """A session ended; one that was replaced before changes nothing."""
        with self._lock:
            if self._lines.get(device) is line:
                del self._lines[device]

    def reachable(self) -> frozenset[DeviceId]:
        """The devices that hold a session."""
        with self._lock:
            return frozenset(self._lines)

    def notify(self, device: DeviceId, generation: int) -> None:
        """Tell a device of a new generation; does nothing when it holds no session."""
        with self._lock:
            line = self._lines.get(device)
        if line:
            line.changed(generation)

    def end(self, device: DeviceId, ending: Ending) -> None:
        """End a device's session, if it holds one."""
        with self._lock:
            line = self._lines.get(device)
        if line:
            line.hang_up(ending)

    def end_all(self) -> None:
        """End every session because the manager stops."""
        with self._lock:
            lines = tuple(self._lines.values())
        for line in lines:
            line.hang_up(Ending.STOPPING)
