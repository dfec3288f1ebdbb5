"""Writes rows to a file: CSV with the standard library, Parquet with pyarrow where it is there."""

from __future__ import annotations

import csv
import os
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sealane.errors import SealaneError

from sealane_manager.export.columns import COLUMNS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sealane_manager.export.columns import Row, Table, Value

GROUP: Final = 20_000
"""Rows that are held in memory and written at once."""


class Format(StrEnum):
    """What a file is."""

    CSV = "csv"
    PARQUET = "parquet"


def write(path: Path, form: Format, table: Table, rows: Iterable[Row]) -> int:
    """Write a file, or leave what was there; returns how many rows. Raises SealaneError."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        count = _PARTS[form](partial, table, iter(rows))
        os.replace(partial, path)  # noqa: PTH105 - it also replaces
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write_csv(path: Path, table: Table, rows: Iterator[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in COLUMNS[table]])
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            count += 1
    return count


def _cell(value: Value) -> object:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value


def _write_parquet(path: Path, table: Table, rows: Iterator[Row]) -> int:
    count = 0
    with _parquet(path, table) as (pa, schema, writer):
        while group := list(islice(rows, GROUP)):
            arrays = [
                pa.array(cells, field.type)
                for cells, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(group)
    return count


@contextmanager
def _parquet(path: Path, table: Table) -> Iterator[tuple[Any, Any, Any]]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra: 45 MB that few managers need
        from pyarrow import parquet  # noqa: PLC0415 - the same
    except ImportError as error:
        raise SealaneError(
            "Parquet needs pyarrow, which is not installed",
            hint="pip install 'sealane-manager[parquet]', or --format csv",
        ) from error
    kinds = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.INTEGERS: pa.list_(pa.int64()),
    }
    schema = pa.schema([(column.name, kinds[column.kind]) for column in COLUMNS[table]])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield pa, schema, writer


_PARTS: Final = {Format.CSV: _write_csv, Format.PARQUET: _write_parquet}
