"""Writes a report as one HTML page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from sealane_manager.rollout_file.dumping import text
from sealane_manager.rollout_file.reading import RolloutFile

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sealane_manager.report.contents import Report


_UNITS: Final = {"d": 86400, "h": 3600, "min": 60, "s": 1}


def page(found: Report, made: datetime) -> str:
    """The page, as UTF-8 text; everything in it that somebody else wrote is escaped."""
    environment = Environment(
        loader=PackageLoader("sealane_manager.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": _moment,
        "plain": _plain,
        "share": _share,
        "lasted": lasted,
    }
    rollout = found.rollout
    asked = text(RolloutFile(rollout.name or rollout.id, rollout.asked))
    template = environment.get_template("page.html")
    return template.render(report=found, rollout=rollout, asked=asked, made=made)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def lasted(length: timedelta) -> str:
    """A duration in its two largest units, to the second: `14 s`, `3 min 5 s`, `2 d 4 h`."""
    left, parts = round(length.total_seconds()), []
    for name, size in _UNITS.items():
        count, left = divmod(left, size)
        parts.append(f"{count} {name}" if count else "")
    first = next((at for at, part in enumerate(parts) if part), len(parts) - 1)
    return " ".join(part for part in parts[first : first + 2] if part) or "0 s"


def _plain(word: object) -> str:
    return str(word).replace("_", " ")


def _share(level: float) -> int:
    """How far evidence got, in percent of what it takes."""
    return round(100 * min(1.0, max(0.0, level)))
