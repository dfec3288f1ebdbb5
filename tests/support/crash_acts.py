"""What a device lives through, act by act; each begins where a power cut leaves the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.holds import Hold
from sealane.names import SlotName
from sealane.policy import Policy, Trial
from sealane.receipt import ROLLED_BACK, SERVING, SignedReceipt
from sealane.telemetry.codec import decode_windows
from sealane.trust.documents import Quarantined
from sealane_agent.config import IdentityFiles
from sealane_agent.slot.state import RollBack, State
from support.agent_fakes import CAM
from support.crash_endpoint import ENOUGH
from support.crash_kit import KIT, exported, outdated
from support.crash_plant import TWO_WAYS, Wish, bundle
from support.crash_press import Press
from support.crash_promises import requests_in
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.fleet import Event
    from support.crash_device import Device
    from support.crash_plant import Plant

GATE: Final = SlotName("gate")
AGAIN: Final = "-again"
"""Marks the rollout by which an operator tries once more what a disk's trouble has ended."""


@dataclass(frozen=True)
class Act:
    """One part of a device's life.

    Attributes:
        prepare: what happens around the device before.
        done: whether the device has done what there was to do; None for enrolment.
        receipts: verdict and release of every receipt that the manager has to get, in order.
        or_receipts: the same, for an attempt that was given up because a power cut had ended it.
    """

    name: str
    prepare: Callable[[Plant], None]
    done: Callable[[Device], bool] | None
    receipts: tuple[tuple[str, int], ...] = ()
    or_receipts: tuple[tuple[str, int], ...] = ()

    def run(self, device: Device) -> None:
        """Let the device do it, from wherever it stands."""
        done = self.done
        if done is None:
            device.enrol()
            return
        device.live(lambda: _tried_again(device) and done(device))


def _tried_again(device: Device) -> bool:
    """After a failure that was the disk's, an operator starts the rollout once more."""
    manager = device.plant.manager
    for wish in manager.wishes:
        if manager.states.get(wish.slot) == (State.FAILED, wish.rollout):
            again = replace(wish, rollout=wish.rollout + AGAIN)
            device.plant.want(*(again if item == wish else item for item in manager.wishes))
            return False
    return True


def _ended(device: Device, state: State, wish: Wish) -> bool:
    said, rollout = device.plant.manager.states.get(wish.slot, ("", ""))
    return (said, rollout.removesuffix(AGAIN)) == (state, wish.rollout)


def _committed(device: Device, wish: Wish) -> bool:
    return _ended(device, State.COMMITTED, wish) and device.settled(wish.version, wish.slot)


def _on(state: State, rollout: str, react: Callable[[Plant], None]) -> Callable[..., None]:
    """A reaction to a slot that reports this state in this rollout, or its repetition."""

    def reacts(plant: Plant, event: Event) -> None:
        body = event.body
        if isinstance(body, SignedReceipt):
            return
        if (body.state, body.rollout.removesuffix(AGAIN)) == (state, rollout):
            react(plant)

    return reacts


def _new(plant: Plant, *versions: int) -> None:
    """The next act begins: releases are published, and nothing reacts any more."""
    plant.authority = plant.authority.copy()
    plant.manager.reacts = lambda _plant, _event: None
    for version in versions:
        plant.publish(version)


# The acts


def _nothing(_plant: Plant) -> None:
    """Nothing happens before."""


FIRST = Wish(1, "first")
SECOND = Wish(2, "second", policy=Policy(trial=Trial(shadow_seconds=20)))
BAD = Wish(3, "bad")
BAD_AGAIN = Wish(3, "bad once more")
UNFETCHED = Wish(4, "unfetched")
FIFTH = Wish(5, "fifth")
GATED = Wish(5, "gated", GATE)
OFFLINE = Wish(6, "offline")
RECALLED = Wish(7, "recalled")
HELD = Wish(8, "held", lease=timedelta(minutes=1))
BEFORE = Wish(5, "")
CARRIED = Wish(TWO_WAYS, KIT)


def _first(plant: Plant) -> None:
    _new(plant, 1)
    plant.want(FIRST)


def _second(plant: Plant) -> None:
    _new(plant, 2)
    plant.blobs.breaks = [100, None, 100]
    plant.want(SECOND)


def _bad(plant: Plant) -> None:
    _new(plant, 3)
    plant.endpoint.bad_versions = frozenset({3})
    plant.want(BAD)


def _bad_again(plant: Plant) -> None:
    _new(plant)
    plant.want(BAD_AGAIN)


def _changed_mind(plant: Plant) -> None:
    _new(plant, 4, 5)
    plant.blobs.stuck = {*bundle(4)[1]} - {*bundle(5)[1]}
    plant.want(UNFETCHED)
    plant.manager.reacts = _on(State.FETCHING, UNFETCHED.rollout, lambda it: it.want(FIFTH))


def _two_slots(plant: Plant) -> None:
    _new(plant)
    plant.want(FIFTH, GATED)


def _new_keys(plant: Plant) -> None:
    _new(plant)
    simulator = plant.authority.simulator
    for role, keys in (("director", 1), ("timestamp", 1), ("root", 3)):
        simulator.rotate(role, keys)
    simulator.publish()


def _offline(plant: Plant) -> None:
    def leave(it: Plant) -> None:
        it.manager.away_until = it.clock.ticks + 40

    _new(plant, 6)
    plant.want(OFFLINE, GATED)
    plant.manager.reacts = _on(State.ACTIVATING, OFFLINE.rollout, leave)


