"""What control.db knows of devices and releases, kept in memory for the writer of telemetry."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from sqlmodel import col, select

from sealane_manager.selector import SITE
from sealane_manager.store.tables.devices import LabelRow
from sealane_manager.store.tables.rollouts import RolloutRow

if TYPE_CHECKING:
    from sealane.clock import Clock

    from sealane_manager.store.database import Database

FRESH_S: Final = 30.0
"""How old the answers may be, in seconds: a label that changed counts from then on."""

UNKNOWN_FRESH_S: Final = 1.0
"""How old the answer `not known` may be, in seconds: rollouts begin at any time."""


class ControlDirectory:
    """Reads sites and releases again when what it has is too old."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._sites: dict[str, str] = {}
        self._releases: set[tuple[str, str]] = set()

    def site(self, device: str) -> str:
        """Where the device stands; empty when nobody said."""
        self._refresh(FRESH_S)
        return self._sites.get(device, "")

    def is_ours(self, release: str, slot: str) -> bool:
        """Whether a rollout ever gave this release to this slot."""
        self._refresh(FRESH_S)
        if (release, slot) not in self._releases:
            self._refresh(UNKNOWN_FRESH_S)
        return (release, slot) in self._releases

    def _refresh(self, fresh_s: float) -> None:
        with self._lock:
            now = self._clock.monotonic()
            if self._read_at is not None and now - self._read_at < fresh_s:
                return
            self._read_at = now
            sites = select(LabelRow.device, LabelRow.value).where(col(LabelRow.key) == SITE)
            releases = select(RolloutRow.release, RolloutRow.slot).distinct()
            with self._database.read() as session:
                self._sites = dict(session.exec(sites).all())
                self._releases = set(session.exec(releases).all())
