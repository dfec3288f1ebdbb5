"""Decides what of a model's inputs may be kept: the terms that a release's signers gave.

They stand in `deployment.json` under `sampling`, so the director can only switch on what they
allow. A bundle without them is never sampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.errors import BundleError
from sealane.limits import MIB
from sealane.sampling.types import WISHES, InputTerms, SamplingTerms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.bundle.jsonform import Fields
    from sealane.bundle.types import TensorSpec

RARELY: Final = 2**31 - 1
"""The largest number of requests from one sample to the next."""

DAY_BYTES: Final = 1024 * MIB
"""The most that one slot may keep of a day."""

KEPT_SECONDS: Final = 366 * 86_400
COLUMNS: Final = 4096
SHRINK: Final = 64

_IMAGE_AXES: Final = 4
_TABLE_AXES: Final = 2


def read_terms(found: Fields, inputs: Sequence[TensorSpec]) -> SamplingTerms:
    """The terms in an object; raises BundleError, also for an input that the model has not."""
    specs = {spec.name: spec for spec in inputs}
    wanted = found.fields("inputs")
    if not wanted.raw or (strange := set(wanted.raw).difference(specs)):
        what = f"names {min(strange)[:40]!r}, which is no input" if wanted.raw else "is empty"
        raise BundleError(f"{wanted.where} {what}", hint=f"inputs: {', '.join(specs)[:200]}")
    for name in ("errors", *(each for each in WISHES if each in found.raw)):
        if type(found.raw.get(name)) is not bool:
            raise BundleError(f"{found.where}: {name} is neither true nor false")
    return SamplingTerms(
        every=found.integer("every", 0, RARELY),
        confidence_below=found.number("confidence_below", 0, 1),
        errors=found.raw["errors"],
        bytes_per_day=found.integer("bytes_per_day", 1, DAY_BYTES),
        seconds_kept=found.integer("seconds_kept", 1, KEPT_SECONDS),
        inputs={name: _input(wanted.fields(name), specs[name]) for name in wanted.raw},
        **{name: found.raw[name] for name in WISHES if name in found.raw},
    )


def _input(found: Fields, spec: TensorSpec) -> InputTerms:
    columns = tuple(found.items("columns", COLUMNS))
    shrink = found.integer("shrink", 1, SHRINK)
    width = spec.shape[1] if len(spec.shape) == _TABLE_AXES else 0
    if any(type(column) is not int or not 0 <= column < width for column in columns):
        raise BundleError(f"{found.where}: columns are no columns of {spec.name[:40]}")
    if shrink > 1 and not _is_image(spec):
        raise BundleError(f"{found.where}: {spec.name[:40]} is no image, it cannot shrink")
    return InputTerms(columns, shrink)


def _is_image(spec: TensorSpec) -> bool:
    return len(spec.shape) in {_IMAGE_AXES - 1, _IMAGE_AXES}
