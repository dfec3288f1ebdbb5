"""Desired state: what the director wants in each slot, and the document that says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from sealane.names import DeviceId, ReleaseName, SlotName
from sealane.policy import WHOLE
from sealane.trust.documents import Lease, SlotAssignment
from sqlalchemy import delete, insert, update
from sqlalchemy import select as columns
from sqlmodel import col, select

from sealane_manager.errors import NotKnown
from sealane_manager.rollout.trial import trial_of
from sealane_manager.rollout.types import IN_FLIGHT, RolloutState
from sealane_manager.store import rows
from sealane_manager.store.devices import active, known
from sealane_manager.store.orders import holds_for, quarantined_for
from sealane_manager.store.records import Issue
from sealane_manager.store.replaced import replaced
from sealane_manager.store.schedules import policy_for
from sealane_manager.store.tables.devices import DeviceRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sealane.policy import Trial
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import ReleaseSource

LEASE: Final = timedelta(minutes=15)
"""How long a device may activate after it was last answered."""

STANDING: Final = "standing"
"""Id of the lease for what no rollout brings."""

_CHUNK: Final = 500
"""Devices named in one statement: under the smallest limit of bound parameters (999)."""


class Wanted(NamedTuple):
    """What shall serve in a slot of a device from now on; no source takes the slot away."""

    device: DeviceId
    slot: SlotName
    source: ReleaseSource | None
    rollout: str


class Desired:
    """Reads desired state and issues it; only rollouts write it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, device: DeviceId) -> tuple[int, tuple[SlotAssignment, ...]]:
        """The generation and what the director wants, without leases; raises NotKnown."""
        with self._database.read() as session:
            row = known(session, device)
            return row.generation, assignments(session, device)

    def before(self, device: DeviceId, slot: SlotName) -> ReleaseName:
        """What the slot served before what is assigned now; raises NotKnown."""
        with self._database.read() as session:
            known(session, device)
            row = session.get(DesiredRow, (device, slot))
            if row is None:
                raise NotKnown(
                    f"nothing is assigned to slot {slot} of {device}",
                    hint=f"see `sealane device show {device}`",
                )
            found = replaced(session, row.manifest, device).get((device, slot))
            if found is None:
                raise NotKnown(
                    f"nobody knows what {row.release} replaced in slot {slot} of {device}",
                    hint="start a rollout of the release that shall serve: sealane rollout start",
                )
            return found.name

    def slots_to_go_back(self, device: DeviceId) -> tuple[SlotName, ...]:
        """The slots of which it is known what they served before; raises NotKnown."""
        query = select(DesiredRow).where(DesiredRow.device == device).order_by(DesiredRow.slot)
        with self._database.read() as session:
            known(session, device)
            return tuple(
                SlotName(row.slot)
                for row in session.exec(query).all()
                if (device, row.slot) in replaced(session, row.manifest, device)
            )

    def issue(self, device: DeviceId, now: datetime) -> Issue:
        """Use up a document version and renew the leases; raises NotKnown or Refused (not active).

        A device whose rollout is paused may fetch and stage, but gets no lease to activate.
        """
        with self._database.write() as session:
            row = active(session, device)
            row.document_version = max(row.document_version + 1, int(now.timestamp()))
            session.add(row)
            paused = _paused(session, device)
            policy, lease = policy_for(session, device)
            expires = now + max(LEASE, lease)
            slots = []
            for each, attempt, promoted in _of(session, device):
                each.lease_expires = None if each.rollout in paused else expires
                session.add(each)
                tried = replace(policy, trial=_trial(session, each.rollout, promoted))
                asked = _assignment(each, each.lease_expires)
                slots.append(replace(asked, policy=tried, attempt=attempt))
            orders = (quarantined_for(session, device), holds_for(session, device, now))
            return Issue(row.document_version, row.generation, tuple(slots), *orders)


def assignments(session: Session, device: DeviceId) -> tuple[SlotAssignment, ...]:
    """What the director wants of a device, without leases."""
    return tuple(
        replace(_assignment(each, None), attempt=attempt)
        for each, attempt, _ in _of(session, device)
    )


