"""When a device may fetch and activate, and what makes a release the last known good one. Pure.

A policy is part of the signed assignment, and is judged on the device, offline too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sealane.windows import MAX_WINDOWS, Window, is_open, next_opening, parse_window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo


class Trigger(StrEnum):
    """What a staged release waits for, beside its lease and the end of every hold."""

    NOW = "now"
    """Nothing: an emergency does not wait for a window."""
    WINDOW = "window"
    """An open window, when there are any."""
    IDLE = "idle"
    """The same, and a minute in which nobody asked the slot anything."""
    RESTART = "restart"
    """The same, and the machine's next start."""


class Commit(StrEnum):
    """What makes a release on probation the last known good one."""

    LOCAL_HEALTH = "local_health"
    """The probation's limits; it works offline."""
    SERVER_ACK = "server_ack"
    """The manager has stored what the device said of the activation."""
    BOTH = "both"


LONGEST_TRIAL_S: Final = 7 * 24 * 3600.0
"""No release is tried for longer beside the one before it."""

_THOUSAND: Final = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """How a release is tried on a device beside the one before, until it is kept.

    Attributes:
        share: of the requests that it answers while it is on probation, drawn by chance for each;
            the release before answers the others. 1 for all of them.
        seconds: its probation lasts at least so long.
        shadow_seconds: before, it gets copies of requests for so long and answers nobody; 0: not.
        disagreement: share of the copies on which it may answer otherwise.
        awaits: it is kept, or activated after copies alone, only when the manager takes this back.

    Shares in whole thousandths, times in whole seconds.
    """

    share: float = 1.0
    seconds: float = 0.0
    shadow_seconds: float = 0.0
    disagreement: float = 1.0
    awaits: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError("a share of requests is above 0 and at most 1")
        for seconds in (self.seconds, self.shadow_seconds):
            if not 0.0 <= seconds <= LONGEST_TRIAL_S:
                raise ValueError(f"a trial takes 0 to {LONGEST_TRIAL_S:.0f} seconds")
        if not 0.0 <= self.disagreement <= 1.0:
            raise ValueError("a share of answers is between 0 and 1")


WHOLE = Trial()


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one slot.

    Attributes:
        download, activation: timetables; in each of them a window must be open. A timetable comes
            from one schedule of the manager, and none means any time.
        trial: as the rollout says that brings the release.
        interrupts: where there is no memory for two models, the slot may serve nobody for as long
            as the new one is loaded, from the moment in which it could be activated.
    """

    download: tuple[tuple[Window, ...], ...] = ()
    activation: tuple[tuple[Window, ...], ...] = ()
    trigger: Trigger = Trigger.WINDOW
    commit: Commit = Commit.LOCAL_HEALTH
    trial: Trial = WHOLE
    interrupts: bool = field(default=False, kw_only=True)


ANY_TIME = Policy()


def waits_until(
    timetables: tuple[tuple[Window, ...], ...], now: datetime, zone: tzinfo
) -> datetime | None:
    """When the first closed timetable opens, in UTC; None when all are open."""
    for windows in timetables:
        if not is_open(windows, now, zone):
            return next_opening(windows, now, zone)
    return None


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """As the director's document and the journal write it."""
    return {
        "download": [[str(each) for each in windows] for windows in policy.download],
        "activation": [[str(each) for each in windows] for windows in policy.activation],
        "trigger": str(policy.trigger),
        "commit": str(policy.commit),
        **({} if policy.trial == WHOLE else {"trial": trial_to_json(policy.trial)}),
        **({"interrupts": True} if policy.interrupts else {}),
    }


def policy_from_json(fields: Mapping[str, Any] | None) -> Policy:
    """Read one; raises ValueError, KeyError, TypeError, AttributeError or InvalidName."""
    if fields is None:
        return ANY_TIME
    return Policy(
        download=_timetables(fields["download"]),
        activation=_timetables(fields["activation"]),
        trigger=Trigger(fields["trigger"]),
        commit=Commit(fields["commit"]),
        trial=trial_from_json(fields.get("trial")),
        interrupts=fields.get("interrupts") is True,
    )


def trial_to_json(trial: Trial) -> dict[str, Any]:
    """As it is written beside other terms: in whole numbers, since what is signed has no others."""
    return {
        "share": round(trial.share * _THOUSAND),
        "seconds": round(trial.seconds),
        "shadow_seconds": round(trial.shadow_seconds),
        "disagreement": round(trial.disagreement * _THOUSAND),
        **({"awaits": True} if trial.awaits else {}),
    }


def trial_from_json(fields: Mapping[str, Any] | None) -> Trial:
    """Read one, nothing for none; raises ValueError, KeyError or TypeError."""
    if fields is None:
        return WHOLE
    numbers = [fields[name] for name in ("share", "seconds", "shadow_seconds", "disagreement")]
    if any(type(number) is not int for number in numbers):
        raise TypeError("the numbers of a trial are whole")
    share, seconds, shadow_seconds, disagreement = numbers
    awaits = fields.get("awaits") is True
    return Trial(
        share / _THOUSAND, seconds, shadow_seconds, disagreement / _THOUSAND, awaits=awaits
    )


def _timetables(value: Any) -> tuple[tuple[Window, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(each, list) and each for each in value):
        raise TypeError("timetables are lists of windows")
    if sum(map(len, value)) > MAX_WINDOWS:
        raise ValueError(f"a slot has at most {MAX_WINDOWS} windows")
    return tuple(tuple(map(parse_window, each)) for each in value)
