"""A join token that was stolen makes no device where each one waits for an operator's approval."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.names import DeviceId
from sealane.trust.identity import load_certificate, make_csr, new_key
from sealane.trust.token import JoinToken
from sealane.wire.v1 import enrol_pb2
from sealane_agent.identity.enroll import Enrolment, Waiting
from sealane_agent.layout import StateFolder
from sealane_manager.errors import Refused
from sealane_manager.store.summaries import AuditFilter
from support.device import apply
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from support.manager import RunningManager


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture
def token(manager: RunningManager) -> JoinToken:
    with manager.operator() as operator:
        return JoinToken.parse(
            operator.create_join_token({"site": "porto"}, 1, timedelta(hours=1), approval=True)
        )


def asked(token: JoinToken, key: EllipticCurvePrivateKey, name: str) -> enrol_pb2.EnrolResponse:
    request = enrol_pb2.EnrolRequest(
        token_id=token.token_id, secret=token.secret, csr=make_csr(key), requested_name=name
    )
    return apply(token, request)


def refused(token: JoinToken, key: EllipticCurvePrivateKey, name: str) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        asked(token, key, name)
    return str(caught.value.details())


def test_a_stolen_token_gets_no_certificate_before_somebody_approved_its_key(
    manager: RunningManager, token: JoinToken
) -> None:
    key = new_key()
    for _ in range(2):  # asking again changes nothing
        answer = asked(token, key, "thief")
        assert (answer.pending, answer.certificate) == (True, b"")
    assert "not valid" in refused(token, new_key(), "thief-2")
    with manager.operator() as operator:
        (view,) = [each for each in operator.list_devices() if each.id == "thief"]
        assert (view.state, view.connected) == ("pending", False)
        operator.revoke_device(DeviceId("thief"), "nobody knows this key")
    assert "not valid" in refused(token, key, "thief")


def test_the_machine_waits_with_one_key_until_it_is_approved(
    manager: RunningManager, token: JoinToken, tmp_path: Path
) -> None:
    waited: list[Waiting] = []

    def approve(for_what: Waiting) -> None:
        waited.append(for_what)
        with manager.operator() as operator:
            (line,) = operator.audit.lines(AuditFilter(action="apply", text="waits", size=9))
            assert for_what.fingerprint in line.detail
            operator.approve_device(DeviceId(for_what.device), "seen on its screen")

    found = Enrolment(StateFolder(tmp_path), wait=approve).run(token, "waits")
    assert (found.device, len(waited)) == ("waits", 1)
    assert load_certificate((tmp_path / "identity" / "device.pem").read_bytes())
    with manager.operator() as operator:
        (view,) = [each for each in operator.list_devices() if each.id == "waits"]
        assert (view.state, view.labels) == ("active", {"site": "porto"})
        with pytest.raises(Refused, match="waits for no approval"):
            operator.approve_device(DeviceId("waits"))
        (line,) = operator.audit.lines(AuditFilter(action="approve", text="waits", size=9))
    assert "seen on its screen" in line.detail


def test_a_machine_that_was_switched_off_while_it_waited_asks_again_with_its_key(
    manager: RunningManager, token: JoinToken, tmp_path: Path
) -> None:
    def die(_: Waiting) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Enrolment(StateFolder(tmp_path), wait=die).run(token, "tired")
    key = (tmp_path / "identity" / "device.key").read_bytes()
    with manager.operator() as operator:
        operator.approve_device(DeviceId("tired"))
    assert Enrolment(StateFolder(tmp_path), wait=die).run(token, "tired").device == "tired"
    assert (tmp_path / "identity" / "device.key").read_bytes() == key
