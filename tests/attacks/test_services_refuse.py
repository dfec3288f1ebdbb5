from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sealane.clock import SystemClock
from sealane.limits import GRPC_MESSAGE_BYTES, MIB
from sealane.names import DeviceId
from sealane.trust.identity import make_csr, new_key
from sealane.wire.v1 import fleet_pb2, fleet_pb2_grpc, operator_pb2, operator_pb2_grpc
from sealane_manager.identity.ca import Issuer
from support.manager import FLEET, running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.device import Device
    from support.manager import RunningManager

STATUS = grpc.StatusCode


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        yield running


@pytest.fixture(scope="module")
def device(manager: RunningManager) -> Device:
    return manager.enrolled("box-1")


def status_of(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def forged(device: Device, sign: Callable[[bytes], bytes]) -> Device:
    key = new_key()
    return replace(device, key=key, certificate=sign(make_csr(key)))


def operator_stub(channel: grpc.Channel) -> operator_pb2_grpc.OperatorServiceStub:
    return operator_pb2_grpc.OperatorServiceStub(channel)


def test_a_certificate_of_another_authority_gets_no_connection(
    device: Device, tmp_path: Path
) -> None:
    other = Issuer.create(tmp_path / "ca", FLEET)
    stranger = forged(device, lambda csr: other.sign_device(csr, FLEET, DeviceId("box-1")))

    assert status_of(lambda: stranger.metadata("timestamp.json")) is STATUS.UNAVAILABLE


def test_a_device_does_not_speak_to_a_manager_of_another_authority(
    device: Device, tmp_path: Path
) -> None:
    other = Issuer.create(tmp_path / "ca", FLEET)
    deceived = replace(device, ca=other.certificate)

    assert status_of(lambda: deceived.metadata("timestamp.json")) is STATUS.UNAVAILABLE


@pytest.mark.parametrize("port", ["fleet", "operator"])
def test_a_connection_without_a_certificate_reaches_no_service(
    manager: RunningManager, device: Device, port: str
) -> None:
    credentials = grpc.ssl_channel_credentials(device.ca)
    with grpc.secure_channel(getattr(manager.addresses, port), credentials) as channel:
        request = operator_pb2.ListDevicesRequest()
        code = status_of(lambda: operator_stub(channel).ListDevices(request, timeout=30))
        assert code is STATUS.UNAVAILABLE


def test_a_device_may_not_ask_what_operators_ask(manager: RunningManager, device: Device) -> None:
    with device.channel(manager.addresses.operator) as channel:
        stub = operator_stub(channel)
        calls: list[Callable[[], object]] = [
            lambda: stub.ListDevices(operator_pb2.ListDevicesRequest(), timeout=30),
            lambda: stub.CreateJoinToken(
                operator_pb2.CreateJoinTokenRequest(uses=1, lifetime_s=60), timeout=30
            ),
            lambda: stub.RevokeDevice(
                operator_pb2.RevokeDeviceRequest(device="box-1", reason="x"), timeout=30
            ),
            lambda: stub.UploadBlob(iter(()), timeout=30),
            lambda: list(stub.WatchRollout(operator_pb2.WatchRolloutRequest(id="r-1"), timeout=30)),
        ]
        assert {status_of(call) for call in calls} == {STATUS.PERMISSION_DENIED}


def test_an_operator_is_no_device(manager: RunningManager, device: Device) -> None:
    issuer = Issuer(manager.state.ca)
    operator = forged(device, lambda csr: issuer.sign_operator(csr, FLEET, "box-1"))

    assert status_of(lambda: operator.metadata("timestamp.json")) is STATUS.PERMISSION_DENIED
    with operator.session() as session:
        assert session.end().code() is STATUS.PERMISSION_DENIED


def test_a_device_of_another_fleet_is_refused_though_its_certificate_is_good(
    manager: RunningManager, device: Device
) -> None:
    issuer = Issuer(manager.state.ca)
    foreign = forged(device, lambda csr: issuer.sign_device(csr, "other", DeviceId("box-1")))

    assert status_of(lambda: foreign.metadata("timestamp.json")) is STATUS.PERMISSION_DENIED


def test_a_device_that_was_never_enrolled_is_refused_though_its_certificate_is_good(
    manager: RunningManager, device: Device
) -> None:
    issuer = Issuer(manager.state.ca, SystemClock())
    ghost = forged(device, lambda csr: issuer.sign_device(csr, FLEET, DeviceId("ghost")))

    assert status_of(lambda: ghost.metadata("timestamp.json")) is STATUS.PERMISSION_DENIED


def test_the_managers_own_server_certificate_cannot_be_a_client(
    manager: RunningManager, device: Device
) -> None:
    credentials = grpc.ssl_channel_credentials(
        device.ca,
        (manager.state.ca / "server.key").read_bytes(),
        (manager.state.ca / "server.pem").read_bytes(),
    )
    with grpc.secure_channel(manager.addresses.operator, credentials) as channel:
        stub = operator_stub(channel)
        request = operator_pb2.ListDevicesRequest()
        assert status_of(lambda: stub.ListDevices(request, timeout=30)) in {
            STATUS.UNAVAILABLE,
            STATUS.PERMISSION_DENIED,
        }


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../fleet.json",
        "../keys/root.pem",
        "targets/../../keys/root.pem",
        "targets/demo/../../../keys/director.pem",
        "/etc/passwd",
        "..%2fkeys%2froot.pem",
        "1.root.json\x00.pem",
        "1.root.json/",
        ".lock",
        "timestamp.json\n",
        "a" * 100_000,
    ],
)
def test_only_names_of_repository_files_are_served(device: Device, name: str) -> None:
    assert status_of(lambda: device.metadata(name)) in {STATUS.NOT_FOUND, STATUS.INVALID_ARGUMENT}


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:../../../keys/root.pem",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "md5:" + "0" * 32,
        "sha256:" + "0" * 64 + "/../../control.db",
    ],
)
def test_only_digests_name_blobs(device: Device, digest: str) -> None:
    assert status_of(lambda: device.blob(digest)) is STATUS.INVALID_ARGUMENT


