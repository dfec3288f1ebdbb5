"""What becomes of a database that is older than the fleet: it directs nobody back.

A device that has seen a newer director document than this database remembers was led by its later
self. What such a device serves is taken up as what it shall serve; rollouts wait for a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, update
from sqlmodel import col, select

from sealane_manager.errors import Refused
from sealane_manager.rollout.types import DeviceState, RolloutState
from sealane_manager.store import history
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import Wanted, assign, bump
from sealane_manager.store.devices import add_device, known
from sealane_manager.store.records import PACKAGE, DecisionRecord
from sealane_manager.store.tables.devices import DeviceRow, JoinTokenRow
from sealane_manager.store.tables.people import LoginRow
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sealane.fleet import SlotReport
    from sealane.names import DeviceId, SlotName
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By, NewDevice, ReleaseSource

ACTOR: Final = "restore"

LED: Final = "the device is newer than this database: it was led on before a restore"

_KNOWN_HINT: Final = "a machine of a name that is taken is enrolled anew: sealane device token"

MAX_DOCUMENT_VERSION: Final = 2**53
"""No clock reaches it; a device that says more harms only itself."""


class Restoring:
    """Brings a database from a backup and the fleet together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(self, why: str, now: datetime) -> tuple[str, ...]:
        """Let nothing go on by itself that a backup brought back; returns the paused rollouts.

        Join tokens end, because they may be used up; sessions of people end, because they may have
        been ended. The audit log begins another epoch: what came after the backup is lost.
        """
        with self._database.write() as session:
            running = select(RolloutRow).where(RolloutRow.state == str(RolloutState.RUNNING))
            paused = session.exec(running.order_by(RolloutRow.id)).all()
            for row in paused:
                pause(session, row, why, now)
            session.connection().execute(update(JoinTokenRow).values(uses_left=0))
            session.connection().execute(delete(LoginRow))
            history.next_epoch(session, now)
            log(session, DecisionRecord(now, "", ACTOR, "restore", why))
            return tuple(row.id for row in paused)

    def take_in(self, new: NewDevice, certified: datetime, by: By) -> None:
        """Keep a device that a later self of this database had enrolled; raises Refused.

        `certified`: when its key was. No name that this database knows is given away, least of all
        that of a device that was revoked.
        """
        with self._database.write() as session:
            row = session.get(DeviceRow, new.id)
            if row is not None:
                raise Refused(f"device {new.id} is known here: it is {row.state}", hint=_KNOWN_HINT)
            add_device(session, new)
            known(session, new.id).key_since = certified
            detail = f"device {new.id}, key {new.key_fingerprint}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "adopt", detail))

    def is_behind(self, device: DeviceId, seen: int) -> bool:
        """Whether the device was sent a newer document than this database remembers.

        `seen` is the version of its newest one; the next document is newer still. Raises NotKnown.
        """
        with self._database.read() as session:
            if seen <= known(session, device).document_version:
                return False
        with self._database.write() as session:
            row = known(session, device)
            row.document_version = max(row.document_version, min(seen, MAX_DOCUMENT_VERSION))
            session.add(row)
        return True

    def adopt(
        self,
        device: DeviceId,
        slots: Sequence[SlotReport],
        listed: Mapping[str, ReleaseSource],
        now: datetime,
    ) -> bool:
        """Want in each slot what serves there, as far as it is listed; whether that is news.

        A release that is not listed goes on serving: nothing is wanted in its slot. No rollout
        that this database remembers goes on with the device. Raises NotKnown.
        """
        with self._database.write() as session:
            strays = [each for each in slots if each.active_release]
            wanted = _wanted_now(session, device)
            leaving = _leaving(session, device)
            known_here = {**listed, str(PACKAGE.name): PACKAGE}
            news = [
                Wanted(device, each.slot, known_here.get(each.active_release), "")
                for each in strays
                if (each.slot, each.active_release) not in leaving
                and wanted.get(each.slot, "") not in _fitting(each, known_here)
            ]
            changed = assign(session, news)
            for each in news:
                detail = _told(each, strays, wanted)
                log(session, DecisionRecord(now, "", f"device {device}", "adopt", detail))
            pass_over(session, device, {each.slot for each in strays}, (LED, now))
            bump(session, changed)
        return bool(changed)


def _wanted_now(session: Session, device: DeviceId) -> dict[str, str]:
    query = select(DesiredRow.slot, DesiredRow.release).where(DesiredRow.device == device)
    return dict(session.exec(query).all())


def _fitting(slot: SlotReport, listed: Mapping[str, ReleaseSource]) -> tuple[str, ...]:
    """What may be wanted where this serves; no release has to be where the package's agent runs."""
    if slot.active_release == str(PACKAGE.name):
        return "", slot.active_release
    return (slot.active_release if slot.active_release in listed else "",)


def _leaving(session: Session, device: DeviceId) -> set[tuple[str, str]]:
    """Slots and releases that are being taken back from the device: that goes on."""
    query = (
        select(RolloutRow.slot, RolloutRow.release)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.rollout) == col(RolloutRow.id))
        .where(RolloutDeviceRow.device == device, RolloutRow.state == str(RolloutState.REVERTING))
    )
    return set(session.exec(query).all())


def _told(new: Wanted, slots: Sequence[SlotReport], wanted: Mapping[str, str]) -> str:
    serves = next(each.active_release for each in slots if each.slot == new.slot)
    before = wanted.get(new.slot) or "nothing"
    text = f"slot {new.slot} of {new.device} serves {serves}, this database wanted {before}"
    if new.source is None:
        return f"{text}: it goes on, although {serves} is not listed here; publish it again"
    return f"{text}: it stays"


def pass_over(
    session: Session, device: DeviceId, slots: set[SlotName], why: tuple[str, datetime]
) -> None:
    """Let no live rollout go on with these slots of a device."""
    live = (RolloutState.RUNNING, RolloutState.PAUSED)
    query = (
        select(RolloutDeviceRow)
        .join(RolloutRow, col(RolloutRow.id) == col(RolloutDeviceRow.rollout))
        .where(
            RolloutDeviceRow.device == device,
            col(RolloutRow.slot).in_(slots),
            col(RolloutRow.state).in_([str(state) for state in live]),
            RolloutDeviceRow.state != str(DeviceState.SKIPPED),
        )
    )
    for row in session.exec(query).all():
        row.state = DeviceState.SKIPPED
        row.detail, row.changed_at = why
        session.add(row)


def pause(session: Session, row: RolloutRow, why: str, now: datetime) -> None:
    """Let a rollout wait until a person has looked."""
    row.state, row.reason, row.phase_since = RolloutState.PAUSED, why, now
    session.add(row)
    log(session, DecisionRecord(now, row.id, ACTOR, str(RolloutState.PAUSED), why))
