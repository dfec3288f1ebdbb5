"""Attacks on the operators' port: too low a role, other sites, revoked, forged, a device's."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sealane.trust.identity import key_to_pem, make_csr
from sealane.wire.v1 import (
    alerts_pb2,
    kits_pb2,
    operator_pb2,
    orders_pb2,
    samples_pb2,
)
from sealane_manager.identity.ca import Issuer
from sealane_manager.operator_folder import Context, make_key, read_key, write_context
from sealane_manager.people.access import Role, Who
from sealane_manager.people.methods import METHODS
from sealane_manager.store.summaries import AuditFilter
from support.callers import call, certified, channel, methods, sealane
from support.manager import FLEET, SLOT, running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.device import Device
    from support.manager import RunningManager

DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
CHANGES = sorted(name for name, act in METHODS.items() if not Who("v", Role.VIEWER).may(act))
SOON_S = 30.0


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        yield running


@pytest.fixture(scope="module")
def devices(manager: RunningManager) -> tuple[Device, Device]:
    sites = ("berlin", "paris")
    berlin, paris = (manager.enrolled(f"{site}-1", {"site": site}) for site in sites)
    return berlin, paris


@pytest.fixture(scope="module")
def viewer(manager: RunningManager, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certified(manager, tmp_path_factory.mktemp("c") / "vera", "viewer")


@pytest.fixture(scope="module")
def bob(
    manager: RunningManager,
    devices: tuple[Device, Device],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Approver in Berlin."""
    del devices
    return certified(manager, tmp_path_factory.mktemp("c") / "bob", "approver", "berlin")


