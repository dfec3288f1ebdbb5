"""Puts devices into a new rollout: whom the selector means, in their order, in one statement.

Where stages are given by labels it is one for each stage.

What it writes is what `rollout.draft` would decide, device by device; a test compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, exists, func, insert, literal, select
from sqlmodel import col

from sealane_manager.rollout.draft import Matching
from sealane_manager.rollout.placement import labels_of, places, room, selects
from sealane_manager.rollout.types import LIVE, DeviceState
from sealane_manager.selector import parse
from sealane_manager.store.database import TURN
from sealane_manager.store.devices import conditions
from sealane_manager.store.records import Standing, at_first
from sealane_manager.store.tables.base import metadata
from sealane_manager.store.tables.devices import DeviceRow, SlotRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select, Subquery
    from sqlmodel import Session

    from sealane_manager.rollout.types import Rollout, Stage
    from sealane_manager.store.records import Draft

_MEMBERS: Final = metadata.tables["rollout_device"]
_LABELS: Final = metadata.tables["device_label"]
_CHANGED_AT: Final = _MEMBERS.c.changed_at
_LIVE: Final = [str(state) for state in LIVE]
_COLUMNS: Final = (
    *("rollout", "device", "position", "stage", "state", "detail", "requests"),
    *("acknowledged", "served", "changed_at"),
    *("previous", "previous_manifest", "previous_length"),
)


def matching(session: Session, wanted: Draft) -> Matching:
    """How many devices are meant, and what is in the way of them."""
    already = func.coalesce(func.sum(case((_serves(wanted), 1), else_=0)), 0)
    total, serving = session.execute(_meant(wanted, func.count(), already)).one()
    busy = _busy(wanted)
    count = session.execute(select(func.count()).select_from(busy.subquery())).scalar_one()
    first = session.execute(busy.order_by(col(DeviceRow.id)).limit(1)).first() if count else None
    values = {label: _values(session, wanted, label) for label in labels_of(wanted.spec.stages)}
    return Matching(total, serving, count, (first[0], first[1]) if first else ("", ""), values)


def _values(session: Session, wanted: Draft, label: str) -> tuple[str, ...]:
    """The values of a label on the devices that will be changed."""
    named = _LABELS.alias()  # conditions look labels up by themselves
    query = (
        _meant(wanted, named.c.value)
        .join(named, and_(named.c.device == col(DeviceRow.id), named.c.key == label))
        .where(~_serves(wanted))
        .distinct()
    )
    return tuple(sorted(session.execute(query).scalars()))


def in_the_way(session: Session, wanted: Draft) -> set[str]:
    """The rollouts that are changing the slot on one of the devices."""
    found = _busy(wanted).subquery()
    return set(session.execute(select(found.c[1]).distinct()).scalars())


def place(session: Session, made: Rollout, wanted: Draft, total: int) -> tuple[Stage, ...]:
    """Write every device of a new rollout with its turn and its stage; returns the stages."""
    if selects(wanted.spec.stages):
        return _by_stage(session, made, wanted, total)
    row = _ordered(made, wanted).subquery()
    counts = places(made.spec.stages, total)
    stage = case(
        *((row.c.position < count, index) for index, count in enumerate(counts)),
        else_=len(counts) - 1,
    )
    _write(session, _columns(made, row, stage))
    return made.spec.stages


def _by_stage(session: Session, made: Rollout, wanted: Draft, total: int) -> tuple[Stage, ...]:
    """Of those that are left, each stage takes whom it means, as many as it has room for."""
    kept: list[Stage] = []
    placed = 0
    others = _MEMBERS.alias()
    here = exists().where(others.c.rollout == made.id, others.c.device == col(DeviceRow.id))
    for stage in made.spec.stages:
        means = conditions(parse(stage.selector))
        row = _ordered(made, wanted).where(~here, *means).subquery()
        columns = _columns(made, row, literal(len(kept)), placed)
        _write(session, columns.where(row.c.position < room(stage, total, placed)))
        before, placed = placed, _placed(session, made)
        kept += [stage] if placed > before else []
    return tuple(kept)


def _ordered(made: Rollout, wanted: Draft) -> Select[Any]:
    """Devices that will be changed, numbered in the order of their turn."""
    turn = func.row_number().over(order_by=getattr(func, TURN)(made.id, col(DeviceRow.id))) - 1
    return _meant(
        wanted,
        col(DeviceRow.id).label("device"),
        turn.label("position"),
        *_before(wanted),
    ).where(~_serves(wanted))


def _columns(
    made: Rollout, row: Subquery, stage: ColumnElement[int], first: int = 0
) -> Select[Any]:
    """What is written of each of these devices."""
    return select(
        literal(made.id),
        row.c.device,
        row.c.position + first,
        stage,
        literal(str(DeviceState.WAITING)),
        literal(""),
        literal(0),
        literal(value=False),
        literal(value=False),
        literal(made.created_at, _CHANGED_AT.type),
        row.c.release,
        row.c.manifest,
        row.c.length,
    )


def _write(session: Session, chosen: Select[Any]) -> None:
    session.connection().execute(insert(RolloutDeviceRow).from_select(_COLUMNS, chosen))


def _placed(session: Session, made: Rollout) -> int:
    """How many devices of the rollout have their turn by now."""
    members = select(func.count()).select_from(_MEMBERS).where(_MEMBERS.c.rollout == made.id)
    return int(session.connection().execute(members).scalar_one())


def _meant(wanted: Draft, *columns: Any) -> Select[Any]:
    """These columns of the devices that may be changed, with what is assigned and active there."""
    slot = wanted.spec.slot
    return (
        select(*columns)
        .select_from(DeviceRow)
        .outerjoin(DesiredRow, _of_slot(DesiredRow, slot))
        .outerjoin(SlotRow, _of_slot(SlotRow, slot))
        .where(*conditions(wanted.selector), col(DeviceRow.state) == str(Standing.ACTIVE))
    )


def _before(wanted: Draft) -> tuple[ColumnElement[Any], ...]:
    """What is assigned there now: what the devices go back to."""
    first = at_first(wanted.spec.slot)
    assigned = {
        "release": (col(DesiredRow.release), str(first.name) if first else None),
        "manifest": (col(DesiredRow.manifest), first.manifest if first else None),
        "length": (col(DesiredRow.length), first.length if first else None),
    }
    return tuple(
        func.coalesce(column, value).label(name) for name, (column, value) in assigned.items()
    )


def _of_slot(table: type[DesiredRow | SlotRow], slot: str) -> ColumnElement[bool]:
    return and_(col(table.device) == col(DeviceRow.id), col(table.slot) == slot)


def _serves(wanted: Draft) -> ColumnElement[bool]:
    """Whether the release is assigned and active there: never null."""
    release = str(wanted.spec.release)
    both = and_(col(DesiredRow.release) == release, col(SlotRow.active_release) == release)
    return func.coalesce(both, False)


def _busy(wanted: Draft) -> Select[Any]:
    """Devices that are meant, with the rollout that is changing the slot there."""
    columns: tuple[Any, ...] = (col(DeviceRow.id), col(RolloutRow.id))
    return (
        select(*columns)
        .select_from(DeviceRow)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.device) == col(DeviceRow.id))
        .join(RolloutRow, col(RolloutRow.id) == col(RolloutDeviceRow.rollout))
        .where(
            col(RolloutRow.slot) == wanted.spec.slot,
            col(RolloutRow.state).in_(_LIVE),
            *conditions(wanted.selector),
            col(DeviceRow.state) == str(Standing.ACTIVE),
        )
    )
