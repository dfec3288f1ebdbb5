"""The fields of a rollout file: how each is written, what it means, and what holds without it.

One table serves the reader, the writer, the comparison and the published schema. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import InvalidName
from sealane.names import ReleaseName, parse_slot
from sealane.policy import LONGEST_TRIAL_S

from sealane_manager import selector
from sealane_manager.gate.types import ALPHA, CHECKS, Breach, Mode
from sealane_manager.rollout import notation
from sealane_manager.rollout.placement import MAX_STAGES, parse_stage, stage_text
from sealane_manager.rollout.terms import OnConflict, Retries
from sealane_manager.rollout.types import GatePolicy, OnFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from sealane_manager.gate.types import Check

    Written = Mapping[str, "str | tuple[str, ...]"]
    """A whole file as text, by the path of each field; what was left out has its default."""

FORM: Final = "rollout/v1"
"""What the first line of a file says it is."""

NONE: Final = "none"
"""Mode of a check that is not made."""

MOST_ITEMS: Final = 400
"""Entries of one list: a year of single days."""

MAX_REASON: Final = 1000
_COUNT: Final = re.compile(r"[0-9]{1,10}")
_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,18})?(e-?[0-9]{1,2})?")
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")
_TRUTH: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Value:
    """A way to write something.

    Attributes:
        read: from text; raises InvalidName.
        text: back to text, always in the same form.
        schema: what a JSON schema says of it.
        plain: from text to what YAML writes without quotes.
    """

    read: Callable[[str], Any]
    text: Callable[[Any], str]
    schema: Mapping[str, Any]
    plain: Callable[[str], Any] = str


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        default: as text; None when it must be given, empty when nothing holds without it.
        many: whether it is a list of values.
        optional: whether nothing at all is meant without it.
    """

    value: Value
    about: str
    default: str | tuple[str, ...] | None = ""
    many: bool = False
    optional: bool = False


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise InvalidName(f"{text[:40]!r} is not a count", hint="write a number like 3")
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise InvalidName(f"{text[:40]!r} is not a number", hint="write a number like 0.01")
    return float(text)


def _truth(text: str) -> bool:
    if text not in _TRUTH:
        raise InvalidName(f"{text[:40]!r} is neither true nor false")
    return _TRUTH[text]


def _truth_text(value: bool) -> str:  # noqa: FBT001 - it is the value that is written
    return "true" if value else "false"


def _selector(text: str) -> str:
    selector.parse(text)
    return text


def parse_name(text: str) -> str:
    """A rollout's name, or the id of one that has none; raises InvalidName."""
    if not _NAME.fullmatch(text):
        raise InvalidName(
            f"{text[:80]!r} is not a rollout name",
            hint="use up to 64 of a-z, 0-9, '-', '_' and '.', beginning and ending with a-z or 0-9",
        )
    return text


def _reason(text: str) -> str:
    if len(text) > MAX_REASON:
        raise InvalidName(f"a reason has at most {MAX_REASON} characters, this has {len(text)}")
    return text


def _tried(text: str) -> timedelta:
    span = notation.parse_span(text)
    if span.total_seconds() > LONGEST_TRIAL_S:
        raise InvalidName(f"a trial takes at most {LONGEST_TRIAL_S:.0f} seconds")
    return span


def _one_of(*words: str) -> Value:
    def read(text: str) -> str:
        if text not in words:
            raise InvalidName(f"{text[:40]!r} is none of {', '.join(words)}")
        return text

    return Value(read, str, {"enum": [str(word) for word in words]})


_COUNTED: Final = Value(_count, str, {"type": "integer", "minimum": 0}, int)
_NUMBERED: Final = Value(_number, repr, {"type": "number", "minimum": 0}, float)
_YES_OR_NO: Final = Value(_truth, _truth_text, {"type": "boolean"}, _truth)
_SPAN: Final = Value(
    notation.parse_span,
    notation.span_text,
    {"type": "string", "pattern": "^[0-9]{1,6}(s|m|h|d)$"},
)
_DAYS: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"


def _text(read: Callable[[str], Any], pattern: str) -> Value:
    return Value(read, str, {"type": "string", "pattern": f"^{pattern}$"})


_STAGE: Final = Value(
    parse_stage,
    stage_text,
    {
        "oneOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": "^([1-9][0-9]{0,8}%?|(where|each) .+)$"},
        ]
    },
    lambda text: int(text) if text.isdecimal() else text,
)
_START: Final = Value(notation.parse_start, notation.start_text, {"type": "string"})
_FREEZE: Final = Value(
    notation.parse_freeze,
    notation.freeze_text,
    {"type": "string", "pattern": f"^{_DAYS}(\\.\\.{_DAYS})?$"},
)
_LIMIT: Final = Value(
    notation.parse_limit,
    notation.limit_text,
    {"type": "string", "pattern": "^[a-z0-9_./-]+( per [a-z0-9_./-]+)?=[0-9]+$"},
)
_SHARE: Final = Value(
    notation.parse_share,
    notation.share_text,
    {"type": "string", "pattern": "^[1-9][0-9]?%$"},
)
_RELEASE: Final = _text(ReleaseName.parse, "[a-z0-9_./-]+@[1-9][0-9]*")
_TRIED: Final = Value(
    _tried,
    notation.span_text,
    _SPAN.schema,
)
_SELECTED: Final = Value(_selector, str, {"type": "string", "maxLength": selector.MAX_CHARS})
_SAID: Final = Value(_reason, str, {"type": "string", "maxLength": MAX_REASON})


