from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from sealane.names import DeviceId, ReleaseName, SlotName
from sealane_manager.cli.watch import (
    RETRIES,
    RETRY_S,
    follow_lines,
    lasting,
    new_lines,
    picture,
    standing,
)
from sealane_manager.errors import Unreachable
from sealane_manager.rollout.types import DeviceState, Phase, RolloutState
from sealane_manager.views import DecisionView, RolloutDeviceView, RolloutView
from support.rollouts import a_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def a_device(name: str, state: DeviceState, detail: str = "") -> RolloutDeviceView:
    return RolloutDeviceView(DeviceId(name), name, 0, state, detail, 12, NOW)


def a_rollout() -> RolloutView:
    return RolloutView(
        id="r-1",
        release=ReleaseName("vision/defect", 7),
        previous_release="vision/defect@6",
        slot=SlotName("cam"),
        selector="",
        state=RolloutState.RUNNING,
        reason="",
        stage=0,
        phase=Phase.DISPATCH,
        stages=("1", "100%"),
        devices=(a_device("box-1", DeviceState.LEASED), a_device("box-2", DeviceState.WAITING)),
        decisions=(DecisionView(NOW, "admin", "start", "try it"),),
        created_at=NOW,
        ended_at=None,
        name="",
        asked=a_spec("1", "100%"),
        counts={"leased": 1, "waiting": 1},
    )


def test_where_a_rollout_stands_fits_one_line() -> None:
    assert standing(a_rollout()) == (
        "vision/defect@7 running, stage 1 of 2 (dispatch), 1 leased, 1 waiting"
    )
    held = replace(a_rollout(), state=RolloutState.PAUSED, reason="pause by admin: lunch")
    assert standing(held).endswith(": pause by admin: lunch")


def test_the_first_lines_tell_everything_that_happened_so_far() -> None:
    assert new_lines(None, a_rollout()) == [
        "admin: start try it",
        "device box-1: leased",
        standing(a_rollout()),
    ]


def test_nothing_new_is_no_line() -> None:
    assert new_lines(a_rollout(), a_rollout()) == []


def test_a_change_tells_only_itself() -> None:
    failed = a_device("box-1", DeviceState.FAILED, "golden outputs differ")
    after = replace(a_rollout(), devices=(failed, *a_rollout().devices[1:]))

    assert new_lines(a_rollout(), after) == ["device box-1: failed golden outputs differ"]


def test_a_new_phase_tells_where_the_rollout_stands() -> None:
    after = replace(a_rollout(), phase=Phase.SOAK)

    assert new_lines(a_rollout(), after) == [standing(after)]


def test_a_device_whose_move_a_decision_tells_is_told_once() -> None:
    told = DecisionView(NOW, "device box-1", "failed", "golden outputs differ")
    failed = a_device("box-1", DeviceState.FAILED, "golden outputs differ")
    after = replace(a_rollout(), devices=(failed,), decisions=(*a_rollout().decisions, told))

    assert new_lines(a_rollout(), after) == ["device box-1: failed golden outputs differ"]


def test_the_picture_shows_devices_and_the_last_decisions_in_the_users_words() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(picture(a_rollout()))
    drawn = console.file.getvalue() if isinstance(console.file, StringIO) else ""

    assert "vision/defect@7 running" in drawn
    assert "box-1" in drawn
    assert "admin: start try it" in drawn


def test_what_others_wrote_is_neither_markup_nor_an_order_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "[/Gemm_3] [red]x[/] \x1b[2Jgone\nnext"
    shown = "[/Gemm_3] [red]x[/] ?[2Jgone?next"
    hostile = replace(
        a_rollout(),
        reason=words,
        devices=(a_device("box-1", DeviceState.FAILED, words),),
        decisions=(DecisionView(NOW, "admin", "start", words),),
    )
    console = Console(file=StringIO(), width=200)
    console.print(picture(hostile))
    drawn = console.file.getvalue() if isinstance(console.file, StringIO) else ""
    assert drawn.count(shown) == 3
    follow_lines([hostile])
    assert capsys.readouterr().out.count(shown) == 3


class RestartedManager:
    """Answers, goes away for some calls, and answers again."""

    def __init__(self, away: int) -> None:
        self._calls, self._away = 0, away
        self.waited: list[float] = []

    def watch(self) -> Iterator[RolloutView]:
        self._calls += 1
        if self._calls == 1:
            yield a_rollout()
        if self._calls <= 1 + self._away:
            raise Unreachable("the manager does not answer")
        yield replace(a_rollout(), state=RolloutState.SUCCEEDED)


def test_a_watch_goes_on_after_the_manager_was_restarted() -> None:
    manager = RestartedManager(away=3)
    states = [rollout.state for rollout in lasting(manager.watch, manager.waited.append)]
    assert states == [RolloutState.RUNNING, RolloutState.SUCCEEDED]
    assert manager.waited == [RETRY_S] * 4


def test_a_watch_gives_up_on_a_manager_that_stays_away() -> None:
    manager = RestartedManager(away=10_000)
    with pytest.raises(Unreachable):
        list(lasting(manager.watch, manager.waited.append))
    assert len(manager.waited) == RETRIES


def test_a_manager_that_never_answered_is_not_waited_for() -> None:
    def nobody() -> Iterator[RolloutView]:
        raise Unreachable("the manager does not answer")

    waited: list[float] = []
    with pytest.raises(Unreachable):
        list(lasting(nobody, waited.append))
    assert waited == []
