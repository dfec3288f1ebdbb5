"""Alerts, silences and deliveries; a change and what people will be told of it are one commit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, insert
from sqlmodel import col, select

from sealane_manager.alerts.machine import acknowledged
from sealane_manager.alerts.types import (
    Alert,
    AlertFilter,
    AlertState,
    Finding,
    Severity,
    Silence,
)
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.sight import Sight
from sealane_manager.store.tables.alerts import AlertRow, DeliveryRow, SilenceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.alerts.types import Change
    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By

WAITING: Final = "waiting"
SENT: Final = "sent"
DEAD: Final = "dead"

SHOWN: Final = 500
"""Alerts and deliveries in one list."""

MAX_TEXT: Final = 500
"""Characters of a sentence; a part of it may be a device's."""

_LIVE: Final = (str(AlertState.OPEN), str(AlertState.ACKNOWLEDGED))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to one channel; `state` is waiting, sent or dead."""

    id: str
    channel: str
    headline: str
    content: Mapping[str, Any]
    state: str
    made_at: datetime
    next_try: datetime
    tries: int
    problem: str


class Alerts(Sight):
    """Lists alerts and changes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, wanted: AlertFilter | None = None) -> tuple[Alert, ...]:
        """The alerts, the latest first."""
        wanted = wanted or AlertFilter()
        states = col(AlertRow.state).in_(wanted.states or _LIVE)
        query = select(AlertRow).where(states, *self._at(col(AlertRow.site)))
        for column, value in (
            (col(AlertRow.rule), wanted.rule),
            (col(AlertRow.site), wanted.site),
            (col(AlertRow.severity), wanted.severity),
        ):
            if value:
                query = query.where(column == value)
        if wanted.text:
            query = query.where(col(AlertRow.text).contains(wanted.text, autoescape=True))
        query = query.order_by(col(AlertRow.since).desc(), col(AlertRow.subject)).limit(SHOWN)
        with self._database.read() as session:
            return tuple(_alert(row) for row in session.exec(query))

    def get(self, rule: str, subject: str) -> Alert:
        """One alert, whatever its state; raises NotKnown."""
        with self._database.read() as session:
            row = session.get(AlertRow, (rule, subject))
            if not row or not self._sees(row.site):
                raise _unknown(rule, subject)
            return _alert(row)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many alerts are open or acknowledged, by rule and severity."""
        query = (
            select(AlertRow.rule, AlertRow.severity, func.count())
            .where(col(AlertRow.state).in_(_LIVE), *self._at(col(AlertRow.site)))
            .group_by(col(AlertRow.rule), col(AlertRow.severity))
        )
        with self._database.read() as session:
            return {(rule, severity): count for rule, severity, count in session.exec(query)}

    def apply(
        self,
        decide: Callable[[Mapping[tuple[str, str], Alert], tuple[Silence, ...]], Change],
        write: Callable[[Change], Iterable[Delivery]],
    ) -> Change:
        """Decide on what is known and write it, with the deliveries, in one transaction."""
        with self._database.write() as session:
            known = {(row.rule, row.subject): row for row in session.exec(select(AlertRow))}
            silences = tuple(_silence(row) for row in session.exec(select(SilenceRow)))
            change = decide({key: _alert(row) for key, row in known.items()}, silences)
            session.expunge_all()
            _replace(session, change)
            for delivery in write(change):
                session.add(_delivery_row(delivery))
        return change

    def acknowledge(self, rule: str, subject: str, by: By) -> Alert:
        """Take care of an alert; raises NotKnown, or Refused when it is not open."""
        with self._database.write() as session:
            row = session.get(AlertRow, (rule, subject))
            if not row:
                raise _unknown(rule, subject)
            if row.state not in _LIVE:
                raise Refused(f"the alert {rule} of {subject} is {row.state}, not open")
            alert = acknowledged(_alert(row), by.actor)
            session.merge(_row(alert))
            detail = f"alert {rule} of {subject}: {by.reason}".rstrip(": ")
            log(session, DecisionRecord(by.at, "", by.actor, "acknowledge", detail))
        return alert

    def silence(self, what: Silence, by: By) -> Silence:
        """Keep quiet about what matches; raises Refused when it would not end, or hides all."""
        if what.until <= by.at:
            raise Refused("a silence ends in the future")
        if not (what.rule or what.site or what.subject):
            raise Refused("a silence names a rule, a site or a subject")
        with self._database.write() as session:
            session.add(
                SilenceRow(
                    id=what.id,
                    rule=what.rule,
                    site=what.site,
                    subject=what.subject,
                    until=what.until,
                    by=by.actor,
                    reason=by.reason,
                )
            )
            words = [word for word in (what.rule, what.site, what.subject) if word]
            detail = f"{' '.join(words)} until {what.until:%Y-%m-%d %H:%M UTC}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "silence", detail))
        return replace(what, by=by.actor, reason=by.reason)

    def end_silence(self, silence: str, by: By) -> None:
        """Speak again; raises NotKnown."""
        with self._database.write() as session:
            row = session.get(SilenceRow, silence)
            if not row:
                raise _no_silence(silence)
            session.delete(row)
            log(session, DecisionRecord(by.at, "", by.actor, "end silence", silence))

    def get_silence(self, silence: str) -> Silence:
        """One silence; raises NotKnown."""
        with self._database.read() as session:
            row = session.get(SilenceRow, silence)
            found = _silence(row) if row else None
            if not found or not self._hears(found):
                raise _no_silence(silence)
            return found

    def silences(self, now: datetime) -> tuple[Silence, ...]:
        """Those that hold now, the first to end first."""
        query = select(SilenceRow).where(col(SilenceRow.until) > now)
        with self._database.read() as session:
            found = map(_silence, session.exec(query.order_by(col(SilenceRow.until))))
            return tuple(each for each in found if self._hears(each))

    def _hears(self, silence: Silence) -> bool:
        """Whether a silence is of what is seen: of these sites, or of a rule everywhere."""
        return self._sees(silence.site) or not (silence.site or silence.subject)

    def deliveries(self, limit: int = SHOWN) -> tuple[Delivery, ...]:
        """The last deliveries, the newest first."""
        query = select(DeliveryRow).order_by(col(DeliveryRow.made_at).desc()).limit(limit)
        with self._database.read() as session:
            found = map(_delivery, session.exec(query))
            return tuple(each for each in found if self._sees(str(each.content.get("site", ""))))

    def due(self, now: datetime, limit: int) -> tuple[Delivery, ...]:
        """Deliveries whose time has come, the longest waiting first."""
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.state == WAITING, col(DeliveryRow.next_try) <= now)
            .order_by(col(DeliveryRow.next_try))
            .limit(limit)
        )
        with self._database.read() as session:
            return tuple(map(_delivery, session.exec(query)))

    def tried(self, delivery: Delivery) -> None:
        """Write what became of a delivery."""
        with self._database.write() as session:
            session.merge(_delivery_row(delivery))

    def prune(self, before: datetime) -> None:
        """Forget deliveries that were made, and silences that ended, before a moment."""
        with self._database.write() as session:
            connection = session.connection()
            connection.execute(delete(DeliveryRow).where(col(DeliveryRow.made_at) < before))
            connection.execute(delete(SilenceRow).where(col(SilenceRow.until) < before))


def _unknown(rule: str, subject: str) -> NotKnown:
    return NotKnown(f"there is no alert {rule[:40]} of {subject[:200]}", hint="see the alerts")


def _no_silence(silence: str) -> NotKnown:
    return NotKnown(f"there is no silence {silence[:40]}", hint="see the silences")


def _replace(session: Session, change: Change) -> None:
    """Two statements, however many alerts there are."""
    connection = session.connection()
    old = [{"old_rule": rule, "old_subject": name} for rule, name in (*change.gone, *change.alerts)]
    if old:
        connection.execute(
            delete(AlertRow).where(
                col(AlertRow.rule) == bindparam("old_rule"),
                col(AlertRow.subject) == bindparam("old_subject"),
            ),
            old,
        )
    if change.alerts:
        new = [_row(alert).model_dump() for alert in change.alerts.values()]
        connection.execute(insert(AlertRow), new)


def new_silence(rule: str, site: str, subject: str, until: datetime) -> Silence:
    """A silence that is to be kept; who wants it and why is said when it is."""
    return Silence(f"s-{secrets.token_hex(4)}", rule, site, subject, until, "", "")


def new_delivery(channel: str, content: dict[str, Any], now: datetime) -> Delivery:
    """A notice that waits for a channel."""
    name = f"d-{secrets.token_hex(8)}"
    return Delivery(name, channel, content["headline"], content, WAITING, now, now, 0, "")


def _alert(row: AlertRow) -> Alert:
    finding = Finding(row.rule, row.subject, row.site, Severity(row.severity), row.text)
    return Alert(
        finding=finding,
        state=AlertState(row.state),
        since=row.since,
        seen=row.seen,
        told=row.told,
        ended=row.ended,
        by=row.by,
        count=row.count,
    )


def _row(alert: Alert) -> AlertRow:
    return AlertRow(
        rule=alert.finding.rule,
        subject=alert.finding.subject,
        site=alert.finding.site,
        severity=alert.finding.severity,
        text=alert.finding.text[:MAX_TEXT],
        state=alert.state,
        since=alert.since,
        seen=alert.seen,
        told=alert.told,
        ended=alert.ended,
        by=alert.by,
        count=alert.count,
    )


def _silence(row: SilenceRow) -> Silence:
    return Silence(row.id, row.rule, row.site, row.subject, row.until, row.by, row.reason)


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        id=row.id,
        channel=row.channel,
        headline=row.headline,
        content=row.content,
        state=row.state,
        made_at=row.made_at,
        next_try=row.next_try,
        tries=row.tries,
        problem=row.problem,
    )


def _delivery_row(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(
        id=delivery.id,
        channel=delivery.channel,
        headline=delivery.headline[:MAX_TEXT],
        content=dict(delivery.content),
        state=delivery.state,
        made_at=delivery.made_at,
        next_try=delivery.next_try,
        tries=delivery.tries,
        problem=delivery.problem[:MAX_TEXT],
    )
