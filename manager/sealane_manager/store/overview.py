"""Reads about the whole fleet at once, as statements over sets: no row is touched one by one.

Who holds a session is known in memory only, so each question brings those names along.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, and_, case, cast, exists, func, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from sealane_manager.errors import NotKnown
from sealane_manager.selector import SITE, parse
from sealane_manager.store import rows
from sealane_manager.store.devices import conditions
from sealane_manager.store.records import Standing
from sealane_manager.store.sight import Sight
from sealane_manager.store.summaries import (
    Complaint,
    DeviceLine,
    DeviceList,
    EventLine,
    Serving,
    SiteLine,
    SlotLine,
    Status,
)
from sealane_manager.store.tables.devices import DeviceRow, EventRow, LabelRow, ReceiptRow, SlotRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Select, Subquery
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import ReceiptRecord
    from sealane_manager.store.summaries import DeviceFilter, Page

FACETS: Final = 500
"""Values offered in a filter; more are reached by typing."""

_SAFE_MODE: Final = "safe_mode"
_BOTH: Final[tuple[type[SlotRow | DesiredRow], ...]] = (SlotRow, DesiredRow)


class Overview(Sight):
    """Lists, counts and mixes of devices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def devices(self, wanted: DeviceFilter, page: Page, reachable: Iterable[str]) -> DeviceList:
        """One page of the devices that match; raises InvalidName for a malformed selector."""
        seen = _Fleet(reachable)
        matching = seen.devices([*_matching(wanted), *self._mine()]).subquery()
        chosen = _filtered(matching, wanted)
        with self._database.read() as session:
            counts = _counted(session, matching)
            found = session.execute(_paged(chosen, matching, page)).all()
            slots = _slots(session, [row.id for row in found])
        lines = tuple(_device_line(row, slots[row.id]) for row in found)
        return DeviceList(lines, counts, _total(counts, wanted))

    def status(self, device: str, reachable: Iterable[str]) -> Status:
        """How one device is; raises NotKnown."""
        found = _Fleet(reachable).devices([col(DeviceRow.id) == device, *self._mine()])
        with self._database.read() as session:
            status = session.execute(select(found.subquery().c.status)).scalar()
        if not status:
            raise NotKnown(f"there is no device {device}", hint="see the list of devices")
        return Status(status)

    def counts(self, reachable: Iterable[str]) -> Mapping[Status, int]:
        """How many devices are how."""
        with self._database.read() as session:
            return _counted(session, _Fleet(reachable).devices(self._mine()).subquery())

    def sites(self, label: str, reachable: Iterable[str]) -> tuple[SiteLine, ...]:
        """The devices by the value of a label, and how they are."""
        devices = _Fleet(reachable, label).devices(self._mine()).subquery()
        query = select(devices.c.site, devices.c.status, func.count()).group_by(
            devices.c.site, devices.c.status
        )
        found: dict[str, dict[Status, int]] = defaultdict(dict)
        with self._database.read() as session:
            for site, status, count in session.execute(query):
                found[site or ""][Status(status)] = count
        return tuple(SiteLine(site, counts) for site, counts in sorted(found.items()))

    def serving(self) -> tuple[Serving, ...]:
        """What serves in which slot, and what should; without revoked devices."""
        counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        with self._database.read() as session:
            for index, table in enumerate(_BOTH):
                for slot, release, count in session.execute(_released(table).where(*self._mine())):
                    counts[slot, release][index] += count
        return tuple(
            Serving(slot, release, active, desired)
            for (slot, release), (active, desired) in sorted(counts.items())
            if release
        )

    def facets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The sites and the releases that devices have, for filters."""
        named = (col(LabelRow.key) == SITE, *self._at(col(LabelRow.value)))
        sites = select(col(LabelRow.value)).where(*named).distinct()
        serving = (col(SlotRow.active_release) != "", *self._within(col(SlotRow.device)))
        releases = select(col(SlotRow.active_release)).where(*serving).distinct()
        with self._database.read() as session:
            return (
                tuple(session.execute(sites.order_by("value").limit(FACETS)).scalars()),
                tuple(session.execute(releases.order_by("active_release").limit(FACETS)).scalars()),
            )

    def label_keys(self) -> tuple[str, ...]:
        """Every label that a device has."""
        query = select(col(LabelRow.key)).where(*self._within(col(LabelRow.device)))
        query = query.distinct().order_by("key").limit(FACETS)
        with self._database.read() as session:
            return tuple(session.execute(query).scalars())

    def troubles(self, reachable: Iterable[str], limit: int) -> tuple[Complaint, ...]:
        """Why devices that can be reached do not serve what they should, the commonest first."""
        device, failure = col(SlotRow.device), col(SlotRow.failure)
        weak = func.nullif(col(SlotRow.degraded), "")
        message = func.coalesce(failure["message"].as_string(), weak)
        hint = failure["hint"].as_string()
        active, desired = col(SlotRow.active_release), func.coalesce(col(DesiredRow.release), "")
        same = (col(SlotRow.slot), col(SlotRow.state), active, desired, message, hint)
        query = (
            select(*same, func.count(), func.min(device))
            .select_from(SlotRow)
            .join(DeviceRow, col(DeviceRow.id) == device)
            .outerjoin(DesiredRow, _same_slot())
            .where(
                col(DeviceRow.state) != str(Standing.REVOKED),
                _Fleet(reachable).reachable,
                _is_troubled(),
                *self._mine(),
            )
            .group_by(*same)
            .order_by(func.count().desc(), func.min(device))
            .limit(limit)
        )
        with self._database.read() as session:
            return tuple(_complaint(row) for row in session.execute(query))

    def sites_of(self, devices: Iterable[str]) -> frozenset[str]:
        """The sites of these devices; an empty one stands for a device without the label."""
        names = func.json_each(json.dumps(sorted(devices))).table_valued("value")
        label = and_(col(LabelRow.device) == names.c.value, col(LabelRow.key) == SITE)
        query = select(func.coalesce(col(LabelRow.value), "")).select_from(names)
        with self._database.read() as session:
            return frozenset(session.execute(query.outerjoin(LabelRow, label).distinct()).scalars())

    def sites_of_rollout(self, rollout: str) -> frozenset[str]:
        """The sites of a rollout's devices; an empty one stands for devices without the label."""
        device = col(RolloutDeviceRow.device)
        label = and_(col(LabelRow.device) == device, col(LabelRow.key) == SITE)
        query = (
            select(func.coalesce(col(LabelRow.value), ""))
            .select_from(RolloutDeviceRow)
            .outerjoin(LabelRow, label)
            .where(col(RolloutDeviceRow.rollout) == rollout)
            .distinct()
        )
        with self._database.read() as session:
            return frozenset(session.execute(query).scalars())

    def has_slot(self, selector: str, slot: str) -> bool:
        """Whether one of the devices that the selector means has that slot, or shall have it."""
        standing = col(DeviceRow.state) != str(Standing.REVOKED)
        seen = (*conditions(parse(selector)), *self._mine())
        meant = select(col(DeviceRow.id)).where(*seen, standing)
        queries = (
            select(col(table.device)).where(col(table.slot) == slot, col(table.device).in_(meant))
            for table in _BOTH
        )
        with self._database.read() as session:
            return any(session.execute(query.limit(1)).first() for query in queries)

    def slots(self, device: str) -> tuple[SlotLine, ...]:
        """The slots of one device, desired beside actual."""
        query = select(col(DeviceRow.id)).where(col(DeviceRow.id) == device, *self._mine())
        with self._database.read() as session:
            return _slots(session, session.execute(query).scalars().all())[device]

    def events(self, device: str, limit: int) -> tuple[EventLine, ...]:
        """The last events of a device's outbox, the newest first."""
        query = (
            select(EventRow)
            .where(col(EventRow.device) == device, *self._within(col(EventRow.device)))
            .order_by(col(EventRow.sequence).desc())
            .limit(limit)
        )
        with self._database.read() as session:
            return tuple(
                EventLine(row.sequence, row.occurred_at, row.received_at, row.kind, row.body)
                for row in session.execute(query).scalars()
            )

    def receipts(self, device: str, limit: int) -> tuple[ReceiptRecord, ...]:
        """The last receipts of a device, the newest first."""
        query = (
            select(ReceiptRow)
            .where(col(ReceiptRow.device) == device, *self._within(col(ReceiptRow.device)))
            .order_by(col(ReceiptRow.sequence).desc())
            .limit(limit)
        )
        with self._database.read() as session:
            return tuple(rows.receipt(row) for row in session.execute(query).scalars())

    def those(self, devices: Iterable[str] | None = None) -> frozenset[str]:
        """Those of these devices, or of all, that are seen."""
        query = select(col(DeviceRow.id)).where(*self._mine())
        if devices is not None:
            names = func.json_each(json.dumps(sorted(devices))).table_valued("value")
            query = query.where(col(DeviceRow.id).in_(select(names.c.value)))
        with self._database.read() as session:
            return frozenset(session.execute(query).scalars())

    def _mine(self) -> list[ColumnElement[bool]]:
        return self._within(col(DeviceRow.id))