def _of(session: Session, device: DeviceId) -> Sequence[tuple[DesiredRow, int, bool]]:
    """What is assigned; how often its rollout has tried it here before, and whether it won."""
    brought = (col(RolloutDeviceRow.rollout) == DesiredRow.rollout) & (
        col(RolloutDeviceRow.device) == DesiredRow.device
    )
    query = (
        select(DesiredRow, RolloutDeviceRow.attempt, RolloutDeviceRow.promoted)
        .outerjoin(RolloutDeviceRow, brought)
        .where(DesiredRow.device == device)
        .order_by(DesiredRow.slot)
    )
    return [(row, attempt or 0, bool(promoted)) for row, attempt, promoted in session.exec(query)]


def _trial(session: Session, rollout: str, promoted: bool) -> Trial:  # noqa: FBT001 - as it is kept
    """How the rollout that brought it wants it tried."""
    row = session.get(RolloutRow, rollout) if rollout else None
    return trial_of(rows.spec(row), promoted=promoted) if row else WHOLE


def _paused(session: Session, device: DeviceId) -> frozenset[str]:
    """Rollouts that must not go on with this device now."""
    query = (
        select(RolloutRow.id)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.rollout) == col(RolloutRow.id))
        .where(
            RolloutDeviceRow.device == device,
            RolloutRow.state == str(RolloutState.PAUSED),
            col(RolloutDeviceRow.state).in_([str(state) for state in IN_FLIGHT]),
        )
    )
    return frozenset(session.exec(query))


def _assignment(row: DesiredRow, expires: datetime | None) -> SlotAssignment:
    return SlotAssignment(
        slot=SlotName(row.slot),
        release=ReleaseName.parse(row.release),
        manifest=rows.digest(row.manifest),
        length=row.length,
        rollout=row.rollout,
        lease=Lease(row.rollout or STANDING, expires) if expires else None,
    )


def assign(session: Session, wanted: Sequence[Wanted]) -> set[DeviceId]:
    """Write what shall serve; returns the devices for which that is something else than before."""
    current = _current(session, {(each.device, each.slot) for each in wanted})
    changed = [each for each in wanted if current.get((each.device, each.slot)) != _source(each)]
    keys = {(each.device, each.slot) for each in changed}
    for slot in {slot for _, slot in keys}:
        for chunk in chunks(device for device, each in keys if each == slot):
            session.connection().execute(
                delete(DesiredRow).where(
                    col(DesiredRow.slot) == slot, col(DesiredRow.device).in_(chunk)
                )
            )
    new = [row for each in changed if (row := _row(each))]
    if new:
        session.connection().execute(insert(DesiredRow), new)
    session.expire_all()
    return {each.device for each in changed}


def _current(
    session: Session, keys: set[tuple[DeviceId, SlotName]]
) -> dict[tuple[str, str], tuple[str, str, str]]:
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    for chunk in chunks({device for device, _ in keys}):
        query = columns(
            col(DesiredRow.device),
            col(DesiredRow.slot),
            col(DesiredRow.release),
            col(DesiredRow.manifest),
            col(DesiredRow.rollout),
        ).where(col(DesiredRow.device).in_(chunk))
        for device, slot, *source in session.execute(query):
            found[device, slot] = (source[0], source[1], source[2])
    return found


def _source(wanted: Wanted) -> tuple[str, str, str] | None:
    if not wanted.source:
        return None
    return str(wanted.source.name), wanted.source.manifest, wanted.rollout


def _row(wanted: Wanted) -> dict[str, object] | None:
    if not wanted.source:
        return None
    return {
        "device": wanted.device,
        "slot": wanted.slot,
        "release": str(wanted.source.name),
        "manifest": wanted.source.manifest,
        "length": wanted.source.length,
        "rollout": wanted.rollout,
        "lease_expires": None,
    }


def bump(session: Session, devices: Iterable[DeviceId]) -> Mapping[DeviceId, int]:
    """Raise the generation of these devices, and return the new ones."""
    generations: dict[DeviceId, int] = {}
    for chunk in chunks(devices):
        session.connection().execute(
            update(DeviceRow)
            .where(col(DeviceRow.id).in_(chunk))
            .values(generation=DeviceRow.generation + 1)
        )
        query = select(DeviceRow.id, DeviceRow.generation).where(col(DeviceRow.id).in_(chunk))
        generations |= {DeviceId(device): number for device, number in session.exec(query)}
    session.expire_all()
    return generations


def chunks(devices: Iterable[DeviceId]) -> Iterable[list[DeviceId]]:
    """The devices in order, as many at a time as one statement may name."""
    names = sorted(devices)
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))
