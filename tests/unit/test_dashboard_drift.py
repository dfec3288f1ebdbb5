"""Data & drift: what is compared with what, and the pages that show it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from sealane.names import DeviceId
from sealane.telemetry.bins import Bins
from sealane.telemetry.types import Predictions, Window
from sealane_manager.drift.picture import (
    CLASSES,
    CONFIDENCE,
    Against,
    beside,
    features,
    labels,
    without,
)
from support.dashboard import a_dashboard
from support.recorded import arrived
from support.rollouts import NEW
from support.stores import enrol, start
from support.telemetry import plain_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.dashboard import Dashboard

DAY = 86_400
BRIGHT, DARK = Bins((10, 20, 300)), Bins((300, 20, 10))


def test_inputs_and_predictions_are_compared_alike() -> None:
    answers = Predictions(classes=(7, 3), other_classes=1, confidence=Bins((0, 11)))
    found = features(plain_model(11, inputs={"x": BRIGHT, "never": Bins()}, predictions=answers))
    assert found == {"x": BRIGHT, CLASSES: Bins((1, 7, 3)), CONFIDENCE: Bins((0, 11))}
    assert features(None) == {}


def test_a_baseline_of_nothing_is_left_out() -> None:
    baselines = {Against.REFERENCE: {"x": DARK}, Against.PAST: {"x": Bins()}, Against.PEERS: {}}
    (found,) = beside({"x": BRIGHT}, baselines)
    assert [each.against for each in found.compared] == [Against.REFERENCE]
    compared = found.of("reference")
    assert compared
    assert compared.difference.js > 0.5
    assert found.of("past") is None


def test_peers_are_everyone_without_oneself_and_never_below_nothing() -> None:
    everyone, own = {"x": Bins((5, 5), 1), "y": Bins((1,))}, {"x": Bins((2, 9))}
    assert without(everyone, own) == {"x": Bins((3, 0), 1), "y": Bins((1,))}


def test_bins_are_named_by_what_they_hold() -> None:
    assert labels("x", 3, (0.5, 2)) == ("below 0.5", "0.5 to 2", "from 2")
    assert labels("x", 3, ()) == ("bin 1", "bin 2", "bin 3")
    assert labels(CLASSES, 3, ()) == ("other classes", "class 0", "class 1")
    assert labels(CONFIDENCE, 20, ())[-1] == "from 0.95"


class Told:
    """References that a test makes up."""

    def of(self, release: str) -> Mapping[str, Bins]:
        return {"x": BRIGHT} if release == str(NEW) else {}

    def edges(self, release: str) -> Mapping[str, tuple[float, ...]]:
        return {"x": (0.5, 2.0)} if release == str(NEW) else {}


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    """Two devices: edge-1 was bright yesterday and is dark today, edge-2 is bright."""
    with a_dashboard(Told()) as dashboard:
        enrol(dashboard.store, "edge-1", "edge-2", site="berlin")
        start(dashboard.store)
        now = int(dashboard.clock.now().timestamp())
        counted = (
            (now - DAY, "edge-1", BRIGHT),
            *((now - 600 + 60 * m, "edge-1", DARK) for m in range(9)),
        )
        for number, (at, device, bins) in enumerate((*counted, (now - 120, "edge-2", BRIGHT)), 1):
            model = replace(plain_model(330), release=str(NEW), inputs={"x": bins})
            sequence = number if device == "edge-1" else 1
            batch = arrived(sequence, Window(at, 60, (model,)), device=DeviceId(device))
            dashboard.store.telemetry.put(batch).result(10)
        yield dashboard


def detail(**asked: str) -> str:
    return f"/drift/input?{urlencode({'release': str(NEW), 'slot': 'cam', 'input': 'x', **asked})}"


def test_the_page_names_releases_inputs_and_the_devices_that_drift(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    assert "No input is watched yet" in browser.text("/drift")
    for minutes in range(5):
        moment = dashboard.clock.now()
        dashboard.offices.drifting.look(moment)
        now = int(moment.timestamp())
        model = replace(plain_model(330), release=str(NEW), inputs={"x": DARK})
        batch = arrived(11 + minutes, Window(now, 60, (model,)), device=DeviceId("edge-1"))
        dashboard.store.telemetry.put(batch).result(10)
        dashboard.clock.advance(timedelta(minutes=1))
    text = browser.text("/drift")
    assert "vision/defect@2" in text
    assert "1 device input drift" in text
    assert text.index('href="/devices/edge-1"') < text.index('href="/devices/edge-2"')
    assert "edge-2" not in browser.text("/drift?device=edge-1").partition("<main")[2]


def test_the_histogram_of_a_device_stands_beside_all_three_baselines(dashboard: Dashboard) -> None:
    text = dashboard.browser("ada").text(detail(device="edge-1"))
    for title in ("The producer&#39;s reference", "the days before", "Other devices, now"):
        assert title in text or title.replace("&#39;", "'") in text
    assert "below 0.5" in text
    assert text.count('class="histogram"') == 3


def test_a_distance_is_red_only_when_its_whole_interval_is_far(dashboard: Dashboard) -> None:
    enrol(dashboard.store, "edge-3", site="berlin")
    now = int(dashboard.clock.now().timestamp())
    model = replace(plain_model(3), release=str(NEW), inputs={"x": Bins((2, 0, 1))})
    batch = arrived(1, Window(now - 120, 60, (model,)), device=DeviceId("edge-3"))
    dashboard.store.telemetry.put(batch).result(10)
    browser = dashboard.browser("ada")
    few, many = (browser.text(detail(device=name)) for name in ("edge-3", "edge-1"))
    assert 'rect class="unsure"' in few
    assert 'rect class="bad"' not in few
    assert 'rect class="bad"' in many


def test_the_histogram_of_all_devices_has_no_peers(dashboard: Dashboard) -> None:
    text = dashboard.browser("ada").text(detail())
    assert "on all devices" in text
    assert "Other devices, now" not in text


def test_what_was_not_counted_is_not_found(dashboard: Dashboard) -> None:
    browser = dashboard.browser("ada")
    assert browser.get(detail(input="y")).status_code == 404
    assert browser.get(detail(device="edge-9")).status_code == 404
    assert browser.get(detail(device="<script>")).status_code == 400
