"""What Prometheus scrapes: names as documented, cumulative buckets, and the devices' own grid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sealane.telemetry import names
from sealane.telemetry.bins import Bins
from sealane.telemetry.histogram import Histogram, record
from sealane.telemetry.types import ErrorKind, Predictions
from sealane_manager.metrics import native
from sealane_manager.metrics.exposition import cumulative, text
from sealane_manager.metrics.families import TIMES, Grid, Snapshot, families
from sealane_manager.store.telemetry.records import Cohort
from support.telemetry import plain_model

ROOT = Path(__file__).parents[2]
COHORT = Cohort("vision/defect@7", "cam", "active")


def page(snapshot: Snapshot | None = None) -> str:
    return text(families(snapshot or everything()))


def everything() -> Snapshot:
    model = plain_model(
        100,
        errors={ErrorKind.FAILED: 3, ErrorKind.HUNG: 1},
        fallbacks=2,
        predictions=Predictions((60, 36), 4, Bins((0,) * 18 + (40, 60)), 10, 1),
        inputs={'odd "name"\\': Bins((1, 2), 3, 4)},
    )
    return Snapshot(
        fleet="demo",
        version="1.2",
        cohorts={COHORT: model},
        devices={"online": 9, "offline": 1},
        rollouts={"running": 1},
        alerts={("silent", "warning"): 2},
    )


def test_counters_carry_their_cohort_and_no_device() -> None:
    cohort = 'arm="active",model="vision/defect",release="vision/defect@7",slot="cam"'

    assert f"{names.REQUESTS}{{{cohort}}} 100\n" in page()
    assert f'{names.ERRORS}{{{cohort},kind="failed"}} 3\n' in page()
    assert f'{names.PREDICTIONS}{{{cohort},class="other"}} 4\n' in page()
    assert "device=" not in page()


def test_the_fleet_is_in_numbers() -> None:
    assert f'{names.INFO}{{fleet="demo",version="1.2"}} 1\n' in page()
    assert f'{names.DEVICES}{{status="online"}} 9\n' in page()
    assert f'{names.ALERTS}{{rule="silent",severity="warning"}} 2\n' in page()


def test_odd_names_are_escaped() -> None:
    assert r'input="odd \"name\"\\"' in page()


def test_buckets_are_cumulative_and_end_with_everything() -> None:
    values = record([0.0, 10.0, 100.0, 1000.0, 1e6, 1e12])

    found = cumulative(values, TIMES)

    counts = [count for _, count in found]
    assert counts == sorted(counts)
    assert found[0] == (16.0, 2)
    assert dict(found)[1024.0] == 4
    assert found[-1] == (float("inf"), 6)
    assert len(found) == (26 - 4) * 4 + 2


@pytest.mark.parametrize("scale", [-2, 0, 2, 4, 8])
def test_buckets_are_exact_where_the_grids_share_a_bound(scale: int) -> None:
    values = record([float(value) for value in range(1, 200)], scale)

    for limit, count in cumulative(values, Grid(0, 0, 4))[:-1]:
        if scale >= 0:
            assert count == limit
        else:
            assert count <= limit


def test_bounds_stay_the_same_whatever_was_counted() -> None:
    few = [limit for limit, _ in cumulative(Histogram(), TIMES)]
    many = [limit for limit, _ in cumulative(record([1.0, 1e9]), TIMES)]
    assert few == many


def test_confidence_has_bins_from_0_to_1() -> None:
    lines = [line for line in page().splitlines() if line.startswith(names.CONFIDENCE)]

    assert [line.partition(" ")[2] for line in lines[-4:]] == ["40", "100", "95.5", "100"]
    assert 'le="0.95"' in lines[-4]


def test_a_family_without_samples_is_left_out() -> None:
    assert page(Snapshot("demo", "1")).count("# TYPE") == 1


def test_a_scraper_is_given_protocol_buffers_when_it_asks_for_them() -> None:
    prometheus = (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
        "encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.75,*/*;q=0.1"
    )
    assert native.wanted(prometheus)
    assert not native.wanted("text/plain;version=0.0.4")
    assert not native.wanted("")


def test_a_native_histogram_has_the_devices_own_buckets() -> None:
    family = next(f for f in families(everything()) if f.name == names.LATENCY)
    values = plain_model(100).timings.latency

    content = native.encoded([family])

    assert names.LATENCY.encode() in content
    span = bytes([0x08, *varint((values.offset + 1) * 2), 0x10, 1])
    assert bytes([0x62, len(span)]) + span in content
    assert content.endswith(bytes([0x6A, 2, *varint(200)]))


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def documented() -> dict[str, str]:
    table = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(sealane_\w+)` \| (\w+)", table, re.MULTILINE))


def test_every_name_is_documented_and_every_documented_name_exists() -> None:
    constants = {
        value
        for value in vars(names).values()
        if isinstance(value, str) and value.startswith("sealane_")
    }
    assert set(documented()) == constants


def test_what_is_exported_is_what_is_documented() -> None:
    kinds = {"counter": "counter", "histogram": "histogram", "gauge": "gauge"}
    special = {names.CONFIDENCE: "histogram", names.INPUT: "counter"}
    for family in families(everything()):
        expected = special.get(family.name) or kinds[documented()[family.name]]
        assert family.kind == expected
