from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from sealane import codec
from sealane.fleet import DeviceFacts, RuntimeFact, SlotReport
from sealane.names import DeviceId, Digest, ReleaseName, SlotName
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    OnFailure,
    Phase,
    RolloutSpec,
    RolloutState,
    Stage,
)
from sealane_manager.rpc import convert
from sealane_manager.views import (
    DecisionView,
    DeviceView,
    ReleaseView,
    RolloutDeviceView,
    RolloutView,
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.from_regex(r"[a-z0-9]([a-z0-9_.-]{0,10}[a-z0-9])?", fullmatch=True)
devices = names.map(DeviceId)
slots = names.map(SlotName)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(f"sha256:{raw.hex()}"))
releases = st.builds(ReleaseName, st.tuples(names, names).map("/".join), st.integers(1, 2**31 - 1))
moments = st.integers(10**15, 4 * 10**15).map(codec.from_micros)
seconds = st.integers(0, 10**6).map(lambda count: timedelta(seconds=count))
counts = st.integers(0, 2**31)

facts = st.builds(
    DeviceFacts,
    arch=words,
    os=words,
    cpus=st.integers(0, 1024),
    memory_bytes=st.integers(0, 2**50),
    runtimes=st.lists(
        st.builds(RuntimeFact, words, words, st.lists(words, max_size=2).map(tuple)), max_size=2
    ).map(tuple),
    endpoint=words,
)
reports = st.builds(
    SlotReport,
    slot=slots,
    state=words,
    active_release=words,
    lkg_release=words,
    attempt_release=words,
    rollout=words,
)
device_views = st.builds(
    DeviceView,
    id=devices,
    name=words,
    labels=st.dictionaries(names, words, max_size=3),
    connected=st.booleans(),
    last_seen=st.none() | moments,
    state=words,
    facts=st.none() | facts,
    slots=st.lists(reports, max_size=2).map(tuple),
)
release_views = st.builds(
    ReleaseView,
    name=releases,
    manifest=digests,
    size=st.integers(0, 2**50),
    slots=st.lists(slots, max_size=3).map(tuple),
    listed=st.booleans(),
)
stages = st.builds(Stage, count=st.integers(1, 10**6)) | st.builds(
    Stage, percent=st.integers(1, 100)
)
specs = st.builds(
    RolloutSpec,
    release=releases,
    slot=slots,
    selector=words,
    stages=st.lists(stages, max_size=4).map(tuple),
    soak=seconds,
    gate=st.builds(
        GatePolicy,
        max_failed=counts,
        max_failed_percent=st.integers(0, 100),
        silent_after=seconds.filter(bool),
        min_requests=st.integers(0, 2**50),
    ),
    on_failure=st.sampled_from(OnFailure),
)
rollout_views = st.builds(
    RolloutView,
    id=words,
    release=releases,
    previous_release=words,
    slot=slots,
    selector=words,
    state=st.sampled_from(RolloutState),
    reason=words,
    stage=counts,
    phase=st.sampled_from(Phase),
    stages=st.lists(words, max_size=3).map(tuple),
    devices=st.lists(
        st.builds(
            RolloutDeviceView,
            device=devices,
            name=words,
            stage=counts,
            state=st.sampled_from(DeviceState),
            detail=words,
            requests=st.integers(0, 2**50),
            changed_at=moments,
        ),
        max_size=2,
    ).map(tuple),
    decisions=st.lists(st.builds(DecisionView, moments, words, words, words), max_size=2).map(
        tuple
    ),
    created_at=moments,
    ended_at=st.none() | moments,
    name=words,
    asked=specs,
    counts=st.dictionaries(words, counts, max_size=2),
)


@given(device_views)
def test_a_device_survives_the_wire(device: DeviceView) -> None:
    assert convert.device_from_wire(convert.device_to_wire(device)) == device


@given(release_views)
def test_a_release_survives_the_wire(release: ReleaseView) -> None:
    assert convert.release_from_wire(convert.release_to_wire(release)) == release


@given(rollout_views)
def test_a_rollout_survives_the_wire(rollout: RolloutView) -> None:
    assert convert.rollout_from_wire(convert.rollout_to_wire(rollout)) == rollout


@given(specs)
def test_what_an_operator_asks_for_survives_the_wire(spec: RolloutSpec) -> None:
    assert convert.spec_from_wire(convert.spec_to_wire(spec, "why")) == spec
