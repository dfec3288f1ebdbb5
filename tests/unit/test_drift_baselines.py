"""A device is compared with the producer's data, its own past and its peers; together they tell."""

from dataclasses import replace

import pytest
from sealane.bundle.types import ReferenceBins
from sealane.telemetry.bins import Bins
from sealane_manager.drift.baselines import (
    Cause,
    Dated,
    Differences,
    cause,
    differences,
    own_past,
    peers,
    reference_bins,
)
from sealane_manager.drift.distance import compare

NOW = 1_760_000_000
HOUR, DAY = 3600, 86_400
ONE = Bins((1,))


def test_the_producers_data_are_bins_as_a_device_counts_them() -> None:
    assert reference_bins(ReferenceBins("x", (0.0, 1.0), (0, 7, 0))) == Bins((0, 7, 0))


@pytest.mark.parametrize(
    ("ago", "counts"),
    [
        (0, False),
        (3 * HOUR, False),
        (DAY, True),
        (DAY - 2 * HOUR, True),
        (DAY + 2 * HOUR, True),
        (DAY + 12 * HOUR, False),
        (2 * DAY + HOUR, True),
        (7 * DAY, True),
        (7 * DAY + 3 * HOUR, False),
        (8 * DAY, False),
        (-DAY, False),
    ],
)
def test_a_devices_past_is_the_last_week_at_these_hours(*, ago: int, counts: bool) -> None:
    assert own_past([Dated(NOW - ago, ONE)], NOW) == (ONE if counts else Bins())


def test_a_devices_past_is_all_of_it_together() -> None:
    history = [Dated(NOW - day * DAY, Bins((day, 1))) for day in range(1, 8)]
    assert own_past(history, NOW) == Bins((28, 7))


def test_peers_are_all_devices_but_oneself() -> None:
    found = peers({"a": Bins((1, 2)), "b": Bins((10, 20), 1), "c": Bins((100, 0, 300), 0, 5)})
    assert found == {
        "a": Bins((110, 20, 300), 1, 5),
        "b": Bins((101, 2, 300), 0, 5),
        "c": Bins((11, 22, 0), 1, 0),
    }


def test_a_device_alone_has_no_peers() -> None:
    assert peers({"a": Bins((4, 4))}) == {"a": Bins((0, 0))}


NEAR = compare(Bins((500, 500)), Bins((500, 500)))
FAR = replace(NEAR, js=0.4)


@pytest.mark.parametrize(
    ("reference", "past", "others", "meaning"),
    [
        (NEAR, NEAR, NEAR, Cause.NONE),
        (FAR, NEAR, NEAR, Cause.REFERENCE),
        (FAR, FAR, FAR, Cause.DEVICE),
        (NEAR, FAR, FAR, Cause.DEVICE),
        (FAR, FAR, NEAR, Cause.WORLD),
        (FAR, NEAR, FAR, Cause.SITE),
    ],
)
def test_the_baselines_together_say_what_changed(
    reference: object, past: object, others: object, meaning: Cause
) -> None:
    assert cause(Differences(reference, past, others), 0.1) is meaning  # type: ignore[arg-type]  # the table holds differences


def test_a_broken_camera_is_told_from_a_changed_world() -> None:
    usual, dark = Bins((100, 400, 500)), Bins((900, 100, 0))
    broken = differences(dark, usual, usual, usual)
    winter = differences(dark, usual, usual, dark)
    assert cause(broken, 0.1) is Cause.DEVICE
    assert cause(winter, 0.1) is Cause.WORLD
