from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from sealane.trust.identity import load_certificate, make_csr, new_key, peer_of
from sealane.wire.v1 import enrol_pb2
from sealane_agent.cli.main import main
from sealane_manager.identity.ca import Issuer
from support.clock import MovableClock
from support.device import apply, enrol
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.trust.token import JoinToken
    from support.manager import RunningManager


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def refusal(call: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return call.value.code(), call.value.details() or ""


def test_a_machine_with_a_join_token_becomes_a_device(manager: RunningManager) -> None:
    token = manager.token({"site": "berlin"})

    device = enrol(token, "box-1")

    certificate = load_certificate(device.certificate)
    peer = peer_of(certificate)
    assert (device.id, peer.kind, peer.fleet, peer.name) == ("box-1", "device", "demo", "box-1")
    assert device.fleet_address == manager.addresses.fleet
    assert hashlib.sha256(device.root).digest() == token.root_sha256
    with manager.operator() as operator:
        (seen,) = operator.list_devices("site=berlin")
    assert (seen.id, seen.labels, seen.connected) == ("box-1", {"site": "berlin"}, False)


def test_a_device_certificate_lives_a_day_and_names_only_its_device(
    manager: RunningManager,
) -> None:
    device = enrol(manager.token(), "box-day")

    certificate = load_certificate(device.certificate)
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert timedelta(hours=24) <= lifetime <= timedelta(hours=25)
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.public_key() == device.key.public_key()


def test_without_a_name_the_manager_chooses_one(manager: RunningManager) -> None:
    assert enrol(manager.token(), "").id.startswith("d-")


def test_a_token_is_used_up_after_its_uses(manager: RunningManager) -> None:
    token = manager.token(uses=2)
    enrol(token, "twin-1")
    enrol(token, "twin-2")

    with pytest.raises(grpc.RpcError) as call:
        enrol(token, "twin-3")

    code, text = refusal(call)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "join token" in text


def test_a_machine_whose_answer_was_lost_asks_again_and_uses_nothing_up(
    manager: RunningManager,
) -> None:
    token, key = manager.token(), new_key()
    first = enrol(token, "patient", key)

    again = enrol(token, "patient", key)

    assert (again.id, again.certificate) != (first.id, first.certificate)
    assert again.id == first.id


def test_a_name_that_is_taken_is_refused_and_says_so(manager: RunningManager) -> None:
    enrol(manager.token(), "unique")

    with pytest.raises(grpc.RpcError) as call:
        enrol(manager.token(), "unique")

    code, text = refusal(call)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "unique" in text


def test_after_a_refused_name_the_same_machine_may_choose_another(
    manager: RunningManager,
) -> None:
    enrol(manager.token(), "first-come")
    token, key = manager.token(), new_key()
    with pytest.raises(grpc.RpcError):
        enrol(token, "first-come", key)

    assert enrol(token, "second-come", key).id == "second-come"


def test_a_wrong_secret_and_an_unknown_token_are_refused(manager: RunningManager) -> None:
    token = manager.token()

    for wrong in (replace(token, secret="guess"), replace(token, token_id="1.guess")):  # noqa: S106 - a guess
        _check_refused(wrong)


def _check_refused(token: JoinToken) -> None:
    with pytest.raises(grpc.RpcError) as call:
        enrol(token, "stranger")

    assert refusal(call)[0] is grpc.StatusCode.PERMISSION_DENIED


def test_an_expired_token_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    clock = MovableClock()
    with running_manager(tmp_path_factory.mktemp("late"), clock) as manager:
        token = manager.token()
        clock.advance(timedelta(hours=2))

        with pytest.raises(grpc.RpcError) as call:
            enrol(token, "late")

    assert refusal(call)[0] is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("csr", [b"", b"\x30\x03nonsense", b"\x00" * 20_000])
def test_a_request_that_proves_no_key_is_refused(manager: RunningManager, csr: bytes) -> None:
    token = manager.token()
    request = enrol_pb2.EnrolRequest(token_id=token.token_id, secret=token.secret, csr=csr)

    with pytest.raises(grpc.RpcError) as call:
        apply(token, request)

    assert refusal(call)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_signed_by_another_key_is_refused(manager: RunningManager) -> None:
    token, csr = manager.token(), bytearray(make_csr(new_key()))
    csr[-10] ^= 0x01
    request = enrol_pb2.EnrolRequest(token_id=token.token_id, secret=token.secret, csr=bytes(csr))

    with pytest.raises(grpc.RpcError) as call:
        apply(token, request)

    assert refusal(call)[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["../../etc", "Box", "a" * 80, "box 1", "box\n"])
def test_a_name_outside_the_grammar_is_refused(manager: RunningManager, name: str) -> None:
    with pytest.raises(grpc.RpcError) as call:
        enrol(manager.token(), name)

    assert refusal(call)[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("which", ["authority", "name"])
def test_who_does_not_prove_to_be_the_manager_is_not_said_to_be_away(
    which: str, manager: RunningManager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token = manager.token()
    if which == "authority":
        token = replace(token, ca=Issuer.create(tmp_path / "ca", "other").certificate)
    else:
        token = replace(token, address=token.address.replace("127.0.0.1", "localhost"))
    given = ["enroll", "--token", token.encode(), "--state", str(tmp_path / "state")]
    assert main(given) == 4
    said = capsys.readouterr().err
    assert f"{token.address} does not prove to be this fleet's manager" in said
    assert said.count("\n") == 2
