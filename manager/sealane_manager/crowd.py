"""Decides how many connections each port of the manager takes at once.

A connection is an open file, and whoever reaches a port can make one: strangers must not use up
those that devices, databases and models need.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

FILES: Final = 65_536
"""Open files that the manager asks the system for, as its unit does."""

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


def open_files() -> int:
    """How many files this process may open, once it asked for what it needs."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(allowed, FILES if most == resource.RLIM_INFINITY else min(FILES, most))
    if wanted != allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted
