"""Statistics of images and signals are numbers of one row each, in the tensor's own unit."""

import numpy as np
import pytest
from sealane.telemetry.names import (
    BRIGHTNESS,
    CONTRAST,
    CREST,
    RMS,
    SHARPNESS,
    STRIPES,
    column_of,
    statistic_of,
)
from sealane.telemetry.statistics import image_statistics, signal_statistics


def test_an_even_image_has_brightness_alone() -> None:
    found = image_statistics(np.full((2, 5, 4), 7, np.uint8))
    assert {name: values.tolist() for name, values in found.items()} == {
        BRIGHTNESS: [7.0, 7.0],
        CONTRAST: [0.0, 0.0],
        SHARPNESS: [0.0, 0.0],
        STRIPES: [0.0, 0.0],
    }


def test_colours_are_averaged() -> None:
    image = np.zeros((1, 4, 4, 3))
    image[..., 0] = 9.0
    assert image_statistics(image)[BRIGHTNESS].tolist() == [3.0]


def test_a_checkerboard_is_sharper_than_a_ramp() -> None:
    board = np.indices((8, 8)).sum(axis=0) % 2
    ramp = np.tile(np.linspace(0, 1, 8), (8, 1))
    sharp, soft = image_statistics(np.stack([board, ramp]))[SHARPNESS]
    assert sharp > 1.0
    assert soft < 1e-9


def test_a_stuck_column_is_a_stripe() -> None:
    image = np.zeros((1, 5, 5))
    image[:, :, 3] = 2.0
    assert image_statistics(image)[STRIPES].tolist() == [2.0]


@pytest.mark.parametrize("shape", [(0, 8, 8), (0, 8, 8, 3)])
def test_no_images_have_no_statistics(shape: tuple[int, ...]) -> None:
    assert all(not values.size for values in image_statistics(np.zeros(shape)).values())


def test_a_signal_has_power_and_a_crest() -> None:
    found = signal_statistics(np.array([[3.0, -3.0, 3.0, -3.0], [0.0, 0.0, 0.0, 4.0], [0.0] * 4]))
    assert found[RMS].tolist() == [3.0, 2.0, 0.0]
    assert found[CREST].tolist() == [1.0, 2.0, 0.0]


def test_names_of_inputs_are_made_in_one_place() -> None:
    assert statistic_of("image", BRIGHTNESS) == "image:brightness"
    assert column_of("features", 3) == "features[3]"
