"""Reads how rollouts stand, counted by the database: a rollout of 10,000 devices is a few rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, or_, select
from sqlmodel import col

from sealane_manager.errors import NotKnown
from sealane_manager.people.redaction import without
from sealane_manager.rollout.placement import parse_stage
from sealane_manager.rollout.types import BROKEN, LIVE, PENDING, DeviceState
from sealane_manager.store import rows
from sealane_manager.store.sight import Sight
from sealane_manager.store.summaries import Cell, RolloutDeviceLine, RolloutLine, Trouble
from sealane_manager.store.tables.rollouts import RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.summaries import Page

_BROKEN: Final = [str(state) for state in (*BROKEN, DeviceState.SUSPECT)]


class Progress(Sight):
    """Lists and counts of rollouts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rollouts(self, page: Page, *, live: bool = False) -> tuple[RolloutLine, ...]:
        """One page of the rollouts, the newest first; or only those that still run."""
        query = select(RolloutRow).order_by(col(RolloutRow.created_at).desc(), col(RolloutRow.id))
        if live:
            query = query.where(col(RolloutRow.state).in_([str(state) for state in LIVE]))
        return self._lines(query.limit(page.size).offset(page.offset))

    def standing(self, limit: int) -> tuple[RolloutLine, ...]:
        """The newest rollouts that are not over, those that did not begin yet among them."""
        states = [str(state) for state in LIVE | PENDING]
        query = select(RolloutRow).where(col(RolloutRow.state).in_(states))
        return self._lines(query.order_by(col(RolloutRow.created_at).desc()).limit(limit))

    def count(self) -> int:
        """How many rollouts there are."""
        with self._database.read() as session:
            mine = self._shared(col(RolloutRow.id))
            query = select(func.count()).select_from(RolloutRow).where(*mine)
            return session.execute(query).scalar() or 0

    def rollout(self, rollout: str) -> RolloutLine:
        """One rollout; raises NotKnown."""
        found = self._lines(select(RolloutRow).where(col(RolloutRow.id) == rollout))
        if not found:
            raise _unknown(rollout)
        return found[0]

    def uncounted(self, rollout: str) -> RolloutLine:
        """One rollout without what is counted of its devices; raises NotKnown."""
        mine = (col(RolloutRow.id) == rollout, *self._shared(col(RolloutRow.id)))
        with self._database.read() as session:
            row = session.execute(select(RolloutRow).where(*mine)).scalars().first()
            if not row:
                raise _unknown(rollout)
            return _line(row, _Counted(), self._elsewhere(session))

    def of_device(self, device: str, limit: int) -> tuple[RolloutLine, ...]:
        """The last rollouts that a device took part in."""
        took_part = select(col(RolloutDeviceRow.rollout)).where(
            col(RolloutDeviceRow.device) == device
        )
        query = select(RolloutRow).where(col(RolloutRow.id).in_(took_part))
        return self._lines(query.order_by(col(RolloutRow.created_at).desc()).limit(limit))

    def named(self, text: str, limit: int) -> tuple[RolloutLine, ...]:
        """The newest rollouts with this text in their id or in their release's name."""
        release = col(RolloutRow.release).icontains(text, autoescape=True)
        query = select(RolloutRow).where(
            or_(release, col(RolloutRow.id).icontains(text, autoescape=True))
        )
        return self._lines(query.order_by(col(RolloutRow.created_at).desc()).limit(limit))

    def stages(self, rollout: str) -> Mapping[int, Mapping[str, int]]:
        """How many devices of each stage are in which state."""
        query = (
            select(col(RolloutDeviceRow.stage), col(RolloutDeviceRow.state), func.count())
            .where(*self._of(rollout))
            .group_by(col(RolloutDeviceRow.stage), col(RolloutDeviceRow.state))
        )
        found: dict[int, dict[str, int]] = defaultdict(dict)
        with self._database.read() as session:
            for stage, state, count in session.execute(query):
                found[stage][state] = count
        return found

    def devices(
        self, rollout: str, page: Page, states: Sequence[str] = ()
    ) -> tuple[RolloutDeviceLine, ...]:
        """One page of a rollout's devices in the order of their turn; all states when none."""
        query = select(RolloutDeviceRow).where(*self._of(rollout))
        if states:
            query = query.where(col(RolloutDeviceRow.state).in_(states))
        query = query.order_by(col(RolloutDeviceRow.position))
        with self._database.read() as session:
            found = session.execute(query.limit(page.size).offset(page.offset)).scalars()
            return tuple(_device_line(row) for row in found)

    def cells(self, rollout: str, limit: int, stage: int | None = None) -> tuple[Cell, ...]:
        """The first devices in the order of their turn; of one stage, or of all."""
        query = select(
            col(RolloutDeviceRow.device), col(RolloutDeviceRow.state), col(RolloutDeviceRow.stage)
        ).where(*self._of(rollout))
        if stage is not None:
            query = query.where(col(RolloutDeviceRow.stage) == stage)
        query = query.order_by(col(RolloutDeviceRow.position)).limit(limit)
        with self._database.read() as session:
            return tuple(Cell(*row) for row in session.execute(query))

    def troubles(self, rollout: str, limit: int) -> tuple[Trouble, ...]:
        """Why devices failed, the most frequent reason first."""
        device, detail = col(RolloutDeviceRow.device), col(RolloutDeviceRow.detail)
        state = col(RolloutDeviceRow.state)
        query = (
            select(state, detail, func.count(), func.min(device))
            .where(*self._of(rollout), state.in_(_BROKEN))
            .group_by(state, detail)
            .order_by(func.count().desc(), detail)
            .limit(limit)
        )
        with self._database.read() as session:
            return tuple(Trouble(*row) for row in session.execute(query))

    def devices_from(
        self, rollout: str, position: int, limit: int
    ) -> tuple[RolloutDeviceLine, ...]:
        """Its devices in the order of their turn, from this one on."""
        turn = col(RolloutDeviceRow.position)
        query = select(RolloutDeviceRow).where(*self._of(rollout), turn >= position)
        with self._database.read() as session:
            found = session.execute(query.order_by(turn).limit(limit)).scalars()
            return tuple(_device_line(row) for row in found)

    def devices_named(self, rollout: str, devices: Sequence[str]) -> tuple[RolloutDeviceLine, ...]:
        """These devices of it, in the order of their turn."""
        named = col(RolloutDeviceRow.device).in_(devices)
        query = select(RolloutDeviceRow).where(*self._of(rollout), named)
        with self._database.read() as session:
            found = session.execute(query.order_by(col(RolloutDeviceRow.position))).scalars()
            return tuple(_device_line(row) for row in found)

    def _lines(self, query: Select[Any]) -> tuple[RolloutLine, ...]:
        with self._database.read() as session:
            found = session.execute(query.where(*self._shared(col(RolloutRow.id)))).scalars().all()
            counts = self._counted(session, [row.id for row in found])
            hidden = self._elsewhere(session)
            return tuple(_line(row, counts[row.id], hidden) for row in found)

    def _of(self, rollout: str) -> list[ColumnElement[bool]]:
        """The condition that a device of this rollout is seen."""
        device = col(RolloutDeviceRow.device)
        return [col(RolloutDeviceRow.rollout) == rollout, *self._within(device)]

    def _counted(self, session: Session, rollouts: Sequence[str]) -> Mapping[str, _Counted]:
        """One look at the index that holds all of it, and at no row of a device."""
        rollout, state = col(RolloutDeviceRow.rollout), col(RolloutDeviceRow.state)
        previous = col(RolloutDeviceRow.previous)
        query = (
            select(
                *(rollout, state, func.count(), func.count(previous)),
                *(func.min(previous), func.max(previous)),
            )
            .where(rollout.in_(rollouts), *self._within(col(RolloutDeviceRow.device)))
            .group_by(rollout, state)
        )
        counts: dict[str, _Counted] = defaultdict(_Counted)
        for name, how, count, with_previous, *served in session.execute(query):
            counts[name].states[how] = count
            counts[name].previous.update(served)
            if with_previous < count:
                counts[name].previous.add(None)
        return counts


