"""What follows from a step of a rollout, in its transaction: on devices, and in the log."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from sealane.names import DeviceId
from sqlalchemy import func, update
from sqlalchemy import select as core_select

from sealane_manager.rollout.types import (
    IN_FLIGHT,
    Begin,
    Grant,
    Judged,
    Mark,
    Note,
    Promote,
    Rollout,
    RolloutState,
    TakeBack,
)
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import Wanted, assign, chunks
from sealane_manager.store.judgements import keep
from sealane_manager.store.records import DecisionRecord, ReleaseSource, at_first
from sealane_manager.store.replaced import was
from sealane_manager.store.tables.base import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlmodel import Session

    from sealane_manager.rollout.types import Decision, Step
    from sealane_manager.store.records import By
    from sealane_manager.store.tables.rollouts import RolloutRow

_NAMED: Final = 5
_MEMBERS: Final = metadata.tables["rollout_device"]
_DESIRED: Final = metadata.tables["desired"]


@dataclass(frozen=True, slots=True)
class Change:
    """A step from what a rollout was, and who took it."""

    before: Rollout
    step: Step
    by: By


def carry_out(session: Session, row: RolloutRow, change: Change) -> set[DeviceId]:
    """Write a step with everything that follows; returns the devices that must hear of it."""
    before, step, by = change.before, change.step, change.by
    row.sqlmodel_update(rows.standing(step.rollout))
    session.add(row)
    session.flush()
    if Begin() in step.decisions:
        _remember_what_serves(session, row)
    _move(session, before, step.rollout)
    changed = _assign(session, row, step)
    for judged in (each for each in step.decisions if isinstance(each, Judged)):
        keep(session, before, judged, by)
    for note in _notes(step.decisions):
        say(session, row.id, by, note)
    return changed | _leases_changed(before, step.rollout)


def say(session: Session, rollout: str, by: By, note: Note) -> None:
    """Add a line to the log of a rollout."""
    log(session, DecisionRecord(by.at, rollout, by.actor, note.action, note.detail))


def _remember_what_serves(session: Session, row: RolloutRow) -> None:
    """What is assigned now is what the devices go back to; one statement."""
    names = {"previous": "release", "previous_manifest": "manifest", "previous_length": "length"}
    first = at_first(row.slot)
    without = (str(first.name), first.manifest, first.length) if first else (None, None, None)
    columns = {
        name: func.coalesce(
            core_select(_DESIRED.c[source])
            .where(_DESIRED.c.device == _MEMBERS.c.device, _DESIRED.c.slot == row.slot)
            .scalar_subquery(),
            value,
        )
        for (name, source), value in zip(names.items(), without, strict=True)
    }
    session.connection().execute(
        update(_MEMBERS).where(_MEMBERS.c.rollout == row.id).values(columns)
    )


def _move(session: Session, before: Rollout, after: Rollout) -> None:
    """Write the devices that moved; those that moved alike, together."""
    alike: dict[tuple[tuple[str, Any], ...], list[DeviceId]] = {}
    for old, new in zip(before.devices, after.devices, strict=True):
        if old is not new and rows.standing_of(old) != rows.standing_of(new):
            alike.setdefault(tuple(rows.moving(new).items()), []).append(new.device)
    for moved, devices in alike.items():
        for chunk in chunks(devices):
            session.connection().execute(
                update(_MEMBERS)
                .where(_MEMBERS.c.rollout == after.id, _MEMBERS.c.device.in_(chunk))
                .values(dict(moved))
            )
    session.expire_all()


def _assign(session: Session, row: RolloutRow, step: Step) -> set[DeviceId]:
    """Give and take back; returns the devices whose desired state changed."""
    slot = step.rollout.spec.slot
    release = ReleaseSource(step.rollout.spec.release, rows.digest(row.manifest), row.length)
    back = [each.device for each in step.decisions if isinstance(each, TakeBack)]
    before = _before(session, row.id, back)
    last: dict[DeviceId, Wanted] = {}
    for each in step.decisions:
        match each:
            case Grant(device, _):
                last[device] = Wanted(device, slot, release, step.rollout.id)
            case TakeBack(device, _):
                last[device] = Wanted(device, slot, before[device], "")
            case Mark() | Note() | Judged() | Begin() | Promote():
                pass
    return assign(session, list(last.values())) | set(_asked_anew(step.decisions))


def _asked_anew(decisions: Iterable[Decision]) -> Iterable[DeviceId]:
    """Devices that must hear although the same release is assigned to them."""
    for each in decisions:
        match each:
            case Grant(device, attempt) if attempt:
                yield device
            case Promote(device):
                yield device
            case _:
                pass


def _before(
    session: Session, rollout: str, devices: Sequence[DeviceId]
) -> Mapping[DeviceId, ReleaseSource | None]:
    """What each of these devices goes back to."""
    query = core_select(_MEMBERS).where(_MEMBERS.c.rollout == rollout)
    return {
        DeviceId(row.device): was(row)
        for chunk in chunks(devices)
        for row in session.connection().execute(query.where(_MEMBERS.c.device.in_(chunk)))
    }


def _leases_changed(before: Rollout, after: Rollout) -> set[DeviceId]:
    """Devices that must hear that their lease was withheld, or given again."""
    if (before.state is RolloutState.PAUSED) == (after.state is RolloutState.PAUSED):
        return set()
    return {device.device for device in after.devices if device.state in IN_FLIGHT}


def _notes(decisions: Sequence[Decision]) -> Iterable[Note]:
    """The lines of the log: one for each run of decisions of a kind."""
    for kind, group in groupby(decisions, key=type):
        run = list(group)
        if kind is Note:
            yield from (each for each in run if isinstance(each, Note))
        elif kind in _ACTIONS:
            named = ", ".join(_named(each) for each in run[:_NAMED])
            more = f" and {len(run) - _NAMED} more" if len(run) > _NAMED else ""
            yield Note(_ACTIONS[kind], named + more)


_ACTIONS: Final[Mapping[type[Decision], str]] = {
    Grant: "grant",
    Promote: "crown",
    TakeBack: "take back",
    Mark: "mark",
}


def _named(decision: Decision) -> str:
    match decision:
        case Grant(device, attempt):
            return f"{device} (attempt {attempt + 1})" if attempt else device
        case Promote(device):
            return device
        case TakeBack(device, release):
            return f"{device} (to {release or 'nothing'})"
        case Mark(device, state, detail):
            return f"{device} ({state}: {detail})"
        case Note(_, detail) | Judged(_, detail, _):
            return detail
        case Begin():
            return ""
