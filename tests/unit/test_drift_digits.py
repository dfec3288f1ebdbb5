"""A failing camera on real digits: the alarm names what failed, and silence means nothing did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sealane.telemetry.bins import count_values
from sealane.telemetry.names import BRIGHTNESS, CONTRAST, SHARPNESS, STRIPES
from sealane.telemetry.statistics import image_statistics
from sealane_manager.drift.baselines import reference_bins
from sealane_manager.drift.detector import Baseline, Policy, Watch, observe, run_length
from sklearn.datasets import load_digits
from support.drift import reference

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Images = npt.NDArray[Any]

REQUESTS = 60
"""A minute's."""

DIGITS = load_digits().images
TRAINED_ON, SEEN = DIGITS[:900], DIGITS[900:]
REFERENCES = {
    name: reference(name, values) for name, values in image_statistics(TRAINED_ON).items()
}
POLICY = Policy(run_length=run_length(30, 60, len(REFERENCES)))


def first_alarms(camera: Callable[[Images], Images], minutes: int, seed: int) -> dict[str, int]:
    """For each statistic that alarmed, after how many minutes."""
    dice = np.random.default_rng(seed)
    baselines = {
        name: Baseline.of(reference_bins(found), POLICY) for name, found in REFERENCES.items()
    }
    watches = dict.fromkeys(REFERENCES, Watch())
    alarms: dict[str, int] = {}
    for minute in range(1, minutes + 1):
        images = camera(SEEN[dice.integers(0, len(SEEN), REQUESTS)])
        for name, values in image_statistics(images).items():
            window = count_values(REFERENCES[name].edges, values.tolist())
            watches[name] = observe(watches[name], window, baselines[name], POLICY)
            if watches[name].alarm:
                alarms.setdefault(name, minute)
    return alarms


def blurred(images: Images) -> Images:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    parts = [padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    mean: Images = np.mean(parts, axis=0)
    return mean


def darkened(images: Images) -> Images:
    return images * 0.6


def with_a_stuck_row(images: Images) -> Images:
    stuck = images.copy()
    stuck[:, 3, :] = 16
    return stuck


@pytest.mark.parametrize(
    ("camera", "telltale"),
    [(blurred, SHARPNESS), (darkened, BRIGHTNESS), (with_a_stuck_row, STRIPES)],
)
def test_a_failing_camera_is_named_within_minutes(
    camera: Callable[[Images], Images], telltale: str
) -> None:
    alarms = first_alarms(camera, 10, seed=1)
    assert alarms[telltale] <= 8
    assert min(alarms.values()) <= 6


def test_blur_does_not_accuse_the_light() -> None:
    assert BRIGHTNESS not in first_alarms(blurred, 30, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_a_sound_camera_keeps_silent_for_two_thousand_windows(seed: int) -> None:
    assert first_alarms(lambda images: images, 2000, seed) == {}


def test_the_statistics_say_what_they_are_called() -> None:
    plain = np.zeros((1, 6, 6))
    plain[0, 2, :] = 12.0
    found = {name: float(values[0]) for name, values in image_statistics(plain).items()}
    assert found[BRIGHTNESS] == 2.0
    assert found[CONTRAST] == pytest.approx(np.sqrt(20))
    assert found[STRIPES] == 12.0
    assert found[SHARPNESS] > 0
