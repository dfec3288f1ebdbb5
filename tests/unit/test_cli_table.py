"""How rows become columns: whole words, one line where folding would not help, no markup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from sealane_manager.cli.table import CELL_CHARS, FOLDS, table, word

COLUMNS = ("id", "release", "reason")


def test_words_are_folded_and_never_broken() -> None:
    rows = [
        {"id": "r-612a4736", "release": "vision/defect@1", "reason": "3 of 3 judged devices serve"}
    ]
    found = table(rows, COLUMNS, 44)
    assert found.heads == "ID          RELEASE          REASON"
    assert found.rows == (
        "r-612a4736  vision/defect@1  3 of 3 judged",
        "                             devices serve",
    )


def test_a_row_that_cannot_be_folded_into_the_room_is_one_line() -> None:
    digest = "sha256:" + "a" * 64
    found = table([{"id": digest, "reason": "it is not listed any more"}], ("id", "reason"), 80)
    assert found.rows == (f"{digest}  it is not listed any more",)


def test_a_long_text_in_a_narrow_room_is_one_line_and_not_a_tower() -> None:
    text = "word " * 8 * FOLDS
    found = table([{"id": "1", "reason": text.strip()}], ("id", "reason"), 20)
    assert found.rows == (f"1   {text.strip()}",)


def test_lines_do_not_end_with_blanks() -> None:
    found = table([{"id": "a"}, {"id": "b", "reason": "why"}], COLUMNS, None)
    assert found.rows == ("a", "b            why")


@pytest.mark.parametrize("text", ["[/b]", "[red]x[/]", "[link=x]", "\\[b]", ":smile:"])
def test_what_people_write_is_no_markup(text: str) -> None:
    assert table([{"reason": text}], ("reason",), 80).rows == (text,)


def test_no_value_reaches_the_terminal_as_an_order() -> None:
    assert word("a\x1b[31mred\nline two\r") == "a?[31mred?line two?"
    assert len(word("x" * (CELL_CHARS + 1))) == CELL_CHARS


def test_values_are_written_for_people() -> None:
    moment = datetime(2026, 11, 27, 19, 26, 17, 505767, tzinfo=UTC)
    berlin = moment.astimezone(timezone(timedelta(hours=1)))
    assert [word(each) for each in (None, True, False, 0, moment, berlin)] == [
        *("", "yes", "no", "0", "2026-11-27T19:26:17Z", "2026-11-27T20:26:17+01:00"),
    ]


@given(
    st.lists(st.fixed_dictionaries({column: st.text(max_size=60) for column in COLUMNS})),
    st.none() | st.integers(0, 200),
)
def test_no_word_is_lost_whatever_the_room(rows: list[dict[str, str]], room: int | None) -> None:
    found = table(rows, COLUMNS, room)
    shown = sorted(part for line in found.rows for part in line.split())
    assert shown == sorted(
        part for row in rows for cell in row.values() for part in word(cell).split()
    )
    if room is None:
        assert len(found.rows) == len(rows)


@given(st.lists(st.text("ab ", min_size=1, max_size=40), min_size=1, max_size=4))
def test_what_is_folded_fits(cells: list[str]) -> None:
    names = [f"c{at}" for at in range(len(cells))]
    found = table([dict(zip(names, cells, strict=True))], names, 60)
    folded = len(found.rows) > 1
    assert not folded or all(cell_len(line) <= 60 for line in (found.heads, *found.rows))
