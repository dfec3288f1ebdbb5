from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.failure import Failure, FailureKind
from sealane_agent.serving import control_codec as codec
from sealane_agent.serving.messages import (
    Activate,
    Bar,
    Drop,
    Load,
    Proved,
    Return,
    Settle,
    SlotStatus,
    Status,
    Telemetry,
    Traffic,
)
from support.fake_workers import pointer

if TYPE_CHECKING:
    from sealane_agent.serving.messages import Command

STATUS = SlotStatus(
    slot="cam",
    active=pointer(2),
    active_worker="cam-2",
    previous=pointer(1),
    probation=True,
    standby=("cam-3",),
    traffic=Traffic(requests=5, hangs=1),
    broke="it reached its limit of 300 MiB of memory and was ended",
)


@pytest.mark.parametrize(
    "command",
    [
        Load("cam", pointer(3), 12.5),
        Load("cam", pointer(3), 12.5, bar=Bar(1200, 41.5)),
        Activate("cam", "cam-1", probation=True),
        Settle("cam"),
        Return("cam"),
        Drop("cam", "cam-1"),
        Status(),
        Telemetry("life-7"),
    ],
)
def test_a_command_survives_the_line(command: Command) -> None:
    assert codec.decode_command(codec.encode_command(7, command)) == (7, command)


LOAD = json.loads(codec.encode_command(1, Load("cam", pointer(3), 12.5)))


def test_a_supervisor_that_tells_of_nothing_to_beat_has_all_measured_to_the_end() -> None:
    earlier = {name: value for name, value in LOAD.items() if name != "bar"}
    _, command = codec.decode_command(json.dumps(earlier).encode())
    assert isinstance(command, Load)
    assert command.bar == Bar()


@pytest.mark.parametrize(
    "bar",
    [
        7,
        {"latency_us": 1},
        {"latency_us": -1, "rows_per_s": 0},
        {"latency_us": float("inf"), "rows_per_s": 0},
        {"latency_us": True, "rows_per_s": 0},
        {"latency_us": 1, "rows_per_s": -1.0},
        {"latency_us": 1, "rows_per_s": float("nan")},
        {"latency_us": 1, "rows_per_s": []},
    ],
)
def test_what_nothing_can_be_compared_with_is_refused(bar: object) -> None:
    with pytest.raises(codec.ControlError):
        codec.decode_command(json.dumps(LOAD | {"bar": bar}).encode())


def test_an_endpoint_from_before_says_less_of_a_proof() -> None:
    proof = Proved("cam-1", "1.32.0", 0.0, 100, 1000, 20)
    said = codec.proved_fields(replace(proof, p95_us=120))["proved"]
    for later in ("p95_us", "rows_per_s", "given_up"):
        del said[later]
    assert codec.read_proved({"proved": said}) == proof


def test_a_field_that_nobody_knows_is_ignored() -> None:
    assert codec.decode_command(b'{"id":1,"op":"settle","slot":"cam","new":1}') == (
        1,
        Settle("cam"),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b'{"id":1}',
        b'{"id":"1","op":"status"}',
        b'{"id":1,"op":"fly"}',
        b'{"id":1,"op":"settle","slot":"../etc"}',
        b'{"id":1,"op":"load","slot":"cam"}',
        b'{"id":1,"op":"load","slot":"cam","pointer":{},"deadline_s":1}',
        b'{"id":1,"op":"load","slot":"cam","pointer":7,"deadline_s":1}',
    ],
)
def test_a_line_that_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(codec.ControlError):
        codec.decode_command(line)


def test_a_status_survives_the_line() -> None:
    line = codec.encode_answer(1, {"slot": codec.status_fields(STATUS)})
    assert codec.read_status(codec.decode_line(line)) == STATUS


def test_a_slot_that_serves_nothing_survives_the_line() -> None:
    empty = replace(STATUS, active=None, active_worker="", previous=None, standby=())
    line = codec.encode_answer(
        1, {"slots": [codec.status_fields(empty)], "rest": "127.0.0.1:1", "grpc": "127.0.0.1:2"}
    )
    assert codec.read_endpoint(codec.decode_line(line)) == codec.EndpointStatus(
        (empty,), "127.0.0.1:1", "127.0.0.1:2"
    )


def test_a_proof_survives_the_line() -> None:
    proved = Proved("cam-1", "1.32.0", 1e-7, 100, 5, 700)
    line = codec.encode_answer(1, codec.proved_fields(proved))
    assert codec.read_proved(codec.decode_line(line)) == proved


def test_a_failure_survives_the_line() -> None:
    failure = Failure(FailureKind.PERMANENT, "staged", "runtime", "onnx-fp32", "no", "do")
    content = codec.decode_line(codec.encode_failure(1, failure))
    assert content["ok"] is False
    assert codec.read_failure(content) == failure


@pytest.mark.parametrize("content", [{}, {"failure": 7}, {"failure": {"kind": "odd"}}])
def test_an_answer_that_is_no_failure_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(codec.ControlError):
        codec.read_failure(json.loads(json.dumps(content)))


def test_windows_survive_the_line() -> None:
    content = {"ok": True, **codec.offer_fields("life-7", b"\0\xff")}
    assert codec.read_offer(content) == ("life-7", b"\0\xff")


@pytest.mark.parametrize("content", [{}, {"name": "x"}, {"name": "x", "windows": "!"}])
def test_windows_that_are_none_are_refused(content: dict[str, str]) -> None:
    with pytest.raises(codec.ControlError):
        codec.read_offer(content)
