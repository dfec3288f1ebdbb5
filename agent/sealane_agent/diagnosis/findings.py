"""Decides what measurements of a device mean: findings, each with what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane_agent.identity.lifetime import Lifetime, Outlook, outlook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

CLOCK_OFF: Final = timedelta(minutes=2)
"""A clock that is off by more is told."""

FULL_SOON: Final = 4
"""Free space below so many times the reserve is told."""

CA_ENDS_SOON: Final = timedelta(days=30)
_SET_CLOCK: Final = "set it: timedatectl set-ntp true"


class Level(StrEnum):
    """How bad it is."""

    WELL = "well"
    WARNING = "warning"
    FAILED = "failed"


EXIT_CODES: Final[Mapping[Level, int]] = {Level.WELL: 0, Level.WARNING: 5, Level.FAILED: 1}
"""What a command that looked ends with, by the worst that it found."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what was looked at: `clock`, `certificates`, `disk`, `runtimes`, `manager`, …
        level: how bad it is.
        says: one sentence.
        hint: what to do; empty when all is well.
    """

    check: str
    level: Level
    says: str
    hint: str = ""


def well(check: str, says: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Level.WELL, says)


def warning(check: str, says: str, hint: str) -> Finding:
    """The device does its work, and will not for ever."""
    return Finding(check, Level.WARNING, says, hint)


def failed(check: str, says: str, hint: str) -> Finding:
    """Something does not work."""
    return Finding(check, Level.FAILED, says, hint)


def worst(found: Iterable[Finding]) -> Level:
    """The worst of all."""
    order = tuple(Level)
    return max((each.level for each in found), key=order.index, default=Level.WELL)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What is known about the time.

    Attributes:
        wall: of the machine's clock, aware.
        floor: has passed for certain.
        ahead: of the manager's time; None while nobody compared them.
    """

    wall: datetime
    floor: datetime
    ahead: timedelta | None = None


def judge_clock(read: ClockReading) -> Finding:
    """Whether other programs of this machine may go by its clock."""
    if read.ahead is not None and abs(read.ahead) > CLOCK_OFF:
        way = "ahead of" if read.ahead > timedelta(0) else "behind"
        much = timedelta(seconds=round(abs(read.ahead).total_seconds()))
        return warning("clock", f"it is {much} {way} the manager's time", _SET_CLOCK)
    if read.wall < read.floor - CLOCK_OFF:
        since = f"{read.floor:%Y-%m-%d %H:%M} UTC"
        says = f"it says {read.wall:%Y-%m-%d %H:%M} UTC, and it was {since} before"
        return failed("clock", says, _SET_CLOCK)
    if read.ahead is None:
        return well("clock", "it is not before what is known; no session compared it")
    return well("clock", "it agrees with the manager's time")


def judge_certificate(life: Lifetime, now: datetime, ca_ends: datetime) -> tuple[Finding, ...]:
    """Whether the manager still knows the device, and the device the manager."""
    return _own(life, now), _authority(ca_ends, now)


def _own(life: Lifetime, now: datetime) -> Finding:
    check, ends = "certificates", f"{life.ends:%Y-%m-%d %H:%M} UTC"
    match outlook(life, now):
        case Outlook.EXPIRED:
            hint = "see whether the manager is reached; else enrol again with a new token"
            return failed(check, f"the device's certificate ended at {ends}", hint)
        case Outlook.DUE:
            hint = "it renews by itself once the manager is reached"
            return warning(check, f"the device's certificate ends at {ends}, not renewed", hint)
        case Outlook.GOOD:
            return well(check, f"the device's certificate is valid until {ends}")


def _authority(ends: datetime, now: datetime) -> Finding:
    check, until = "certificates", f"{ends:%Y-%m-%d} UTC"
    if now >= ends:
        says = f"the fleet's authority ended on {until}: no manager is believed"
        return failed(check, says, "enrol again with a token of the new authority")
    if ends - now < CA_ENDS_SOON:
        hint = "rotate it: sealane trust authority"
        return warning(check, f"the fleet's authority ends on {until}", hint)
    return well(check, f"the fleet's authority is valid until {until}")


