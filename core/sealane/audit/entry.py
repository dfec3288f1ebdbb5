"""One entry of the audit log, and the bytes that its leaf is made of. Pure.

The bytes are the fields themselves, so that what is shown is what was hashed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """Who or what did what, when and why.

    Attributes:
        at: aware.
        rollout: its id; empty when the entry is about something else.
        evidence: SHA-256, hexadecimal, of the bytes that prove it; empty when there are none.
    """

    at: datetime
    actor: str
    action: str
    rollout: str = ""
    detail: str = ""
    evidence: str = ""


def fields_of(entry: Entry) -> dict[str, str]:
    """The entry as JSON has it; times in UTC with microseconds."""
    return {
        "action": entry.action,
        "actor": entry.actor,
        "at": entry.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "detail": entry.detail,
        "evidence": entry.evidence,
        "rollout": entry.rollout,
    }


def encoded(entry: Entry) -> bytes:
    """The leaf: JSON in ASCII, keys in order, no spaces."""
    return json.dumps(fields_of(entry), sort_keys=True, separators=(",", ":")).encode("ascii")
