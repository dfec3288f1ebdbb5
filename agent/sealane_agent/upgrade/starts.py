"""Decides which version of the agent is started, and when one is given up. Pure.

Only the slot's pointers and a count of starts are looked at: both survive everything, and neither
needs a clock. What is given up is what the launcher could see of a version: that it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.names import PACKAGE_MANIFEST, PACKAGE_RELEASE

from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import GivenUp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PACKAGE: Final = Pointer(PACKAGE_RELEASE, PACKAGE_MANIFEST, "package")
"""The version that the machine's package manager, or whoever installed the agent, put there."""

TRIAL_STARTS: Final = 2
"""Starts of a version on trial: the second one is for a power cut."""

CRASHES: Final = 3
"""Ends without a word, within one boot, of a version that was kept but never ran for a day."""


@dataclass(frozen=True, slots=True)
class Pointers:
    """The slot's pointers, and what was good before the last known good version."""

    active: Pointer | None = None
    lkg: Pointer | None = None
    previous: Pointer | None = None


@dataclass(frozen=True, slots=True)
class Starts:
    """How often the version that was started last ended without a word.

    Attributes:
        manifest: which version.
        count: starts on trial, or unclean ends since.
        boot: in which it was started last.
        clean: it ended as it was told to, or it is known to be well.
    """

    manifest: str = ""
    count: int = 0
    boot: str = ""
    clean: bool = True

    @classmethod
    def decode(cls, fields: Mapping[str, Any]) -> Starts:
        """Read it; raises KeyError, ValueError or TypeError."""
        return cls(
            str(fields["manifest"]),
            int(fields["count"]),
            str(fields["boot"]),
            fields["clean"] is True,
        )


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start.

    Attributes:
        run: the version.
        starts: to be durable before it is started.
        trial: it must prove itself before its time is over.
        given_up: the version that is not tried again, and why.
        put_back: what both pointers name from now on; None leaves them.
    """

    run: Pointer
    starts: Starts
    trial: bool = False
    given_up: GivenUp | None = None
    put_back: Pointer | None = None


def choose(pointers: Pointers, starts: Starts, boot: str) -> Launch:
    """Which version the supervisor is started from."""
    lkg = pointers.lkg or PACKAGE
    active = pointers.active or lkg
    if active not in (lkg, PACKAGE):
        return _tried(active, lkg, starts, boot)
    count = _unclean(active, starts, boot)
    before = _before(active, pointers)
    if count < CRASHES or active == PACKAGE:
        return Launch(active, Starts(active.manifest, count, boot, clean=False))
    reason = f"it ended {count} times without a word"
    return Launch(
        before,
        Starts(before.manifest, 0, boot, clean=False),
        given_up=GivenUp(active.manifest, reason),
        put_back=before,
    )


def choose_endpoint(pointers: Pointers, starts: Starts, boot: str) -> Launch:
    """Which version the endpoint is started from: never one on trial."""
    lkg = pointers.lkg or PACKAGE
    count = _unclean(lkg, starts, boot)
    counted = Starts(lkg.manifest, count, boot, clean=False)
    if count < CRASHES:
        return Launch(lkg, counted)
    return Launch(_before(lkg, pointers) if count < 2 * CRASHES else PACKAGE, counted)


def well(starts: Starts) -> Starts:
    """It is known to be well: what happened before does not count any more."""
    return replace(starts, count=0, clean=True)


def _tried(active: Pointer, lkg: Pointer, starts: Starts, boot: str) -> Launch:
    again = starts.manifest == active.manifest
    count = starts.count + (not starts.clean) if again and starts.count else 1
    if count <= TRIAL_STARTS:
        return Launch(active, Starts(active.manifest, count, boot, clean=False), trial=True)
    reason = f"it did not prove itself in {TRIAL_STARTS} starts: it ended, hung or had no session"
    return Launch(
        lkg,
        Starts(lkg.manifest, 0, boot, clean=False),
        given_up=GivenUp(active.manifest, reason),
        put_back=lkg,
    )


def _before(version: Pointer, pointers: Pointers) -> Pointer:
    before = pointers.previous
    return PACKAGE if before is None or before == version else before


def _unclean(version: Pointer, starts: Starts, boot: str) -> int:
    if starts.manifest != version.manifest:
        return 0
    crashed = not starts.clean and starts.boot == boot
    return starts.count + 1 if crashed else starts.count