@dataclass(frozen=True, slots=True)
class DiskReading:
    """The file system of the state folder; bytes.

    `names_left` of files that may still be made; negative where it does not count them.
    """

    path: str
    free: int
    reserve: int
    names_left: int
    read_only: bool


def judge_disk(read: DiskReading) -> Finding:
    """Whether releases can be fetched and what happens can be written down."""
    check, free = "disk", f"{read.free // 1_000_000} MB are free in {read.path}"
    if read.read_only:
        hint = "what serves goes on; look at the kernel's log, then mount it again for writing"
        return failed(check, f"{read.path} cannot be written: it is mounted read-only", hint)
    if read.names_left == 0:
        return failed(check, f"no file can be made in {read.path}", "remove some small files there")
    if read.free < read.reserve:
        hint = "free some space there: no release is fetched until then"
        return failed(check, f"{free}, {read.reserve // 1_000_000} MB are kept in reserve", hint)
    if read.free < FULL_SOON * read.reserve:
        return warning(check, free, "free some space there: a large release may not be fetched")
    return well(check, free)


@dataclass(frozen=True, slots=True)
class RuntimeReading:
    """One runtime, as its engine answered in a process of its own; `trouble` when it did not.

    Attributes:
        missing: accelerators that it does not find, with why and what to do.
        had: what it found here once; `told`: what the manager knows that it finds.
        cards: accelerator to the card that this machine has for it.
    """

    name: str
    version: str
    accelerators: tuple[str, ...] = ()
    trouble: str = ""
    missing: tuple[tuple[str, str, str], ...] = ()
    had: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    cards: Mapping[str, str] = field(default_factory=dict)


def judge_runtimes(
    here: Iterable[RuntimeReading], needed: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Whether every engine starts, and those that the slots need are there.

    `needed`: a runtime's name to the slot that needs it.
    """
    check, readings = "runtimes", {each.name: each for each in here}
    found = [finding for each in readings.values() for finding in _runtime(each)]
    for name, slot in sorted(needed.items()):
        if name not in readings:
            says = f"slot {slot} needs the runtime {name}, which is not installed"
            found.append(failed(check, says, f"install it: pip install 'sealane-agent[{name}]'"))
    if not found:
        hint = "install one: pip install 'sealane-agent[onnx]'"
        found.append(failed(check, "no runtime is installed", hint))
    return tuple(found)


def _runtime(read: RuntimeReading) -> Iterator[Finding]:
    name = f"{read.name} {read.version}"
    if read.trouble:
        says = f"{name} does not start: {read.trouble}"
        yield failed("runtimes", says, "install its package again")
        return
    yield well("runtimes", f"{name} finds {', '.join(read.accelerators) or 'nothing'}")
    if read.told and set(read.accelerators) - set(read.told):
        says = f"{name} finds more than the manager knows: a driver or a package came"
        yield warning("runtimes", says, "let the agent look again: systemctl restart sealane-agent")
    for accelerator, why, what_to_do in read.missing:
        yield from _accelerator(read, accelerator, (why, what_to_do))


def _accelerator(
    read: RuntimeReading, accelerator: str, told: tuple[str, str]
) -> Iterator[Finding]:
    """Lost is told as such; what nobody ever used is only told where there is a card for it."""
    why, what_to_do = told
    if accelerator in read.had:
        says = f"{read.name} found {accelerator} here before, and finds it no longer: {why}"
        yield warning("accelerators", says, what_to_do or "see the kernel's log (dmesg)")
    elif accelerator in read.cards:
        card = read.cards[accelerator]
        says = f"this machine has {card} that {read.name} does not use: {why}"
        yield well("accelerators", f"{says}; to use it, {what_to_do}" if what_to_do else says)


def judge_worker_limits(unlimited: str) -> Finding:
    """What it means that workers have no limits of their own, for this reason; empty: they have."""
    if not unlimited:
        return well("worker limits", "a worker that takes too much is ended alone")
    return well("worker limits", f"the machine's own: {unlimited}")
