"""Makes golden inputs from the data that a producer gives, and golden outputs from the model."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES, comparable, narrowed
from sealane.bundle.types import DataType
from sealane.errors import BundleError
from sealane.limits import GIB, MIB

from sealane_manager.bundle.engines import run_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from sealane.bundle.types import TensorSpec

    from sealane_manager.bundle.read_model import OnnxModel

    Tensors = Mapping[str, npt.NDArray[Any]]

DATA_BYTES: Final = 2 * GIB
"""Arrays of one data file after decompression: they are held in memory."""

_FLOAT: Final = np.dtype("<f4")
"""What data for BF16 is given in."""

GOLDEN_ROWS: Final = 32
"""Rows that every device runs before a release serves."""

GOLDEN_INPUT_BYTES: Final = 16 * MIB
"""All golden inputs of one bundle: they travel with it."""


def read_data(path: Path | None, inputs: Sequence[TensorSpec]) -> Tensors:
    """Read a .npz with one array per input, or a .npy for a model with one; or raise BundleError.

    Every array has the datatype and shape of its input, and all have the same number of rows.
    """
    names = ", ".join(spec.name for spec in inputs)
    if path is None:
        raise BundleError(
            "no data was given, so no golden outputs can be made and no device could prove it",
            hint=f"give --data FILE.npz with typical inputs, one array each for: {names}",
        )
    arrays = _load(path, inputs)
    if set(arrays) != {spec.name for spec in inputs}:
        raise BundleError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}, the model takes {names}",
            hint="name the arrays as the inputs: numpy.savez(file, **{name: array})",
        )
    data = {spec.name: _fitted(arrays[spec.name], spec) for spec in inputs}
    if len({len(array) for array in data.values()}) != 1:
        raise BundleError(f"the arrays in {path} do not have the same number of rows")
    return data


def _load(path: Path, inputs: Sequence[TensorSpec]) -> Tensors:
    if not path.is_file():
        raise BundleError(f"{path} is not a file", hint="give the path of a .npz or .npy file")
    try:
        _check_size(path)
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {inputs[0].name: loaded} if len(inputs) == 1 else {}
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"{path} is not a .npz or .npy file of plain numbers",
            hint="write it with numpy.savez",
        ) from error


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    if size > DATA_BYTES:
        raise BundleError(
            f"{path} holds {size} bytes, more than {DATA_BYTES}", hint="give fewer rows"
        )


def _fitted(array: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[Any]:
    """The array in its input's datatype, or BundleError."""
    fits = array.ndim == len(spec.shape) and all(
        size in (-1, have) for size, have in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not len(array):
        raise BundleError(
            f"the data for {spec.name} has shape {array.shape}, the model takes {spec.shape}"
        )
    if spec.datatype is DataType.BYTES:
        return _texts(array, spec)
    wanted = NUMPY_TYPES.get(spec.datatype, _FLOAT)
    if array.dtype.kind not in "fiub" or not np.can_cast(array.dtype, wanted, "same_kind"):
        raise BundleError(f"the data for {spec.name} is {array.dtype}, the model takes {wanted}")
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, wanted)
    if wanted.kind in "iu" and not np.array_equal(cast, array):
        raise BundleError(f"the data for {spec.name} does not fit into {wanted}")
    return narrowed(cast) if spec.datatype is DataType.BF16 else cast


def _texts(array: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[Any]:
    if array.dtype.kind not in "US":
        raise BundleError(f"the data for {spec.name} is {array.dtype}, the model takes texts")
    try:
        texts = array if array.dtype.kind == "U" else np.char.decode(array, "utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"a text in the data for {spec.name} is not UTF-8") from error
    return texts.astype(object)


def choose_rows(data: Tensors, inputs: Sequence[TensorSpec]) -> Tensors:
    """Some rows from all over the data; always the same ones. Raises BundleError."""
    available = len(next(iter(data.values())))
    fixed = {spec.shape[0] for spec in inputs} - {-1}
    rows = max(fixed) if fixed else min(GOLDEN_ROWS, available, _affordable(data, available))
    if available < rows:
        raise BundleError(f"the model takes {rows} rows at a time, the data has {available}")
    chosen = np.linspace(0, available - 1, rows).round().astype(np.int64)
    return {name: array[chosen] for name, array in data.items()}


def _affordable(data: Tensors, available: int) -> int:
    row = sum(array.nbytes for array in data.values()) // available
    return max(1, GOLDEN_INPUT_BYTES // max(1, row))


def golden_outputs(model: OnnxModel, inputs: Tensors) -> Tensors:
    """What the model answers to the golden inputs, or BundleError when that proves nothing."""
    rows = len(next(iter(inputs.values())))
    outputs = run_reference(model.path, inputs)
    return {spec.name: _usable(outputs[spec.name], spec, rows) for spec in model.outputs}


def _usable(output: npt.NDArray[Any], spec: TensorSpec, rows: int) -> npt.NDArray[Any]:
    if output.ndim != len(spec.shape) or output.shape[0] != rows:
        raise BundleError(
            f"{spec.name} has shape {output.shape} for {rows} rows: no answer for each row",
            hint="export with a free first dimension",
        )
    values = comparable(output, spec.datatype)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise BundleError(
            f"{spec.name} is not a finite number for golden row {row}",
            hint="leave such rows out of the data, or correct the model",
        )
    return output
