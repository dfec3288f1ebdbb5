"""A rollout of 20,000 devices: no answer grows with it, and a look reads only what has changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import InvalidName
from sealane.names import DeviceId
from sealane_manager.assembly import Assembly
from sealane_manager.errors import Refused
from sealane_manager.rollout.types import DeviceState
from sealane_manager.rollouts import ANSWER_BYTES, PART
from sealane_manager.rpc import convert
from sealane_manager.rpc.whole import in_one
from sealane_manager.store.rollouts import Rollouts as Stored
from sealane_manager.store.rows import MAX_SENTENCE
from sqlalchemy import text
from support.dashboard import a_dashboard
from support.many import Work, fill
from support.rollouts import NEW, START, a_report, a_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.views import RolloutView
    from support.dashboard import Dashboard

DEVICES = 20_000
FIRST = 100
"""Devices in the first stage."""

FEW_STATEMENTS = 20
FEW_STEPS = 20_000
"""Instructions of SQLite: one for each device would be more."""


@pytest.fixture(scope="module")
def plant() -> Iterator[tuple[Dashboard, RolloutView]]:
    """The first stage has its places."""
    with a_dashboard() as dashboard:
        dashboard.connect(*fill(dashboard.store, DEVICES))
        spec = a_spec(str(FIRST), "100%")
        made = dashboard.offices.rollouts.create(spec, "ada", "because", "r-1")
        dashboard.offices.controller.tick(START)
        yield dashboard, made


def size(rollout: RolloutView) -> int:
    return convert.rollout_to_wire(rollout).ByteSize()


def say(dashboard: Dashboard, state: str, seconds: int) -> str:
    """One device of the first stage tells that it has come so far."""
    (device,) = dashboard.store.progress.devices_from("r-1", 7, 1)
    report = a_report(state, rollout="r-1", attempt_release=str(NEW))
    moment = START + timedelta(seconds=seconds)
    dashboard.store.devices.report(DeviceId(device.device), [report], moment)
    return device.device


def test_a_new_rollout_is_told_with_its_first_devices_and_all_counts(
    plant: tuple[Dashboard, RolloutView],
) -> None:
    _, made = plant
    assert (len(made.devices), made.counts) == (PART, {"waiting": DEVICES})
    assert size(made) <= ANSWER_BYTES


def test_who_knows_no_parts_is_told_everything_that_a_message_holds_or_what_to_do(
    plant: tuple[Dashboard, RolloutView],
) -> None:
    dashboard, _ = plant
    whole = dashboard.offices.rollouts.whole("r-1")
    told = in_one(whole)
    assert [each.device for each in told.devices] == [each.device for each in whole.devices]
    assert len(whole.devices) == DEVICES
    longest = "\N{EURO SIGN}" * MAX_SENTENCE
    wordy = replace(whole, devices=tuple(replace(x, detail=longest) for x in whole.devices))
    with pytest.raises(Refused, match=f"{DEVICES} devices") as refused:
        in_one(wordy)
    assert "install the command line" in refused.value.hint


def test_no_part_is_too_large_and_all_together_are_the_rollout(
    plant: tuple[Dashboard, RolloutView],
) -> None:
    dashboard, _ = plant
    with dashboard.store._database.write() as session:
        longest = {"detail": "\N{EURO SIGN}" * MAX_SENTENCE}
        session.connection().execute(text("UPDATE rollout_device SET detail = :detail"), longest)
    whole, token, parts = Assembly(), "", 0
    while parts == 0 or token:
        part = dashboard.offices.rollouts.part("r-1", token)
        assert size(part.rollout) <= ANSWER_BYTES
        whole.add(part.rollout)
        token, parts = part.following, parts + 1
    assert parts == DEVICES // PART + 1
    stored = dashboard.store.rollouts.get("r-1")
    assert [each.device for each in whole.view.devices] == [each.device for each in stored.devices]
    assert [each.state for each in whole.view.devices] == [each.state for each in stored.devices]
    assert whole.view.counts == {"leased": FIRST, "waiting": DEVICES - FIRST}
    log = dashboard.store.decisions.of("r-1")
    assert [each.detail for each in whole.view.decisions] == [each.detail for each in log]


@pytest.mark.parametrize("token", ["x", "1", "-1.0", "1.x", "9" * 40])
def test_a_token_that_no_answer_gave_is_refused(
    plant: tuple[Dashboard, RolloutView], token: str
) -> None:
    dashboard, _ = plant
    with pytest.raises(InvalidName, match="names no part"):
        dashboard.offices.rollouts.part("r-1", token)


def test_the_list_counts_and_carries_no_device(plant: tuple[Dashboard, RolloutView]) -> None:
    dashboard, _ = plant
    (listed,), following = dashboard.offices.rollouts.listed()
    assert (listed.devices, following, sum(listed.counts.values())) == ((), "", DEVICES)
    assert listed.previous_release == "vision/defect@1"


def test_a_look_reads_only_what_has_changed(plant: tuple[Dashboard, RolloutView]) -> None:
    dashboard, _ = plant
    controller, work = dashboard.offices.controller, Work()
    controller.tick(START)
    work.attach(dashboard.store)

    controller.tick(START + timedelta(seconds=1))
    idle = work.taken()
    device = say(dashboard, "fetching", 2)
    work.taken()
    controller.tick(START + timedelta(seconds=2))
    busy = work.taken()
    Stored(dashboard.store._database, dashboard.store.devices).get("r-1")
    whole = work.taken()

    state = next(each.state for each in controller.get("r-1").devices if each.device == device)
    assert state is DeviceState.FETCHING
    assert idle.statements <= busy.statements <= FEW_STATEMENTS
    assert max(idle.steps, busy.steps) <= FEW_STEPS < whole.steps


def test_a_step_writes_only_the_devices_that_move(plant: tuple[Dashboard, RolloutView]) -> None:
    dashboard, _ = plant
    dashboard.offices.controller.tick(START)
    before = dashboard.store.rollouts.revision
    device = say(dashboard, "staged", 3)
    dashboard.offices.controller.tick(START + timedelta(seconds=3))
    assert dashboard.store.rollouts.moved_since("r-1", before) == frozenset({device})


def test_who_watches_hears_everything_once_and_then_what_is_new(
    plant: tuple[Dashboard, RolloutView],
) -> None:
    dashboard, _ = plant

    async def watch() -> tuple[list[RolloutView], RolloutView]:
        news = dashboard.offices.rollouts.watch("r-1")
        first = []
        async for part, more in news:
            first.append(part)
            if not more:
                break
        say(dashboard, "probation", 4)
        dashboard.offices.controller.tick(START + timedelta(seconds=4))
        return first, (await anext(news))[0]

    first, after = asyncio.run(asyncio.wait_for(watch(), 60))
    assert sum(len(part.devices) for part in first) == DEVICES
    assert max(map(size, (*first, after))) <= ANSWER_BYTES
    assert [each.state for each in after.devices] == [DeviceState.PROBATION]