class _Fleet:
    """Every device with its site and its status, as a statement."""

    def __init__(self, reachable: Iterable[str], label: str = SITE) -> None:
        names = func.json_each(json.dumps(sorted(reachable))).table_valued("value")
        self.reachable = col(DeviceRow.id).in_(select(names.c.value))
        self._label = label

    def devices(self, where: Sequence[ColumnElement[bool]]) -> Select[Any]:
        """The devices that meet the conditions."""
        label = aliased(LabelRow)
        return (
            select(
                col(DeviceRow.id),
                col(DeviceRow.name),
                col(DeviceRow.agent_version),
                col(DeviceRow.last_seen),
                col(DeviceRow.facts),
                func.coalesce(label.value, "").label("site"),
                self._status().label("status"),
            )
            .outerjoin(
                label, and_(col(label.device) == col(DeviceRow.id), col(label.key) == self._label)
            )
            .where(*where)
        )

    def _status(self) -> ColumnElement[str]:
        troubled = col(DeviceRow.id).in_(_troubled())
        return case(
            (col(DeviceRow.state) == str(Standing.REVOKED), str(Status.REVOKED)),
            (col(DeviceRow.state) == str(Standing.QUARANTINED), str(Status.DEGRADED)),
            (and_(self.reachable, troubled), str(Status.DEGRADED)),
            (self.reachable, str(Status.ONLINE)),
            (col(DeviceRow.last_seen).is_(None), str(Status.PENDING)),
            else_=str(Status.OFFLINE),
        )


