"""Lays arrays over the tensors in a slot, and takes the bytes of an engine's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealane.bundle.elements import IN_MEMORY, array_of, bytes_of
from sealane.bundle.types import DataType

from sealane_agent.serving.ring_frames import Piece

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment, TensorSpec


def to_array(spec: TensorSpec, piece: Piece) -> NDArray[Any]:
    """An array over the piece, no copy but of texts; raises ValueError when it does not fit."""
    return array_of(piece.data, spec.datatype, piece.shape)


def to_piece(position: int, spec: TensorSpec, array: NDArray[Any]) -> Piece:
    """The array's bytes in C order; raises ValueError when its element type is another."""
    if array.dtype != IN_MEMORY[spec.datatype]:
        raise ValueError(f"output {spec.name} is {array.dtype}, the bundle says {spec.datatype}")
    return Piece(position, array.shape, bytes_of(array))


def rows_of(tensors: Mapping[str, NDArray[Any]]) -> int:
    """Rows of a request: the first dimension of any of its tensors."""
    return next((array.shape[0] for array in tensors.values()), 0)


def divisible(deployment: Deployment) -> bool:
    """Whether requests can be put together and their answers taken apart by rows."""
    specs = (*deployment.inputs, *deployment.outputs)
    return all(spec.shape[:1] == (-1,) for spec in specs)


def has_texts(specs: tuple[TensorSpec, ...]) -> bool:
    """Whether the bytes of such tensors say more than their lengths do."""
    return any(spec.datatype is DataType.BYTES for spec in specs)