def _check_fields(check: Check) -> dict[str, Field]:
    at, number = f"gate.checks.{check.kind}", _NUMBERED.text
    return {
        f"{at}.mode": Field(
            _one_of(*Mode, NONE),
            "decide, only say what it would decide, or do not check",
            "enforce",
        ),
        f"{at}.tolerate": Field(
            _NUMBERED, "harm that is allowed: a factor or a share", number(check.tolerate)
        ),
        f"{at}.proceed_below": Field(
            _NUMBERED, "factor that must be excluded with prove", number(check.proceed_below)
        ),
        f"{at}.breach": Field(_one_of(*Breach), "what shown harm does", str(check.breach)),
    }


_GATE: Final = GatePolicy()
_RETRIES: Final = Retries()

FIELDS: Final[Mapping[str, Field]] = {
    "sealane": Field(_one_of(FORM), "what this file is", None),
    "name": Field(_text(parse_name, _NAME.pattern), "what this rollout is called", None),
    "release": Field(_RELEASE, "family/model@version", None),
    "slot": Field(_text(parse_slot, _NAME.pattern), "where it shall serve", None),
    "selector": Field(_SELECTED, "which devices; all without one"),
    "stages": Field(
        _STAGE, "counts, shares, `where line=a`, `each site`", ("1", "40%", "100%"), many=True
    ),
    "soak": Field(_SPAN, "how long a stage is watched", "30s"),
    "on_failure": Field(_one_of(*OnFailure), "what a failed gate does", str(OnFailure.REVERT)),
    "on_conflict": Field(
        _one_of(*OnConflict), "with a rollout that is in the way", str(OnConflict.REJECT)
    ),
    "approvals": Field(_COUNTED, "people who must agree first", "0"),
    "join": Field(_YES_OR_NO, "devices that match later join while it runs", "false"),
    "reason": Field(_SAID, "why, for the log; a changed reason alone changes nothing"),
    "gate.max_failed": Field(_COUNTED, "devices that may fail", "0"),
    "gate.max_failed_percent": Field(_COUNTED, "share of them that may", "0"),
    "gate.min_requests": Field(_COUNTED, "each receipt shows so many", "0"),
    "gate.silent_after": Field(
        _SPAN, "a device silent for so long failed", notation.span_text(_GATE.silent_after)
    ),
    "gate.by_evidence": Field(_YES_OR_NO, "evidence says how many may fail", "false"),
    "gate.alpha": Field(_NUMBERED, "chance of stopping a good release", repr(ALPHA)),
    "gate.prove": Field(_YES_OR_NO, "pass only when harmlessness is shown", "false"),
    **{path: field for check in CHECKS for path, field in _check_fields(check).items()},
    "pace.at_once": Field(_COUNTED, "devices at risk at once", optional=True),
    "pace.ramp": Field(_COUNTED, "so many at first, one more for each that serves", optional=True),
    "pace.limits": Field(_LIMIT, "at once: site=2, site/line=1, line per site=2", (), many=True),
    "retries.count": Field(
        _COUNTED, "a device whose failure may pass is tried again so often", str(_RETRIES.count)
    ),
    "retries.delay": Field(
        _SPAN,
        "longest pause before the first time, doubled each time",
        notation.span_text(_RETRIES.delay),
    ),
    "challenge.for": Field(
        _TRIED, "champion and challenger stand side by side until the gate's verdict", optional=True
    ),
    "split.share": Field(
        _SHARE, "of a device's requests while it is on probation, like 50%", optional=True
    ),
    "split.for": Field(_TRIED, "probation in a split lasts at least so long", optional=True),
    "shadow.for": Field(
        _TRIED, "before it answers, copies of requests go to it for so long", optional=True
    ),
    "times.start": Field(_START, "not before, like 2026-12-24T06:00+01:00", optional=True),
    "times.deadline": Field(_SPAN, "the gate fails when it takes longer", optional=True),
    "times.stage_deadline": Field(
        _SPAN, "the same of each stage, from its beginning", optional=True
    ),
    "times.calendars": Field(
        _text(parse_name, _NAME.pattern), "calendars to keep to; `all` for every one", (), many=True
    ),
    "times.freeze": Field(_FREEZE, "no places on these days", (), many=True),
}
"""Every field, in the order in which it is written."""

GROUPS: Final = frozenset(
    ".".join(path.split(".")[:depth]) for path in FIELDS for depth in range(1, path.count(".") + 1)
)
"""Paths that hold other fields."""

MOST: Final[Mapping[str, int]] = {"stages": MAX_STAGES}
"""Entries of a list, where it is fewer than MOST_ITEMS."""


def most(path: str) -> int:
    """Entries that the list of this field may have."""
    return MOST.get(path, MOST_ITEMS)
