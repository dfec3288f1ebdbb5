"""Charts: what is drawn of stored telemetry, with gaps where nothing came."""

from __future__ import annotations

from sealane.telemetry.histogram import record
from sealane_manager.dashboard.charts import FEWEST, MOST, RANGES, draw, range_of
from sealane_manager.store.telemetry.records import Bucket

NOW = 1_760_000_030
HOUR = RANGES[0]
MINUTE = NOW // 60 * 60


def bucket(minutes_ago: int, requests: int = 60, errors: int = 0) -> Bucket:
    latency = record([1000.0] * 90 + [5000.0] * 10)
    return Bucket(MINUTE - 60 * minutes_ago, 60, requests, errors, 0, 0, latency)


def test_a_line_has_a_value_for_each_moment_and_gaps_where_nothing_came() -> None:
    told = (bucket(70), bucket(3), bucket(1, errors=6))
    drawn = draw({("vision/defect@1", "active"): told}, HOUR, NOW)
    requests, errors, latency = drawn.charts
    assert len(requests.moments) == len(requests.lines[0].values) == 61
    assert requests.lines[0].values[-4:] == (60.0, None, 60.0, None)
    assert errors.lines[0].values[-2] == 10.0
    assert [line.dash for line in latency.lines] == ["solid", "dashed", "dotted"]
    assert [round(line.values[-2] or 0) for line in latency.lines] == [5, 1, 1]


def test_charts_of_a_young_fleet_begin_when_it_first_told_something() -> None:
    for minutes, moments in ((3, FEWEST), (30, 32), (59, 61)):
        drawn = draw({("vision/defect@1", "active"): (bucket(minutes),)}, HOUR, NOW)
        assert len(drawn.charts[0].moments) == moments


def test_the_table_has_no_row_for_a_moment_without_values() -> None:
    drawn = draw({("vision/defect@1", "active"): (bucket(3), bucket(1))}, HOUR, NOW)
    assert [at for at, _ in drawn.charts[0].rows] == [MINUTE - 180, MINUTE - 60]


def test_the_bucket_that_is_not_over_counts_by_the_part_that_is() -> None:
    chosen = range_of("6h")
    start = NOW // chosen.bucket * chosen.bucket
    half = Bucket(start, chosen.bucket, 120)
    drawn = draw({("vision/defect@1", "active"): (half,)}, chosen, start + 120)
    assert drawn.charts[0].lines[0].values[-1] == 60.0


def test_an_arm_is_named_where_a_release_answered_in_several() -> None:
    found = {
        ("vision/defect@1", "active"): (bucket(1),),
        ("vision/defect@2", "active"): (bucket(1),),
        ("vision/defect@2", "candidate"): (bucket(1),),
    }
    assert draw(found, HOUR, NOW).parts == (
        "vision/defect@1",
        "vision/defect@2 active",
        "vision/defect@2 candidate",
    )


def test_only_the_busiest_are_drawn_and_the_others_counted() -> None:
    found = {(f"vision/defect@{n}", "active"): (bucket(1, requests=n),) for n in range(1, 8)}
    drawn = draw(found, HOUR, NOW)
    assert len(drawn.parts) == MOST
    assert "vision/defect@7" in drawn.parts
    assert drawn.hidden == 3


def test_nothing_is_drawn_of_nothing_and_an_unknown_range_is_the_usual_one() -> None:
    assert draw({}, range_of("for ever"), NOW).charts == ()
    assert range_of("for ever") is HOUR
