"""Decides how values are written on a page: times, counts, sizes, a word's colour. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"))
_KIB: Final = 1024

_TONES: Final[Mapping[str, tuple[str, ...]]] = {
    "ok": (
        "online",
        "serving",
        "succeeded",
        "committed",
        "pass",
        "listed",
        "active",
        "passed",
        "sent",
    ),
    "warn": (
        "degraded",
        "paused",
        "suspect",
        "hold",
        "reverting",
        "rolling_back",
        "warning",
        "acknowledged",
    ),
    "bad": (
        "failed",
        "rolled_back",
        "reverted",
        "aborted",
        "quarantined",
        "safe_mode",
        "fail",
        "revoked",
        "refused",
        "permanent",
        "critical",
        "open",
        "dead",
        "drift",
        "harm",
    ),
    "info": (
        "running",
        "leased",
        "fetching",
        "staged",
        "shadow",
        "probation",
        "pending",
        "accepted",
        "activating",
        "scheduled",
        "waiting_approval",
        "info",
    ),
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words}


def tone(word: str) -> str:
    """The colour of a state: ok, warn, bad, info, or idle."""
    return _TONE_OF.get(word, "idle")


def plain(word: str) -> str:
    """A state as people read it: `rolled_back` is `rolled back`."""
    return word.replace("_", " ")


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, in one unit: `27 s`, `5 min`, `3 h`, `12 d`."""
    return span(now - moment)


def span(length: timedelta) -> str:
    """A duration in one unit; nothing is shorter than 0 s."""
    seconds = max(0, int(length.total_seconds()))
    for below, unit, name in _STEPS:
        if seconds < below:
            return f"{seconds // unit} {name}"
    return f"{seconds // 86400} d"


def absolute(moment: datetime) -> str:
    """A moment in full, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def moment(seconds: int, form: str) -> str:
    """A moment in seconds since 1970, in UTC, as `strftime` writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def number(value: int) -> str:
    """A count with thousands apart."""
    return f"{value:,}"


def size(count: int) -> str:
    """Bytes in the largest fitting binary unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:.1f} TiB"


def short(digest: str) -> str:
    """The beginning of a digest: enough to tell it from another."""
    kind, colon, content = digest.partition(":")
    return f"{kind}:{content[:12]}…" if colon else digest[:12]


def share(part: int, whole: int) -> float:
    """A part in percent, with one digit; nothing of nothing is 0."""
    return round(100 * part / whole, 1) if whole else 0.0


def plural(count: int, one: str, more: str = "") -> str:
    """A count with its noun."""
    return f"{number(count)} {one if count == 1 else more or one + 's'}"


CAUSES: Final[Mapping[str, str]] = {
    "reference": "the reference",
    "device": "this device",
    "world": "the world",
    "site": "this place",
}
"""What a drift points at, in short."""

MEANINGS: Final[Mapping[str, str]] = {
    "reference": "Only the producer's data differ: the model was trained on something else.",
    "device": "It left its own past and its peers: look at this camera or sensor.",
    "world": "It left its own past, and its peers did so too: the world changed.",
    "site": "It always differed from its peers: other light, other goods, another mounting.",
}
"""The same as a sentence that says what to look at."""

EVIDENCE: Final[Mapping[str, str]] = {
    "device_outcome": "Devices that cannot serve it",
    "after_activation": "Crashes and silence",
    "error_rate within devices": "Errors within devices",
    "error_rate between devices": "Errors between devices",
    "latency within devices": "Latency within devices",
    "latency between devices": "Latency between devices",
    "disagreement": "Disagreement",
    "prediction_shift": "Predictions",
}
"""What each test of a gate is called on a page."""

FILTERS: Final[Mapping[str, Callable[..., str]]] = {
    "tone": tone,
    "plain": plain,
    "ago": ago,
    "span": span,
    "absolute": absolute,
    "moment": moment,
    "number": number,
    "size": size,
    "short": short,
    "plural": plural,
}
"""What templates can call by name."""
