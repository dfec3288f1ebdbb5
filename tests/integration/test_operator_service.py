from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import SealaneError
from sealane.names import DeviceId, Digest, ReleaseName
from sealane.wire.v1 import operator_pb2 as wire
from sealane_manager.client import Operator
from sealane_manager.errors import NotKnown, Refused, Unreachable
from sealane_manager.rollout.types import (
    GatePolicy,
    OnFailure,
    Operation,
    Phase,
    RolloutSpec,
    RolloutState,
    Stage,
)
from sealane_manager.trust.changes import Offer
from sealane_manager.trust.edits import Ground, without_family
from sealane_manager.trust.proposals import Proposal, look, propose
from support.manager import FAMILY, SLOT, running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.views import RolloutView
    from support.manager import RunningManager

RELEASE = ReleaseName("demo/tiny", 1)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        yield running


@pytest.fixture
def operator(manager: RunningManager) -> Iterator[Operator]:
    with manager.operator() as client:
        yield client


def a_spec(selector: str, **changes: object) -> RolloutSpec:
    fields: dict[str, object] = {
        "release": RELEASE,
        "slot": SLOT,
        "selector": selector,
        "stages": (Stage(count=1), Stage(percent=100)),
        "soak": timedelta(seconds=30),
    }
    return RolloutSpec(**{**fields, **changes})  # type: ignore[arg-type]  # a test's shorthand


def blob_file(folder: Path, content: bytes) -> tuple[Digest, Path]:
    path = folder / "blob"
    path.write_bytes(content)
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}"), path


def test_a_published_release_is_listed_with_its_size_and_slots(operator: Operator) -> None:
    (release,) = operator.list_releases()

    assert (release.name, release.slots, release.listed) == (RELEASE, (SLOT,), True)
    assert release.size > 0


def test_only_missing_blobs_are_asked_for_and_an_upload_fills_them(
    operator: Operator, tmp_path: Path
) -> None:
    digest, path = blob_file(tmp_path, b"weights" * 500_000)
    held = operator.list_releases()[0].manifest
    assert operator.missing_blobs([held, digest, digest]) == (digest,)

    sent: list[int] = []
    operator.upload_blob(digest, path, sent.append)

    assert operator.missing_blobs([digest]) == ()
    assert sum(sent) == path.stat().st_size


def test_an_upload_whose_bytes_have_another_digest_is_refused_and_not_kept(
    manager: RunningManager, operator: Operator, tmp_path: Path
) -> None:
    digest, path = blob_file(tmp_path, b"what was signed")
    path.write_bytes(b"what was sent!!")

    with pytest.raises(SealaneError, match="another digest"):
        operator.upload_blob(digest, path)

    assert operator.missing_blobs([digest]) == (digest,)
    assert list(manager.state.uploads.iterdir()) == []


def test_metadata_whose_blobs_were_not_uploaded_is_refused(
    manager: RunningManager, operator: Operator
) -> None:
    lost = manager.state.blob(operator.list_releases()[0].manifest)
    aside = lost.rename(lost.with_suffix(".aside"))
    signed = operator.get_metadata(FAMILY).replace(b"demo/tiny@1.json", b"demo/tiny@2.json")
    try:
        with pytest.raises(Refused, match="was not uploaded"):
            operator.submit(Offer(FAMILY, signed))
    finally:
        aside.rename(lost)


def test_metadata_that_nobody_signed_is_refused(operator: Operator) -> None:
    before = operator.get_metadata(FAMILY)
    with pytest.raises(Refused):
        operator.submit(Offer(FAMILY, before.replace(b'"version":2', b'"version":3')))
    assert operator.get_metadata(FAMILY) == before


@pytest.mark.parametrize("role", ["", "nothing", "../keys/root", "9.root", "0.root", "x" * 500])
def test_a_role_that_does_not_exist_is_not_known(operator: Operator, role: str) -> None:
    with pytest.raises(NotKnown):
        operator.get_metadata(role)


def test_labels_are_set_and_removed(manager: RunningManager, operator: Operator) -> None:
    manager.enrolled("labelled", {"site": "berlin", "line": "3"})

    device = operator.label_device(DeviceId("labelled"), {"site": "lyon"}, ["line"])

    assert device.labels == {"site": "lyon"}
    assert [d.id for d in operator.list_devices("site=lyon")] == ["labelled"]


def test_a_selector_that_cannot_be_read_says_where(operator: Operator) -> None:
    with pytest.raises(SealaneError, match="character") as caught:
        operator.list_devices("site in (berlin")
    assert caught.value.hint


def test_what_is_not_there_is_not_known(operator: Operator) -> None:
    with pytest.raises(NotKnown):
        operator.label_device(DeviceId("nobody"), {"a": "b"})
    with pytest.raises(NotKnown):
        operator.revoke_device(DeviceId("nobody"), "why not")
    with pytest.raises(NotKnown):
        operator.get_rollout("r-nothing")
    with pytest.raises(NotKnown):
        list(operator.watch_rollout("r-nothing"))
    with pytest.raises(NotKnown):
        operator.create_rollout(a_spec("", release=ReleaseName("demo/tiny", 99)))


