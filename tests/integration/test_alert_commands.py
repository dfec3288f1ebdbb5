"""`sealane alert` against a running manager: look, acknowledge, silence, try the channels."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sealane.wire.v1 import alerts_pb2, alerts_pb2_grpc
from sealane_manager.alerts.machine import look
from sealane_manager.cli.main import app
from sealane_manager.store.store import open_store
from support.alerting import a_finding, receiver
from support.manager import make_state, running_manager
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane_manager.alerts.types import Change
    from sealane_manager.layout import StateFolder
    from support.alerting import Received
    from support.manager import RunningManager
    from typer.testing import Result

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def web() -> Iterator[Received]:
    with receiver() as received:
        yield received


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory, web: Received) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    state = make_state(folder)
    channels = {
        "webhooks": [{"name": "ops", "url": web.address, "secret": "s" * 16}],
        "alertmanagers": [{"name": "nobody", "url": "http://127.0.0.1:9"}],
    }
    state.alerts.write_text(json.dumps(channels))
    sicken(state)
    with running_manager(folder) as running:
        yield running


def sicken(state: StateFolder) -> None:
    """Write two alerts that opened just now, as a look at the fleet would."""
    store = open_store(state.database)
    found = (a_finding("box-1"), a_finding("box-2", site="lyon"), a_finding("box-3", site="lyon"))

    def decide(alerts: Any, silences: Any) -> Change:
        return look(alerts, found, silences, NOW)

    store.alerts.apply(decide, lambda _: ())
    store.close()


@pytest.fixture
def sealane(manager: RunningManager) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
        return CliRunner().invoke(app, ["alert", *arguments], env=environment)

    return run


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def decisions(manager: RunningManager) -> list[tuple[str, str, str]]:
    with sqlite3.connect(manager.state.database) as connection:
        query = "SELECT actor, action, detail FROM decision WHERE rollout = ''"
        return list(connection.execute(query))


def test_alerts_are_listed_as_a_table_and_as_json(sealane: Callable[..., Result]) -> None:
    rows = parsed(sealane("list", "--site", "lyon", "-o", "json"))

    assert {row["subject"] for row in rows} == {"box-2", "box-3"}
    assert {(row["rule"], row["severity"]) for row in rows} == {("crash_loop", "critical")}
    assert f"{NOW:%Y-%m-%dT%H:%M}" in sealane("list").stdout
    assert parsed(sealane("list", "--severity", "info", "-o", "json")) == []
    assert parsed(sealane("list", "--state", "resolved", "-o", "json")) == []


def test_an_acknowledged_alert_shows_who_and_the_log_says_why(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    done = sealane("ack", "crash_loop", "box-1", "--reason", "on my way")
    assert done.exit_code == 0, done.output

    shown = parsed(sealane("show", "crash_loop", "box-1", "-o", "json"))
    assert (shown["state"], shown["by"]) == ("acknowledged", "admin")
    logged = ("admin", "acknowledge", "alert crash_loop of box-1: on my way")
    assert logged in decisions(manager)


def test_an_alert_that_is_not_there_fails_with_a_hint(sealane: Callable[..., Result]) -> None:
    for command in ("show", "ack"):
        done = sealane(command, "crash_loop", "box-9")
        assert done.exit_code == 1
        assert "there is no alert crash_loop of box-9" in done.stderr


def test_a_silence_has_an_owner_a_reason_an_end_and_can_be_ended(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    made = parsed(
        sealane("silence", "--site", "lyon", "--for", "4h", "--reason", "moving", "-o", "json")
    )
    (row,) = parsed(sealane("silences", "-o", "json"))

    assert (row["id"], row["site"], row["by"], row["reason"]) == (
        made["id"],
        "lyon",
        "admin",
        "moving",
    )
    hours = (datetime.fromisoformat(row["until"]) - datetime.now(UTC)).total_seconds() / 3600
    assert 3.9 < hours <= 4
    assert sealane("unsilence", made["id"], "--reason", "done").exit_code == 0
    assert parsed(sealane("silences", "-o", "json")) == []
    assert sealane("unsilence", made["id"]).exit_code == 1
    assert [action for _, action, _ in decisions(manager)][-2:] == ["silence", "end silence"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--for", "4h", "--reason", "x"), 3, "names a rule, a site or a subject"),
        (("--site", "lyon", "--for", "0s", "--reason", "x"), 3, "ends in the future"),
        (("--site", "lyon", "--for", "1h", "--reason", " "), 3, "has a reason"),
        (("--rule", "nonsense", "--for", "1h", "--reason", "x"), 1, "there is no rule"),
        (("--site", "lyon", "--reason", "x"), 2, "--for"),
    ],
)
def test_a_silence_that_would_hide_all_or_never_end_is_refused(
    sealane: Callable[..., Result], arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = sealane("silence", *arguments)
    assert done.exit_code == code
    assert said in done.stderr


def test_channels_are_tried_and_what_failed_is_said(
    sealane: Callable[..., Result], web: Received
) -> None:
    done = sealane("channels", "test", "-o", "json")

    assert done.exit_code == 1
    told, failed = json.loads(done.stdout)
    assert (told["name"], told["sent"]) == ("ops", True)
    assert (failed["name"], failed["sent"]) == ("nobody", False)
    assert "cannot be reached" in failed["problem"]
    content = json.loads(web.posts[-1][2])
    assert (content["status"], content["rule"]) == ("test", "test")
    assert "nothing is wrong" in content["headline"]


def test_one_channel_is_tried_by_its_name(sealane: Callable[..., Result]) -> None:
    assert sealane("channels", "test", "ops").exit_code == 0
    assert "there is no channel 'oops'" in sealane("channels", "test", "oops").stderr
    names = [row["name"] for row in parsed(sealane("channels", "list", "-o", "json"))]
    assert names == ["ops", "nobody"]


def test_a_device_may_not_ask_about_alerts(manager: RunningManager) -> None:
    device = manager.enrolled("curious")
    with device.channel(manager.addresses.operator) as channel:
        stub = alerts_pb2_grpc.AlertServiceStub(channel)
        with pytest.raises(Exception, match="PERMISSION_DENIED"):
            stub.ListAlerts(alerts_pb2.ListAlertsRequest(), timeout=30)
        with pytest.raises(Exception, match="PERMISSION_DENIED"):
            stub.CreateSilence(alerts_pb2.CreateSilenceRequest(site="x", seconds=9), timeout=30)