def test_a_blob_that_is_not_here_is_not_found_nor_is_what_lies_past_its_end(
    manager: RunningManager, device: Device
) -> None:
    with manager.operator() as operator:
        manifest = operator.list_releases()[0].manifest
    size = len(device.blob(manifest))

    assert device.blob(manifest, size) == b""
    assert status_of(lambda: device.blob(manifest, size + 1)) is STATUS.NOT_FOUND
    assert status_of(lambda: device.blob(manifest, 2**63)) is STATUS.NOT_FOUND
    assert status_of(lambda: device.blob("sha256:" + "0" * 64)) is STATUS.NOT_FOUND


def test_a_message_larger_than_its_limit_is_refused_before_it_is_read(device: Device) -> None:
    with device.channel() as channel:
        stub = fleet_pb2_grpc.FleetServiceStub(channel)
        request = fleet_pb2.FetchMetadataRequest(name="x" * (GRPC_MESSAGE_BYTES + MIB))
        assert status_of(lambda: list(stub.FetchMetadata(request, timeout=30))) is (
            STATUS.RESOURCE_EXHAUSTED
        )


def header(content: bytes, size: int | None = None) -> operator_pb2.UploadBlobRequest:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    announced = len(content) if size is None else size
    return operator_pb2.UploadBlobRequest(
        header=operator_pb2.BlobHeader(digest=digest, size=announced)
    )


def chunk(content: bytes) -> operator_pb2.UploadBlobRequest:
    return operator_pb2.UploadBlobRequest(chunk=content)


BAD_UPLOADS: dict[str, list[operator_pb2.UploadBlobRequest]] = {
    "nothing": [],
    "no header": [chunk(b"abc")],
    "two headers": [header(b"abc"), header(b"abc")],
    "too short": [header(b"abc"), chunk(b"ab")],
    "too long": [header(b"abc"), chunk(b"abc"), chunk(b"d")],
    "other bytes": [header(b"abc"), chunk(b"abd")],
    "impossible size": [header(b"abc", 2**63)],
    "no digest": [
        operator_pb2.UploadBlobRequest(header=operator_pb2.BlobHeader(digest="../x", size=1))
    ],
}


@pytest.mark.parametrize("name", BAD_UPLOADS)
def test_an_upload_that_is_not_what_it_says_is_refused_and_leaves_nothing(
    manager: RunningManager, name: str
) -> None:
    with operator_channel(manager) as channel:
        stub: Any = operator_stub(channel)
        code = status_of(lambda: stub.UploadBlob(iter(BAD_UPLOADS[name]), timeout=30))

    assert code is STATUS.INVALID_ARGUMENT
    assert list(manager.state.uploads.iterdir()) == []
    digest = f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    with manager.operator() as operator:
        assert operator.missing_blobs([digest]) == (digest,)  # type: ignore[list-item]  # it is one


def test_an_upload_larger_than_the_disk_is_refused_before_its_first_byte(
    manager: RunningManager,
) -> None:
    with operator_channel(manager) as channel:
        stub: Any = operator_stub(channel)
        huge = [header(b"abc", 16 * 2**30)]
        code = status_of(lambda: stub.UploadBlob(iter(huge), timeout=30))

    assert code in {STATUS.RESOURCE_EXHAUSTED, STATUS.INVALID_ARGUMENT}


def operator_channel(manager: RunningManager) -> grpc.Channel:
    context = manager.state.operator
    credentials = grpc.ssl_channel_credentials(
        (context / "ca.pem").read_bytes(),
        (context / "operator.key").read_bytes(),
        (context / "operator.pem").read_bytes(),
    )
    return grpc.secure_channel(manager.addresses.operator, credentials)
