"""Schedules to the wire and back."""

from __future__ import annotations

from datetime import timedelta

from sealane.errors import InvalidName
from sealane.policy import Commit, Trigger
from sealane.wire.v1 import operator_pb2 as wire

from sealane_manager.schedule import Schedule


def schedule_to_wire(schedule: Schedule) -> wire.Schedule:
    """A schedule, for the wire."""
    return wire.Schedule(
        name=schedule.name,
        selector=schedule.selector,
        download=schedule.download,
        activation=schedule.activation,
        trigger=str(schedule.trigger),
        commit=str(schedule.commit),
        lease_s=round(schedule.lease.total_seconds()),
        interrupts=schedule.interrupts,
    )


def schedule_from_wire(schedule: wire.Schedule) -> Schedule:
    """A schedule; raises InvalidName for a word that is none of ours."""
    try:
        trigger, commit = Trigger(schedule.trigger), Commit(schedule.commit)
    except ValueError as error:
        raise InvalidName(
            f"{error}",
            hint=f"triggers are {', '.join(Trigger)}; commit rules are {', '.join(Commit)}",
        ) from error
    return Schedule(
        schedule.name,
        schedule.selector,
        tuple(schedule.download),
        tuple(schedule.activation),
        trigger,
        commit,
        timedelta(seconds=schedule.lease_s),
        interrupts=schedule.interrupts,
    )
