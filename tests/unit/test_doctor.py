"""What measurements of a device mean, and what its doctor says to do."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.trust.identity import new_key
from sealane_agent.diagnosis.doctor import judge_overview, judge_slot
from sealane_agent.diagnosis.findings import (
    EXIT_CODES,
    ClockReading,
    DiskReading,
    Level,
    RuntimeReading,
    failed,
    judge_certificate,
    judge_clock,
    judge_disk,
    judge_runtimes,
    judge_worker_limits,
    warning,
    well,
    worst,
)
from sealane_agent.diagnosis.reach import Way, walk
from sealane_agent.errors import Refused
from sealane_agent.identity.lifetime import lifetime
from sealane_agent.identity.membership import Membership
from sealane_agent.overview import Overview, SlotOverview
from support.agent_fakes import START

if TYPE_CHECKING:
    from sealane_agent.diagnosis.findings import Finding

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DISK = DiskReading("/var/lib/x", free=10**9, reserve=10**8, names_left=9, read_only=False)
SLOT = SlotOverview("cam", "committed", "vision/defect@7", "vision/defect@7", "", "", "", 9, 0)
SEEN = Overview(
    "press-7",
    "plant",
    "m:7443",
    supervisor=True,
    rest="[::1]:8000",
    grpc="",
    unsent=0,
    slots=(SLOT,),
)


def levels(found: tuple[Finding, ...]) -> list[Level]:
    return [each.level for each in found]


def test_workers_without_limits_of_their_own_are_no_fault_and_the_reason_is_said() -> None:
    assert judge_worker_limits("").says == "a worker that takes too much is ended alone"
    without = judge_worker_limits("this machine keeps control groups of version 1")
    assert (without.level, "version 1" in without.says) == (Level.WELL, True)


def test_the_worst_finding_says_how_the_command_ends() -> None:
    good, bad, worse = well("a", "b"), warning("a", "b", "c"), failed("a", "b", "c")
    assert worst(()) is Level.WELL
    assert worst((good, worse, bad)) is Level.FAILED
    assert worst((good, bad)) is Level.WARNING
    assert [EXIT_CODES[level] for level in Level] == [0, 5, 1]


@pytest.mark.parametrize(
    ("ahead", "wall", "level"),
    [
        (None, START, Level.WELL),
        (timedelta(seconds=3), START, Level.WELL),
        (timedelta(minutes=3), START, Level.WARNING),
        (timedelta(minutes=-3), START, Level.WARNING),
        (None, START - HOUR, Level.FAILED),
        (None, START + 1000 * DAY, Level.WELL),
    ],
)
def test_a_clock_is_judged_by_what_is_known(
    ahead: timedelta | None, wall: object, level: Level
) -> None:
    found = judge_clock(ClockReading(wall, START, ahead))  # type: ignore[arg-type]  # a datetime
    assert found.level is level
    assert bool(found.hint) == (level is not Level.WELL)


@pytest.mark.parametrize(
    ("at", "ca_ends", "expected"),
    [
        (HOUR, 100 * DAY, [Level.WELL, Level.WELL]),
        (23 * HOUR, 100 * DAY, [Level.WARNING, Level.WELL]),
        (25 * HOUR, 100 * DAY, [Level.FAILED, Level.WELL]),
        (HOUR, 20 * DAY, [Level.WELL, Level.WARNING]),
        (HOUR, timedelta(0), [Level.WELL, Level.FAILED]),
    ],
)
def test_certificates_are_judged_by_their_ends(
    at: timedelta, ca_ends: timedelta, expected: list[Level]
) -> None:
    life = lifetime(START, START + DAY, 1.0)
    assert levels(judge_certificate(life, START + at, START + ca_ends)) == expected


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, Level.WELL),
        ({"free": 3 * 10**8}, Level.WARNING),
        ({"free": 10**7}, Level.FAILED),
        ({"names_left": 0}, Level.FAILED),
        ({"names_left": -1}, Level.WELL),
        ({"read_only": True}, Level.FAILED),
    ],
)
def test_a_disk_is_judged_by_what_can_still_be_written(
    changed: dict[str, int], level: Level
) -> None:
    assert judge_disk(replace(DISK, **changed)).level is level  # type: ignore[arg-type]  # names


def test_a_runtime_that_a_slot_needs_and_one_that_does_not_start_are_told() -> None:
    here = (
        RuntimeReading("onnxruntime", "1.32.0", ("cpu",)),
        RuntimeReading("openvino", "2026.4", trouble="libtbb.so: cannot open"),
    )
    found = judge_runtimes(here, {"onnxruntime": "cam", "tensorrt": "gate"})
    assert levels(found) == [Level.WELL, Level.FAILED, Level.FAILED]
    assert "libtbb.so" in found[1].says
    assert "slot gate needs the runtime tensorrt" in found[2].says
    assert levels(judge_runtimes((), {})) == [Level.FAILED]


NO_DRIVER = (("gpu", "no driver answers", "install the driver"), ("npu", "not used", ""))
ORT = RuntimeReading("onnxruntime", "1.32.0", ("cpu",), missing=NO_DRIVER, told=("cpu",))


def test_an_accelerator_that_no_machine_here_has_is_not_spoken_of() -> None:
    assert levels(judge_runtimes((ORT,), {})) == [Level.WELL]


def test_a_card_that_no_runtime_uses_is_told_and_does_not_trouble() -> None:
    has = replace(ORT, cards={"gpu": "a GPU of NVIDIA"})
    found = judge_runtimes((has,), {})
    assert levels(found) == [Level.WELL, Level.WELL]
    assert found[1].says == (
        "this machine has a GPU of NVIDIA that onnxruntime does not use: no driver answers; "
        "to use it, install the driver"
    )


def test_an_accelerator_that_was_lost_is_a_warning_with_what_to_do() -> None:
    found = judge_runtimes((replace(ORT, had=("cpu", "gpu")),), {})
    assert levels(found) == [Level.WELL, Level.WARNING]
    assert "finds it no longer: no driver answers" in found[1].says
    assert found[1].hint == "install the driver"


def test_what_came_since_the_agent_looked_makes_it_look_again() -> None:
    more = replace(ORT, accelerators=("cpu", "gpu"), missing=())
    found = judge_runtimes((more,), {})
    assert levels(found) == [Level.WELL, Level.WARNING]
    assert "restart sealane-agent" in found[1].hint


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, Level.WELL),
        ({"serves": ""}, Level.FAILED),
        ({"state": "safe_mode"}, Level.FAILED),
        ({"state": "rolled_back", "reason": "errors"}, Level.WARNING),
        ({"state": "idle", "serves": "", "last_good": ""}, Level.WELL),
    ],
)
def test_a_slot_is_judged_by_what_serves(changed: dict[str, str], level: Level) -> None:
    assert judge_slot(replace(SLOT, **changed)).level is level  # type: ignore[arg-type]  # names


def test_processes_that_do_not_run_are_told_with_what_starts_them() -> None:
    found = tuple(judge_overview(replace(SEEN, supervisor=False, rest=""), answers=False))
    assert levels(found) == [Level.WARNING, Level.FAILED, Level.WELL]
    assert all("systemctl start" in each.hint for each in found[:2])


def test_a_supervisor_that_holds_its_folder_and_does_not_answer_is_told() -> None:
    hangs, runs = (next(judge_overview(SEEN, answers=answers)) for answers in (False, True))
    assert (hangs.level, runs.level) == (Level.FAILED, Level.WELL)
    assert "does not answer" in hangs.says
    assert "restart" in hangs.hint


def way(fails: str = "", error: Exception | None = None) -> Way:
    def step(name: str) -> tuple[str, ...]:
        if name == fails and error is not None:
            raise error
        return ()

    return Way(
        resolve=lambda _host, _port: step("name"),
        connect=lambda _host, _port: step("port"),
        handshake=lambda _host, _port, _ca: step("tls"),
        greet=lambda _membership: step("answer"),
    )


MEMBERSHIP = Membership("plant.example:7443", new_key(), b"", b"")
EXPIRED = ssl.SSLCertVerificationError()
EXPIRED.verify_message = "certificate is not yet valid"


@pytest.mark.parametrize(
    ("fails", "error", "steps", "hint"),
    [
        ("", None, 4, ""),
        ("name", socket.gaierror(-2, "Name or service not known"), 1, "DNS"),
        ("port", ConnectionRefusedError(111, "Connection refused"), 2, "firewall"),
        ("port", TimeoutError("timed out"), 2, "firewall"),
        ("tls", EXPIRED, 3, "clock"),
        ("tls", ssl.SSLError(1, "unexpected eof"), 3, "intercepts"),
        ("answer", Refused("device press-7 was revoked", hint="ask"), 4, "ask"),
    ],
)
def test_the_way_to_the_manager_is_walked_up_to_the_step_that_fails(
    fails: str, error: Exception | None, steps: int, hint: str
) -> None:
    found = list(walk(way(fails, error), MEMBERSHIP))
    assert len(found) == steps
    assert (found[-1].level is Level.FAILED) == bool(fails)
    assert hint in found[-1].hint
    assert all(each.level is Level.WELL for each in found[:-1])