def _recalled(plant: Plant) -> None:
    _new(plant, 7)
    plant.endpoint.requests = 1
    plant.want(RECALLED, GATED)
    back = _on(State.PROBATION, RECALLED.rollout, lambda it: it.want(OFFLINE, GATED))
    plant.manager.reacts = back


def _counted(plant: Plant) -> None:
    _new(plant)
    plant.manager.away_until = plant.clock.ticks + 40
    for minute in range(3):
        plant.count(plain_window(requests=100 + minute, minute=minute))


def _day_later(plant: Plant) -> None:
    _new(plant)
    plant.clock.advance(timedelta(hours=18))


def _ordered_back(plant: Plant) -> None:
    """The manager is away, and somebody at the device wants the release before."""
    _new(plant)
    plant.manager.away_until = plant.clock.ticks + 40
    plant.order = RollBack("press 7", "it misses scratches")


def _held(plant: Plant) -> None:
    _new(plant, 8)
    plant.order, plant.requests = None, 0
    plant.press, plant.endpoint.requests = Press((HELD, GATED)), ENOUGH
    until = plant.clock.now() + timedelta(seconds=75)
    plant.manager.holds = (Hold("m-1", "", "ada", "audit", until.replace(microsecond=0)),)


def _put_away(plant: Plant) -> None:
    _new(plant)
    plant.press, plant.manager.holds = None, ()
    plant.manager.quarantined = (Quarantined(bundle(8)[0].digest, "wrong labels"),)
    plant.want(BEFORE, GATED)


def _carried(plant: Plant) -> None:
    """Nobody reaches the manager, and somebody comes with two kits, the older one last."""
    _new(plant, TWO_WAYS)
    plant.older = outdated(plant)
    plant.clock.advance(timedelta(minutes=1))
    plant.manager.away_until, plant.endpoint.measures = math.inf, True
    plant.stick = exported(plant, CARRIED, GATED)


def _took_up(device: Device) -> bool:
    return _committed(device, CARRIED) and device.settled(5, GATE) and not device.state.kit.exists()


def _went_back(device: Device) -> bool:
    state = device.plant.manager.states[CAM]
    return state == (State.QUARANTINED, HELD.rollout) and device.has_left(
        BEFORE.version, bundle(8)[0].digest
    )


def _renewed(device: Device) -> bool:
    keys, files = device.plant.manager.keys, IdentityFiles(device.state.identity)
    settled = not (files.next_key.exists() or files.next_certificate.exists())
    return keys is not None and keys.previous is not None and keys.shown and settled


def _told_everything(device: Device) -> bool:
    plant = device.plant
    bodies = plant.manager.batches.values()
    told = sum(requests_in(decode_windows(body)) for body in bodies)
    return told == plant.requests and device.settled(6) and not plant.endpoint.windows


def _knows_new_keys(device: Device) -> bool:
    marks = device.promises.marks
    root = device.plant.authority.simulator.root.version
    return marks is not None and marks.root == root and device.settled(FIFTH.version)


def _was_recalled(device: Device) -> bool:
    bodies = [event.body for event in device.plant.manager.stored.values()]
    return any(getattr(body, "rollout", "") == RECALLED.rollout for body in bodies)


def _rolled_back(device: Device, wish: Wish, version: int) -> bool:
    return _ended(device, State.ROLLED_BACK, wish) and device.settled(version)


ACTS: Final = (
    Act("enrol", _nothing, None),
    Act("first release", _first, lambda it: _committed(it, FIRST), ((SERVING, 1),)),
    Act("second release", _second, lambda it: _committed(it, SECOND), ((SERVING, 2),)),
    Act("roll back", _bad, lambda it: _rolled_back(it, BAD, 2), ((ROLLED_BACK, 3),)),
    Act(
        "quarantine",
        _bad_again,
        lambda it: _ended(it, State.QUARANTINED, BAD_AGAIN) and it.settled(2),
    ),
    Act("change of mind", _changed_mind, lambda it: _committed(it, FIFTH), ((SERVING, 5),)),
    Act("two slots", _two_slots, lambda it: _committed(it, GATED), ((SERVING, 5),)),
    Act("new keys", _new_keys, _knows_new_keys),
    Act(
        "offline",
        _offline,
        lambda it: _committed(it, OFFLINE) and it.settled(5, GATE),
        ((SERVING, 6),),
    ),
    Act(
        "recall",
        _recalled,
        lambda it: _was_recalled(it) and _committed(it, OFFLINE) and it.settled(5, GATE),
        ((ROLLED_BACK, 7), (SERVING, 6)),
        ((SERVING, 6),),
    ),
    Act("telemetry", _counted, _told_everything),
    Act("renewal", _day_later, lambda it: _renewed(it) and it.settled(6)),
    Act(
        "rolled back at the device",
        _ordered_back,
        lambda it: _rolled_back(it, OFFLINE, 5) and it.settled(5, GATE),
        ((ROLLED_BACK, 6),),
    ),
    Act("holds and a lease that ended", _held, lambda it: _committed(it, HELD), ((SERVING, 8),)),
    Act("order of quarantine", _put_away, _went_back),
    Act("kit", _carried, _took_up, ((SERVING, TWO_WAYS),)),
)
