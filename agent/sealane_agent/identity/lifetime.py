"""Decides when a device renews its certificate. Pure: time and chance come from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

RENEW_AT: Final = 2 / 3
SPREAD: Final = 1 / 10
"""A certificate is renewed at two thirds of its life, a twentieth sooner or later."""

TRIES: Final = 12
"""So often the rest of a life is divided into pauses between tries that fail, full jitter."""

PAUSE_MIN_S: Final = 5.0
PAUSE_MAX_S: Final = 600.0

LOOK_S: Final = 60.0
"""How often the time is looked at: the clock of a device may jump."""


class Outlook(StrEnum):
    """What a certificate needs now."""

    GOOD = "good"
    DUE = "due"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """From when to when a certificate was meant to live, and when in that its renewal is due."""

    issued: datetime
    ends: datetime
    due: datetime


def lifetime(issued: datetime, ends: datetime, chance: float) -> Lifetime:
    """The plan for one certificate; `chance` is a random number below 1."""
    part = RENEW_AT + SPREAD * (chance - 0.5)
    return Lifetime(issued, ends, issued + (ends - issued) * part)


def outlook(life: Lifetime, now: datetime) -> Outlook:
    """What the certificate needs now."""
    if now >= life.ends:
        return Outlook.EXPIRED
    return Outlook.DUE if now >= life.due else Outlook.GOOD


def pause(life: Lifetime, now: datetime) -> float:
    """Seconds until the time is looked at again while nothing is due."""
    return min(max((life.due - now).total_seconds(), 0.0), LOOK_S)


def pause_after_failure(life: Lifetime, chance: float) -> float:
    """Seconds until a renewal that failed is tried again; many tries fit into what is left."""
    left = (life.ends - life.due).total_seconds()
    longest = min(max(left / TRIES, PAUSE_MIN_S), PAUSE_MAX_S)
    return longest * (0.5 + 0.5 * chance)
