"""A device whose accelerator fails serves on the CPU, and everybody is told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane import codec
from sealane import receipt as receipts
from sealane.bundle.deployment import ACCELERATORS
from sealane.failure import FailureKind
from sealane.fleet import RuntimeFact, SlotReport
from sealane.names import AGENT_SLOT, ReleaseName
from sealane.receipt import SignedReceipt
from sealane_agent.diagnosis.doctor import judge_slot
from sealane_agent.diagnosis.findings import Level
from sealane_agent.errors import Failed
from sealane_agent.layout import Pointer, StateFolder
from sealane_agent.oip.metrics import Names, exposition
from sealane_agent.overview import SlotOverview
from sealane_agent.serving.dataplane import Dataplane
from sealane_agent.serving.messages import Load, SlotStatus, Traffic
from sealane_agent.serving.stand_in import SHARE, StandIns
from sealane_agent.serving.types import LoadFailed
from sealane_agent.slot.encoding import decode_attempt, decode_body, encode_attempt, encode_body
from sealane_agent.slot.reports import Speaker, as_it_serves, chosen, receipt, why_degraded
from sealane_agent.slot.staging import Staging
from sealane_agent.slot.state import Attempt, SlotRecord, State
from sealane_agent.standing_in import SENTENCE_CHARS, degraded, in_place_of, lost_here, stand_ins
from sealane_agent.store import Store
from sealane_agent.uplink.fetch import Policy
from support.agent_fakes import CAM, FakeBlobs, FakeEndpoint, failure
from support.agent_site import FACTS
from support.bundles import TINY_MODEL, manifest_of
from support.fake_workers import FakeWorker, inference
from support.fake_workers import deployment as fake_deployment
from support.gpu_bundles import GPU, gpu_deployment, gpu_files, gpu_manifest
from support.rollouts import START, a_receipt

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.serving.types import Worker

DEPLOYMENT = gpu_deployment()
ON_GPU, ON_CPU = DEPLOYMENT.variants
RELEASE = ReleaseName(TINY_MODEL, 1)
POINTER = Pointer(RELEASE, gpu_manifest().digest, GPU)
HAS_GPU = RuntimeFact("onnxruntime", "1.31.1", ("cpu", "gpu"))
LOST_GPU = RuntimeFact("onnxruntime", "1.31.1", ("cpu",), lost=(("gpu", "no driver answers"),))
NO_DRIVER = failure(FailureKind.ENVIRONMENTAL, "accelerator", "no driver answers")


# What is decided


def test_only_a_variant_for_an_accelerator_has_stand_ins() -> None:
    assert stand_ins(DEPLOYMENT, GPU) == (ON_CPU,)
    assert stand_ins(DEPLOYMENT, ON_CPU.name) == ()
    assert stand_ins(DEPLOYMENT, "no such variant") == ()


@given(st.sampled_from(ACCELERATORS), st.lists(st.sampled_from(ACCELERATORS)))
def test_degraded_is_the_cpu_where_an_accelerator_was_passed_over(
    chosen: str, others: list[str]
) -> None:
    passed = [(replace(ON_GPU, accelerator=each), "why") for each in others]
    weak = chosen == "cpu" and any(each != "cpu" for each in others)
    assert bool(degraded(chosen, passed)) == weak


def test_an_engines_long_words_are_cut() -> None:
    assert len(in_place_of(ON_GPU, "x" * 10_000)) == SENTENCE_CHARS


def test_an_accelerator_that_was_never_here_is_not_lost() -> None:
    assert lost_here(DEPLOYMENT.variants, FACTS) == ()
    lost = replace(FACTS, runtimes=(LOST_GPU,))
    assert lost_here(DEPLOYMENT.variants, lost) == ((ON_GPU, "no driver answers"),)


# Staging


def attempt() -> Attempt:
    return Attempt(CAM, RELEASE, gpu_manifest().digest, "r1", State.FETCHING, START)


def staging(root: Path, runtime: RuntimeFact, endpoint: FakeEndpoint) -> Staging:
    manifest, files = manifest_of(gpu_files())
    store = Store(StateFolder(root))
    store.put(manifest.digest, manifest.content)
    blobs = FakeBlobs({item.digest: files[item.path] for item in manifest.layers}, chunk=4096)
    found = Staging(store, blobs, endpoint, replace(FACTS, runtimes=(runtime,)))
    found.fetch(attempt(), Policy(lambda _: None, lambda: False))
    return found


def test_a_gpu_that_fails_at_staging_leaves_the_cpu_and_says_why(tmp_path: Path) -> None:
    endpoint = FakeEndpoint(bad={GPU: NO_DRIVER})
    choice = asyncio.run(staging(tmp_path, HAS_GPU, endpoint).prove(attempt()))
    assert (choice.variant, choice.accelerator) == (ON_CPU.name, "cpu")
    assert choice.degraded == in_place_of(ON_GPU, "no driver answers")


def test_a_gpu_that_was_lost_before_is_not_tried_and_said_all_the_same(tmp_path: Path) -> None:
    endpoint = FakeEndpoint()
    choice = asyncio.run(staging(tmp_path, LOST_GPU, endpoint).prove(attempt()))
    assert [each.variant for each in endpoint.loaded.values()] == [ON_CPU.name]
    assert choice.degraded == in_place_of(ON_GPU, "no driver answers")


def test_a_device_that_never_had_a_gpu_is_as_it_should_be(tmp_path: Path) -> None:
    never = replace(LOST_GPU, lost=())
    choice = asyncio.run(staging(tmp_path, never, FakeEndpoint()).prove(attempt()))
    assert (choice.accelerator, choice.degraded) == ("cpu", "")


def test_the_cpu_that_was_measured_faster_than_the_gpu_is_not_degraded(tmp_path: Path) -> None:
    endpoint = FakeEndpoint(latency_us={GPU: 900, ON_CPU.name: 100})
    choice = asyncio.run(staging(tmp_path, HAS_GPU, endpoint).prove(attempt()))
    assert (choice.accelerator, choice.degraded) == ("cpu", "")


def test_a_missing_accelerator_does_not_make_a_release_bad(tmp_path: Path) -> None:
    bad = failure(FailureKind.PERMANENT)
    endpoint = FakeEndpoint(bad={GPU: NO_DRIVER, ON_CPU.name: bad})
    with pytest.raises(Failed) as raised:
        asyncio.run(staging(tmp_path, HAS_GPU, endpoint).prove(attempt()))
    assert raised.value.failure == NO_DRIVER


# What is written down and told

WEAK = in_place_of(ON_GPU, "no driver answers")
EARLIER_PROOF = {
    *("worker", "runtime_version", "golden_max_error"),
    *("latency_us", "memory_bytes", "load_ms"),
}


def staged(tmp_path: Path) -> Attempt:
    choice = asyncio.run(staging(tmp_path, LOST_GPU, FakeEndpoint()).prove(attempt()))
    return replace(attempt(), choice=choice)


def test_the_journal_keeps_it_where_an_earlier_version_does_not_stumble(tmp_path: Path) -> None:
    written = staged(tmp_path)
    assert written.choice is not None
    proved = replace(written.choice.proved, p95_us=200, rows_per_s=41.5)
    written = replace(written, choice=replace(written.choice, proved=proved))
    text = encode_attempt(written)
    assert decode_attempt(text) == written
    later = {"degraded", "hardware", "why", "measured"}
    whole = json.loads(text)
    assert later.isdisjoint(whole["choice"])
    assert set(whole["choice"]["proved"]) == EARLIER_PROOF
    earlier = {name: each for name, each in whole.items() if name not in later}
    read = decode_attempt(json.dumps(earlier)).choice
    assert read is not None
    assert (read.degraded, read.hardware, read.why) == ("", "", "")
    assert (read.proved.p95_us, read.proved.rows_per_s) == (0, 0.0)


@pytest.mark.parametrize(("why", "chosen"), [("", ""), (WEAK, ""), ("", "int8, the only one")])
def test_a_report_says_it_on_every_way(why: str, chosen: str) -> None:
    report = SlotReport(CAM, "committed", degraded=why, chosen=chosen)
    assert decode_body(encode_body(report)) == report
    assert {"degraded", "chosen"}.isdisjoint(json.loads(encode_body(report))["report"])
    assert codec.slot_from_wire(codec.slot_to_wire(report)) == report


def test_a_receipt_says_it_and_earlier_receipts_are_still_read(tmp_path: Path) -> None:
    speaker = Speaker(a_receipt("edge-1").device, "b1")  # type: ignore[arg-type] # it is a name
    said = receipt(staged(tmp_path), receipts.SERVING, speaker, (1, START))
    assert (said.accelerator, said.degraded) == ("cpu", WEAK)
    fields = {name: getattr(said, name) for name in said.__dataclass_fields__}
    del fields["degraded"]
    assert receipts.read(SignedReceipt(json.dumps(fields).encode(), b"")) == replace(
        said, degraded=""
    )


def status(pointer: Pointer | None, why: str = "") -> SlotStatus:
    return SlotStatus(
        CAM, pointer, "cam-1", None, probation=False, standby=(), traffic=Traffic(), degraded=why
    )


def test_what_stands_in_now_goes_before_what_was_staged(tmp_path: Path) -> None:
    weak = staged(tmp_path)
    record = SlotRecord(CAM, weak, committed=weak)
    assert why_degraded(record, status(weak.pointer), None) == WEAK
    assert why_degraded(record, None, weak.pointer) == WEAK
    assert why_degraded(record, status(weak.pointer, "now"), None) == "now"
    assert why_degraded(record, status(replace(POINTER, variant="other")), None) == ""
    assert why_degraded(SlotRecord(CAM), None, None) == ""


def test_the_variant_that_serves_is_told_with_why_until_another_stands_in_for_it(
    tmp_path: Path,
) -> None:
    weak = staged(tmp_path)
    record = SlotRecord(CAM, weak, committed=weak)
    told = f"{ON_CPU.name}, the only one that proved itself, 0.1 ms"
    assert chosen(record, status(weak.pointer), None) == told
    assert chosen(record, None, weak.pointer) == told
    assert chosen(record, status(weak.pointer, "now"), None) == ""
    assert chosen(record, status(replace(POINTER, variant="other")), None) == "other"
    assert chosen(SlotRecord(CAM), None, None) == ""
    assert chosen(replace(record, slot=AGENT_SLOT), None, weak.pointer) == ""


def test_a_receipt_knows_what_the_endpoint_stands_in_for(tmp_path: Path) -> None:
    weak = staged(tmp_path)
    served = as_it_serves(weak, status(weak.pointer, "now"))
    assert served.choice is not None
    assert served.choice.degraded == "now"
    assert as_it_serves(weak, status(POINTER, "another's")) == weak
    assert as_it_serves(weak, None) == weak


def test_the_doctor_warns_of_a_slot_that_is_degraded() -> None:
    slot = SlotOverview("cam", State.COMMITTED, "demo/tiny@1", "demo/tiny@1", "", "", "", 0, 0)
    assert judge_slot(slot).level is Level.WELL
    found = judge_slot(replace(slot, degraded=WEAK))
    assert found.level is Level.WARNING
    assert WEAK in found.says


# The endpoint


class Starts:
    """Starts workers that need nothing; `broken` variants fail."""

    def __init__(self, *broken: str) -> None:
        self.broken, self.asked = broken, list[tuple[str, float]]()
        self.made: list[FakeWorker] = []

    async def __call__(self, name: str, load: Load) -> Worker:
        self.asked.append((load.pointer.variant, load.deadline_s))
        if load.pointer.variant in self.broken:
            raise LoadFailed(replace(NO_DRIVER, element=load.pointer.variant))
        self.made.append(FakeWorker(name, load.pointer, fake_deployment(variants=(ON_GPU, ON_CPU))))
        return self.made[-1]


def stand_in(starts: Starts, load: Load) -> Worker:
    read = StandIns(starts, lambda _: (DEPLOYMENT, ON_GPU))
    return asyncio.run(read("cam-1", load))


KEPT = Load(CAM, POINTER, 100.0, stand_in=True)


def test_what_was_kept_serves_on_the_cpu_when_its_accelerator_fails() -> None:
    starts = Starts(GPU)
    worker = stand_in(starts, KEPT)
    assert worker.pointer.variant == ON_CPU.name
    assert worker.degraded == WEAK
    half = KEPT.deadline_s * SHARE
    assert starts.asked == [(GPU, half), (ON_CPU.name, half)]


def test_an_accelerator_that_works_is_used() -> None:
    worker = stand_in(Starts(), KEPT)
    assert (worker.pointer, worker.degraded) == (POINTER, "")


def test_what_is_only_tried_fails_without_a_stand_in() -> None:
    with pytest.raises(LoadFailed):
        stand_in(Starts(GPU), replace(KEPT, stand_in=False))


def test_with_nothing_to_stand_in_the_first_reason_is_told() -> None:
    with pytest.raises(LoadFailed) as raised:
        stand_in(Starts(GPU, ON_CPU.name), KEPT)
    assert raised.value.failure.element == GPU


def test_a_slot_that_stands_in_keeps_its_pointer_and_describes_what_runs() -> None:
    async def scene() -> None:
        plane = Dataplane(StandIns(Starts(GPU), lambda _: (DEPLOYMENT, ON_GPU)))
        slot = plane.open(CAM)
        slot.begin(POINTER)
        await slot.settled()
        assert slot.status().active == POINTER
        assert slot.status().degraded == WEAK
        assert plane.describe(CAM, None).variant == ON_CPU
        await plane.close(0)

    asyncio.run(scene())


def test_a_card_that_is_lost_under_way_is_stood_in_for_by_the_next_worker() -> None:
    async def scene() -> None:
        starts = Starts()
        plane = Dataplane(StandIns(starts, lambda _: (DEPLOYMENT, ON_GPU)))
        slot = plane.open(CAM)
        slot.begin(POINTER)
        await slot.settled()
        assert slot.status().degraded == ""
        starts.broken = (GPU,)
        starts.made[0].alive = False
        answered = await slot.infer(None, inference())
        assert answered.pointer == POINTER
        assert slot.status().degraded == WEAK
        assert [each.pointer.variant for each in starts.made] == [GPU, ON_CPU.name]
        (counted,) = plane.statistics()
        assert f'sealane_model_degraded{{slot="{CAM}",version="1"}} 1' in exposition(
            (counted,), Names.SEALANE
        )
        await plane.close(0)

    asyncio.run(scene())
