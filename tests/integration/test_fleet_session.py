from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import grpc
import pytest
from sealane import codec
from sealane.fleet import (
    Assignment,
    AssignmentRequest,
    DesiredChanged,
    Event,
    Events,
    EventsAck,
    Heartbeat,
    Hello,
    SlotReport,
    Winner,
)
from sealane.limits import EVENTS_PER_MESSAGE
from sealane.names import DeviceId, ReleaseName
from sealane.receipt import sign
from sealane.trust.identity import make_csr, new_key
from sealane.trust.verifier import MetadataMissing, Verifier
from sealane.wire.v1 import fleet_pb2, fleet_pb2_grpc
from sealane_manager.desk import Pace
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.rpc.polls import MESSAGES
from support.clock import MovableClock
from support.device import FACTS
from support.manager import SLOT, running_manager
from support.rollouts import a_receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.device import Device, Spoken
    from support.manager import RunningManager

STATUS = grpc.StatusCode
Word = TypeVar("Word")


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@dataclass(frozen=True)
class Way:
    """How a device speaks."""

    name: str
    version: int

    def __call__(self, device: Device) -> Spoken:
        return device.session() if self.name == "session" else device.polls()


@pytest.fixture(params=[Way("session", 1), Way("polls", 2)], ids=lambda way: way.name)
def speak(request: pytest.FixtureRequest) -> Way:
    """What holds for a session holds for polls."""
    way: Way = request.param
    return way


