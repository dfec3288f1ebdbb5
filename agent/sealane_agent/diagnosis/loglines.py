"""Reads back what the agent said, in whichever form: text, JSON, journal entries. Pure.

The names of fields are stable: `at`, `event`, and whatever the event says beside them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_CHARS: Final = 64 * 1024
_FIELD: Final = re.compile(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)')
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\S+) ")
_OURS: Final = "SEALANE_"
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event; `fields` have every other value as text, `at` is ISO 8601 or empty."""

    at: str
    event: str
    fields: Mapping[str, str]


def read_line(text: str) -> LogLine | None:
    """A line of text or JSON; None when there is nothing in it."""
    text = text.strip()[:LINE_CHARS]
    if not text:
        return None
    if text.startswith("{"):
        found = _object(text)
        if found is not None:
            at, event = found.pop("at", ""), found.pop("event", "")
            return LogLine(at, event, found)
    return _plain(text)


def read_entry(text: str) -> LogLine | None:
    """One line of `journalctl -o json`; None when it is no entry."""
    found = _object(text[:LINE_CHARS])
    if found is None:
        return None
    stamp = found.get("__REALTIME_TIMESTAMP", "")
    at = ""
    if stamp.isdigit():
        moment = datetime.fromtimestamp(int(stamp) / _MICROSECONDS, UTC)
        at = moment.isoformat(timespec="milliseconds")
    own = {
        name.removeprefix(_OURS).lower(): value
        for name, value in found.items()
        if name.startswith(_OURS)
    }
    event = own.pop("event", "") or found.get("MESSAGE", "")
    return LogLine(at, event, own)


def concerns(line: LogLine, slot: str) -> bool:
    """Whether a line is about this slot; all are about the empty one."""
    return not slot or line.fields.get("slot") == slot


def _plain(text: str) -> LogLine:
    at = ""
    if begins := _TIME.match(text):
        at, text = begins[1], text[begins.end() :]
    first = _FIELD.search(f" {text}")
    event = text[: max(first.start() - 1, 0)] if first else text
    fields = {name: _value(value) for name, value in _FIELD.findall(f" {text}")}
    return LogLine(at, event, fields)


def _value(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _object(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
    }
