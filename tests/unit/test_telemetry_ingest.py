"""What the manager keeps of telemetry: each batch once, whatever comes twice, late or damaged."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sealane.errors import TelemetryError
from sealane.names import DeviceId
from sealane.telemetry.bins import Bins
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.decoding import LARGEST_COUNT
from sealane.telemetry.types import Arm, ErrorKind, HostWindow, Level, Window
from sealane_manager.errors import Refused
from sealane_manager.store.telemetry import open_telemetry
from sealane_manager.store.telemetry.records import CohortFilter, Span
from sealane_manager.store.telemetry.seen import BOOTS_KEPT
from support.recorded import BOX, Known, a_telemetry, arrived, put
from support.telemetry import START, plain_model, plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.store.telemetry import Telemetry

ALWAYS = Span(START - 86_400, START + 86_400)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with a_telemetry(Known({"box-1": "berlin", "box-2": "paris"}, {"evil/one@1"})) as opened:
        yield opened


def requests(telemetry: Telemetry, wanted: CohortFilter | None = None) -> int:
    return telemetry.readings.totals(ALWAYS, wanted or CohortFilter()).requests


def test_a_stored_batch_is_acknowledged_and_read_back(telemetry: Telemetry) -> None:
    window = plain_window(100)

    assert put(telemetry, arrived(1, window)) == [1]

    assert telemetry.readings.device_windows(BOX, ALWAYS) == (window,)
    found = telemetry.readings.totals(ALWAYS)
    assert (found.requests, found.errors, found.late) == (100, 0, 0)
    assert found.p50 == pytest.approx(1000, rel=0.03)


def test_windows_that_a_device_lost_are_added_up_and_dated(telemetry: Telemetry) -> None:
    for number, lost in enumerate((2, 0, 3), 1):
        window = replace(plain_window(1, number), host=HostWindow(lost=lost))
        put(telemetry, arrived(number, window))
    heard = START + 60 * 4
    assert telemetry.readings.losses(heard) == {BOX: 5}
    assert telemetry.readings.losses(heard + 1) == {}


def test_counts_of_a_machine_that_add_up_to_nonsense_leave_its_row_readable(
    telemetry: Telemetry,
) -> None:
    for number in (1, 2):
        window = replace(plain_window(1), host=HostWindow(lost=LARGEST_COUNT, restarts=1))
        put(telemetry, arrived(number, window))
    (window,) = telemetry.readings.device_windows(BOX, ALWAYS)
    assert window.host == HostWindow(lost=LARGEST_COUNT, restarts=1)


def test_a_batch_that_comes_again_is_acknowledged_and_not_counted(telemetry: Telemetry) -> None:
    batch = arrived(1, plain_window(100))

    assert put(telemetry, batch, batch, replace(batch, first=True)) == [1, 1, 1]
    assert requests(telemetry) == 100


def test_a_batch_beyond_a_gap_waits_on_its_device(telemetry: Telemetry) -> None:
    first, second, third = (arrived(n, plain_window(10, n)) for n in (1, 2, 3))

    assert put(telemetry, first, third, second, third) == [1, 1, 2, 3]
    assert requests(telemetry) == 30


def test_the_first_batch_of_a_session_is_the_oldest_that_the_device_keeps(
    telemetry: Telemetry,
) -> None:
    lost = arrived(501, plain_window(10))

    assert put(telemetry, lost) == [0]
    assert put(telemetry, replace(lost, first=True)) == [501]
    assert requests(telemetry) == 10


def test_a_truncated_batch_is_acknowledged_counted_and_harms_nothing(telemetry: Telemetry) -> None:
    good, other = arrived(1, plain_window(10)), arrived(3, plain_window(5, 1))
    cut = replace(arrived(2, plain_window(99)), body=good.body[:-3])

    assert put(telemetry, good, cut, other) == [1, 2, 3]

    assert requests(telemetry) == 15
    (refused,) = telemetry.readings.refusals(0)
    assert (refused.device, refused.count) == ("box-1", 1)
    assert "damaged" in refused.reason


@pytest.mark.parametrize("start", [START - 500 * 86_400, START + 7 * 86_400])
def test_a_window_that_is_too_old_or_not_yet_is_left_out(telemetry: Telemetry, start: int) -> None:
    odd = replace(plain_window(99), start=start)
    batch = replace(arrived(1, plain_window(10), odd), received=START + 60)

    assert put(telemetry, batch) == [1]
    assert requests(telemetry) == 10
    assert telemetry.readings.refusals(0)[0].count == 1


def test_batches_of_one_group_are_told_apart() -> None:
    with a_telemetry(linger_s=0.2) as telemetry:
        batch = arrived(1, plain_window(10))
        answers = [telemetry.put(each) for each in (batch, batch, arrived(2, plain_window(5)))]

        assert [answer.result(10).sequence for answer in answers] == [1, 1, 2]
        assert requests(telemetry) == 15


def test_a_batch_whose_sender_waits_no_more_is_stored_and_stops_nothing() -> None:
    with a_telemetry(linger_s=0.2) as telemetry:
        answers = [telemetry.put(arrived(number, plain_window(10))) for number in (1, 2)]
        called = telemetry._writer.call(lambda _: None)
        for given_up in (answers[0], called):
            given_up.cancel()

        assert answers[1].result(10).sequence == 2
        assert put(telemetry, arrived(3, plain_window(5))) == [3]
        assert requests(telemetry) == 25


def test_windows_of_the_same_minute_are_merged(telemetry: Telemetry) -> None:
    put(telemetry, arrived(1, plain_window(10)), arrived(2, plain_window(5)))

    (window,) = telemetry.readings.device_windows(BOX, ALWAYS)
    assert window.models[0].requests == 15
    assert telemetry.readings.latest()[BOX].requests == 5


def test_cohorts_are_of_the_fleet_and_of_a_site(telemetry: Telemetry) -> None:
    put(telemetry, arrived(1, plain_window(10)))
    put(telemetry, arrived(1, plain_window(7), device=DeviceId("box-2")))
    put(telemetry, arrived(1, plain_window(5), device=DeviceId("nowhere")))

    assert requests(telemetry) == 22
    assert requests(telemetry, CohortFilter(site="berlin")) == 10
    assert requests(telemetry, CohortFilter(site="paris", model="vision/defect")) == 7
    assert requests(telemetry, CohortFilter(release="vision/defect@8")) == 0


def test_a_release_that_nobody_gave_to_devices_makes_no_cohort(telemetry: Telemetry) -> None:
    evil = replace(plain_model(99), release="evil/one@1")
    window = Window(START, 60, (evil, plain_model(10)))

    put(telemetry, arrived(1, window))

    assert [each.release for each in telemetry.readings.cohorts(0)] == ["vision/defect@7"]
    assert telemetry.readings.device_windows(BOX, ALWAYS) == (window,)


def test_what_previous_and_shadow_answer_is_not_counted_as_a_request(telemetry: Telemetry) -> None:
    failing = plain_model(100, errors={ErrorKind.CRASHED: 9}, fallbacks=7)
    helper = replace(plain_model(7), arm=Arm.PREVIOUS, release="vision/defect@6")
    copies = replace(plain_model(50), arm=Arm.SHADOW, release="vision/defect@8")

    put(telemetry, arrived(1, Window(START, 60, (failing, helper, copies))))

    found = telemetry.readings.totals(ALWAYS)
    assert (found.requests, found.errors, found.fallbacks, found.unanswered) == (100, 9, 7, 2)
    assert requests(telemetry, CohortFilter(arm=Arm.SHADOW)) == 50
    assert {release for release, _ in telemetry.readings.by_arm(CohortFilter(), ALWAYS)} == {
        "vision/defect@7"
    }


def test_late_windows_are_marked(telemetry: Telemetry) -> None:
    late = replace(arrived(1, plain_window(10)), received=START + 3600)

    put(telemetry, late, arrived(2, plain_window(5, 1)))

    found = telemetry.readings.totals(ALWAYS)
    assert (found.requests, found.late) == (15, 10)


def test_a_series_has_one_bucket_for_its_time(telemetry: Telemetry) -> None:
    minutes = [plain_window(10 + minute, minute) for minute in range(4)]
    put(telemetry, arrived(1, *minutes))

    start = START // 120 * 120
    series = telemetry.readings.series(CohortFilter(), Span(start, start + 600, 120))
    assert sum(each.requests for each in series) == 46
    assert [each.start % 120 for each in series] == [0] * len(series)
    assert telemetry.readings.device_series(BOX, Span(start, start + 600, 120)) == series


def test_each_release_and_arm_has_a_series_of_its_own(telemetry: Telemetry) -> None:
    split = Window(START, 60, (plain_model(6), replace(plain_model(4), arm=Arm.CANDIDATE)))
    put(telemetry, arrived(1, split), arrived(2, plain_window(5, 10)))

    span = Span(START // 60 * 60, START + 3600)
    found = telemetry.readings.by_arm(CohortFilter(model="vision/defect"), span)
    counts = {arm: [each.requests for each in found["vision/defect@7", arm]] for _, arm in found}
    assert counts == {"active": [6, 5], "candidate": [4]}
    assert telemetry.readings.device_by_arm(BOX, span) == found
    assert telemetry.readings.by_arm(CohortFilter(site="nowhere"), span) == {}


def test_the_latest_window_of_a_device_is_in_numbers(telemetry: Telemetry) -> None:
    host = HostWindow(cpu=Level.of(350), disk=Level.of(905), clock_offset=Level.of(-31_000))
    window = replace(plain_window(10, 5), host=host)
    put(telemetry, arrived(1, window), arrived(2, plain_window(99)))

    latest = telemetry.readings.latest([BOX, "other"])[BOX]
    assert (latest.start, latest.requests) == (window.start, 10)
    assert (latest.cpu, latest.disk, latest.clock_offset) == (0.35, 0.905, -31.0)
    assert latest.temperature is None
    assert latest.p99 == pytest.approx(1000, rel=0.03)


def test_inputs_of_a_device_stand_beside_those_of_its_peers(telemetry: Telemetry) -> None:
    mine = Window(START, 60, (plain_model(3, inputs={"x": Bins((3, 0), 1)}),))
    theirs = Window(START, 60, (plain_model(9, inputs={"x": Bins((4, 5), 0, 2)}),))
    put(telemetry, arrived(1, mine), arrived(1, theirs, device=DeviceId("box-2")))

    (found,) = telemetry.readings.inputs(BOX, CohortFilter(model="vision/defect"), ALWAYS)

    assert found.name == "x"
    assert (found.device, found.peers) == (Bins((3, 0), 1), Bins((4, 5), 0, 2))


def test_a_device_with_absurd_numbers_does_not_spoil_those_of_others(telemetry: Telemetry) -> None:
    absurd = Window(START, 60, (plain_model(1, inputs={"x": Bins((LARGEST_COUNT,))}),))
    honest = Window(START, 60, (plain_model(5, inputs={"x": Bins((5,))}),))
    put(telemetry, arrived(1, honest), arrived(1, absurd, device=DeviceId("box-2")))
    put(telemetry, arrived(2, honest))

    found = telemetry.readings.cohort(CohortFilter(), ALWAYS)
    assert found is not None
    assert found.inputs["x"] == Bins((10,))


def test_counters_grow_with_what_is_stored(telemetry: Telemetry) -> None:
    put(telemetry, arrived(1, plain_window(10)), arrived(2, plain_window(5, 1)))

    ((cohort, model),) = telemetry.counters().items()
    assert (cohort.release, cohort.site) == ("vision/defect@7", "")
    assert model.requests == model.timings.latency.count == 15


def test_many_boots_of_one_device_are_forgotten(telemetry: Telemetry) -> None:
    for boot in range(BOOTS_KEPT + 5):
        batch = replace(
            arrived(1, plain_window(1)), boot=f"boot-{boot}", received=START + 60 + boot
        )
        put(telemetry, batch)

    count = telemetry._writer.call(
        lambda c: c.execute("SELECT count(*) FROM batch_seen").fetchone()[0]
    ).result(10)
    assert count == BOOTS_KEPT


@pytest.mark.parametrize("change", [{"boot": ""}, {"boot": "b" * 129}, {"sequence": 0}])
def test_a_batch_without_a_name_is_refused(telemetry: Telemetry, change: dict[str, Any]) -> None:
    with pytest.raises(TelemetryError, match="needs a boot and a sequence"):
        telemetry.put(replace(arrived(1, plain_window()), **change))


def test_an_empty_batch_is_acknowledged(telemetry: Telemetry) -> None:
    assert put(telemetry, replace(arrived(1), body=encode_windows([]))) == [1]
    assert telemetry.readings.totals(ALWAYS).requests == 0
    assert telemetry.readings.volume().windows == 0


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    opened = open_telemetry(path, Known())
    put(opened, arrived(1, plain_window(10)))
    opened.close()

    again = open_telemetry(path, Known())
    assert put(again, arrived(1, plain_window(10)), arrived(2, plain_window(5, 1))) == [1, 2]
    assert again.readings.totals(ALWAYS).requests == 15
    again.close()
    with pytest.raises(Refused, match="stops"):
        again.put(arrived(3, plain_window()))


def test_a_batch_that_could_not_be_written_is_answered_with_the_reason() -> None:
    with a_telemetry() as telemetry:
        telemetry._writer.call(lambda c: c.execute("PRAGMA query_only=ON")).result(10)

        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            telemetry.put(arrived(1, plain_window())).result(10)


def test_a_file_of_a_newer_manager_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version=99")
    newer.close()

    with pytest.raises(Refused, match="newer manager"):
        open_telemetry(path, Known())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(Refused, match="cannot be brought up to date"):
        open_telemetry(path, Known())
