"""What commands print is read by people at terminals, and by programs line by line."""

from __future__ import annotations

import pytest
import typer
from sealane_manager.cli.output import Exit, Format, emit, reported

COLUMNS = ("id", "end_of_lease", "reason")


def test_into_a_pipe_a_row_is_one_line_however_long(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "1 of 1 judged devices failed: " + "the blob's bytes do not match its digest; " * 9
    emit([{"id": "r-1", "reason": reason}, {"id": "r-2"}], COLUMNS, Format.TABLE)
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split("  ")[0] == "ID"
    assert "END OF LEASE" in heads
    assert reason.strip() in first
    assert second.strip() == "r-2"


def test_a_table_without_rows_has_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], COLUMNS, Format.TABLE)
    assert capsys.readouterr().out.split() == ["ID", "END", "OF", "LEASE", "REASON"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "hint: free some space first"),
        (OSError(2, "No such file or directory", "x.npz"), "No such file or directory: x.npz"),
    ],
)
def test_what_the_system_did_not_do_is_one_line_with_what_to_do(
    error: OSError, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, reported():
        raise error
    assert ended.value.exit_code == Exit.FAILED
    told = capsys.readouterr().err
    assert said in told
    assert "Errno" not in told
