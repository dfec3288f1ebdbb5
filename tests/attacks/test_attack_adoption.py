"""A manager that came back from a backup lets nobody in by itself, and nobody whom it keeps out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.fleet import Assignment, AssignmentRequest
from sealane.names import DeviceId
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.identity.knocks import Adoption
from sealane_manager.store.summaries import AuditFilter
from support.clock import MovableClock
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.device import Device
    from support.manager import RunningManager

HOUR = timedelta(hours=1)


def put_back(folder: Path, before: Callable[[RunningManager], None]) -> tuple[Device, ...]:
    """A fleet whose database does not know what happened after its backup; who is not in it.

    `before` happens before the backup; then `box-2` is enrolled twice, once after it was revoked:
    the first machine an hour before the second one, and that an hour before now.
    """
    clock = MovableClock(datetime.now(UTC) - 2 * HOUR)
    with running_manager(folder, clock) as manager:
        before(manager)
    shutil.copytree(folder / "state", folder / "backup")
    with running_manager(folder, clock) as manager:
        first = manager.enrolled("box-2")
        with manager.operator() as operator:
            operator.revoke_device(DeviceId(first.id), "stolen")
        clock.advance(HOUR)
        second = manager.enrolled("box-2")
    shutil.rmtree(folder / "state")
    shutil.move(folder / "backup", folder / "state")
    return first, second


def refusal(device: Device, manager: RunningManager) -> str:
    """How the manager's fleet port ends a session with the device."""
    with device_at(device, manager).session() as session, pytest.raises(grpc.RpcError) as call:
        session.greet()
    assert call.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return str(call.value.details())


def device_at(device: Device, manager: RunningManager) -> Device:
    return replace(device, fleet_address=manager.addresses.fleet)


def wish(device: str, key: str = "") -> Adoption:
    return Adoption(device, key, {"site": "berlin"}, "seen on the line")


def test_nobody_is_let_in_before_an_operator_says_so_and_then_with_its_own_key(
    tmp_path: Path,
) -> None:
    first, second = put_back(tmp_path, lambda _: None)
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        for _ in range(3):
            said = refusal(second, manager)
        assert said == "device box-2 is not known here; an operator can adopt it"
        assert operator.list_devices() == ()
        (found,) = operator.orders.unknown()
        operator.orders.adopt(wish("box-2"))
        assert operator.orders.unknown() == ()
        with device_at(second, manager).session() as session:
            session.greet()
            assert isinstance(session.ask(AssignmentRequest("nonce")), Assignment)
            (device,) = operator.list_devices("site=berlin")
            assert device.connected
        assert "was replaced" in refusal(first, manager)
        (line,) = operator.audit.lines(AuditFilter(action="adopt"))
        assert line.detail == f"device box-2, key {found.key}: seen on the line"


def test_of_two_machines_with_one_name_the_operator_says_which(tmp_path: Path) -> None:
    first, second = put_back(tmp_path, lambda _: None)
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        for device in (first, second):
            refusal(device, manager)
        with pytest.raises(Refused, match="2 machines call themselves box-2"):
            operator.orders.adopt(wish("box-2"))
        later = max(operator.orders.unknown(), key=lambda each: each.certified)
        operator.orders.adopt(wish("box-2", later.key))
        with device_at(second, manager).session() as session:
            session.greet()
        assert "replaced" in refusal(first, manager)


def revoked(manager: RunningManager) -> None:
    with manager.operator() as operator:
        operator.revoke_device(DeviceId(manager.enrolled("box-2").id), "stolen")


def test_a_name_that_the_database_knows_as_revoked_is_never_adopted(tmp_path: Path) -> None:
    _, second = put_back(tmp_path, revoked)
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        assert "was revoked" in refusal(second, manager)
        assert operator.orders.unknown() == ()
        with pytest.raises(NotKnown, match="no machine called box-2"):
            operator.orders.adopt(wish("box-2"))


def test_a_machine_that_was_enrolled_anew_meanwhile_is_not_adopted_over(tmp_path: Path) -> None:
    _, second = put_back(tmp_path, lambda _: None)
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        refusal(second, manager)
        manager.enrolled("box-2")
        with pytest.raises(Refused, match="box-2 is known here: it is active"):
            operator.orders.adopt(wish("box-2"))


def test_what_no_certificate_of_the_fleet_says_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with running_manager(tmp_path / "other") as other:
        stranger = other.enrolled("box-9")
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        own = manager.enrolled("box-1")
        forged = replace(stranger, ca=own.ca)
        with device_at(forged, manager).session() as session, pytest.raises(grpc.RpcError):
            session.greet()
        assert operator.orders.unknown() == ()
        with pytest.raises(NotKnown):
            operator.orders.adopt(wish("box-9"))
