from __future__ import annotations

import json
import resource
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from sealane.fleet import SlotReport
from sealane.names import AGENT_SLOT
from sealane_manager.cli.main import app
from sealane_manager.rollout.types import Operation
from support.manager import SLOT, running_manager
from support.models import write_data, write_tiny
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.manager import RunningManager
    from typer.testing import Result


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file may grow beyond that, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signals = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, signals)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        yield running


@pytest.fixture
def sealane(manager: RunningManager) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
        return CliRunner().invoke(app, arguments, env=environment)

    return run


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_join_token_is_printed_alone_so_that_it_can_be_piped(
    sealane: Callable[..., Result],
) -> None:
    done = sealane("device", "token", "--label", "site=berlin", "--lifetime", "30m")

    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert line.startswith("slj1_")


def test_devices_are_listed_as_a_table_and_as_json(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    device = manager.enrolled("listed", {"site": "porto"})
    report = SlotReport(SLOT, "committed", active_release="demo/tiny@1", lkg_release="demo/tiny@1")
    with device.session() as session:
        session.greet(replace(report, chosen="int8, lowest latency of 3: 1.2 ms"))
        (row,) = parsed(sealane("device", "list", "--selector", "site=porto", "-o", "json"))
        table = sealane("device", "list", "--selector", "site=porto").stdout
        shown = sealane("device", "show", "listed").stdout

    assert (row["id"], row["connected"], row["labels"]) == ("listed", True, {"site": "porto"})
    assert row["slots"][0]["active_release"] == "demo/tiny@1"
    assert "site=porto" in table
    assert "cam: demo/tiny@1" in table
    assert "onnxruntime 1.32.0 (cpu)" in shown
    assert "committed, serves demo/tiny@1 by int8, lowest latency of 3: 1.2 ms" in shown
    assert row["slots"][0]["chosen"] == "int8, lowest latency of 3: 1.2 ms"


def test_labels_are_set_with_equals_and_removed_with_a_dash(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("named", {"line": "3"})

    row = parsed(sealane("device", "label", "named", "site=lyon", "line-", "-o", "json"))

    assert row["labels"] == {"site": "lyon"}


def test_a_revoked_device_is_shown_as_revoked(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("gone")
    assert sealane("device", "revoke", "gone", "--reason", "sold").exit_code == 0
    assert parsed(sealane("device", "show", "gone", "-o", "json"))["state"] == "revoked"
    assert sealane("device", "list", "--selector", "device=gone").stdout.split()[-1] == "revoked"


def test_the_agents_own_slot_is_listed_once_a_version_was_brought_there(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    device = manager.enrolled("fresh", {"site": "nowhere"})
    with device.session() as session:
        session.greet(SlotReport(AGENT_SLOT, "idle"))
        before = sealane("device", "list", "--selector", "device=fresh").stdout
        assert "sealane-agent" not in sealane("device", "show", "fresh").stdout
    with device.session() as session:
        session.greet(SlotReport(AGENT_SLOT, "committed", active_release="sealane/agent@2"))
        after = sealane("device", "list", "--selector", "device=fresh").stdout

    assert "sealane-agent" not in before
    assert "sealane-agent: sealane/agent@2" in after
    assert "yes" in after.split()


def test_the_command_says_its_version(sealane: Callable[..., Result]) -> None:
    done = sealane("--version")
    assert (done.exit_code, done.stdout) == (0, f"{version('sealane-manager')}\n")


def test_releases_are_listed(sealane: Callable[..., Result]) -> None:
    (row,) = parsed(sealane("release", "list", "-o", "json"))
    assert row["release"] == "demo/tiny@1"


def test_a_rollout_is_started_shown_controlled_and_listed(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("target", {"test": "started"})
    started = parsed(
        sealane(
            *("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "test=started"),
            *("--stages", "100%", "--soak", "1m", "--reason", "better recall", "-o", "json"),
        )
    )
    paused = sealane("rollout", "pause", started["id"], "--reason", "lunch")
    shown = parsed(sealane("rollout", "show", started["id"], "-o", "json"))
    table = sealane("rollout", "show", started["id"]).stdout
    aborted = sealane("rollout", "abort", started["id"])
    listed = parsed(sealane("rollout", "list", "-o", "json"))

    assert started["release"] == "demo/tiny@1"
    assert paused.exit_code == 0
    assert shown["state"] == "paused"
    assert [device["device"] for device in shown["devices"]] == ["target"]
    assert "better recall" in table
    assert "lunch" in table
    assert aborted.exit_code == 0
    assert next(row for row in listed if row["id"] == started["id"])["state"] == "aborted"


def test_watching_prints_a_line_a_change_and_ends_refused_when_the_rollout_did_not_succeed(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("looked-at", {"test": "watched"})
    started = parsed(
        sealane(
            *("rollout", "start", "demo/tiny@1", "--slot", "cam"),
            *("--selector", "test=watched", "-o", "json"),
        )
    )
    done: list[Result] = []
    watcher = threading.Thread(
        target=lambda: done.append(sealane("rollout", "watch", started["id"]))
    )
    watcher.start()
    with manager.operator() as operator:
        operator.control_rollout(started["id"], Operation.ABORT, "not today")
    watcher.join(10)

    (watched,) = done
    assert watched.exit_code == 3
    lines = watched.stdout.splitlines()
    assert any("not today" in line for line in lines)
    assert lines[-1].startswith("demo/tiny@1 aborted")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("device", "show", "nobody"), 1, "there is no device nobody"),
        (("device", "list", "--selector", "a in ("), 1, "selector"),
        (("rollout", "show", "r-0"), 1, "there is no rollout"),
        (("rollout", "start", "demo/tiny@9", "--slot", "cam"), 1, "not listed"),
        (("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "a=z"), 3, ""),
        (("rollout", "start", "demo/tiny@1", "--slot", "cam", "--stages", "0"), 1, "stage"),
        (("rollout", "start", "demo/tiny@1", "--slot", "cam", "--soak", "ever"), 2, "duration"),
        (("device", "token", "--label", "site"), 2, "key=value"),
        (("device", "token", "--uses", "0"), 2, ""),
        (("device", "token", "--uses", "100001"), 2, ""),
        (("device", "token", "--lifetime", "0s"), 2, "'0s' is too short: at least 1s"),
        (("device", "token", "--lifetime", "91d"), 2, "'91d' is too long: at most 90d"),
        (("sample", "on", "--slot", "cam", "--for", "0s", "--reason", "x"), 2, "too short"),
        (
            ("kit", "export", "no/such.kit", "--release", "demo/tiny@1", "--slot", "cam"),
            1,
            "there is no folder",
        ),
        (("device", "dance"), 2, "No such command"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line_and_ends_with_its_code(
    sealane: Callable[..., Result], arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = sealane(*arguments)

    assert done.exit_code == code
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_a_manager_that_does_not_answer_is_exit_code_4(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        context = str(manager.state.operator)

    done = CliRunner().invoke(app, ["device", "list", "--context", context])

    assert done.exit_code == 4
    assert "hint: is `sealane serve` running" in done.stderr


def test_without_a_context_the_hint_says_how_to_get_one(tmp_path: Path) -> None:
    environment = {"SEALANE_CONTEXT": "", "SEALANE_STATE": "", "XDG_CONFIG_HOME": str(tmp_path)}
    done = CliRunner().invoke(app, ["device", "list"], env=environment)

    assert done.exit_code == 1
    assert "SEALANE_CONTEXT" in done.stderr


def test_a_schedule_is_set_shown_and_removed_and_a_wrong_window_is_a_sentence(
    sealane: Callable[..., Result],
) -> None:
    night = ("--activation", "daily 22:00-05:00", "--commit", "both", "--lease", "12h")
    assert sealane("window", "set", "night", "--selector", "site=porto", *night).exit_code == 0
    (row,) = parsed(sealane("window", "list", "-o", "json"))
    assert (row["activation"], row["commit"], row["lease"]) == (
        ["daily 22:00-05:00"],
        "both",
        "12h",
    )
    assert row["interrupts"] is False
    assert "daily 22:00-05:00" in sealane("window", "list").stdout
    assert sealane("window", "set", "night", "--interrupt").exit_code == 0
    (row,) = parsed(sealane("window", "list", "-o", "json"))
    assert row["interrupts"] is True
    assert "window, interrupts" in sealane("window", "list").stdout
    wrong = sealane("window", "set", "night", "--activation", "at night")
    assert wrong.exit_code == 1
    assert "mon-fri 22:00-05:00" in wrong.stderr
    assert sealane("window", "remove", "night", "--reason", "over").exit_code == 0
    assert parsed(sealane("window", "list", "-o", "json")) == []


def test_a_device_is_held_shown_and_released_and_a_wrong_end_is_a_sentence(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("held-1", {"site": "porto"})
    done = sealane("device", "hold", "held-1", "--until", "2h", "--reason", "the plant is audited")
    assert (done.exit_code, done.stdout[:2]) == (0, "m-")
    name = done.stdout.split()[0]
    listed = json.loads(sealane("device", "holds", "held-1", "-o", "json").stdout)
    assert [(each["id"], each["for"]) for each in listed] == [(name, "device=held-1")]
    shown = sealane("device", "show", "held-1").stdout
    assert f"hold {name}" in shown
    assert "the plant is audited" in shown
    assert sealane("device", "release", name, "--reason", "it went well").exit_code == 0
    assert json.loads(sealane("device", "holds", "-o", "json").stdout) == []
    wrong = sealane("device", "hold", "held-1", "--until", "tonight", "--reason", "x")
    assert "'tonight' is no moment" in wrong.stderr
    nobody = sealane("device", "hold", "site=oslo", "--until", "1h", "--reason", "x")
    assert nobody.stderr.splitlines()[0] == "error: no device matches 'site=oslo'"


def test_an_order_for_a_slot_that_no_device_has_is_taken_with_a_warning(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    reason = ("--reason", "the lens is cleaned")
    with manager.enrolled("typed-1", {"test": "typed"}).session() as session:
        session.greet(SlotReport(SLOT, "idle"))
        listed = sealane("device", "list", "--selector", "device=typed-1").stdout
    assert "cam: -" in listed

    def told(*command: str) -> str:
        done = sealane(*command, *reason)
        assert (done.exit_code, "1 device" in done.stdout) == (0, True), done.output
        return done.stderr

    hold = ("device", "hold", "test=typed", "--until", "1h")
    samples = ("sample", "on", "--selector", "test=typed", "--for", "1h")
    for command in (hold, samples):
        (line,) = told(*command, "--slot", "cma").splitlines()
        assert line.startswith("warning: none of these devices has a slot cma so far; ")
        assert told(*command, "--slot", "cam") == ""
    assert told(*hold) == told(*hold, "--slot", "sealane-agent") == ""
    for slot in ("cma", "cam"):
        assert told("sample", "off", "--selector", "test=typed", "--slot", slot) == ""
    for each in parsed(sealane("device", "holds", "typed-1", "-o", "json")):
        assert sealane("device", "release", each["id"]).exit_code == 0


def test_a_device_whose_slot_had_nothing_before_is_not_rolled_back(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("fresh-1")
    refused = sealane("device", "rollback", "fresh-1", "cam", "--reason", "it is slow")
    assert refused.exit_code != 0
    assert "nothing is assigned to slot cam of fresh-1" in refused.stderr


def test_a_calendar_is_set_shown_and_removed_and_a_wrong_one_is_a_sentence(
    sealane: Callable[..., Result],
) -> None:
    days = ("--freeze", "2000-01-01..2999-01-01", "--holiday", "05-01")
    where = ("--selector", "site=porto", "--zone", "Europe/Lisbon")
    hours = ("--hours", "mon-fri 22:00-05:00")
    assert sealane("calendar", "set", "porto", *where, *hours, *days).exit_code == 0
    (row,) = parsed(sealane("calendar", "list", "-o", "json"))
    assert (row["zone"], row["hours"]) == ("Europe/Lisbon", ["mon-fri 22:00-05:00"])
    assert row["now"].endswith("(freeze 2000-01-01 to 2999-01-01); it opens no more")
    assert "porto" in sealane("calendar", "list").stdout
    wrong = sealane("calendar", "set", "porto", "--zone", "Europe/Atlantis")
    assert wrong.exit_code == 1
    assert "is no time zone" in wrong.stderr
    assert sealane("calendar", "remove", "porto", "--reason", "over").exit_code == 0
    assert parsed(sealane("calendar", "list", "-o", "json")) == []


def test_a_device_that_was_revoked_is_neither_held_nor_sampled(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    for name in ("stays", "left"):
        manager.enrolled(name, {"test": "members"})
    assert sealane("device", "revoke", "left", "--reason", "sold").exit_code == 0
    reason = ("--reason", "the lens is cleaned")
    held = sealane("device", "hold", "test=members", "--until", "1h", *reason)
    assert "holds 1 device until" in held.stdout
    assert sealane("device", "hold", "left", "--until", "1h", *reason).exit_code == 1
    wanted = ("--slot", "cam", "--selector", "test=members", "--for", "1h", *reason)
    assert sealane("sample", "on", *wanted).stdout == "1 device\n"
    ended = ("sample", "off", "--slot", "cam", *reason)
    assert sealane(*ended).stdout == "1 device\n"
    assert "no samples of slot cam are ordered there" in sealane(*ended).stderr


@pytest.mark.parametrize(
    "command",
    [
        ("device", "list", "--selector", "site=\udcff"),
        ("device", "hold", "listed", "--until", "1h", "--reason", "K\udcf6ln"),
        ("audit", "list", "--text", "\udcff"),
    ],
)
def test_what_is_no_text_is_refused_with_one_line(
    sealane: Callable[..., Result], command: tuple[str, ...]
) -> None:
    done = sealane(*command)
    assert done.exit_code == 1
    assert "is not text in UTF-8" in done.stderr


def test_an_export_that_is_cut_off_leaves_nothing(
    manager: RunningManager, sealane: Callable[..., Result], tmp_path: Path
) -> None:
    del manager
    kept = tmp_path / "log"
    kept.write_text("the one of yesterday")
    with limited_files(256):
        done = sealane("audit", "export", str(kept))
    assert done.exit_code == 1
    assert kept.read_text() == "the one of yesterday"
    assert list(tmp_path.iterdir()) == [kept]
    assert sealane("audit", "export", str(kept)).exit_code == 0
    assert kept.read_bytes().count(b"\n") > 1


def test_the_gate_of_a_rollout_that_it_never_moved_says_so(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("unjudged", {"test": "unjudged"})
    started = parsed(
        sealane(
            *("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "test=unjudged"),
            *("--stages", "100%", "-o", "json"),
        )
    )
    done = sealane("gate", "explain", started["id"])
    assert "has judged nothing so far" in done.stderr
    assert sealane("rollout", "abort", started["id"]).exit_code == 0


def test_a_wrong_order_is_named_as_the_command_is(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    manager.enrolled("written", {"test": "written"})
    started = parsed(
        sealane(
            *("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "test=written"),
            *("--stages", "100%", "-o", "json"),
        )
    )
    assert sealane("rollout", "abort", started["id"]).exit_code == 0
    done = sealane("rollout", "write-off", started["id"], "written")
    assert "so it cannot write-off" in done.stderr


def test_a_kit_that_cannot_be_good_for_so_long_is_refused_with_the_most_and_why(
    manager: RunningManager, sealane: Callable[..., Result], tmp_path: Path
) -> None:
    manager.enrolled("offline-1")
    kit = tmp_path / "month.kit"
    named = ("--release", "demo/tiny@1", "--slot", "cam", "--device", "offline-1")
    refused = sealane("kit", "export", str(kit), *named, "--valid", "30d")
    assert (refused.exit_code, kit.exists()) == (3, False)
    error, hint = refused.stderr.splitlines()
    assert error.startswith("error: a kit made now is good for at most 7d, not for 30d: ")
    assert "the repository's timestamp ends at " in error
    assert "goes on serving" in hint
    assert sealane("kit", "export", str(kit), *named, "--valid", "59m").exit_code == 2
    assert sealane("kit", "export", str(kit), *named, "--valid", "7d").exit_code == 0
    assert sealane("kit", "export", str(tmp_path / "longest.kit"), *named).exit_code == 0
    (week,) = parsed(sealane("kit", "show", str(kit), "-o", "json"))
    (longest,) = parsed(sealane("kit", "show", str(tmp_path / "longest.kit"), "-o", "json"))
    assert week["until"] <= longest["until"]


def test_a_password_is_not_asked_for_where_nobody_sits(
    manager: RunningManager, sealane: Callable[..., Result]
) -> None:
    done = sealane("user", "add", "ada", "--state", str(manager.state.root))
    assert done.exit_code == 3
    assert "--password-stdin" in done.stderr


def test_a_family_that_is_not_there_is_named_with_how_to_add_it(
    manager: RunningManager, sealane: Callable[..., Result], tmp_path: Path
) -> None:
    model, data = str(write_tiny(tmp_path)), str(write_data(tmp_path))
    words = ("--model", "sound/tiny", "--data", data, "--out", str(tmp_path / "b"))
    assert sealane("bundle", "pack", model, *words).exit_code == 0
    publish = ("bundle", "publish", str(tmp_path / "b"), "--release", "sound/tiny@1")
    done = sealane(*publish, "--key", str(manager.state.keys / "demo.pem"))
    assert "there is no family 'sound'" in done.stderr
    assert "sealane trust add-family" in done.stderr
