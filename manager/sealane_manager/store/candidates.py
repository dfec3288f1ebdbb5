"""Which devices a rollout may change: whom its selector means, and what is assigned to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane.names import DeviceId, ReleaseName
from sqlalchemy import exists
from sqlmodel import col, select

from sealane_manager.rollout.draft import Candidate
from sealane_manager.rollout.placement import selects
from sealane_manager.rollout.types import LIVE, Rollout
from sealane_manager.store import rows
from sealane_manager.store.devices import conditions
from sealane_manager.store.records import ReleaseSource, Standing, at_first
from sealane_manager.store.tables.devices import DeviceRow, LabelRow, SlotRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from sealane_manager.rollout.types import RolloutDevice
    from sealane_manager.store.records import Draft

_LIVE: Final = [str(state) for state in LIVE]


def candidates(
    session: Session, wanted: Draft, *, outside: str = ""
) -> Mapping[Candidate, ReleaseSource | None]:
    """The devices that the selector means, each with what is assigned to it now.

    `outside`: those alone that are not in this rollout.
    """
    slot = wanted.spec.slot
    where = [*conditions(wanted.selector), col(DeviceRow.state) == str(Standing.ACTIVE)]
    if outside:
        member = (col(RolloutDeviceRow.rollout) == outside) & (
            col(RolloutDeviceRow.device) == col(DeviceRow.id)
        )
        where.append(~exists().where(member))
    query = (
        select(DeviceRow.id, DesiredRow, SlotRow.active_release)
        .outerjoin(
            DesiredRow,
            (col(DesiredRow.device) == col(DeviceRow.id)) & (col(DesiredRow.slot) == slot),
        )
        .outerjoin(
            SlotRow, (col(SlotRow.device) == col(DeviceRow.id)) & (col(SlotRow.slot) == slot)
        )
        .where(*where)
    )
    meant = session.exec(query).all()
    if not meant:
        return {}
    changing = busy(session, slot)
    labels = _labels(session, wanted) if selects(wanted.spec.stages) else {}
    found: dict[Candidate, ReleaseSource | None] = {}
    for name, desired, active in meant:
        source = _source(desired) if desired else at_first(slot)
        device = DeviceId(name)
        assigned = source.name if source else None
        said = (active or "", changing.get(device, ""), tuple(labels.get(device, ())))
        found[Candidate(device, assigned, *said)] = source
    return found


def _labels(session: Session, wanted: Draft) -> Mapping[str, list[tuple[str, str]]]:
    """Every label of the devices that are meant."""
    meant = select(DeviceRow.id).where(*conditions(wanted.selector))
    query = select(LabelRow.device, LabelRow.key, LabelRow.value).where(
        col(LabelRow.device).in_(meant)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for device, key, value in session.exec(query.order_by(LabelRow.device, LabelRow.key)):
        found.setdefault(device, []).append((key, value))
    return found


def busy(session: Session, slot: str) -> Mapping[str, str]:
    """The rollout that is changing this slot, of each device for which there is one."""
    query = (
        select(RolloutDeviceRow.device, RolloutRow.id)
        .join(RolloutRow, col(RolloutRow.id) == col(RolloutDeviceRow.rollout))
        .where(RolloutRow.slot == slot, col(RolloutRow.state).in_(_LIVE))
    )
    return dict(session.exec(query).all())


def _source(row: DesiredRow) -> ReleaseSource:
    return ReleaseSource(ReleaseName.parse(row.release), rows.digest(row.manifest), row.length)


def device_row(
    rollout: str, position: int, device: RolloutDevice, before: ReleaseSource | None
) -> dict[str, Any]:
    """A device's place in a rollout, as columns."""
    return {
        "rollout": rollout,
        "device": device.device,
        "position": position,
        "previous": str(before.name) if before else None,
        "previous_manifest": before.manifest if before else None,
        "previous_length": before.length if before else None,
        **rows.moving(device),
    }


def _created(made: Rollout, matching: int) -> str:
    already = matching - len(made.devices)
    text = f"{made.spec.release} in {made.spec.slot} on {len(made.devices)} devices"
    return f"{text}; {already} serve it already" if already else text
