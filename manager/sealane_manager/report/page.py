"""Writes a report as one HTML page that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from sealane_manager.rollout_file.dumping import text
from sealane_manager.rollout_file.reading import RolloutFile

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_manager.report.contents import Report


def page(found: Report, made: datetime) -> str:
    """The page, as UTF-8 text; everything in it that somebody else wrote is escaped."""
    environment = Environment(
        loader=PackageLoader("sealane_manager.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "plain": _plain, "share": _share}
    rollout = found.rollout
    asked = text(RolloutFile(rollout.name or rollout.id, rollout.asked))
    template = environment.get_template("page.html")
    return template.render(report=found, rollout=rollout, asked=asked, made=made)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _plain(word: object) -> str:
    return str(word).replace("_", " ")


def _share(level: float) -> int:
    """How far evidence got, in percent of what it takes."""
    return round(100 * min(1.0, max(0.0, level)))
