"""FleetService.Renew over real TLS: new keys, lost answers, copies of a device."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane import receipt as receipts
from sealane.fleet import Event, Events, EventsAck
from sealane.names import DeviceId
from sealane.trust.identity import load_certificate, make_csr, new_key
from sealane.wire.v1 import fleet_pb2, fleet_pb2_grpc
from support.clock import MovableClock
from support.device import enrol
from support.manager import running_manager
from support.rollouts import START, a_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from support.device import Device
    from support.manager import RunningManager


@pytest.fixture(scope="module")
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="module")
def manager(
    tmp_path_factory: pytest.TempPathFactory, clock: MovableClock
) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager"), clock) as running:
        yield running


def renew(device: Device, key: EllipticCurvePrivateKey | None = None) -> Device:
    """The device with a new key."""
    key = key or new_key()
    with device.channel() as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)
        answer = stub.Renew(fleet_pb2.RenewRequest(csr=make_csr(key)), timeout=30)
    return replace(device, key=key, certificate=answer.certificate)


def refused(device: Device, key: EllipticCurvePrivateKey | None = None) -> tuple[object, str]:
    with pytest.raises(grpc.RpcError) as call:
        renew(device, key)
    return call.value.code(), str(call.value.details())


def talk(device: Device) -> None:
    with device.session() as session:
        session.greet()


def not_heard(device: Device) -> str:
    with device.session() as session, pytest.raises(grpc.RpcError) as call:
        session.greet()
    assert call.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return str(call.value.details())


def state_of(manager: RunningManager, device: Device) -> str:
    with manager.operator() as operator:
        return next(view.state for view in operator.list_devices() if view.id == device.id)


def decisions(manager: RunningManager, device: Device) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(manager.state.database)) as database:
        query = "SELECT action, detail FROM decision WHERE detail LIKE ?"
        return database.execute(query, (f"device {device.id}%",)).fetchall()


def test_a_device_gets_a_certificate_for_its_new_key_and_speaks_with_it(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = manager.enrolled("renews")
    clock.advance(timedelta(minutes=1))
    again = renew(device)
    talk(again)
    old, new = load_certificate(device.certificate), load_certificate(again.certificate)
    assert new.not_valid_after_utc - old.not_valid_after_utc == timedelta(minutes=1)
    assert new.public_key() == again.key.public_key()


def test_a_lost_answer_is_given_again_for_the_same_key_only(manager: RunningManager) -> None:
    device, key = manager.enrolled("lost-answer"), new_key()
    renew(device, key)
    talk(device)
    talk(renew(device, key))


def test_a_renewal_needs_a_new_key(manager: RunningManager) -> None:
    device = manager.enrolled("same-key")
    code, text = refused(device, device.key)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text == "a renewal needs a new key"
    talk(device)


@pytest.mark.parametrize(
    ("wished", "granted"),
    [
        (timedelta(0), timedelta(days=1)),
        (timedelta(hours=1), timedelta(days=1)),
        (timedelta(days=7), timedelta(days=7)),
        (timedelta(days=365), timedelta(days=7)),
        (timedelta(seconds=2**32 - 1), timedelta(days=7)),
    ],
)
def test_a_certificate_lives_as_long_as_the_device_wishes_within_limits(
    manager: RunningManager, clock: MovableClock, wished: timedelta, granted: timedelta
) -> None:
    device = manager.enrolled("")
    with device.channel() as channel:
        request = fleet_pb2.RenewRequest(
            csr=make_csr(new_key()), lifetime_s=int(wished.total_seconds())
        )
        answer = fleet_pb2_grpc.FleetServiceStub(channel).Renew(request, timeout=10)
    ends = load_certificate(answer.certificate).not_valid_after_utc
    assert abs(ends - clock.now() - granted) < timedelta(minutes=1)


def test_a_key_of_another_device_does_not_follow(manager: RunningManager) -> None:
    device, other = manager.enrolled("envious"), manager.enrolled("envied")
    code, _text = refused(device, other.key)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    talk(other)


def test_a_superseded_key_that_renews_is_a_clone_and_the_open_session_ends(
    manager: RunningManager,
) -> None:
    device = manager.enrolled("copied")
    with renew(device).session() as session:
        session.greet()
        code, text = refused(device)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "may have been copied" in text
        ended = session.end()
    assert ended.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "quarantine" in str(ended.details())
    assert state_of(manager, device) == "quarantined"
    assert ("quarantine", text.replace(" is in quarantine", "")) in decisions(manager, device)


def test_a_superseded_key_that_opens_a_session_is_a_clone(manager: RunningManager) -> None:
    device = manager.enrolled("copied-too")
    new = renew(device)
    talk(new)
    assert "may have been copied" in not_heard(device)
    assert "quarantine" in not_heard(new)
    assert refused(new)[0] is grpc.StatusCode.PERMISSION_DENIED


def test_a_superseded_key_fetches_nothing_and_accuses_nobody(manager: RunningManager) -> None:
    device = manager.enrolled("late-fetcher")
    new = renew(device)
    assert device.metadata("timestamp.json")
    talk(new)
    with pytest.raises(grpc.RpcError) as call:
        device.metadata("timestamp.json")
    assert call.value.code() is grpc.StatusCode.PERMISSION_DENIED
    talk(new)


def test_a_receipt_of_the_previous_key_still_counts(manager: RunningManager) -> None:
    device = manager.enrolled("receipts")
    new = renew(device)
    said = a_receipt(device.id, rollout="")
    with new.session() as session:
        session.greet()
        for sequence, key in enumerate((device.key, new.key, new_key()), 1):
            receipt = receipts.sign(replace(said, sequence=sequence), key)
            answer = session.ask(Events((Event(sequence, START, receipt),)))
            assert answer == EventsAck(sequence)
    with closing(sqlite3.connect(manager.state.database)) as database:
        query = "SELECT sequence, kind FROM event WHERE device = ? ORDER BY sequence"
        kinds = database.execute(query, (device.id,)).fetchall()
    assert kinds == [(1, "receipt"), (2, "receipt"), (3, "refused")]


def test_a_revoked_devices_name_is_free_and_its_machine_harms_nobody(
    manager: RunningManager, clock: MovableClock
) -> None:
    former = manager.enrolled("replaced")
    with manager.operator() as operator:
        operator.revoke_device(DeviceId(former.id), "broken")
    clock.advance(timedelta(minutes=1))
    machine = enrol(manager.token(), "replaced")
    assert "was replaced" in not_heard(former)
    talk(machine)
    assert state_of(manager, machine) == "active"


def test_an_expired_certificate_does_not_renew(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clock = MovableClock()
    with running_manager(tmp_path_factory.mktemp("late"), clock) as manager:
        device = manager.enrolled("late")
        clock.advance(timedelta(hours=25))
        code, text = refused(device)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "has expired" in text
