"""Writes notices for machines and people: webhook, Alertmanager, mail. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_manager.alerts.types import Alert, Notice

FIRST_RETRY_S: Final = 10
LONGEST_RETRY_S: Final = 3600
TRIES: Final = 16
"""After so many tries, most of a day, a delivery is given up and shown as dead."""

ALERTS_NAMED: Final = 50
"""Alerts named in one notice; the others are counted."""

_ALERTMANAGER_ENDS: Final = timedelta(hours=24)
"""An alert that nobody confirms again is over for Alertmanager."""


def document(notice: Notice, fleet: str, address: str) -> dict[str, Any]:
    """A notice as JSON; also how it waits in the outbox."""
    return {
        "version": 1,
        "fleet": fleet,
        "rule": notice.rule,
        "site": notice.site,
        "severity": str(notice.severity),
        "status": "resolved" if notice.resolved else "open",
        "headline": notice.headline,
        "address": f"{address}/alerts" if address else "",
        "count": len(notice.alerts),
        "alerts": [_alert(alert) for alert in notice.alerts[:ALERTS_NAMED]],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "subject": alert.finding.subject,
        "text": alert.finding.text,
        "since": alert.since.isoformat(),
        "ended": alert.ended.isoformat() if alert.ended else None,
    }


def signature(secret: str, moment: int, body: bytes) -> str:
    """Of a webhook: HMAC-SHA256 over the moment, a full stop and the body, hexadecimal."""
    signed = f"{moment}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def webhook(content: dict[str, Any], delivery: str, secret: str, moment: int) -> Post:
    """Headers and body of one delivery."""
    body = json.dumps({**content, "id": delivery}, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "Sealane-Delivery": delivery,
        "Sealane-Signature": f"t={moment},v1={signature(secret, moment, body)}",
    }
    return headers, body


Post = tuple[dict[str, str], bytes]


def alertmanager(content: dict[str, Any], now: datetime) -> Post:
    """What `POST /api/v2/alerts` takes: one alert for each subject."""
    found = [_for_alertmanager(content, each, now) for each in content["alerts"]]
    return {"Content-Type": "application/json"}, json.dumps(found).encode()


def _for_alertmanager(
    content: dict[str, Any], alert: dict[str, Any], now: datetime
) -> dict[str, Any]:
    labels = {
        "alertname": f"sealane_{content['rule']}",
        "fleet": content["fleet"],
        "severity": content["severity"],
        "subject": alert["subject"],
    }
    if content["site"]:
        labels["site"] = content["site"]
    return {
        "labels": labels,
        "annotations": {"summary": alert["text"]},
        "startsAt": alert["since"],
        "endsAt": alert["ended"] or (now + _ALERTMANAGER_ENDS).isoformat(),
        "generatorURL": content["address"],
    }


def mail(content: dict[str, Any]) -> tuple[str, str]:
    """Subject and text."""
    word = "resolved" if content["status"] == "resolved" else content["severity"]
    lines = [f"- {each['text']} (since {each['since']})" for each in content["alerts"]]
    more = content["count"] - len(lines)
    if more > 0:
        lines.append(f"- and {more} more")
    text = "\n".join([content["headline"], "", *lines, "", content["address"]])
    subject = f"[{content['fleet']}] {word}: {content['headline']}"
    return " ".join(subject.split())[:200], text.rstrip() + "\n"


def retry_after(tries: int) -> timedelta | None:
    """How long to wait after so many failed tries; None: give up."""
    if tries >= TRIES:
        return None
    return timedelta(seconds=min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (tries - 1)))
