"""Decides how many connections each port of the manager takes at once.

A connection is an open file, and whoever reaches a port can make one: strangers must not use up
those that devices, databases and models need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_SHARES: Final = 16


@dataclass(frozen=True, slots=True)
class Crowd:
    """Connections at once, by port."""

    fleet: int
    enrol: int
    operator: int
    dashboard: int


def crowd_of(files: int) -> Crowd:
    """Of so many files: most are for devices, and three shares of sixteen stay for the rest."""
    share = files // _SHARES
    return Crowd(fleet=10 * share, enrol=share, operator=share, dashboard=share)