def test_a_token_with_impossible_terms_is_refused(operator: Operator) -> None:
    with pytest.raises(SealaneError):
        operator.create_join_token({}, 0, timedelta(hours=1))
    with pytest.raises(SealaneError):
        operator.create_join_token({}, 1, timedelta(0))
    with pytest.raises(SealaneError):
        operator.create_join_token({"site": "nine spaces?"}, 1, timedelta(hours=1))


def test_a_rollout_comes_back_as_it_was_asked_for(
    manager: RunningManager, operator: Operator
) -> None:
    manager.enrolled("asked-1", {"test": "asked"})
    manager.enrolled("asked-2", {"test": "asked"})
    spec = a_spec("test=asked", gate=GatePolicy(max_failed=2), on_failure=OnFailure.KEEP)

    started = operator.create_rollout(spec, "because")
    found = operator.get_rollout(started.id)

    assert (found.release, found.slot, found.selector) == (RELEASE, SLOT, "test=asked")
    assert found.stages == ("1", "100%")
    assert {device.device for device in found.devices} == {"asked-1", "asked-2"}
    assert any("because" in decision.detail for decision in found.decisions)
    listed = next(each for each in operator.list_rollouts() if each.id == started.id)
    assert listed.devices == ()
    operator.control_rollout(started.id, Operation.ABORT, "test is over")


def test_a_family_that_devices_shall_serve_is_ended_only_on_purpose(
    manager: RunningManager, operator: Operator
) -> None:
    manager.enrolled("family-1", {"ends": "yes"})
    rollout = operator.create_rollout(a_spec("ends=yes")).id
    found = look(operator)
    targets = without_family(Ground(found.base, found.current, datetime.now(UTC)), FAMILY)
    with pytest.raises(Refused, match=rf"family demo is in use: .*rollout.* {rollout}.* not ended"):
        propose(operator, found, Proposal(targets, "given up"))
    assert operator.changes() == ()
    (outcome,) = propose(operator, found, Proposal(targets, "given up", in_use=True))
    assert outcome.published == ()
    assert [change.role for change in operator.changes()] == ["targets"]
    operator.withdraw("targets")
    operator.control_rollout(rollout, Operation.ABORT)


def test_a_rollout_that_matches_no_device_is_refused(operator: Operator) -> None:
    with pytest.raises(Refused):
        operator.create_rollout(a_spec("site=nowhere"))


def test_a_watch_tells_every_change_and_ends_with_the_rollout(
    manager: RunningManager, operator: Operator
) -> None:
    manager.enrolled("watched", {"test": "watched"})
    started = operator.create_rollout(a_spec("test=watched"))
    seen: list[RolloutView] = []

    def follow() -> None:
        with manager.operator() as other:
            seen.extend(other.watch_rollout(started.id))

    watcher = threading.Thread(target=follow)
    watcher.start()
    operator.control_rollout(started.id, Operation.PAUSE, "look first")
    operator.control_rollout(started.id, Operation.ABORT, "no")
    watcher.join(10)

    assert not watcher.is_alive()
    assert seen[-1].state is RolloutState.ABORTED
    assert seen[-1].ended_at is not None


def test_a_command_line_that_knows_no_parts_hears_of_all_devices_each_time(
    manager: RunningManager, operator: Operator
) -> None:
    names = {"older-1", "older-2"}
    for name in names:
        manager.enrolled(name, {"test": "older"})
    started = operator.create_rollout(a_spec("test=older"))
    got = operator._stub.GetRollout(wire.GetRolloutRequest(id=started.id), timeout=30)
    watching = wire.WatchRolloutRequest(id=started.id)
    watch = iter(operator._stub.WatchRollout(watching, timeout=30))
    first = next(watch)
    operator.control_rollout(started.id, Operation.PAUSE, "look first")
    operator.control_rollout(started.id, Operation.ABORT, "no")
    *_, last = watch

    assert got.next_page_token == ""
    for answer in (got, first, last):
        assert {each.device for each in answer.rollout.devices} == names
    assert last.rollout.state == "aborted"
    told = [each.action for each in last.rollout.decisions]
    assert told == [each.action for each in operator.get_rollout(started.id).decisions]


def test_an_operation_that_the_state_does_not_allow_is_refused(
    manager: RunningManager, operator: Operator
) -> None:
    manager.enrolled("once", {"test": "once"})
    started = operator.create_rollout(a_spec("test=once"))
    operator.control_rollout(started.id, Operation.ABORT, "over")

    with pytest.raises(Refused):
        operator.control_rollout(started.id, Operation.RESUME)
    assert operator.get_rollout(started.id).phase in set(Phase)


def test_a_manager_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        context = manager.state.operator
    with Operator(context) as operator, pytest.raises(Unreachable) as caught:
        operator.list_devices()
    assert "sealane serve" in caught.value.hint


def test_a_folder_without_a_context_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SealaneError, match=r"context\.json") as caught:
        Operator(tmp_path)
    assert "sealane init" in caught.value.hint
