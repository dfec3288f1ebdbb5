"""Numbers that describe images and signals, one a row: drift of pixels is watched through them.

Pure, but with numpy: for the endpoint and for packing bundles, not for the supervisor. Each number
is of the unit of the tensor, so that the bins of a bundle's reference fit whatever its scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sealane.telemetry.names import BRIGHTNESS, CONTRAST, CREST, RMS, SHARPNESS, STRIPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    _Floats = npt.NDArray[np.float64]


LARGEST_IMAGE: Final = 65_536
"""Values of one image: a device describes images between two requests, larger ones not at all."""


def statistics(rows: npt.NDArray[Any]) -> Mapping[str, _Floats]:
    """The numbers that describe each row of an input; empty when it has no form that is known.

    Rows of four axes are images, with few channels first or last; of three, grey images; of two,
    signals.
    """
    if rows.ndim == _GREY_AXES + 1 and rows.shape[1] <= _CHANNELS < rows.shape[3]:
        rows = np.moveaxis(rows, 1, -1)
    if rows.ndim not in (_GREY_AXES, _GREY_AXES + 1):
        return signal_statistics(rows) if rows.ndim == _SIGNAL_AXES else {}
    small = rows[0].size <= LARGEST_IMAGE if len(rows) else False
    return image_statistics(rows) if small and min(rows.shape[1:3]) >= _LEAST_SIDE else {}


def image_statistics(images: npt.NDArray[Any]) -> Mapping[str, _Floats]:
    """Of images of shape (rows, height, width) or (rows, height, width, channels), 3 by 3 at least.

    Sharpness is the variance of the Laplacian: low when out of focus. Stripes is the farthest that
    the mean of a line of pixels lies from those beside it: high when a row or column is stuck.
    """
    grey = images.astype(np.float64)
    if grey.ndim > _GREY_AXES:
        grey = grey.mean(axis=-1)
    return {
        BRIGHTNESS: grey.mean(axis=(1, 2)),
        CONTRAST: grey.std(axis=(1, 2)),
        SHARPNESS: _laplacian(grey).var(axis=(1, 2)),
        STRIPES: np.maximum(_farthest(grey.mean(axis=2)), _farthest(grey.mean(axis=1))),
    }


def signal_statistics(signals: npt.NDArray[Any]) -> Mapping[str, _Floats]:
    """Of signals of shape (rows, samples): power, and the highest peak over it (0 in silence)."""
    samples = signals.astype(np.float64)
    power = np.sqrt(np.square(samples).mean(axis=1))
    peak = np.abs(samples).max(axis=1)
    return {RMS: power, CREST: np.divide(peak, power, out=np.zeros_like(peak), where=power > 0)}


_GREY_AXES: Final = 3
_SIGNAL_AXES: Final = 2
_CHANNELS: Final = 4
_LEAST_SIDE: Final = 3


def _laplacian(grey: _Floats) -> _Floats:
    """How much each inner pixel differs from its four neighbours."""
    middle = 4 * grey[:, 1:-1, 1:-1]
    beside = grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    above = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1]
    difference: _Floats = middle - beside - above
    return difference


def _farthest(lines: _Floats) -> _Floats:
    """The largest difference of an inner line from the mean of its two neighbours."""
    beside = (lines[:, :-2] + lines[:, 2:]) / 2
    found: _Floats = np.abs(lines[:, 1:-1] - beside).max(axis=1)
    return found
