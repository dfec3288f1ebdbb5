"""Knows which devices of which rollouts each transaction wrote, so that only those are read again.

Triggers of the connection note it, whatever the statement was: nobody can forget to say it.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

EVERY: Final = ""
"""In place of a device: some came or went. In place of a rollout: whichever the device is in."""

MOST_NAMES: Final = 20_000
"""Devices that are remembered, at 0.25 kB each; who asks for what was before them reads the
rollout whole. A controller asks at every turn, so for it a few are enough.
"""

_TABLE: Final = (
    "CREATE TEMP TABLE touched (rollout TEXT NOT NULL, device TEXT NOT NULL,"
    " PRIMARY KEY (rollout, device)) WITHOUT ROWID"
)
_NOTED: Final = (
    ("UPDATE ON main.rollout_device", "new.rollout, new.device"),
    ("INSERT ON main.rollout_device", "new.rollout, ''"),
    ("DELETE ON main.rollout_device", "old.rollout, ''"),
    ("INSERT ON main.device_label", "'', new.device"),
    ("DELETE ON main.device_label", "'', old.device"),
    ("UPDATE OF facts ON main.device", "'', new.id"),
    ("INSERT ON main.calendar", "'', ''"),
    ("UPDATE ON main.calendar", "'', ''"),
    ("DELETE ON main.calendar", "'', ''"),
)


def watch(connection: Any) -> None:
    """Let this connection note what it writes; the tables must be there."""
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute(_TABLE)
    for number, (when, what) in enumerate(_NOTED):
        connection.execute(
            f"CREATE TEMP TRIGGER touched_{number} AFTER {when} BEGIN"  # noqa: S608 - our own words
            f" INSERT OR IGNORE INTO touched VALUES ({what}); END"
        )


def taken(connection: Connection) -> Iterable[tuple[str, str]]:
    """Rollouts and devices that this transaction wrote; they are forgotten on the connection."""
    found = connection.exec_driver_sql("SELECT rollout, device FROM touched").all()
    connection.exec_driver_sql("DELETE FROM touched")
    return [(rollout, device) for rollout, device in found]


class Touched:
    """What the last transactions wrote, by their number; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revision = self._forgotten = self._names = 0
        self._last: deque[tuple[int, Mapping[str, frozenset[str]]]] = deque()

    @property
    def revision(self) -> int:
        """Grows after each transaction that wrote something of a rollout.

        Who reads it before reading a rollout knows later what to read again.
        """
        return self._revision

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """A transaction is on disk that wrote these devices of these rollouts."""
        found: dict[str, set[str]] = {}
        for rollout, device in pairs:
            found.setdefault(rollout, set()).add(device)
        with self._lock:
            self._revision += 1
            self._last.append((self._revision, {key: frozenset(x) for key, x in found.items()}))
            self._names += _size(found)
            while self._names > MOST_NAMES:
                self._forgotten, gone = self._last.popleft()
                self._names -= _size(gone)

    def since(self, revision: int, rollout: str) -> frozenset[str] | None:
        """Devices that may read differently since then; None: read all of them."""
        with self._lock:
            if revision < self._forgotten:
                return None
            last_first = reversed(self._last)
            later = [each[1] for each in takewhile(lambda each: each[0] > revision, last_first)]
        named = (each.get(key, frozenset()) for each in later for key in (rollout, EVERY))
        changed = frozenset[str]().union(*named)
        return None if EVERY in changed else changed


def _size(found: Mapping[str, Iterable[str]]) -> int:
    """Of one transaction: its devices, and itself."""
    return 1 + sum(len(tuple(devices)) for devices in found.values())
