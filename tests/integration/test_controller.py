"""The controller on a real store: rollouts move, devices are told, and nothing lives in memory."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.names import AGENT_SLOT, DeviceId, SlotName
from sealane.trust.agreement import ANY_SLOT
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.housekeeping import Chore, Housekeeping, store_chores
from sealane_manager.rollout import controller
from sealane_manager.rollout.controller import Controller, World
from sealane_manager.rollout.operate import Word
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    Operation,
    RolloutState,
)
from sealane_manager.store.devices import Devices
from sealane_manager.store.store import open_store
from support.eventually import until
from support.rollouts import (
    MANIFEST,
    NEW,
    OLD,
    OLD_MANIFEST,
    SLOT,
    FakeClock,
    a_failure,
    a_report,
    a_spec,
)
from support.stores import a_store, an_event, enrol, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.fleet import SlotReport
    from sealane.names import Digest, ReleaseName
    from sealane_manager.rollout.types import Rollout
    from sealane_manager.store.store import Store

MINUTE = timedelta(minutes=1)
HALF = timedelta(seconds=30)


@dataclass(frozen=True)
class Release:
    name: ReleaseName
    manifest: Digest
    length: int = 700
    slots: tuple[str, ...] = (SLOT,)


ANYWHERE = type(NEW)("vision/sort", 1)
RELEASES = (
    Release(OLD, OLD_MANIFEST),
    Release(NEW, MANIFEST),
    Release(ANYWHERE, MANIFEST, slots=(ANY_SLOT,)),
)


@dataclass
class Plant:
    """A controller, its clock, and who is connected."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)
    connected: set[DeviceId] = field(default_factory=set)
    told: list[tuple[str, int]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.controller = self.start()

    def reachable(self) -> frozenset[DeviceId]:
        if self.faults:
            raise self.faults.pop()
        return frozenset(self.connected)

    def start(self) -> Controller:
        """A manager that has just been started on this store."""
        world = World(
            releases=lambda: RELEASES,
            reachable=self.reachable,
            notify=lambda device, generation: self.told.append((device, generation)),
            clock=self.clock,
            windows=self.store.telemetry.readings,
        )
        self.controller = Controller(self.store, world)
        return self.controller

    def tick(self, rollout: Rollout, after: timedelta = timedelta(0)) -> Rollout:
        self.controller.tick(self.clock.advance(after))
        return self.controller.get(rollout.id)

    def prove(self, rollout: Rollout, device: str) -> None:
        """The device says, signed, that the release serves there."""
        name = DeviceId(device)
        sequence = self.store.devices.get(name).acked_sequence + 1
        release = str(rollout.spec.release)
        manifest = next(each.manifest for each in RELEASES if str(each.name) == release)
        receipt = signed(
            device, rollout=rollout.id, release=release, manifest=manifest, sequence=sequence
        )
        report = a_report("committed", active_release=release, rollout=rollout.id)
        events = [an_event(sequence, receipt), an_event(sequence + 1, report)]
        self.store.events.record(name, events, self.clock.now())

    def hear(self, device: str, report: SlotReport) -> None:
        """The device says what its slot does."""
        name = DeviceId(device)
        event = an_event(self.store.devices.get(name).acked_sequence + 1, report)
        self.store.events.record(name, [event], self.clock.now())

    def break_on(self, rollout: Rollout, device: str) -> None:
        """The device says that it rolled back."""
        self.hear(device, a_report("rolled_back", rollout=rollout.id))

    def leased(self, rollout: Rollout) -> list[str]:
        states = self.controller.get(rollout.id).devices
        return [each.device for each in states if each.state is DeviceState.LEASED]


@pytest.fixture
def plant() -> Iterator[Plant]:
    with a_store() as store:
        plant = Plant(store)
        for record in enrol(store, *(f"edge-{number}" for number in range(1, 6)), site="berlin"):
            plant.connected.add(record.id)
        yield plant


def test_a_good_release_reaches_everybody_stage_by_stage(plant: Plant) -> None:
    rollout = plant.controller.create(a_spec("1", "40%", "100%", soak=HALF), "ada", "better")
    seen = []
    for _ in range(12):
        rollout = plant.tick(rollout, timedelta(seconds=20))
        leased = plant.leased(rollout)
        seen += [len(leased)] if leased else []
        for device in leased:
            plant.prove(rollout, device)
    assert plant.tick(rollout).state is RolloutState.SUCCEEDED
    assert seen == [1, 1, 3]
    assert len(plant.told) == 5


def serve(plant: Plant, release: ReleaseName) -> None:
    """Bring a release to every device."""
    rollout = plant.controller.create(a_spec("100%", release=release, soak=HALF), "ada", "")
    plant.tick(rollout)
    for device in plant.leased(rollout):
        plant.prove(rollout, device)
    plant.tick(rollout)
    assert plant.tick(rollout, MINUTE).state is RolloutState.SUCCEEDED


def test_one_device_is_rolled_back_by_a_rollout_of_its_own(plant: Plant) -> None:
    serve(plant, OLD)
    serve(plant, NEW)
    edge = DeviceId("edge-2")
    rollout = plant.controller.roll_back(edge, SLOT, "it is slow there", "ada")
    assert (rollout.spec.release, [each.device for each in rollout.devices]) == (OLD, [edge])
    log = plant.store.decisions.of(rollout.id)
    assert (log[0].actor, log[0].action) == ("ada", "start")
    assert log[0].detail.endswith("roll back of edge-2: it is slow there")
    with pytest.raises(Refused, match=rollout.id):
        plant.controller.roll_back(edge, SLOT, "again", "bob")
    plant.tick(rollout)
    plant.prove(rollout, edge)
    plant.tick(rollout)
    assert plant.tick(rollout).state is RolloutState.SUCCEEDED
    (assigned,) = plant.store.desired.get(edge)[1]
    assert assigned.release == OLD
    (other,) = plant.store.desired.get(DeviceId("edge-1"))[1]
    assert other.release == NEW


def test_a_device_is_not_rolled_back_to_what_is_in_quarantine_or_to_nothing(plant: Plant) -> None:
    with pytest.raises(NotKnown, match="nothing is assigned to slot cam of edge-1"):
        plant.controller.roll_back(DeviceId("edge-1"), SLOT, "x", "ada")
    serve(plant, OLD)
    with pytest.raises(NotKnown, match="nobody knows what vision/defect@1 replaced"):
        plant.controller.roll_back(DeviceId("edge-1"), SLOT, "x", "ada")
    serve(plant, NEW)
    plant.controller.quarantine(OLD, "wrong labels", "ada")
    with pytest.raises(NotKnown, match="nobody knows what"):
        plant.controller.roll_back(DeviceId("edge-1"), SLOT, "x", "ada")


def test_a_held_device_keeps_its_place_in_the_budget_and_the_gate_says_so(plant: Plant) -> None:
    rollout = plant.controller.create(a_spec("1", "100%", soak=HALF), "ada", "")
    plant.tick(rollout)
    (first,) = plant.leased(rollout)
    said = replace(a_failure("ada holds it until 22:00: audit"), component="hold")
    report = replace(a_report("waiting", rollout=rollout.id), failure=said)
    plant.store.events.record(DeviceId(first), [an_event(1, report)], plant.clock.now())
    held = plant.tick(rollout, MINUTE)
    assert held.reason == f"waits for {first} (staged: ada holds it until 22:00: audit); 1 held"
    states = [each.state for each in held.devices]
    assert states.count(DeviceState.WAITING) == 4, "nobody else is given its place"


def test_a_bad_release_is_reverted_within_its_first_stage(plant: Plant) -> None:
    rollout = plant.controller.create(a_spec("1", "100%", soak=HALF), "ada", "")
    plant.tick(rollout)
    (first,) = plant.leased(rollout)
    plant.break_on(rollout, first)
    ended = plant.tick(rollout)
    assert ended.state is RolloutState.REVERTED
    assert plant.told == [(first, 1), (first, 2)]
    assert [each for each in plant.store.devices.list() if each.generation == 0] == [
        each for each in plant.store.devices.list() if each.id != first
    ]


def test_a_controller_that_starts_again_goes_on_where_the_other_stopped(plant: Plant) -> None:
    rollout = plant.controller.create(a_spec("1", "100%", soak=HALF), "ada", "")
    plant.tick(rollout)
    (first,) = plant.leased(rollout)
    plant.start()
    assert plant.leased(rollout) == [first]
    plant.prove(rollout, first)
    plant.tick(rollout)
    plant.start()
    plant.tick(rollout, HALF)
    assert len(plant.leased(rollout)) == 4


def test_silence_while_the_manager_was_away_fails_nobody(plant: Plant) -> None:
    rollout = plant.controller.create(a_spec("1", "100%"), "ada", "")
    plant.tick(rollout)
    plant.clock.advance(timedelta(hours=3))
    plant.start()
    assert plant.tick(rollout).state is RolloutState.RUNNING


@pytest.mark.parametrize("jump", ["the process was stopped", "the wall clock was set"])
def test_silence_is_not_counted_over_a_gap_or_a_jump_of_the_clock(plant: Plant, jump: str) -> None:
    rollout = plant.controller.create(a_spec("1", "100%"), "ada", "")
    plant.tick(rollout)
    gap = plant.clock.advance if jump == "the process was stopped" else plant.clock.jump
    gap(timedelta(hours=3))
    assert plant.tick(rollout).state is RolloutState.RUNNING


def test_a_device_that_goes_silent_after_its_lease_fails_the_stage(plant: Plant) -> None:
    gate = GatePolicy(silent_after=2 * MINUTE)
    rollout = plant.controller.create(a_spec("1", "100%", gate=gate), "ada", "")
    plant.tick(rollout)
    (first,) = plant.leased(rollout)
    plant.connected.discard(DeviceId(first))
    for _ in range(5):
        rollout = plant.tick(rollout, HALF)
    assert rollout.state is RolloutState.REVERTED
    assert f"{first} (suspect: silent while leased" in rollout.reason


def test_three_of_ten_that_are_cut_off_after_activation_count_keep_their_places_and_go_back(
    plant: Plant,
) -> None:
    for record in enrol(plant.store, *(f"edge-{number}" for number in range(6, 21)), site="lyon"):
        plant.connected.add(record.id)
    serve(plant, OLD)
    gate = GatePolicy(silent_after=2 * MINUTE)
    rollout = plant.controller.create(a_spec("10", "100%", gate=gate), "ada", "")
    plant.tick(rollout)
    stage = plant.leased(rollout)
    cut, others = stage[:3], stage[3:]
    for device in stage:
        plant.hear(device, a_report("probation", rollout=rollout.id))
    plant.connected.difference_update(map(DeviceId, cut))
    for device in others:
        plant.prove(rollout, device)

    given = set()
    for _ in range(6):
        rollout = plant.tick(rollout, HALF)
        waits = {DeviceState.WAITING, DeviceState.SKIPPED}
        given |= {each.device for each in rollout.devices if each.state not in waits}
    assert given == set(stage)
    assert rollout.state is RolloutState.REVERTING
    assert all(f"{each} (suspect: silent while probation" in rollout.reason for each in cut)
    assert {plant.store.desired.get(DeviceId(each))[1][0].release for each in stage} == {OLD}

    back = a_report("committed", attempt_release=str(OLD), rollout="")
    for device in others:
        plant.hear(device, back)
    rollout = plant.tick(rollout)
    assert (rollout.state, states_of(rollout, cut)) == (
        RolloutState.REVERTED,
        {DeviceState.SUSPECT},
    )
    plant.connected.update(map(DeviceId, cut))
    for device in cut:
        plant.hear(device, back)
    assert states_of(plant.tick(rollout), stage) == {DeviceState.ROLLED_BACK}


def states_of(rollout: Rollout, devices: list[str]) -> set[DeviceState]:
    return {each.state for each in rollout.devices if each.device in devices}


def test_pause_resume_promote_and_abort_by_an_operator(plant: Plant) -> None:
    ask = plant.controller.operate
    rollout = plant.controller.create(a_spec("1", "100%"), "ada", "")
    plant.tick(rollout)
    (first,) = plant.leased(rollout)
    assert ask(rollout.id, Word(Operation.PAUSE, "lunch", "ada")).state is RolloutState.PAUSED
    assert ask(rollout.id, Word(Operation.RESUME, "", "ada")).state is RolloutState.RUNNING
    plant.prove(rollout, first)
    plant.tick(rollout)
    assert ask(rollout.id, Word(Operation.PROMOTE, "urgent", "ada")).stage == 1
    plant.tick(rollout)
    ended = ask(rollout.id, Word(Operation.ABORT, "enough", "ada"))
    assert ended.state is RolloutState.ABORTED
    still = {each.id for each in plant.store.devices.list() if plant.store.desired.get(each.id)[1]}
    assert still == {first}
    lines = [each.action for each in plant.store.decisions.of(rollout.id)]
    assert lines[0] == "start"
    assert {"grant", "paused", "running", "promote", "aborted", "take back"} <= set(lines)


def test_what_cannot_be_rolled_out_is_refused(plant: Plant) -> None:
    with pytest.raises(NotKnown, match="vision/defect@9 is not listed"):
        plant.controller.create(a_spec(release=type(NEW)("vision/defect", 9)), "ada", "")
    with pytest.raises(Refused, match="may not serve in slot door; its slots are cam"):
        plant.controller.create(a_spec(slot=SlotName("door")), "ada", "")
    with pytest.raises(Refused, match="no device matches 'site=mars'"):
        plant.controller.create(a_spec(selector="site=mars"), "ada", "")
    assert plant.store.progress.count() == 0


def test_a_release_that_may_serve_anywhere_goes_into_any_slot_of_models(plant: Plant) -> None:
    anywhere = a_spec(release=ANYWHERE)
    plant.controller.create(replace(anywhere, slot=SlotName("door")), "ada", "")
    with pytest.raises(Refused, match="may not serve in slot sealane-agent"):
        plant.controller.create(replace(anywhere, slot=AGENT_SLOT), "ada", "")


async def _watched(plant: Plant) -> list[RolloutState]:
    running = asyncio.create_task(plant.controller.run())
    rollout = await asyncio.to_thread(plant.controller.create, a_spec(), "ada", "")
    states, revision = [], plant.controller.revision
    while not plant.told:
        revision = await plant.controller.changed(revision)
    ask = plant.controller.operate
    await asyncio.to_thread(ask, rollout.id, Word(Operation.ABORT, "", "ada"))
    revision = await plant.controller.changed(revision)
    states.append(plant.controller.get(rollout.id).state)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return states


def test_watchers_and_devices_are_told_by_the_running_loop(plant: Plant) -> None:
    states = asyncio.run(asyncio.wait_for(_watched(plant), timeout=60))
    assert states == [RolloutState.ABORTED]
    assert {device for device, _ in plant.told} == plant.connected


async def _loop_survives(plant: Plant) -> int:
    await asyncio.to_thread(plant.controller.create, a_spec(), "ada", "")
    plant.faults.append(OSError("the disk is gone"))
    running = asyncio.create_task(plant.controller.run())
    revision = await plant.controller.changed(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return revision


@pytest.mark.slow
def test_a_tick_that_fails_is_tried_again(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(asyncio.wait_for(_loop_survives(plant), timeout=60)) > 0
    assert "a tick failed; it is tried again" in caplog.text


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_ends_no_rollout(
    plant: Plant, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes: list[Exception | None] = [None, OSError("no space left on device")]
    monkeypatch.setattr(controller, "FLUSH_S", 0.0)

    def flush(_: Devices) -> int:
        if flushes and (trouble := flushes.pop()):
            raise trouble
        return 0

    monkeypatch.setattr(Devices, "flush_seen", flush)

    async def goes_on() -> None:
        running = asyncio.create_task(plant.controller.run())
        await until(lambda: not flushes or running.done())
        await asyncio.to_thread(plant.controller.create, a_spec(), "ada", "")
        await plant.controller.changed(plant.controller.revision)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(goes_on(), timeout=60))
    assert "it is tried again" in caplog.text
    assert plant.told


async def _house(store: Store) -> list[str]:
    done: list[str] = []
    called = asyncio.Event()
    loop = asyncio.get_running_loop()

    def chore(_now: object) -> None:
        done.append("signed")
        loop.call_soon_threadsafe(called.set)

    chores = (Chore("sign", timedelta(seconds=1), chore), *store_chores(store))
    house = Housekeeping(chores, FakeClock())
    house.start()
    await asyncio.wait_for(called.wait(), timeout=60)
    house.stop()
    return done


@pytest.mark.slow
def test_housekeeping_calls_its_chores(plant: Plant) -> None:
    assert asyncio.run(_house(plant.store))[0] == "signed"


_WRITER = """
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from sealane_manager.rollout.advance import advance
from sealane_manager.store.store import open_store
from support.rollouts import START
from support.stores import enrol, start, ADA

store = open_store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    enrol(store, *(f"d{number}-{each}" for each in range(8)), batch=str(number))
    start(store, f"r-{number}", selector=f"batch={number}")

    def decide(found):
        seen = tuple(replace(each, reachable=True) for each in found.devices)
        return advance(replace(found, devices=seen), START)

    store.rollouts.change(f"r-{number}", decide, ADA)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_manager_killed_at_any_moment_leaves_only_whole_steps(tmp_path: Path) -> None:
    path = tmp_path / "control.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for lines in (1, 2, 5):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, env=environment
        ) as writer:
            assert writer.stdout
            for _ in range(lines):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        _check_whole(path)
        path.unlink()


def _check_whole(path: Path) -> None:
    store = open_store(path)
    for rollout in map(store.rollouts.get, store.rollouts.live()):
        granted = {each.device for each in rollout.devices if each.state is DeviceState.LEASED}
        assigned = {
            each.device for each in rollout.devices if store.desired.get(each.device) != (0, ())
        }
        actions = [each.action for each in store.decisions.of(rollout.id)]
        assert len(rollout.devices) == 8
        assert granted == assigned
        assert actions == (["start", "grant"] if granted else ["start"])
    store.close()
