"""Reads rollouts with their devices; of one that was read before, only what was written since."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sealane.names import DeviceId
from sqlalchemy import Text, type_coerce
from sqlalchemy import select as core_select
from sqlmodel import col, select

from sealane_manager.calendars import labels_of
from sealane_manager.rollout.types import LIVE, RolloutState
from sealane_manager.store import rows
from sealane_manager.store.calendars import kept_to
from sealane_manager.store.desired import chunks
from sealane_manager.store.tables.base import metadata
from sealane_manager.store.tables.devices import LabelRow
from sealane_manager.store.tables.rollouts import RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlmodel import Session

    from sealane_manager.rollout.types import Rollout, RolloutDevice
    from sealane_manager.store.devices import Devices
    from sealane_manager.store.touched import Touched

_MEMBERS: Final = metadata.tables["rollout_device"]
_DEVICES: Final = metadata.tables["device"]
_LIVE: Final = [str(state) for state in LIVE]
_FEW: Final = 4
"""Less than one device in so many is read by name; more are read whole, in one statement."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A rollout as it was read, and where each device stands in it."""

    revision: int
    rollout: Rollout
    places: Mapping[DeviceId, int]


class Members:
    """Remembers rollouts that are not over; its methods may be called from any thread."""

    def __init__(self, devices: Devices, touched: Touched) -> None:
        self._devices, self._touched = devices, touched
        self._known: dict[str, _Known] = {}

    def unchanged(self, rollout: str, revision: int) -> Rollout | None:
        """The rollout when nothing of any was written since it was read; else None."""
        known = self._known.get(rollout)
        if known is None or known.revision != revision:
            return None
        return self._keep(revision, self._heard(known.rollout), known.places)

    def now(self, session: Session, row: RolloutRow, revision: int) -> Rollout:
        """A rollout from its row, in a transaction that began after the revision was read."""
        known = self._known.get(row.id)
        if known and known.revision > revision:
            known = None  # another thread has read what this transaction cannot see
        changed = self._touched.since(known.revision, row.id) if known else None
        if known is None or changed is None or len(changed) * _FEW > len(known.places):
            found = self.whole(session, row)
            places = {each.device: place for place, each in enumerate(found.devices)}
            return self._keep(revision, found, places)
        found = self._heard(self._renewed(session, row, known, changed))
        return self._keep(revision, found, known.places)

    def whole(self, session: Session, row: RolloutRow) -> Rollout:
        """A rollout from its row, with every device read."""
        devices = self._read(session, _of(row.id).order_by(_MEMBERS.c.position))
        found = _with_calendars(session, rows.rollout(row, list(devices)))
        if _counts_labels(found):
            found = replace(found, devices=_with_labels(session, found, found.devices))
        return _with_blockers(session, row, found)

    def _renewed(
        self, session: Session, row: RolloutRow, known: _Known, changed: Collection[str]
    ) -> Rollout:
        found = _with_calendars(session, rows.rollout(row, known.rollout.devices))
        mine = [DeviceId(name) for name in changed if name in known.places]
        if mine:
            devices = list(found.devices)
            query = _of(row.id)
            read = [
                each
                for chunk in chunks(mine)
                for each in self._read(session, query.where(_MEMBERS.c.device.in_(chunk)))
            ]
            if _counts_labels(found):
                read = list(_with_labels(session, found, read))
            for each in read:
                devices[known.places[each.device]] = each
            found = replace(found, devices=tuple(devices))
        return _with_blockers(session, row, found)

    def _read(self, session: Session, query: Select[Any]) -> Iterator[RolloutDevice]:
        for each in session.connection().execute(query):
            heard = self._devices.last_seen(each.device, each.last_seen)
            yield rows.rollout_device(each, heard, each.facts)

    def _keep(self, revision: int, found: Rollout, places: Mapping[DeviceId, int]) -> Rollout:
        if found.ended_at:
            self._known.pop(found.id, None)
        else:
            self._known[found.id] = _Known(revision, found, places)
        return found

    def _heard(self, found: Rollout) -> Rollout:
        """With the moments at which its devices were last heard."""
        last = self._devices.last_seen
        heard = [(each, last(each.device, each.heard_at)) for each in found.devices]
        if all(each.heard_at == at for each, at in heard):
            return found
        devices = tuple(
            each if each.heard_at == at else replace(each, heard_at=at) for each, at in heard
        )
        return replace(found, devices=devices)


def _of(rollout: str) -> Select[Any]:
    """Its devices, with what is known of each as a device."""
    return (
        core_select(
            _MEMBERS, _DEVICES.c.last_seen, type_coerce(_DEVICES.c.facts, Text).label("facts")
        )
        .join(_DEVICES, _DEVICES.c.id == _MEMBERS.c.device)
        .where(_MEMBERS.c.rollout == rollout)
    )


def _with_calendars(session: Session, found: Rollout) -> Rollout:
    """With the calendars that it keeps to, as they are now."""
    calendars = kept_to(session, found.spec.terms.times.calendars)
    return replace(found, calendars=calendars) if calendars else found


def _counts_labels(rollout: Rollout) -> bool:
    return bool(rollout.spec.terms.pace.limits or rollout.calendars)


def _with_labels(
    session: Session, rollout: Rollout, devices: Collection[RolloutDevice]
) -> tuple[RolloutDevice, ...]:
    """The devices with the labels that its limits count by, and its calendars ask for."""
    few = len(devices) < len(rollout.devices)
    labels: dict[str, list[tuple[str, str]]] = {}
    for chunk in chunks([each.device for each in devices]) if few else [()]:
        named = [col(LabelRow.device).in_(chunk)] if chunk else []
        for device, key, value in session.exec(_labels(rollout, named)):
            labels.setdefault(device, []).append((key, value))
    return tuple(
        replace(each, labels=tuple(sorted(labels.get(each.device, ())))) for each in devices
    )


def _labels(rollout: Rollout, named: Sequence[ColumnElement[bool]]) -> Any:
    limits = rollout.spec.terms.pace.limits
    wanted = {label for limit in limits for label in limit.labels} | labels_of(rollout.calendars)
    return (
        select(LabelRow.device, LabelRow.key, LabelRow.value)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.device) == col(LabelRow.device))
        .where(RolloutDeviceRow.rollout == rollout.id, col(LabelRow.key).in_(wanted), *named)
    )


def _with_blockers(session: Session, row: RolloutRow, found: Rollout) -> Rollout:
    """With the rollouts that are changing the same slot of one of its devices."""
    if found.state is not RolloutState.SCHEDULED:
        return found
    others = _MEMBERS.alias()
    query = (
        select(RolloutRow.id)
        .join(others, others.c.rollout == col(RolloutRow.id))
        .join(_MEMBERS, (_MEMBERS.c.device == others.c.device) & (_MEMBERS.c.rollout == row.id))
        .where(
            RolloutRow.slot == row.slot,
            RolloutRow.id != row.id,
            col(RolloutRow.state).in_(_LIVE),
        )
        .distinct()
        .order_by(RolloutRow.id)
    )
    return replace(found, blocked_by=tuple(session.exec(query)))
