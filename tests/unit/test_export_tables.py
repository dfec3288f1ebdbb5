"""Telemetry as tables: documented columns, the same numbers in CSV and Parquet, whole files."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet
from sealane.telemetry.bins import Bins
from sealane.telemetry.histogram import Histogram, record
from sealane.telemetry.types import ErrorKind, HostWindow, Level, Predictions, Timings, Window
from sealane_manager.export.columns import COLUMNS, Kind, Stored, Table, rows
from sealane_manager.export.files import Format, write
from support.repository import ROOT
from support.telemetry import START, plain_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_manager.export.columns import Row

MODEL = plain_model(
    100,
    errors={ErrorKind.HUNG: 3},
    fallbacks=2,
    timings=Timings(latency=record([0.0, 1000.0, 2000.0])),
    predictions=Predictions((60, 36), 4, Bins((0,) * 19 + (96,)), 10, 1),
    inputs={"x": Bins((1, 2, 3), 4, 5), "y": Bins((9,))},
)
HOST = HostWindow(cpu=Level(2, 700, 300, 400), clock_offset=Level.of(-1500), restarts=1)
STORED = Stored("box-1", "", 0, Window(START, 60, (MODEL,), HOST))


def cells(table: Table) -> list[dict[str, object]]:
    names = [column.name for column in COLUMNS[table]]
    return [dict(zip(names, row, strict=True)) for row in rows(table, STORED)]


def test_a_model_is_one_row_with_quantiles_and_everything_to_add_up() -> None:
    (row,) = cells(Table.MODELS)
    assert (row["device"], row["start"], row["release"]) == ("box-1", START, "vision/defect@7")
    assert (row["requests"], row["errors_hung"], row["errors_failed"]) == (100, 3, 0)
    assert row["latency_us_p50"] == pytest.approx(1000, rel=0.03)
    again = Histogram(
        row["latency_us_scale"],  # type: ignore[arg-type]  # a whole number
        row["latency_us_offset"],  # type: ignore[arg-type]  # the same
        row["latency_us_buckets"],  # type: ignore[arg-type]  # whole numbers
        row["latency_us_zero"],  # type: ignore[arg-type]  # a whole number
        row["latency_us_sum"],  # type: ignore[arg-type]  # the same
    )
    assert again == MODEL.timings.latency
    assert (row["classes"], row["other_classes"], row["disagreed"]) == ((60, 36), 4, 1)


def test_what_was_not_measured_is_an_empty_cell() -> None:
    (model,) = cells(Table.MODELS)
    (host,) = cells(Table.HOSTS)
    assert (model["queue_us_count"], model["queue_us_p99"]) == (0, None)
    assert (host["cpu_mean"], host["cpu_low"], host["cpu_high"]) == (0.35, 0.3, 0.4)
    assert (host["clock_offset_mean"], host["temperature_mean"]) == (-1.5, None)
    assert (host["throttled_s"], host["restarts"]) == (None, 1)
    without = replace(STORED, window=replace(STORED.window, host=None))
    assert list(rows(Table.HOSTS, without)) == []


def test_every_input_is_a_row() -> None:
    first, second = cells(Table.INPUTS)
    assert (first["input"], first["counts"]) == ("x", (1, 2, 3))
    assert (first["missing"], first["non_finite"]) == (4, 5)
    assert second["input"] == "y"


@pytest.mark.parametrize("table", Table)
def test_every_column_is_documented_in_its_order(table: Table) -> None:
    document = (ROOT / "docs" / "export.md").read_text()
    part = document.partition(f"## `{table}`")[2].partition("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", part, re.MULTILINE)
    assert described == [(each.name, str(each.kind), each.says) for each in COLUMNS[table]]


@pytest.mark.parametrize("table", Table)
def test_csv_and_parquet_hold_the_same(table: Table, tmp_path: Path) -> None:
    every = [row for _ in range(3) for row in rows(table, STORED)]

    assert write(tmp_path / "a.csv", Format.CSV, table, every) == len(every)
    assert write(tmp_path / "a.parquet", Format.PARQUET, table, every) == len(every)

    with (tmp_path / "a.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_parquet = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert [list(row) for row in from_csv] == [list(row) for row in from_parquet]
    for text, value in zip(from_csv, from_parquet, strict=True):
        assert {name: written(cell) for name, cell in value.items()} == text


def written(cell: object) -> str:
    if isinstance(cell, list):
        return " ".join(map(str, cell))
    return "" if cell is None else str(cell)


def test_a_table_without_rows_still_has_its_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", Format.PARQUET, Table.HOSTS, [])
    names = parquet.read_schema(tmp_path / "a.parquet").names
    assert names == [column.name for column in COLUMNS[Table.HOSTS]]


@pytest.mark.parametrize("form", Format)
def test_an_export_that_breaks_off_leaves_the_file_that_was_there(
    form: Format, tmp_path: Path
) -> None:
    file = tmp_path / "a"
    file.write_text("yesterday's")

    def broken() -> Iterator[Row]:
        yield from rows(Table.MODELS, STORED)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        write(file, form, Table.MODELS, broken())
    assert file.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_without_pyarrow_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"  # what an installation without it looks like
        "from pathlib import Path\n"
        "from sealane_manager.export.files import Format, write\n"
        "from sealane_manager.export.columns import Table\n"
        f"write(Path({str(tmp_path / 'a')!r}), Format.PARQUET, Table.HOSTS, [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Parquet needs pyarrow, which is not installed" in done.stderr


def test_lists_are_integers() -> None:
    for table in Table:
        for row in rows(table, STORED):
            for column, cell in zip(COLUMNS[table], row, strict=True):
                assert isinstance(cell, tuple) == (column.kind is Kind.INTEGERS)