def _unknown(rollout: str) -> NotKnown:
    return NotKnown(f"there is no rollout {rollout[:40]}", hint="see the list of rollouts")


@dataclass(slots=True)
class _Counted:
    """Devices of one rollout: by state, and what they served before."""

    states: dict[str, int] = field(default_factory=dict)
    previous: set[str | None] = field(default_factory=set)


def _line(row: RolloutRow, counted: _Counted, hidden: Container[str]) -> RolloutLine:
    (previous,) = counted.previous if len(counted.previous) == 1 else (None,)
    return RolloutLine(
        id=row.id,
        release=row.release,
        slot=row.slot,
        selector=row.selector,
        spec=rows.spec(row),
        stages=tuple(row.stages),
        stage=row.stage,
        phase=row.phase,
        state=row.state,
        reason=without(row.reason, hidden),
        created_at=row.created_at,
        ended_at=row.ended_at,
        author=row.author,
        approvals=rows.approvals(row),
        devices=counted.states,
        name=row.name,
        asked=tuple(parse_stage(text) for text in row.asked),
        previous=previous or "",
    )


def _device_line(row: RolloutDeviceRow) -> RolloutDeviceLine:
    return RolloutDeviceLine(
        device=row.device,
        stage=row.stage,
        state=row.state,
        detail=row.detail,
        requests=row.requests,
        changed_at=row.changed_at,
        previous=row.previous or "",
        position=row.position,
    )
