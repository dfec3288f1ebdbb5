"""Twelve days without a manager, in which the machine is switched on and off, and then a session.

The agent's own code lives through them on a clock of the test's own; what it says at the end goes
into a real manager's store.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from sealane import fileio
from sealane.fleet import SlotReport
from sealane.names import SlotName
from sealane.policy import Policy
from sealane.receipt import SERVING
from sealane.telemetry.codec import decode_windows
from sealane.windows import parse_window
from sealane_agent.layout import StateFolder
from sealane_agent.slot.state import State
from support.crash_acts import ACTS, FIRST
from support.crash_device import Device, Promises
from support.crash_disk import FaultyDisk
from support.crash_model import Model
from support.crash_plant import Plant, Wish, ca_folder
from support.crash_promises import STATE, requests_in
from support.stores import a_store, enrol
from support.telemetry import plain_window
from support.trust import DEVICE

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sealane.fleet import Event

pytestmark = pytest.mark.slow

AWAY: Final = timedelta(days=12)
SUNDAY_NIGHT: Final = Policy(activation=((parse_window("sun 00:00-08:00"),),))
SECOND: Final = Wish(2, "second", policy=SUNDAY_NIGHT, lease=AWAY)
ON_S: Final = 600.0
"""How long the machine runs before it is switched off again: four times a day."""


def switched_on(plant: Plant, root: Path, promises: Promises) -> Device:
    """The device after its machine was switched on."""
    plant.lines.clear()
    plant.boots += 1
    disk = FaultyDisk(Model(root), plant.clock)
    device = Device(plant, StateFolder(root / STATE), disk, promises)
    plant.endpoint.start()
    return device


def live(device: Device, until: float) -> None:
    """Run until that tick, if nothing breaks it."""
    with fileio.using(device.disk):
        device.live(lambda: device.plant.clock.ticks >= until)


def live_until(device: Device, state: State, rollout: str) -> None:
    """Run until the manager knows that the slot is there."""
    known = device.plant.manager.states
    with fileio.using(device.disk):
        device.live(lambda: known.get(SlotName("cam")) == (state, rollout))


def left_alone(root: Path) -> tuple[Plant, Promises]:
    """Enrolled, release 1 serves, release 2 waits for Sunday night; then the manager is away."""
    ca_folder()
    plant = Plant()
    device = switched_on(plant, root, Promises())
    with fileio.using(device.disk):
        device.enrol()
    first = next(act for act in ACTS if act.name == "first release")
    first.prepare(plant)
    live_until(device, State.COMMITTED, FIRST.rollout)
    plant.authority.approve(SECOND.version)
    plant.publish(SECOND.version)
    plant.want(SECOND)
    live_until(device, State.WAITING, SECOND.rollout)
    assert device.problems == []
    device.close()
    plant.manager.away_until = plant.clock.ticks + AWAY.total_seconds()
    return plant, device.promises


def days_go_by(plant: Plant, promises: Promises, root: Path) -> list[tuple[int, int]]:
    """Four times a day the machine runs; returns the slot's releases each time."""
    served, minute = [], 0
    while plant.away:
        device = switched_on(plant, root, promises)
        plant.count(plain_window(requests=10 + minute % 7, minute=minute))
        minute += 360
        live(device, plant.clock.ticks + ON_S)
        assert device.problems == []
        served.append(device.versions())
        device.close()
        plant.clock.advance(timedelta(hours=6, seconds=-ON_S))
    return served


def test_after_twelve_days_offline_nothing_is_lost_and_the_order_is_kept(tmp_path: Path) -> None:
    plant, promises = left_alone(tmp_path)
    heard = max(plant.manager.stored)
    served = days_go_by(plant, promises, tmp_path)
    assert len(served) == 48
    assert served == sorted(served), "a release that was activated stayed"
    assert (served[0], served[-1]) == ((1, 1), (2, 2)), "it was activated on Sunday night, offline"
    assert max(plant.manager.stored) == heard

    device = switched_on(plant, tmp_path, promises)
    with fileio.using(device.disk):
        device.live(lambda: device.settled(2) and not plant.endpoint.windows and _told(plant))
    assert device.problems == []
    device.close()

    stored = plant.manager.stored
    assert stored == promises.events
    assert [*stored] == [*range(1, len(stored) + 1)], "in order, without a gap"
    times = [event.occurred_at for event in stored.values()]
    assert times == sorted(times)
    assert [receipt.verdict for receipt in plant.manager.receipts] == [SERVING, SERVING]
    assert plant.manager.wrong == []
    _the_managers_view_is_right([*stored.values()], plant.clock.now())


def _told(plant: Plant) -> bool:
    bodies = plant.manager.batches.values()
    return sum(requests_in(decode_windows(body)) for body in bodies) == plant.requests


def _the_managers_view_is_right(events: list[Event], now: datetime) -> None:
    """It hears first what the slot does now, and then, in parts, how that came about."""
    newest = [event.body for event in events if isinstance(event.body, SlotReport)][-1]
    with a_store() as store:
        enrol(store, DEVICE)
        store.devices.report(DEVICE, (newest,), now)
        views = set()
        for event in events:
            assert store.events.record(DEVICE, [event], now) == event.sequence
            views.add(store.devices.get(DEVICE).slots)
        assert store.events.record(DEVICE, events[:3], now) == events[-1].sequence
        views.add(store.devices.get(DEVICE).slots)
    assert views == {(newest,)}
