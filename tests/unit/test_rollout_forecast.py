"""What a rollout would do before it starts: for each device, each site, each stage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sealane.bundle.types import Deployment, Golden, Layer, Variant
from sealane.fleet import DeviceFacts, RuntimeFact
from sealane.names import DeviceId, Digest
from sealane.policy import ANY_TIME, Policy, Trial
from sealane.telemetry.types import ErrorKind
from sealane.windows import parse_window
from sealane_manager.cli.plan import by_site
from sealane_manager.gate.power import ASSUMED
from sealane_manager.rollout.forecast import (
    Conditions,
    Planned,
    carried,
    opened,
    times,
    unfrozen,
    waves,
)
from sealane_manager.rollout.habits import MINUTES, habits_of
from sealane_manager.rollout.prospect import NEVER_SEEN, Bundle, Load, Prospect, fate, load
from sealane_manager.rollout.tally import Past
from sealane_manager.rollout.terms import Freeze, Limit, Pace, Terms, Times
from sealane_manager.views import PlannedView
from support.rollouts import START, a_spec
from support.telemetry import plain_model

ORT = RuntimeFact("onnxruntime", "1.32.0", ("cpu",))
FACTS = DeviceFacts("x86_64", "linux", 4, 8_000, (ORT,), "")
BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = ((parse_window("daily 22:00-05:00"),),)
AROUND = Conditions(8, BERLIN, timedelta(seconds=30))


def a_digest(letter: str) -> Digest:
    return Digest("sha256:" + letter * 64)


def a_layer(path: str, letter: str, size: int) -> Layer:
    return Layer(path, "raw", a_digest(letter), size)


def a_variant(name: str, runtime: str = "onnxruntime") -> Variant:
    return Variant(name, runtime, "cpu", "fp32", f"{name}/model", (f"{name}/model",), {})


def a_bundle(*variants: Variant, **changes: object) -> Bundle:
    layers = (
        a_layer("deployment.json", "d", 100),
        *(a_layer(each.model, letter, 1000) for each, letter in zip(variants, "ab", strict=False)),
    )
    deployment = Deployment("m", (), (), variants, Golden(1, {}, {}))
    return replace(Bundle(layers, deployment), **changes)  # type: ignore[arg-type]  # as the test says


def planned(name: str, stage: int | None = 0, **changes: object) -> Planned:
    labels = changes.pop("labels", {})
    each = Planned(Prospect(DeviceId(name), "active", labels, FACTS), ANY_TIME, stage)  # type: ignore[arg-type]  # labels
    return replace(each, **changes)  # type: ignore[arg-type]  # as the test says


# A device


def test_a_device_measures_every_variant_that_it_can_run_and_needs_only_their_files() -> None:
    found = fate(a_bundle(a_variant("ort"), a_variant("ov", "openvino")), FACTS)
    assert found.variants == ("ort",)
    assert [layer.path for layer in found.layers] == ["deployment.json", "ort/model"]


def test_a_device_on_which_it_would_fail_is_told_apart_with_the_reason() -> None:
    none = fate(a_bundle(a_variant("ov", "openvino")), FACTS)
    small = fate(a_bundle(a_variant("ort"), requires=(("cpus", 8),)), FACTS)
    assert none.trouble == "no variant fits: ov: runtime openvino is not installed"
    assert small.trouble == "requires cpus 8, the device has 4"
    assert fate(a_bundle(), None).trouble == NEVER_SEEN


def test_files_that_are_there_do_not_travel_and_patches_count_when_they_are_known() -> None:
    will = fate(a_bundle(a_variant("ort")), FACTS)
    patches = {(a_digest("e"), a_digest("a")): 40}
    before = (a_layer("deployment.json", "d", 100), a_layer("ort/model", "e", 900))
    known = load(will, before, lambda base, blob: patches.get((base, blob)))
    assert known == Load(1000, 40)
    assert load(will, before, lambda *_: None) == Load(1000, 1000)
    assert load(will, before, lambda *_: 0) == Load(1000, 1000)
    assert load(will, will.layers, lambda *_: None) == Load(0, 0)


@pytest.mark.parametrize(
    ("text", "kbit"), [("800", 800), ("", None), ("0", None), ("fast", None), ("٣", None)]
)
def test_the_speed_of_a_line_is_a_label(text: str, kbit: int | None) -> None:
    assert Prospect(DeviceId("d"), "active", {"link-kbit": text}, None).link_kbit == kbit


# Times


def test_devices_of_a_site_share_its_line_and_others_have_their_own() -> None:
    spec = a_spec("100%", soak=timedelta(minutes=10))
    one = Load(1000, 1000)  # a second, at 8 kbit/s
    site = [planned(f"d{n}", load=one, labels={"site": "berlin"}) for n in range(5)]
    alone = [planned(f"e{n}", load=one) for n in range(50)]
    (stage,) = times(spec, [*site, *alone], AROUND, START)
    assert stage.serves == START + timedelta(seconds=5 + 30)
    assert stage.ends == stage.serves + timedelta(minutes=10)


def test_a_stage_begins_when_the_one_before_it_is_over() -> None:
    spec = a_spec("1", "100%", soak=timedelta(minutes=10))
    first, second = times(spec, [planned("d1"), planned("d2", 1)], AROUND, START)
    assert second.begins == first.ends == START + timedelta(seconds=30, minutes=10)


def test_a_window_of_the_night_is_waited_for_on_the_clock_of_the_devices() -> None:
    policy = Policy(activation=NIGHTS)
    (stage,) = times(a_spec("100%"), [planned("d1", policy=policy)], AROUND, START)
    assert stage.serves == datetime(2026, 3, 1, 21, 0, 30, tzinfo=UTC)  # 22:00 in Berlin


def test_a_long_download_goes_on_in_the_next_night() -> None:
    done = carried(NIGHTS, timedelta(hours=9), START, BERLIN)
    assert done == datetime(2026, 3, 2, 23, 0, tzinfo=UTC)  # 7 h, and 2 h of the second night
    assert carried(((),), timedelta(hours=1), START, BERLIN) is None
    assert carried((), timedelta(hours=9), START, BERLIN) == START + timedelta(hours=9)


def test_windows_that_are_never_open_together_never_open() -> None:
    days = ((parse_window("daily 08:00-09:00"),), (parse_window("daily 10:00-11:00"),))
    assert opened(days, START, BERLIN) is None
    (stage,) = times(a_spec("100%"), [planned("d1", policy=Policy(activation=days))], AROUND, START)
    assert (stage.serves, stage.ends) == (None, None)


def test_frozen_days_are_jumped_over_also_when_they_follow_one_another() -> None:
    first = Freeze(START.date(), START.date())
    second = Freeze(date(2026, 3, 2), date(2026, 3, 5))
    assert unfrozen((first, second), START) == datetime(2026, 3, 6, tzinfo=UTC)
    spec = a_spec("100%", terms=Terms(times=Times(freezes=(first,))))
    assert times(spec, [planned("d1")], AROUND, START)[0].begins.day == 2


@pytest.mark.parametrize(
    ("pace", "rounds"),
    [
        (Pace(), 1),
        (Pace(at_once=3), 4),
        (Pace(limits=(Limit("site", 2),)), 3),
        (Pace(ramp=1), 4),
        (Pace(at_once=10, ramp=5), 2),
    ],
)
def test_what_limits_devices_at_once_makes_rounds(pace: Pace, rounds: int) -> None:
    labels = ({"site": "berlin"}, {"site": "paris"})
    members = [planned(f"d{n}", labels=labels[n % 2]) for n in range(10)]
    assert waves(a_spec("100%", terms=Terms(pace)), members) == rounds


def test_a_trial_lengthens_the_probation_of_each_round() -> None:
    spec = a_spec("100%", terms=Terms(Pace(at_once=1), trial=Trial(0.5, 600)))
    (stage,) = times(spec, [planned("d1"), planned("d2")], AROUND, START)
    assert stage.serves == START + timedelta(minutes=20)


def test_sites_are_listed_with_the_most_bytes_first() -> None:
    def view(name: str, site: str, size: int, stage: int | None = 0) -> PlannedView:
        return PlannedView(DeviceId(name), site, stage, (), "", fails=False, load=Load(size, size))

    found = by_site(
        [view("a", "x", 1), view("b", "y", 5), view("c", "x", 2), view("d", "x", 99, None)]
    )
    assert found == {"y": (1, Load(5, 5)), "x": (2, Load(3, 3))}


# Habits


def test_a_device_of_which_nothing_is_known_does_what_another_does() -> None:
    busy = Past(plain_model(MINUTES * 60, errors={ErrorKind.FAILED: 100}))
    habits, known = habits_of([Past(), busy], 1)
    assert known == 1
    assert habits[0] == habits[1]
    assert habits[0].per_minute == 60
    assert habits_of([Past(), Past()], 1) == ((ASSUMED, ASSUMED), 0)