def _troubled() -> Select[Any]:
    """Devices with a slot that tells why it does not serve what it should, or not where."""
    return select(col(SlotRow.device)).outerjoin(DesiredRow, _same_slot()).where(_is_troubled())


def _is_troubled() -> ColumnElement[bool]:
    told = func.coalesce(cast(col(SlotRow.failure), String), "null") != "null"
    differs = func.coalesce(col(DesiredRow.release), "") != col(SlotRow.active_release)
    weak = col(SlotRow.degraded) != ""
    return or_(col(SlotRow.state) == _SAFE_MODE, and_(told, differs), weak)


def _same_slot() -> ColumnElement[bool]:
    return and_(
        col(DesiredRow.device) == col(SlotRow.device), col(DesiredRow.slot) == col(SlotRow.slot)
    )


def _complaint(row: Any) -> Complaint:
    slot, state, active, desired, message, hint, count, example = row
    return Complaint(slot, state, active, desired, message or "", hint or "", count, example)


def _matching(wanted: DeviceFilter) -> list[ColumnElement[bool]]:
    """What the filter says about a device, without its status."""
    where = conditions(parse(wanted.selector))
    if wanted.text:
        site = exists().where(
            col(LabelRow.device) == col(DeviceRow.id),
            col(LabelRow.key) == SITE,
            col(LabelRow.value).icontains(wanted.text, autoescape=True),
        )
        where.append(or_(col(DeviceRow.id).icontains(wanted.text, autoescape=True), site))
    if wanted.site:
        here = select(col(LabelRow.device)).where(
            col(LabelRow.key) == SITE, col(LabelRow.value) == wanted.site
        )
        where.append(col(DeviceRow.id).in_(here))
    if wanted.release:
        serves = select(col(SlotRow.device)).where(col(SlotRow.active_release) == wanted.release)
        where.append(col(DeviceRow.id).in_(serves))
    if wanted.rollout:
        within = select(col(RolloutDeviceRow.device)).where(
            col(RolloutDeviceRow.rollout) == wanted.rollout
        )
        where.append(col(DeviceRow.id).in_(within))
    return where