def refused(question: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        question()
    return caught.value.code(), str(caught.value.details())


def forged(manager: RunningManager, folder: Path, name: str, context: Path | None = None) -> Path:
    """A context whose certificate the fleet's own authority signed, though nobody asked."""
    key = read_key(context) if context else make_key(folder)
    issuer = Issuer(manager.state.ca)
    pem = issuer.sign_operator(make_csr(key), FLEET, name)
    write_context(folder, Context(FLEET, "", pem, issuer.bundle))
    (folder / "operator.key").write_bytes(key_to_pem(key))
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_a_viewer_changes_nothing(manager: RunningManager, viewer: Path, name: str) -> None:
    request = None
    if name == "OperatorService/ControlRollout":
        request = operator_pb2.ControlRolloutRequest(id="r-1", action="pause")
    with channel(manager, viewer) as wire:
        code, said = refused(lambda: call(wire, methods()[name], request))
    assert code is DENIED
    assert said.startswith("vera is viewer and may not ")


def test_a_viewer_looks(manager: RunningManager, viewer: Path) -> None:
    with channel(manager, viewer) as wire:
        call(wire, methods()["OperatorService/ListReleases"])
        call(wire, methods()["AuditService/ListEntries"])


def test_an_operator_may_steer_and_not_approve(manager: RunningManager, tmp_path: Path) -> None:
    context = certified(manager, tmp_path / "olga", "operator")
    control = methods()["OperatorService/ControlRollout"]
    with channel(manager, context) as wire:
        for action, code in (
            ("approve", DENIED),
            ("promote", DENIED),
            ("pause", grpc.StatusCode.NOT_FOUND),
        ):
            request = operator_pb2.ControlRolloutRequest(id="r-1", action=action)
            assert refused(partial(call, wire, control, request))[0] is code


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_device_calls_no_method_of_operators(
    manager: RunningManager, devices: tuple[Device, Device], name: str
) -> None:
    with devices[0].channel(manager.addresses.operator) as wire:
        code, said = refused(lambda: call(wire, methods()[name]))
    assert code is DENIED
    assert "a certificate of device berlin-1" in said


ELSEWHERE: dict[str, tuple[str, Any]] = {
    "a token for a site": (
        "OperatorService/CreateJoinToken",
        operator_pb2.CreateJoinTokenRequest(labels={"site": "paris"}, uses=1, lifetime_s=60),
    ),
    "a token for no site": (
        "OperatorService/CreateJoinToken",
        operator_pb2.CreateJoinTokenRequest(uses=1, lifetime_s=60),
    ),
    "labels": (
        "OperatorService/LabelDevice",
        operator_pb2.LabelDeviceRequest(device="paris-1", set={"line": "1"}),
    ),
    "taking a device": (
        "OperatorService/LabelDevice",
        operator_pb2.LabelDeviceRequest(device="paris-1", set={"site": "berlin"}),
    ),
    "giving a device": (
        "OperatorService/LabelDevice",
        operator_pb2.LabelDeviceRequest(device="berlin-1", set={"site": "paris"}),
    ),
    "losing a device": (
        "OperatorService/LabelDevice",
        operator_pb2.LabelDeviceRequest(device="berlin-1", remove=["site"]),
    ),
    "revoking": (
        "OperatorService/RevokeDevice",
        operator_pb2.RevokeDeviceRequest(device="paris-1", reason="why"),
    ),
    "admitting": (
        "OperatorService/ApproveDevice",
        operator_pb2.ApproveDeviceRequest(device="paris-1"),
    ),
    "a rollout there": (
        "OperatorService/CreateRollout",
        operator_pb2.CreateRolloutRequest(
            release="demo/tiny@1", slot=SLOT, selector="site=paris", stages=["100%"], reason="why"
        ),
    ),
    "a rollout everywhere": (
        "OperatorService/CreateRollout",
        operator_pb2.CreateRolloutRequest(
            release="demo/tiny@1", slot=SLOT, selector="", stages=["100%"], reason="why"
        ),
    ),
    "a rollout that others join": (
        "OperatorService/CreateRollout",
        operator_pb2.CreateRolloutRequest(
            release="demo/tiny@1",
            slot=SLOT,
            selector="site!=paris",
            stages=["100%"],
            reason="why",
            terms=operator_pb2.Terms(joins=True),
        ),
    ),
    "a file": (
        "OperatorService/ApplyRollout",
        operator_pb2.ApplyRolloutRequest(
            name="nightly",
            asked=operator_pb2.CreateRolloutRequest(
                release="demo/tiny@1", slot=SLOT, stages=["100%"], reason="why"
            ),
        ),
    ),
    "a schedule": (
        "OperatorService/PutSchedule",
        operator_pb2.PutScheduleRequest(
            schedule=operator_pb2.Schedule(name="nights", selector="site=paris"), reason="why"
        ),
    ),
    "a schedule for all": (
        "OperatorService/PutSchedule",
        operator_pb2.PutScheduleRequest(schedule=operator_pb2.Schedule(name="all"), reason="why"),
    ),
    "the kill switch": (
        "OperatorService/QuarantineRelease",
        operator_pb2.QuarantineReleaseRequest(release="demo/tiny@1", reason="why"),
    ),
    "metadata": (
        "OperatorService/SubmitMetadata",
        operator_pb2.SubmitMetadataRequest(role="demo", metadata=b"{}"),
    ),
    "a hold": (
        "OrderService/HoldDevices",
        orders_pb2.HoldDevicesRequest(target="paris-1", until_us=2**50, reason="why"),
    ),
    "a hold of all": (
        "OrderService/HoldDevices",
        orders_pb2.HoldDevicesRequest(target="device", until_us=2**50, reason="why"),
    ),
    "going back": (
        "OrderService/RollBackDevice",
        orders_pb2.RollBackDeviceRequest(device="paris-1", slot=SLOT, reason="why"),
    ),
    "samples": (
        "SampleService/OrderSamples",
        samples_pb2.OrderSamplesRequest(selector="site=paris", slot=SLOT, seconds=9, reason="why"),
    ),
    "a kit": (
        "KitService/ExportKit",
        kits_pb2.ExportKitRequest(
            release="demo/tiny@1", slot=SLOT, devices=["paris-1"], valid_s=7200, reason="why"
        ),
    ),
    "a silence": (
        "AlertService/CreateSilence",
        alerts_pb2.CreateSilenceRequest(rule="crash_loop", site="paris", seconds=60, reason="why"),
    ),
    "a silence everywhere": (
        "AlertService/CreateSilence",
        alerts_pb2.CreateSilenceRequest(rule="crash_loop", seconds=60, reason="why"),
    ),
}


NAMING_ONE = {
    *("labels", "taking a device", "revoking", "admitting", "a hold", "going back", "a kit"),
}
"""Those about one device, which is as if it were not there."""


@pytest.mark.parametrize("what", ELSEWHERE)
def test_who_is_bound_to_a_site_changes_nothing_elsewhere(
    manager: RunningManager, bob: Path, what: str
) -> None:
    name, request = ELSEWHERE[what]
    with channel(manager, bob) as wire:
        code, said = refused(lambda: call(wire, methods()[name], request))
    if what in NAMING_ONE:
        assert (code, said) == (NOT_FOUND, "there is no device paris-1")
    else:
        assert code is DENIED, said
        assert said.startswith("bob is approver at berlin,")


def test_who_is_bound_to_a_site_works_there(manager: RunningManager, bob: Path) -> None:
    with channel(manager, bob) as wire:
        label = operator_pb2.LabelDeviceRequest(device="berlin-1", set={"line": "7"})
        made = call(wire, methods()["OperatorService/LabelDevice"], label)
    assert made.device.labels == {"site": "berlin", "line": "7"}


def test_a_rollout_of_another_site_is_not_steered(
    manager: RunningManager, devices: tuple[Device, Device], bob: Path
) -> None:
    assert devices
    wanted = operator_pb2.CreateRolloutRequest(
        release="demo/tiny@1", slot=SLOT, selector="site=paris", stages=["100%"], reason="why"
    )
    with channel(manager, manager.state.operator) as wire:
        made = call(wire, methods()["OperatorService/CreateRollout"], wanted).rollout.id
        with channel(manager, bob) as theirs:
            request = operator_pb2.ControlRolloutRequest(id=made, action="abort", reason="mine")
            control = methods()["OperatorService/ControlRollout"]
            code, said = refused(lambda: call(theirs, control, request))
            assert (code, said) == (NOT_FOUND, f"there is no rollout {made}")
        request = operator_pb2.ControlRolloutRequest(id=made, action="abort", reason="over")
        assert call(wire, control, request).rollout.state == "aborted"


def test_a_revoked_operator_is_out_of_a_running_stream_within_seconds(
    manager: RunningManager, tmp_path: Path
) -> None:
    context = certified(manager, tmp_path / "rita", "operator")
    watch = methods()["OperatorService/WatchRollout"]
    manager.enrolled("watched", {"site": "lyon"})
    wanted = operator_pb2.CreateRolloutRequest(
        release="demo/tiny@1", slot=SLOT, selector="site=lyon", stages=["100%"], reason="why"
    )
    with channel(manager, context) as wire:
        made = call(wire, methods()["OperatorService/CreateRollout"], wanted).rollout.id
        stub: Any = _stream(wire, watch, operator_pb2.WatchRolloutRequest(id=made))
        assert next(stub).rollout.id == made
        ended: list[tuple[grpc.StatusCode, str]] = []
        reader = threading.Thread(target=lambda: ended.append(refused(lambda: list(stub))))
        reader.start()
        sealane(manager, "operator", "revoke", "rita", "--reason", "the laptop was stolen")
        began = time.monotonic()
        reader.join(SOON_S)
        assert ended == [(DENIED, "the certificate of operator rita was revoked")]
        assert time.monotonic() - began < SOON_S
        code, said = refused(lambda: call(wire, methods()["OperatorService/ListReleases"]))
    assert (code, said) == (DENIED, "the certificate of operator rita was revoked")


def test_a_stream_ends_when_its_callers_role_changes(
    manager: RunningManager, tmp_path: Path
) -> None:
    context = certified(manager, tmp_path / "rolf", "operator")
    with channel(manager, context) as wire:
        take: Any = wire.stream_unary(
            "/sealane.wire.v1.OperatorService/UploadBlob",
            lambda each: each.SerializeToString(),
            operator_pb2.UploadBlobResponse.FromString,
        )
        gate = threading.Event()

        def slowly() -> Iterator[operator_pb2.UploadBlobRequest]:
            header = operator_pb2.BlobHeader(digest=f"sha256:{'0' * 64}", size=9)
            yield operator_pb2.UploadBlobRequest(header=header)
            gate.wait(SOON_S)

        uploading = take.future(slowly(), timeout=20)
        sealane(manager, "user", "role", "rolf", "viewer")
        code, said = refused(lambda: uploading.result(SOON_S))
        gate.set()
    assert (code, said) == (DENIED, "what rolf may do has changed")


def _stream(wire: grpc.Channel, method: Any, request: Any) -> Any:
    path = f"/{method.containing_service.full_name}/{method.name}"
    return wire.unary_stream(
        path,
        lambda each: each.SerializeToString(),
        operator_pb2.WatchRolloutResponse.FromString,
    )(request, timeout=30)


@pytest.mark.parametrize("name", ["admin", "ghost", "controller", "bob"])
def test_a_name_in_a_certificate_that_nobody_listed_is_worth_nothing(
    manager: RunningManager, bob: Path, tmp_path: Path, name: str
) -> None:
    assert bob.exists()
    context = forged(manager, tmp_path / "forged", name)
    with channel(manager, context) as wire:
        code, said = refused(lambda: call(wire, methods()["OperatorService/ListReleases"]))
    assert (code, said) == (DENIED, f"the certificate of operator {name} is not known here")


def test_a_listed_key_under_another_name_is_worth_nothing(
    manager: RunningManager, bob: Path, tmp_path: Path
) -> None:
    context = forged(manager, tmp_path / "forged", "admin", bob)
    with channel(manager, context) as wire:
        code, said = refused(lambda: call(wire, methods()["OperatorService/ListReleases"]))
    assert (code, said) == (DENIED, "the certificate of operator admin is nobody's")


def test_the_log_names_whose_certificate_did_it(manager: RunningManager, bob: Path) -> None:
    with channel(manager, bob) as wire:
        label = operator_pb2.LabelDeviceRequest(device="berlin-1", set={"line": "8"})
        call(wire, methods()["OperatorService/LabelDevice"], label)
    with manager.operator() as operator:
        (entry, *_) = operator.audit.lines(AuditFilter(actor="bob", size=1))
    assert (entry.actor, entry.action) == ("bob", "label")
