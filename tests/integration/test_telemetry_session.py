"""Telemetry over real sessions: stored once, acknowledged after the commit, and in nobody's way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.fleet import AssignmentRequest, Heartbeat
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.types import TelemetryAck, TelemetryBatch
from sealane.trust.identity import load_certificate
from sealane_manager.store.store import open_store
from sealane_manager.store.telemetry.records import Span
from support.manager import running_manager
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.device import Device
    from support.manager import RunningManager

HOUR_AGO = int(time.time() - 1_760_000_000) // 60 - 60


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def batch(sequence: int, requests: int = 10) -> TelemetryBatch:
    window = plain_window(requests, HOUR_AGO + sequence)
    return TelemetryBatch("boot-1", sequence, encode_windows([window]))


def stored(manager: RunningManager, device: Device) -> int:
    """Requests, as another process would read them."""
    store = open_store(manager.state.database)
    try:
        span = Span.last(86_400, int(time.time()))
        found = store.telemetry.readings.device_series(device.id, span)  # type: ignore[arg-type]  # the wire's word for it
        return sum(bucket.requests for bucket in found)
    finally:
        store.close()


def test_an_acknowledged_batch_is_in_the_store(manager: RunningManager) -> None:
    device = manager.enrolled("recorder-1")
    with device.session() as session:
        session.greet()

        assert session.ask(batch(1)) == TelemetryAck("boot-1", 1)
        assert stored(manager, device) == 10


def test_the_end_of_the_certificate_that_a_device_shows_is_known_to_the_rules(
    manager: RunningManager,
) -> None:
    device = manager.enrolled("recorder-0")
    with device.session() as session:
        session.greet()
    store = open_store(manager.state.database)
    try:
        (found,) = [each for each in store.health.devices((), 0) if each.id == "recorder-0"]
    finally:
        store.close()
    assert found.certificate_expires == load_certificate(device.certificate).not_valid_after_utc


def test_a_device_that_sends_again_after_a_lost_session_is_counted_once(
    manager: RunningManager,
) -> None:
    device = manager.enrolled("recorder-2")
    with device.session() as session:
        session.greet()
        session.ask(batch(1))
        session.ask(batch(2))
    with device.session() as session:
        session.greet()
        assert session.ask(batch(2)) == TelemetryAck("boot-1", 2)
        assert session.ask(batch(3)) == TelemetryAck("boot-1", 3)
        assert session.ask(batch(3)) == TelemetryAck("boot-1", 3)

    assert stored(manager, device) == 30


def test_a_damaged_batch_ends_no_session_and_is_not_sent_for_ever(manager: RunningManager) -> None:
    device = manager.enrolled("recorder-3")
    with device.session() as session:
        session.greet()
        cut = TelemetryBatch("boot-1", 1, batch(1).body[:-4])

        assert session.ask(cut) == TelemetryAck("boot-1", 1)
        assert session.ask(batch(2)) == TelemetryAck("boot-1", 2)
        session.say(Heartbeat(()))
        session.say(AssignmentRequest("a-nonce"))
        session.hear()

    assert stored(manager, device) == 10


def test_a_batch_without_a_sequence_ends_the_session_with_the_reason(
    manager: RunningManager,
) -> None:
    device = manager.enrolled("recorder-4")
    with device.session() as session:
        session.greet()
        session.say(TelemetryBatch("boot-1", 0, batch(1).body))

        error = session.end()

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "sequence number" in (error.details() or "")


def test_every_answer_comes_in_a_burst(manager: RunningManager) -> None:
    device = manager.enrolled("recorder-5")
    with device.session() as session:
        session.greet()
        for sequence in range(1, 21):
            session.say(batch(sequence, 1))

        assert [session.hear() for _ in range(20)][-1] == TelemetryAck("boot-1", 20)

    assert stored(manager, device) == 20


def test_devices_that_go_before_they_are_answered_keep_nobody_elses_batches_out(
    manager: RunningManager,
) -> None:
    gone = manager.enrolled("recorder-6")
    for turn in range(8):
        with gone.session() as session:
            session.greet()
            session.say(batch(turn + 1))
            time.sleep(turn / 200)  # a group waits 0.03 s for others, then it is committed

    device = manager.enrolled("recorder-7")
    with device.session() as session:
        session.greet()
        assert session.ask(batch(1)) == TelemetryAck("boot-1", 1)
    assert stored(manager, device) == 10