def _filtered(matching: Subquery, wanted: DeviceFilter) -> Select[Any]:
    if wanted.status:
        return select(matching).where(matching.c.status == wanted.status)
    return select(matching).where(matching.c.status != str(Status.REVOKED))


def _total(counts: Mapping[Status, int], wanted: DeviceFilter) -> int:
    if wanted.status:
        return sum(count for status, count in counts.items() if status == wanted.status)
    return sum(count for status, count in counts.items() if status is not Status.REVOKED)


SORTS: Final = ("name", "site", "status", "last_seen", "agent_version")
"""Columns by which a list of devices can be ordered; the first one is usual."""


def _paged(chosen: Select[Any], matching: Subquery, page: Page) -> Select[Any]:
    column = matching.c[page.sort if page.sort in SORTS else SORTS[0]]
    order = column.desc() if page.descending else column.asc()
    return chosen.order_by(order.nulls_last(), matching.c.id).limit(page.size).offset(page.offset)


def _counted(session: Session, devices: Subquery) -> dict[Status, int]:
    query = select(devices.c.status, func.count()).group_by(devices.c.status)
    return {Status(status): count for status, count in session.execute(query)}


def _released(table: type[SlotRow | DesiredRow]) -> Select[str, str, int]:
    release = col(SlotRow.active_release) if table is SlotRow else col(DesiredRow.release)
    return (
        select(col(table.slot), release, func.count())
        .join(DeviceRow, col(DeviceRow.id) == col(table.device))
        .where(col(DeviceRow.state) != str(Standing.REVOKED))
        .group_by(col(table.slot), release)
    )


def _slots(session: Session, devices: Sequence[str]) -> Mapping[str, tuple[SlotLine, ...]]:
    """The slots of these devices: what was assigned and what was reported, side by side."""
    reported = select(SlotRow).where(col(SlotRow.device).in_(devices))
    desired = select(DesiredRow).where(col(DesiredRow.device).in_(devices))
    said = {(row.device, row.slot): row for row in session.execute(reported).scalars()}
    wanted = {(row.device, row.slot): row for row in session.execute(desired).scalars()}
    found: dict[str, list[SlotLine]] = defaultdict(list)
    for device, slot in sorted(said.keys() | wanted.keys()):
        line = _slot_line((device, slot), wanted.get((device, slot)), said.get((device, slot)))
        found[device].append(line)
    return defaultdict(tuple, {device: tuple(lines) for device, lines in found.items()})


def _slot_line(key: tuple[str, str], wanted: DesiredRow | None, said: SlotRow | None) -> SlotLine:
    report = rows.slot_report(said) if said else None
    return SlotLine(
        device=key[0],
        slot=key[1],
        desired=wanted.release if wanted else "",
        rollout=wanted.rollout if wanted else "",
        state=report.state if report else "",
        active=report.active_release if report else "",
        lkg=report.lkg_release if report else "",
        attempt=report.attempt_release if report else "",
        failure=report.failure if report else None,
        degraded=report.degraded if report else "",
        chosen=report.chosen if report else "",
        reported_at=said.reported_at if said else None,
    )


def _device_line(row: Any, slots: tuple[SlotLine, ...]) -> DeviceLine:
    return DeviceLine(
        id=row.id,
        name=row.name,
        site=row.site,
        status=Status(row.status),
        agent_version=row.agent_version,
        last_seen=row.last_seen,
        facts=rows.facts(row.facts) if row.facts else None,
        slots=slots,
    )
