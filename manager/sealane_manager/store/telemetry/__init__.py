"""telemetry.db: what devices recorded, apart from control.db and never in its way."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from sealane_manager.store.telemetry import packing, retention
from sealane_manager.store.telemetry.bound import BoundReadings
from sealane_manager.store.telemetry.ingest import Directory, Ingest
from sealane_manager.store.telemetry.queries import Readings
from sealane_manager.store.telemetry.schema import BLOCKS, connect, migrate
from sealane_manager.store.telemetry.writer import LINGER_S, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from datetime import datetime
    from pathlib import Path

    from sealane.telemetry.types import ModelWindow, TelemetryAck

    from sealane_manager.selector import Sites
    from sealane_manager.store.telemetry.bound import Those
    from sealane_manager.store.telemetry.fresh import Fresh
    from sealane_manager.store.telemetry.records import Arrived, Cohort
    from sealane_manager.store.telemetry.retention import Keeping

__all__ = ["Directory", "Telemetry", "open_telemetry"]


class Telemetry:
    """Takes batches, answers questions, and keeps its file small."""

    def __init__(self, path: Path, directory: Directory, linger_s: float) -> None:
        self._ingest = Ingest(directory)
        self._writer = Writer(connect(path), self._ingest, linger_s)
        self.readings: Readings = Readings(path)

    def seen(self, sites: Sites, those: Those) -> Telemetry:
        """The same for somebody who sees these sites alone; `those`: which devices are seen."""
        bound = copy(self)
        bound.readings = BoundReadings(self.readings, sites, those)
        return bound

    def put(self, batch: Arrived) -> Future[TelemetryAck]:
        """Store a batch; never blocks. The answer says what of its boot is on disk.

        Raises TelemetryError for a batch without a name, Refused when the manager stops.
        """
        return self._writer.put(batch)

    def counters(self) -> Mapping[Cohort, ModelWindow]:
        """What this manager stored since it started, by cohort of the whole fleet."""
        return self._ingest.counters

    def take_fresh(self) -> Fresh:
        """What models were given on time since the last call, by device, release, slot and input.

        It is kept in memory only, so it begins anew with the manager.
        """
        return self._writer.call(lambda _: self._ingest.take_fresh()).result()

    def keep_house(self, now: datetime, keeping: Keeping) -> int:
        """Move what is due to larger tiers, pack what has ended and forget what is too old.

        Returns how many rows of devices were forgotten.
        """
        moment = int(now.timestamp())
        due = self._writer.call(lambda c: retention.moves(c, keeping, moment)).result()
        for move in due:
            self._move(move)
        whole = self._writer.call(lambda c: packing.ended(c, keeping.minutes, moment)).result()
        for what in whole:
            self._pack(what)
        return self._writer.call(lambda c: retention.forget(c, keeping, moment)).result()

    def close(self) -> None:
        """Write what waits, and let the file go."""
        self._writer.close()
        self.readings.close()

    def _pack(self, what: packing.Ended) -> None:
        of = (what.tier, what.start, BLOCKS[what.tier])
        slices = self._writer.call(lambda c: retention.slices_at(c, *of)).result()
        for devices in slices:
            self._writer.call(
                lambda c, devices=devices: packing.pack(c, what, devices)  # type: ignore[misc]  # a default binds the loop's value
            ).result()

    def _move(self, move: retention.Move) -> None:
        of = (move.source, move.start, move.target)
        slices = self._writer.call(lambda c: retention.slices_at(c, *of)).result()
        for devices in slices:
            self._writer.call(
                lambda c, devices=devices: retention.move_devices(c, move, devices)  # type: ignore[misc]  # a default binds the loop's value
            ).result()
        self._writer.call(lambda c: retention.move_cohorts(c, move)).result()


def open_telemetry(path: Path, directory: Directory, linger_s: float = LINGER_S) -> Telemetry:
    """Open or create telemetry.db; raises Refused when it cannot be brought up to date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate(path)
    return Telemetry(path, directory, linger_s)
