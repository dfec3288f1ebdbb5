"""Decides how large a worker's ring is, from what its model takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from sealane.bundle.types import ITEM_BYTES
from sealane.errors import BundleError
from sealane.limits import GIB, KIB, MIB

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, TensorSpec

PAGE: Final = 4096

MAX_SLOTS: Final = 32
"""Requests inside one worker: enough that it never waits for the endpoint."""

MAX_HANDS: Final = 4
"""Requests that one worker computes at once: each keeps the engine's memory of one inference."""

ROWS: Final = 64
"""Rows that one request has room for, while `SLOT_BYTES` allows it."""

FREE_DIMENSION: Final = 512
"""What a free dimension other than the batch is taken for."""

LEAST_SLOT_BYTES: Final = 64 * KIB
"""A slot of the smallest model: pages that nobody touches cost nothing."""

SLOT_BYTES: Final = 64 * MIB
"""A slot holds more only when a single row needs it."""

ROW_BYTES: Final = GIB
"""The largest row that can be served: both processes hold it at once."""

RING_BYTES: Final = 512 * MIB
"""A ring has fewer slots rather than more bytes, but two at least."""

TEXT_BYTES: Final = 256
"""A text of usual length; longer ones leave room for fewer."""

_TABLE_BYTES: Final = 256
"""Of one tensor in a frame's table, alignment included."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How many slots of how many bytes; the bytes are whole pages."""

    slots: int
    slot_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of the whole ring; untouched pages of it cost nothing."""
        return PAGE + self.slots * self.slot_bytes


def geometry_for(deployment: Deployment) -> Geometry:
    """Room for a request or its answer in each slot; raises BundleError when a row is too large."""
    row = max(_row_bytes(deployment.inputs), _row_bytes(deployment.outputs))
    if row > ROW_BYTES:
        raise BundleError(
            f"one row of {deployment.model} is {row} bytes, more than {ROW_BYTES} can be served",
            hint="give its free dimensions smaller sizes",
        )
    tensors = max(len(deployment.inputs), len(deployment.outputs))
    table = _TABLE_BYTES * tensors + PAGE
    wanted = max(LEAST_SLOT_BYTES, row + table, min(SLOT_BYTES, row * ROWS + table))
    slot_bytes = -(-wanted // PAGE) * PAGE
    return Geometry(max(2, min(MAX_SLOTS, RING_BYTES // slot_bytes)), slot_bytes)


def _row_bytes(specs: tuple[TensorSpec, ...]) -> int:
    return sum(_spec_bytes(spec) for spec in specs)


def _spec_bytes(spec: TensorSpec) -> int:
    batch = max(1, *spec.shape[:1]) if spec.shape else 1
    sizes = (FREE_DIMENSION if size == -1 else size for size in spec.shape[1:])
    return ITEM_BYTES.get(spec.datatype, TEXT_BYTES) * batch * prod(sizes)
