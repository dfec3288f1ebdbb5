"""`sealane rollout plan` through the real command line: it shows what will be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import SlotReport
from sealane_manager.cli.main import app
from support.manager import SLOT, running_manager
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.manager import RunningManager
    from typer.testing import Result

    Sealane = Callable[..., Result]

BOXES = 6


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        running.publish(folder, 2)
        for number in range(BOXES):
            site = ("berlin", "paris")[number % 2]
            device = running.enrolled(f"box-{number}", {"site": site, "link-kbit": "64"})
            if number:  # box-0 was never in session
                with device.session() as session:
                    session.greet(SlotReport(SLOT, "committed", active_release="demo/tiny@1"))
        yield running


@pytest.fixture
def sealane(manager: RunningManager) -> Sealane:
    def run(*arguments: str) -> Result:
        environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
        return CliRunner().invoke(app, arguments, env=environment)

    return run


def parsed(done: Result) -> dict[str, object]:
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_what_a_plan_shows_is_what_the_next_rollout_does(sealane: Sealane, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(
        "sealane: rollout/v1\nname: shown\nrelease: demo/tiny@2\nslot: cam\n"
        "selector: site in (berlin,paris)\nstages: [2, 100%]\nsoak: 30m\n"
    )
    plan = parsed(sealane("rollout", "plan", "-f", str(file), "-o", "json"))
    assert json.loads(sealane("rollout", "list", "-ojson").stdout) == []
    applied = parsed(sealane("apply", "-f", str(file), "-ojson"))
    shown = parsed(sealane("rollout", "show", "shown", "-ojson"))
    sealane("rollout", "abort", "shown")

    assert plan["id"] == applied["id"]
    devices: list[dict[str, object]] = plan["devices"]  # type: ignore[assignment]  # of the JSON
    running: list[dict[str, object]] = shown["devices"]  # type: ignore[assignment]  # of the JSON
    assert {each["device"]: each["stage"] for each in devices} == {
        each["device"]: int(str(each["stage"])) + 1 for each in running
    }
    by_name = {each["device"]: each for each in devices}
    assert by_name["box-1"]["variants"] == ["onnx-fp32"]
    assert "never in session" in str(by_name["box-0"]["why"])
    assert int(str(by_name["box-1"]["bytes"])) > 0
    errors: list[dict[str, object]] = plan["errors"]  # type: ignore[assignment]  # of the JSON
    assert [each["factor"] for each in errors] == [1.5, 2.0, 3.0, 5.0]


def test_what_is_in_the_way_is_said_of_each_device_and_a_lone_canary_of_the_gate(
    sealane: Sealane,
) -> None:
    sealane("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "site=berlin")
    shown = sealane("rollout", "plan", "demo/tiny@2", "--slot", "cam", "--stages", "1,100%")
    flags = ("--slot", "cam", "--selector", "site=paris", "--stages", "1,100%")
    split = sealane("rollout", "plan", "demo/tiny@2", *flags, "--split", "50%")

    assert shown.exit_code == 0
    assert "is changing the slot there" in shown.stdout
    assert "the first stage cannot be compared" in shown.stdout
    assert "paris" in split.stdout
    assert "errors seen in stage 1, 1 device with requests split" in split.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--zone", "Mars/Base"), "no time zone"),
        (("--selector", "site=nowhere"), "no device matches"),
        (("--stages", "0"), "is not a stage"),
    ],
)
def test_what_could_not_start_is_refused_in_a_plan_too(
    sealane: Sealane, flags: tuple[str, ...], says: str
) -> None:
    done = sealane("rollout", "plan", "demo/tiny@2", "--slot", "cam", *flags)
    assert done.exit_code != 0
    assert says in done.output


@pytest.mark.parametrize("words", [(), ("demo/tiny@1",), ("--slot", "cam")])
def test_a_plan_of_nothing_in_particular_says_what_it_takes(
    sealane: Sealane, words: tuple[str, ...]
) -> None:
    done = sealane("rollout", "plan", *words)
    assert done.exit_code == 2
    assert "--file" in done.stderr
