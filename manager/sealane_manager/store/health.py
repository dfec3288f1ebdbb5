"""Reads the fleet's health for the rules of alerts: a few statements, whatever the fleet's size."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import JSON, and_, or_, type_coerce
from sqlmodel import col, select

from sealane_manager.alerts.types import DeviceHealth, RolloutHealth, SlotTrouble
from sealane_manager.rollout.types import LIVE, Phase
from sealane_manager.selector import SITE
from sealane_manager.store import rows
from sealane_manager.store.records import Standing
from sealane_manager.store.tables.devices import DeviceRow, LabelRow, SlotRow
from sealane_manager.store.tables.rollouts import RolloutRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane_manager.store.database import Database
    from sealane_manager.store.devices import Devices
    from sealane_manager.store.telemetry import Telemetry

_SAFE_MODE = "safe_mode"


class FleetHealth:
    """What the rules look at."""

    def __init__(self, database: Database, devices: Devices, telemetry: Telemetry) -> None:
        self._database, self._devices, self._telemetry = database, devices, telemetry

    def devices(self, reachable: Iterable[str], lately: int) -> tuple[DeviceHealth, ...]:
        """Every device that may speak; `lately`: refusals before it (since 1970) do not count."""
        label = and_(LabelRow.device == DeviceRow.id, LabelRow.key == SITE)  # type: ignore[arg-type]  # SQLModel types columns as their values
        query = (
            select(
                DeviceRow.id,
                DeviceRow.last_seen,
                DeviceRow.certificate_expires,
                LabelRow.value,
            )
            .join(LabelRow, label, isouter=True)
            .where(DeviceRow.state == Standing.ACTIVE)
        )
        connected, readings = frozenset(reachable), self._telemetry.readings
        latest = {str(device): found for device, found in readings.latest().items()}
        refused = {str(each.device): each.reason for each in readings.refusals(lately)}
        lost = {str(device): count for device, count in readings.losses(lately).items()}
        troubles = self._troubles()
        with self._database.read() as session:
            return tuple(
                DeviceHealth(
                    id=device,
                    site=site or "",
                    reachable=device in connected,
                    last_seen=self._devices.last_seen(device, seen),  # type: ignore[arg-type]  # a row's word for it
                    certificate_expires=ends,
                    slots=tuple(troubles[device]),
                    latest=latest.get(device),
                    refused=refused.get(device, ""),
                    lost=lost.get(device, 0),
                )
                for device, seen, ends, site in session.exec(query)
            )

    def rollouts(self) -> tuple[RolloutHealth, ...]:
        """Every rollout that has not ended."""
        query = select(RolloutRow).where(col(RolloutRow.state).in_([str(state) for state in LIVE]))
        with self._database.read() as session:
            return tuple(
                RolloutHealth(
                    id=row.id,
                    release=row.release,
                    state=row.state,
                    phase=str(Phase(row.phase)),
                    reason=row.reason,
                    since=row.phase_since,
                    soak_s=row.soak_us / 1e6,
                )
                for row in session.exec(query)
            )

    def _troubles(self) -> dict[str, list[SlotTrouble]]:
        failed = type_coerce(col(SlotRow.failure), JSON).is_not(JSON.NULL)
        weak = SlotRow.degraded != ""
        query = select(SlotRow).where(or_(failed, SlotRow.state == _SAFE_MODE, weak))  # type: ignore[arg-type]  # SQLModel types columns as their values
        found: dict[str, list[SlotTrouble]] = defaultdict(list)
        with self._database.read() as session:
            for row in session.exec(query):
                report = rows.slot_report(row)
                release = report.attempt_release or report.active_release
                found[row.device].append(
                    SlotTrouble(report.slot, report.state, release, report.failure, report.degraded)
                )
        return found
