"""Decides whether the clock of the manager's machine can be right. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

SLACK: Final = timedelta(minutes=5)
"""By so much a clock may be set back without a word."""


def behind(now: datetime, newest: datetime | None) -> str:
    """What to say when the log was written later than now; empty when the clock can be right.

    `newest`: when the newest line of the log was written; None without any.
    """
    if newest is None or newest - now <= SLACK:
        return ""
    return (
        f"the clock says {now:%Y-%m-%d %H:%M} UTC, and the log was written until"
        f" {newest:%Y-%m-%d %H:%M} UTC: while it is wrong, no certificate may count; set the clock"
    )
