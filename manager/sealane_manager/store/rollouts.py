"""Rollouts: each change and all that follows from it on devices and in the log, or nothing."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from sealane.names import DeviceId, ReleaseName
from sqlalchemy import bindparam, insert, update
from sqlalchemy import select as core_select
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.draft import Candidate, draft
from sealane_manager.rollout.types import (
    IN_FLIGHT,
    LIVE,
    Grant,
    Judged,
    Mark,
    Note,
    Rollout,
    RolloutState,
    TakeBack,
)
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import Wanted, assign, bump
from sealane_manager.store.devices import conditions
from sealane_manager.store.judgements import keep
from sealane_manager.store.records import Changed, DecisionRecord, ReleaseSource, Standing
from sealane_manager.store.tables import (
    DesiredRow,
    DeviceRow,
    RolloutDeviceRow,
    RolloutRow,
    SlotRow,
    metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlmodel import Session

    from sealane_manager.rollout.types import Decision, RolloutDevice, Step
    from sealane_manager.store.database import Database
    from sealane_manager.store.devices import Devices
    from sealane_manager.store.records import By, Draft

_NAMED: Final = 5
_MEMBERS: Final = metadata.tables["rollout_device"]
_DEVICES: Final = metadata.tables["device"]
_LIVE: Final = [str(state) for state in LIVE]


class Rollouts:
    """Keeps rollouts and carries out what was decided about them."""

    def __init__(self, database: Database, devices: Devices) -> None:
        self._database = database
        self._devices = devices

    def create(self, wanted: Draft, by: By) -> Rollout:
        """Start a rollout; raises Refused when it would change nothing or collide with another."""
        with self._database.write() as session:
            if session.get(RolloutRow, wanted.id):
                raise Refused(f"rollout {wanted.id} was started already")
            found = _candidates(session, wanted)
            made = draft(wanted.id, wanted.spec, list(found), by.at)
            before = {each.device: source for each, source in found.items()}
            session.add(rows.rollout_row(made, wanted))
            session.flush()
            session.connection().execute(
                insert(RolloutDeviceRow),
                [
                    _device_row(made.id, position, device, before[device.device])
                    for position, device in enumerate(made.devices)
                ],
            )
            detail = _created(made, len(found))
            _say(session, made.id, by, Note("start", f"{detail}; {by.reason}".rstrip("; ")))
        return self.get(wanted.id)

    def preview(self, wanted: Draft, now: datetime) -> Rollout:
        """The rollout that `create` would make; raises Refused as it would."""
        with self._database.read() as session:
            return draft(wanted.id, wanted.spec, list(_candidates(session, wanted)), now)

    def get(self, rollout: str) -> Rollout:
        """One rollout; raises NotKnown."""
        with self._database.read() as session:
            return self._load(session, _known(session, rollout))

    def list(self) -> tuple[Rollout, ...]:
        """Every rollout, newest first."""
        query = select(RolloutRow).order_by(col(RolloutRow.created_at).desc(), RolloutRow.id)
        with self._database.read() as session:
            return tuple(self._load(session, row) for row in session.exec(query).all())

    def live(self) -> tuple[str, ...]:
        """Ids of the rollouts that can still change something, oldest first."""
        query = (
            select(RolloutRow.id)
            .where(col(RolloutRow.state).in_(_LIVE))
            .order_by(col(RolloutRow.created_at), RolloutRow.id)
        )
        with self._database.read() as session:
            return tuple(session.exec(query))

    def change(self, rollout: str, decide: Callable[[Rollout], Step], by: By) -> Changed:
        """Read a rollout, decide, and write the step with all its consequences, or nothing.

        Raises NotKnown, and whatever `decide` raises.
        """
        with self._database.write() as session:
            row = _known(session, rollout)
            before = self._load(session, row)
            step = decide(before)
            row.sqlmodel_update(rows.standing(step.rollout))
            session.add(row)
            session.flush()
            _move(session, before, step.rollout)
            changed = _carry_out(session, row, step)
            for judged in (each for each in step.decisions if isinstance(each, Judged)):
                keep(session, before, judged, by)
            for note in _notes(step.decisions):
                _say(session, rollout, by, note)
            generations = bump(session, changed | _leases_changed(before, step.rollout))
        return Changed(step.rollout, generations)

    def _load(self, session: Session, row: RolloutRow) -> Rollout:
        query = (
            core_select(_MEMBERS, _DEVICES.c.last_seen, _DEVICES.c.facts)
            .join(_DEVICES, _DEVICES.c.id == _MEMBERS.c.device)
            .where(_MEMBERS.c.rollout == row.id)
            .order_by(_MEMBERS.c.position)
        )
        devices = [
            rows.rollout_device(
                each, self._devices.last_seen(each.device, each.last_seen), each.facts
            )
            for each in session.connection().execute(query)
        ]
        return rows.rollout(row, devices)


def _known(session: Session, rollout: str) -> RolloutRow:
    row = session.get(RolloutRow, rollout)
    if not row:
        raise NotKnown(f"there is no rollout {rollout}", hint="see `sealane rollout list`")
    return row


def _candidates(session: Session, wanted: Draft) -> Mapping[Candidate, ReleaseSource | None]:
    """The devices that the selector means, each with what is assigned to it now."""
    slot = wanted.spec.slot
    where = (*conditions(wanted.selector), col(DeviceRow.state) == str(Standing.ACTIVE))
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
    busy = _busy(session, slot)
    found: dict[Candidate, ReleaseSource | None] = {}
    for name, desired, active in session.exec(query):
        source = _source(desired) if desired else None
        device = DeviceId(name)
        assigned = source.name if source else None
        found[Candidate(device, assigned, active or "", busy.get(device, ""))] = source
    return found


def _busy(session: Session, slot: str) -> Mapping[str, str]:
    query = (
        select(RolloutDeviceRow.device, RolloutRow.id)
        .join(RolloutRow, col(RolloutRow.id) == col(RolloutDeviceRow.rollout))
        .where(RolloutRow.slot == slot, col(RolloutRow.state).in_(_LIVE))
    )
    return dict(session.exec(query).all())


def _source(row: DesiredRow) -> ReleaseSource:
    return ReleaseSource(ReleaseName.parse(row.release), rows.digest(row.manifest), row.length)


def _device_row(
    rollout: str, position: int, device: RolloutDevice, before: ReleaseSource | None
) -> dict[str, Any]:
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


def _move(session: Session, before: Rollout, after: Rollout) -> None:
    """Write the devices that moved, in one statement."""
    moved = [new for old, new in zip(before.devices, after.devices, strict=True) if old != new]
    if not moved:
        return
    columns = tuple(rows.moving(moved[0]))
    statement = (
        update(RolloutDeviceRow)
        .where(
            col(RolloutDeviceRow.rollout) == after.id,
            col(RolloutDeviceRow.device) == bindparam("moved_device"),
        )
        .values({name: bindparam(f"moved_{name}") for name in columns})
    )
    session.connection().execute(
        statement,
        [
            {f"moved_{name}": value for name, value in rows.moving(device).items()}
            | {"moved_device": device.device}
            for device in moved
        ],
    )
    session.expire_all()


def _carry_out(session: Session, row: RolloutRow, step: Step) -> set[DeviceId]:
    """Give and take back; returns the devices whose desired state changed."""
    slot = step.rollout.spec.slot
    release = ReleaseSource(step.rollout.spec.release, rows.digest(row.manifest), row.length)
    before = _before(session, row.id) if _takes_back(step.decisions) else {}
    last: dict[DeviceId, Wanted] = {}
    for each in step.decisions:
        match each:
            case Grant(device):
                last[device] = Wanted(device, slot, release, step.rollout.id)
            case TakeBack(device, _):
                last[device] = Wanted(device, slot, before[device], "")
            case Mark() | Note() | Judged():
                pass
    return assign(session, list(last.values()))


def _takes_back(decisions: Iterable[Decision]) -> bool:
    return any(isinstance(each, TakeBack) for each in decisions)


def _before(session: Session, rollout: str) -> Mapping[DeviceId, ReleaseSource | None]:
    query = core_select(_MEMBERS).where(_MEMBERS.c.rollout == rollout)
    return {DeviceId(row.device): _was(row) for row in session.connection().execute(query)}


def _was(row: Row[Any]) -> ReleaseSource | None:
    if not (row.previous and row.previous_manifest):
        return None
    manifest = rows.digest(row.previous_manifest)
    return ReleaseSource(ReleaseName.parse(row.previous), manifest, row.previous_length or 0)


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
        elif kind is not Judged:
            named = ", ".join(_named(each) for each in run[:_NAMED])
            more = f" and {len(run) - _NAMED} more" if len(run) > _NAMED else ""
            yield Note(_ACTIONS[kind], named + more)


_ACTIONS: Final[Mapping[type[Decision], str]] = {
    Grant: "grant",
    TakeBack: "take back",
    Mark: "mark",
}


def _named(decision: Decision) -> str:
    match decision:
        case Grant(device):
            return device
        case TakeBack(device, release):
            return f"{device} (to {release or 'nothing'})"
        case Mark(device, state, detail):
            return f"{device} ({state}: {detail})"
        case Note(_, detail) | Judged(_, detail, _):
            return detail


def _say(session: Session, rollout: str, by: By, note: Note) -> None:
    log(session, DecisionRecord(by.at, rollout, by.actor, note.action, note.detail))