class FromManager:
    """The verifier's way to the manager's repository."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        try:
            yield self._device.metadata(name)[: limit + 1]
        except grpc.RpcError as error:
            if error.code() is STATUS.NOT_FOUND:
                raise MetadataMissing(name) from error
            raise


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def until(session: Spoken, kind: type[Word]) -> Word:
    """The next word of a kind; others may come before it."""
    while True:
        heard = session.hear()
        if isinstance(heard, kind):
            return heard


def connected(manager: RunningManager, device: Device) -> bool:
    with manager.operator() as operator:
        return next(d.connected for d in operator.list_devices() if d.id == device.id)


def test_a_device_that_says_hello_is_welcome_and_reachable(manager: RunningManager) -> None:
    device = manager.enrolled("hello-1")
    with device.session() as session:
        welcome = session.greet(SlotReport(SLOT, "idle"))

        assert welcome.device == "hello-1"
        assert welcome.acked_sequence == 0
        with manager.operator() as operator:
            seen = next(d for d in operator.list_devices() if d.id == "hello-1")
        assert seen.connected
        assert seen.facts == FACTS
        assert seen.slots == (SlotReport(SLOT, "idle"),)
    eventually(lambda: not connected(manager, device))


def test_the_verifier_of_a_device_accepts_what_the_director_signed_for_it(
    manager: RunningManager, tmp_path: Path, speak: Way
) -> None:
    device = manager.enrolled(f"verified-{speak.name}")
    folder = tmp_path / "trust"
    Verifier.bootstrap(folder, device.root, manager.token().root_sha256)
    verifier = Verifier(folder, FromManager(device), DeviceId(device.id), MovableClock())
    with speak(device) as session:
        session.greet()
        nonce = verifier.new_nonce()
        answer = session.ask(AssignmentRequest(nonce))

    assert isinstance(answer, Assignment)
    accepted = verifier.accept(answer.document, nonce, FACTS)
    assert accepted.document.slots == ()
    assert accepted.document.nonce == nonce


def test_a_rollout_reaches_the_device_as_a_change_and_a_signed_assignment(
    manager: RunningManager, tmp_path: Path, speak: Way
) -> None:
    manifest = manager.publish(tmp_path, speak.version)
    device = manager.enrolled(f"rolled-{speak.name}", {"test": f"rolled-{speak.name}"})
    folder = tmp_path / "trust"
    Verifier.bootstrap(folder, device.root, manager.token().root_sha256)
    verifier = Verifier(folder, FromManager(device), DeviceId(device.id), MovableClock())
    with speak(device) as session, manager.operator() as operator:
        session.greet()
        spec = RolloutSpec(
            release=ReleaseName("demo/tiny", speak.version),
            slot=SLOT,
            selector=f"test=rolled-{speak.name}",
            stages=(Stage(percent=100),),
            soak=timedelta(0),
        )
        rollout = operator.create_rollout(spec, "try it")
        changed = session.hear()
        nonce = verifier.new_nonce()
        answer = session.ask(AssignmentRequest(nonce))

    assert isinstance(changed, DesiredChanged)
    assert isinstance(answer, Assignment)
    accepted = verifier.accept(answer.document, nonce, FACTS)
    assert accepted.document.generation >= changed.generation
    (approved,) = accepted.approved
    assert approved.manifest == manifest.content
    assert approved.assignment.rollout == rollout.id
    assert approved.assignment.lease is not None
    model = max(manifest.layers, key=lambda layer: layer.size)
    assert len(device.blob(model.digest)) == model.size
    assert device.blob(model.digest, 7) == device.blob(model.digest)[7:]


def test_what_a_receipt_says_of_a_class_comes_with_the_next_document_for_it(
    manager: RunningManager, tmp_path: Path, speak: Way
) -> None:
    manifest = manager.publish(tmp_path, speak.version + 2)
    release, label = ReleaseName("demo/tiny", speak.version + 2), f"class-{speak.name}"
    device = manager.enrolled(label, {"test": label})
    known = {"manifest": manifest.digest, "hardware": "c" * 64, "measured_us": 900}
    with speak(device) as session, manager.operator() as operator:
        session.greet()
        spec = RolloutSpec(release, SLOT, f"test={label}", (Stage(percent=100),), timedelta(0))
        rollout = operator.create_rollout(spec, "try it")
        assert isinstance(session.hear(), DesiredChanged)
        receipt = a_receipt(device.id, slot=SLOT, release=str(release), rollout=rollout.id, **known)
        session.say(Events((Event(1, datetime.now(UTC), sign(receipt, device.key)),)))
        until(session, EventsAck)
        session.say(AssignmentRequest("n", hardware="c" * 64))
        same = until(session, Assignment)
        session.say(AssignmentRequest("n", hardware="d" * 64))
        other = until(session, Assignment)

    assert same.winners == (Winner("c" * 64, manifest.digest, receipt.variant, 900),)
    assert other.winners == ()


def test_events_are_acknowledged_once_they_are_stored_and_again_when_repeated(
    manager: RunningManager, speak: Way
) -> None:
    device = manager.enrolled(f"events-{speak.name}")
    now = datetime.now(UTC)
    first = Event(1, now, SlotReport(SLOT, "fetching", attempt_release="demo/tiny@1"))
    second = Event(2, now, SlotReport(SLOT, "staged", attempt_release="demo/tiny@1"))
    with speak(device) as session:
        session.greet()
        assert session.ask(Events((first,))) == EventsAck(1)
        assert session.ask(Events((first, second))) == EventsAck(2)
    with speak(device) as session:
        assert session.greet().acked_sequence == 2


def test_a_heartbeat_updates_what_the_operator_sees(manager: RunningManager, speak: Way) -> None:
    device = manager.enrolled(f"heart-{speak.name}")
    report = SlotReport(SLOT, "committed", active_release="demo/tiny@1", lkg_release="demo/tiny@1")
    with speak(device) as session, manager.operator() as operator:
        session.greet()
        session.say(Heartbeat((report,)))
        eventually(
            lambda: next(d for d in operator.list_devices() if d.id == device.id).slots == (report,)
        )


def test_a_newer_session_of_the_same_device_ends_the_older_one(manager: RunningManager) -> None:
    device = manager.enrolled("twice")
    with device.session() as older, device.session() as newer:
        older.greet()
        newer.greet()

        ended = older.end()

        assert ended.code() is STATUS.ABORTED
        assert isinstance(newer.ask(AssignmentRequest("n" * 32)), Assignment)
        assert connected(manager, device)


def test_revoking_a_device_ends_its_open_session_and_shuts_it_out(
    manager: RunningManager, speak: Way
) -> None:
    device = manager.enrolled(f"thief-{speak.name}")
    with speak(device) as session, manager.operator() as operator:
        session.greet()
        operator.revoke_device(DeviceId(device.id), "stolen")

        assert session.end().code() is STATUS.PERMISSION_DENIED
    with speak(device) as session:
        session.say(Hello("0.1.0", "boot-2", FACTS, ()))
        assert session.end().code() is STATUS.PERMISSION_DENIED
    with pytest.raises(grpc.RpcError) as call:
        device.metadata("timestamp.json")
    assert call.value.code() is STATUS.PERMISSION_DENIED


def test_a_session_does_not_outlive_its_certificate(tmp_path: Path, speak: Way) -> None:
    clock = MovableClock()
    with running_manager(tmp_path, clock) as manager:
        device = manager.enrolled("yesterday")
        with speak(device) as session:
            session.greet()
            clock.advance(timedelta(hours=25))
            session.say(Heartbeat(()))

            assert session.end().code() is STATUS.PERMISSION_DENIED


def test_a_device_that_polls_is_reachable_until_it_falls_silent(tmp_path: Path) -> None:
    with running_manager(tmp_path, pace=Pace(heartbeat_s=0.2)) as manager:
        device = manager.enrolled("polls-1")
        with device.polls() as polls:
            polls.greet(SlotReport(SLOT, "idle"))
            assert connected(manager, device)
            eventually(lambda: not connected(manager, device))
            polls.say(Heartbeat(()))
            assert polls.end().code() is STATUS.ABORTED, "it has to begin with Hello again"
        with device.polls() as polls:
            polls.greet()
            assert connected(manager, device)


def test_polls_that_begin_with_something_else_than_hello_are_sent_back(
    manager: RunningManager,
) -> None:
    with manager.enrolled("").polls() as polls:
        polls.say(Heartbeat(()))
        assert polls.end().code() is STATUS.ABORTED


def test_a_poll_with_too_many_messages_is_refused(manager: RunningManager) -> None:
    device = manager.enrolled("")
    said = [codec.device_message_to_wire(Heartbeat(()))] * (MESSAGES + 1)
    with device.channel() as channel, pytest.raises(grpc.RpcError) as call:
        fleet_pb2_grpc.FleetServiceStub(channel).Poll(fleet_pb2.PollRequest(said=said), timeout=10)
    assert call.value.code() is STATUS.INVALID_ARGUMENT


def test_polls_and_a_session_of_one_device_take_each_others_place(
    manager: RunningManager,
) -> None:
    device = manager.enrolled("both")
    with device.session() as session, device.polls() as polls:
        session.greet()
        polls.greet()
        assert session.end().code() is STATUS.ABORTED
        assert connected(manager, device)
        with device.session() as again:
            again.greet()
            assert polls.end().code() is STATUS.ABORTED
            assert connected(manager, device)


def test_polls_with_another_key_do_not_go_on_with_a_conversation(manager: RunningManager) -> None:
    device = manager.enrolled("key-1")
    key = new_key()
    with device.polls() as polls:
        polls.greet()
        with device.channel() as channel:
            answer = fleet_pb2_grpc.FleetServiceStub(channel).Renew(
                fleet_pb2.RenewRequest(csr=make_csr(key)), timeout=10
            )
        renewed = replace(device, key=key, certificate=answer.certificate)
        with renewed.polls() as others:
            others.say(Heartbeat(()))
            assert others.end().code() is STATUS.ABORTED
        assert isinstance(polls.ask(AssignmentRequest("n" * 32)), Assignment)


def test_a_device_that_falls_silent_loses_its_session(tmp_path: Path) -> None:
    with running_manager(tmp_path, pace=Pace(heartbeat_s=0.05)) as manager:
        device = manager.enrolled("silent")
        with device.session() as session:
            session.greet()

            assert session.end().code() is STATUS.DEADLINE_EXCEEDED


def test_a_manager_that_stops_says_so_to_its_devices(tmp_path: Path, speak: Way) -> None:
    with running_manager(tmp_path) as manager:
        device = manager.enrolled("left-alone")
        session = speak(device)
        session.greet()

    with session:
        assert session.end().code() is STATUS.UNAVAILABLE


def test_after_a_restart_the_manager_knows_its_devices(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager:
        device = manager.enrolled("known", {"site": "lyon"})
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        (seen,) = operator.list_devices()
    assert (seen.id, seen.labels) == (device.id, {"site": "lyon"})


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(()),
        AssignmentRequest("n" * 32),
    ],
)
def test_a_session_that_does_not_begin_with_hello_is_ended(
    manager: RunningManager, message: Heartbeat | AssignmentRequest
) -> None:
    device = manager.enrolled("")
    with device.session() as session:
        session.say(message)
        assert session.end().code() is STATUS.INVALID_ARGUMENT


@pytest.mark.parametrize("nonce", ["", "n" * 5000])
def test_a_nonce_of_an_impossible_length_ends_the_session(
    manager: RunningManager, nonce: str, speak: Way
) -> None:
    device = manager.enrolled("")
    with speak(device) as session:
        session.greet()
        session.say(AssignmentRequest(nonce))
        assert session.end().code() is STATUS.INVALID_ARGUMENT


def test_too_many_events_in_one_message_end_the_session(
    manager: RunningManager, speak: Way
) -> None:
    device = manager.enrolled("")
    now = datetime.now(UTC)
    flood = tuple(
        Event(number, now, SlotReport(SLOT, "idle")) for number in range(1, EVENTS_PER_MESSAGE + 2)
    )
    with speak(device) as session:
        session.greet()
        session.say(Events(flood))
        assert session.end().code() is STATUS.INVALID_ARGUMENT
