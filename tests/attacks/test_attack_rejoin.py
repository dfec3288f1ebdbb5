"""A device whose certificate has expired proves its key; nobody else gets in that way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.names import DeviceId
from sealane.trust.identity import make_csr, new_key, prove
from sealane.wire.v1 import enrol_pb2, enrol_pb2_grpc, fleet_pb2, fleet_pb2_grpc
from sealane_manager.identity.ca import Issuer
from support.clock import MovableClock
from support.device import enrol
from support.manager import FLEET, running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.device import Device
    from support.manager import RunningManager

ALONE_DAYS = timedelta(days=60)


@pytest.fixture
def clock() -> MovableClock:
    """So far behind that the device comes back today: TLS knows only the machine's own clock."""
    return MovableClock(datetime.now(UTC) - ALONE_DAYS)


@pytest.fixture
def manager(tmp_path: Path, clock: MovableClock) -> Iterator[RunningManager]:
    with running_manager(tmp_path, clock) as running:
        yield running


class EnrolPort:
    """The manager's enrol port, as anybody reaches it."""

    def __init__(self, manager: RunningManager, device: Device) -> None:
        credentials = grpc.ssl_channel_credentials(device.ca)
        channel = grpc.secure_channel(manager.addresses.enrol, credentials)
        self._stub = enrol_pb2_grpc.EnrolServiceStub(channel)

    def nonce(self) -> bytes:
        answer: bytes = self._stub.Challenge(enrol_pb2.ChallengeRequest(), timeout=30).nonce
        return answer

    def rejoin(self, device: Device, nonce: bytes = b"", **changes: bytes) -> Device:
        """The device with a new key and certificate; `changes` lie."""
        key, nonce = new_key(), nonce or self.nonce()
        csr = changes.pop("csr", b"") or make_csr(key)
        fields = {"certificate": device.certificate, "signature": prove(device.key, nonce, csr)}
        request = enrol_pb2.RejoinRequest(csr=csr, nonce=nonce, **(fields | changes))
        answer = self._stub.Rejoin(request, timeout=30)
        return replace(device, key=key, certificate=answer.certificate)

    def refused(self, device: Device, nonce: bytes = b"", **changes: bytes) -> str:
        with pytest.raises(grpc.RpcError) as call:
            self.rejoin(device, nonce, **changes)
        return str(call.value.details())


def away(manager: RunningManager, clock: MovableClock, name: str) -> Device:
    """A device that was enrolled and then away for long."""
    device = manager.enrolled(name)
    clock.advance(ALONE_DAYS)
    return device


def test_a_device_comes_back_with_its_own_key_and_a_new_one(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "away")
    back = EnrolPort(manager, device).rejoin(device)
    with back.session() as session:
        session.greet()


def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "lost")
    port, csr = EnrolPort(manager, device), make_csr(new_key())
    assert port.rejoin(device, csr=csr).certificate
    assert port.rejoin(device, csr=csr).certificate


def test_a_copy_that_rejoins_after_the_device_is_a_clone(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "cloned")
    port = EnrolPort(manager, device)
    with port.rejoin(device).session() as session:
        session.greet()
        assert "quarantine" in port.refused(device)
        assert session.end().code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_stolen_certificate_without_its_key_proves_nothing(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "seen")
    port = EnrolPort(manager, device)
    assert "not signed by" in port.refused(replace(device, key=new_key()))
    nonce, csr = port.nonce(), make_csr(new_key())
    proof = prove(device.key, nonce, csr)
    assert "not signed by" in port.refused(device, nonce, signature=proof)  # for another request
    assert "not signed by" in port.refused(device, signature=proof, csr=csr)  # for another nonce
    assert "not signed by" in port.refused(device, signature=b"")


def test_a_proof_cannot_be_kept_for_later_nor_its_challenge_be_made_up(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "kept")
    port = EnrolPort(manager, device)
    nonce = port.nonce()
    clock.advance(timedelta(minutes=2))
    for made in (nonce, b"x", bytes(56), nonce[:-1], bytes(8) + nonce[8:]):
        assert "challenge" in port.refused(device, made)


def test_a_certificate_of_another_authority_or_another_kind_does_not_rejoin(
    manager: RunningManager, clock: MovableClock, tmp_path: Path
) -> None:
    device = away(manager, clock, "forged")
    port = EnrolPort(manager, device)
    other = Issuer.create(tmp_path / "ca", FLEET, clock)
    csr = make_csr(device.key)
    stranger = replace(device, certificate=other.sign_device(csr, FLEET, DeviceId("forged")))
    assert "not one of this fleet" in port.refused(stranger)
    own = Issuer(manager.state.ca, clock)
    person = replace(device, certificate=own.sign_operator(csr, FLEET, "ada"))
    assert "operator ada may not rejoin" in port.refused(person)
    elsewhere = replace(device, certificate=own.sign_device(csr, "other", DeviceId("forged")))
    assert "may not rejoin" in port.refused(elsewhere)
    assert "damaged" in port.refused(replace(device, certificate=b"nonsense"))
    assert "at most" in port.refused(replace(device, certificate=b"x" * 20_000))


def test_a_revoked_device_does_not_come_back(manager: RunningManager, clock: MovableClock) -> None:
    device = away(manager, clock, "revoked")
    with manager.operator() as operator:
        operator.revoke_device(DeviceId("revoked"), "stolen")
    assert "was revoked" in EnrolPort(manager, device).refused(device)


def test_after_ninety_days_only_a_join_token_helps(
    manager: RunningManager, clock: MovableClock
) -> None:
    device = away(manager, clock, "very-late")
    clock.advance(timedelta(days=40))
    assert "more than 90 days ago" in EnrolPort(manager, device).refused(device)
    again = enrol(manager.token(), "very-late", device.key)
    assert again.id == "very-late"


def test_a_certificate_that_is_still_valid_is_renewed_in_the_ordinary_way(
    manager: RunningManager, clock: MovableClock
) -> None:
    clock.advance(ALONE_DAYS)
    device = manager.enrolled("in-time")
    said = EnrolPort(manager, device).refused(device)
    assert f"here it is {clock.now():%Y-%m-%d %H:%M} UTC" in said
    with device.channel() as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)
        request = fleet_pb2.RenewRequest(csr=make_csr(new_key()))
        assert stub.Renew(request, timeout=30).certificate
