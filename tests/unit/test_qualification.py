from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.types import Measure, Objective
from sealane.failure import FailureKind
from sealane.fleet import DeviceFacts, RuntimeFact, Winner
from sealane.limits import MEASURED_US
from sealane_agent.facts import processor
from sealane_agent.slot.qualification import (
    LONGEST_US,
    Hardware,
    Qualified,
    decode,
    in_order,
    is_lasting,
    is_settled,
    key_of,
    told_of,
    why_again,
)
from sealane_agent.slot.state import Choice
from support.agent_fakes import failure, proved
from support.fake_workers import deployment

ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",))
FACTS = DeviceFacts("x86_64", "linux", 2, 2**32, (ORT,), "127.0.0.1:8000")
HARDWARE = Hardware("model: 143; flags: avx2 amx_tile", 2, "")
KNOWN = Qualified("key", "int8", 1000, (("gpu-fp16", "no driver"),))
TOLD = Winner("key", "sha256:1", "int8", 1000)
NAMES = ("fp32", "fp16", "int8")


def choice(variant: str, latency_us: int) -> Choice:
    return Choice(variant, "onnxruntime", "cpu", "fp32", proved("cam-1", latency_us))


@pytest.mark.parametrize(
    ("hardware", "facts"),
    [
        (replace(HARDWARE, processor="model: 142"), FACTS),
        (replace(HARDWARE, processors=4), FACTS),
        (replace(HARDWARE, drivers="nvidia 550"), FACTS),
        (HARDWARE, replace(FACTS, arch="aarch64")),
        (HARDWARE, replace(FACTS, runtimes=(replace(ORT, version="1.33.0"),))),
        (HARDWARE, replace(FACTS, runtimes=(replace(ORT, accelerators=("cpu", "gpu")),))),
        (HARDWARE, replace(FACTS, runtimes=(ORT, RuntimeFact("openvino", "2026.4", ("cpu",))))),
    ],
)
def test_another_engine_or_other_hardware_is_another_key(
    hardware: Hardware, facts: DeviceFacts
) -> None:
    assert key_of(hardware, facts) != key_of(HARDWARE, FACTS)


def test_what_an_agent_remembers_that_knew_no_objective_is_of_another_class() -> None:
    engines = [(ORT.name, ORT.version, list(ORT.accelerators))]
    parts = json.dumps([FACTS.arch, asdict(HARDWARE), engines], sort_keys=True)
    assert key_of(HARDWARE, FACTS) != sha256(parts.encode()).hexdigest()


def test_where_the_endpoint_listens_does_not_matter_nor_in_which_order_engines_are_found() -> None:
    two = (ORT, RuntimeFact("openvino", "2026.4", ("gpu", "cpu")))
    other = replace(FACTS, endpoint="", memory_bytes=1, runtimes=two)
    same = replace(FACTS, runtimes=(replace(two[1], accelerators=("cpu", "gpu")), ORT))
    assert key_of(HARDWARE, other) == key_of(HARDWARE, same)


def test_the_processor_is_known_by_model_and_flags_not_by_what_changes() -> None:
    text = "processor\t: {}\nmodel name\t: Xeon\nflags\t\t: avx2  fma\ncpu MHz\t\t: {}\n"
    one = text.format(0, 2100.0) + text.format(1, 2700.0)
    assert (
        processor(one) == processor(text.format(0, 800.0)) == "flags : avx2 fma; model name : Xeon"
    )
    assert processor("CPU part\t: 0xd0c\nBogoMIPS\t: 50\n") == "CPU part : 0xd0c"


def test_the_last_winner_is_measured_first_and_the_others_as_the_bundle_names_them() -> None:
    (only,) = deployment().variants
    chosen = tuple(replace(only, name=name) for name in ("fp32", "fp16", "int8"))
    assert [each.name for each in in_order(KNOWN, chosen)] == ["int8", "fp32", "fp16"]
    assert in_order(None, chosen) == chosen


@pytest.mark.parametrize(
    ("best", "settled"),
    [
        (choice("int8", 900), True),
        (choice("int8", 2000), True),
        (choice("int8", 2001), False),
        (choice("fp32", 900), False),
    ],
)
def test_a_winner_that_is_clearly_slower_than_it_was_is_compared_again(
    best: Choice, *, settled: bool
) -> None:
    assert is_settled(KNOWN, best, Objective()) is settled
    assert not is_settled(None, best, Objective())


def test_a_winner_that_misses_its_limit_is_compared_again() -> None:
    assert is_settled(KNOWN, choice("int8", 900), Objective(Measure.MEMORY, within_ms=0.9))
    assert not is_settled(KNOWN, choice("int8", 901), Objective(Measure.MEMORY, within_ms=0.9))


def test_it_says_who_found_the_winner_that_is_not_compared_again() -> None:
    now = proved("cam-1", 1234)
    assert why_again(KNOWN, now) == "it won here before: 1.23 ms"
    told = Qualified("", "int8", 1000)
    assert why_again(told, now) == "it won on a device of its class before: 1.23 ms"


def test_a_winner_of_microseconds_may_take_a_few_more() -> None:
    fast = replace(KNOWN, latency_us=5)
    assert is_settled(fast, choice("int8", 205), Objective())
    assert not is_settled(fast, choice("int8", 206), Objective())


def test_only_failures_that_would_come_again_are_remembered() -> None:
    again, now = failure(FailureKind.PERMANENT), failure(FailureKind.ENVIRONMENTAL)
    assert is_lasting([])
    assert is_lasting([again])
    assert not is_lasting([again, now])


@pytest.mark.parametrize("known", [KNOWN, Qualified("k", "fp32", 0)])
def test_it_reads_back_what_it_writes(known: Qualified) -> None:
    assert decode(json.loads(json.dumps(asdict(known)))) == known


def test_what_others_measured_holds_for_the_same_bundle_and_class() -> None:
    assert told_of([TOLD], "sha256:1", "key") == Qualified("", "int8", 1000)
    assert told_of([replace(TOLD, hardware="other"), TOLD], "sha256:1", "key") is not None
    assert told_of([TOLD], "sha256:2", "key") is None
    assert told_of([TOLD], "sha256:1", "other") is None
    assert told_of([], "sha256:1", "key") is None


@pytest.mark.parametrize("latency_us", [-1, 0, MEASURED_US + 1, 2**64 - 1])
def test_a_latency_that_cannot_be_is_not_believed(latency_us: int) -> None:
    assert told_of([replace(TOLD, latency_us=latency_us)], "sha256:1", "key") is None


@given(
    st.lists(
        st.builds(
            Winner,
            st.sampled_from(["key", "other", ""]),
            st.sampled_from(["sha256:1", "sha256:2"]),
            st.sampled_from([*NAMES, "unknown", ""]),
            st.integers(0, 2**64 - 1),
        ),
        max_size=5,
    )
)
def test_whatever_is_told_the_same_variants_are_measured_and_no_other(told: list[Winner]) -> None:
    (only,) = deployment().variants
    chosen = tuple(replace(only, name=name) for name in NAMES)
    known = told_of(told, "sha256:1", "key")
    order = [each.name for each in in_order(known, chosen)]
    assert sorted(order) == sorted(NAMES)
    assert order[1:] == [name for name in NAMES if name != order[0]]


@pytest.mark.parametrize("latency_us", [-1, 1.5, True, LONGEST_US + 1, 10**400, "1"])
def test_a_latency_that_was_never_measured_is_refused(latency_us: object) -> None:
    fields = asdict(KNOWN) | {"latency_us": latency_us}
    with pytest.raises(ValueError, match="an hour at most"):
        decode(fields)
