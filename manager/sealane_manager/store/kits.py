"""Kits: what was exported for which device, until the device says that it took it up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.names import ReleaseName, SlotName
from sealane.trust.documents import Lease, SlotAssignment
from sqlmodel import col, select

from sealane_manager.errors import Refused
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import Wanted, assign, assignments, bump
from sealane_manager.store.devices import active, known
from sealane_manager.store.orders import holds_for, quarantined_for
from sealane_manager.store.records import DecisionRecord, Issue, ReleaseSource
from sealane_manager.store.restoring import pass_over
from sealane_manager.store.schedules import policy_for
from sealane_manager.store.tables.rollouts import KitRow, QuarantineRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sealane.names import DeviceId
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By

LED: Final = "it was led on by a kit"


@dataclass(frozen=True, slots=True)
class KitTerms:
    """What a kit brings.

    Attributes:
        id: names it, and stands for the rollout on the devices.
        until: it may be taken up and activated until then.
    """

    id: str
    source: ReleaseSource
    slot: SlotName
    until: datetime


class Kits:
    """Keeps kits that are on their way."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(
        self, terms: KitTerms, devices: Sequence[DeviceId], by: By
    ) -> Mapping[DeviceId, Issue]:
        """Use up a document version of every device; what each is wanted to run changes not yet.

        Raises NotKnown, or Refused when a device is no member or the release is in quarantine.
        """
        with self._database.write() as session:
            away = session.get(QuarantineRow, terms.source.manifest)
            if away is not None:
                raise Refused(f"{terms.source.name} is in quarantine: {away.reason}")
            issues = {device: _issue(session, terms, device, by) for device in devices}
            names = ", ".join(devices[:8]) + (", …" if len(devices) > len(devices[:8]) else "")
            detail = f"{terms.source.name} for slot {terms.slot} of {names}: {by.reason}"
            log(session, DecisionRecord(by.at, terms.id, by.actor, "kit export", detail))
        return issues

    def adopt(self, device: DeviceId, seen: int, now: datetime) -> bool:
        """Want what the kit brought whose document the device accepted last; whether it is news.

        `seen` is that document's version. No rollout goes on with the slot. What came into
        quarantine on the way is not wanted: the device hears so. Raises NotKnown.
        """
        with self._database.write() as session:
            query = select(KitRow).where(
                KitRow.device == device, KitRow.version == seen, col(KitRow.adopted_at).is_(None)
            )
            row = session.exec(query).first()
            if row is None:
                return False
            known(session, device)
            row.adopted_at = now
            session.add(row)
            wanted, away = _terms(row), session.get(QuarantineRow, row.manifest)
            if away is None:
                pass_over(session, device, {wanted.slot}, (LED, now))
                assign(session, [Wanted(device, wanted.slot, wanted.source, wanted.id)])
            bump(session, [device])
            detail = f"{wanted.source.name} in slot {wanted.slot}: it came by {wanted.id}"
            detail += "" if away is None else ", and is in quarantine"
            log(session, DecisionRecord(now, wanted.id, f"device {device}", "adopt", detail))
        return True


def _terms(row: KitRow) -> KitTerms:
    source = ReleaseSource(ReleaseName.parse(row.release), rows.digest(row.manifest), row.length)
    return KitTerms(row.id, source, SlotName(row.slot), row.until)


def _issue(session: Session, terms: KitTerms, device: DeviceId, by: By) -> Issue:
    row = active(session, device)
    row.document_version = max(row.document_version + 1, int(by.at.timestamp()))
    session.add(row)
    source = terms.source
    session.add(
        KitRow(
            id=terms.id,
            device=device,
            version=row.document_version,
            slot=terms.slot,
            release=str(source.name),
            manifest=source.manifest,
            length=source.length,
            until=terms.until,
        )
    )
    policy, _ = policy_for(session, device)
    lease = Lease(terms.id, terms.until)
    brought = SlotAssignment(
        terms.slot, source.name, source.manifest, source.length, terms.id, lease, policy
    )
    others = [
        replace(each, lease=lease, policy=policy)
        for each in assignments(session, device)
        if each.slot != terms.slot
    ]
    orders = (quarantined_for(session, device), holds_for(session, device, by.at))
    return Issue(row.document_version, row.generation, (*others, brought), *orders)
