"""What happened on a device stays in its journal, also after the manager has it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import SlotReport
from sealane.holds import Hold
from sealane_agent.slot import history
from sealane_agent.slot.journal import Entry, Journal
from support.agent_fakes import CAM, START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def says(journal: Journal, state: str, slot: str = "cam") -> None:
    report = SlotReport(CAM, state, attempt_release="vision/defect@7", rollout="r1")
    journal.write(Entry(CAM, None, START, report if slot == "cam" else None))


def test_states_and_holds_stand_there_in_order_after_the_manager_has_them(journal: Journal) -> None:
    says(journal, "accepted")
    journal.hold(Hold("h1", "", "press 7", "batch 12", START + timedelta(hours=1)), START)
    says(journal, "waiting")
    journal.release("h1", START)
    journal.forget(99)
    assert journal.pending() == 0
    events = [(line.slot, line.event) for line in journal.history()]
    assert events == [("cam", "accepted"), ("", "held"), ("cam", "waiting"), ("", "hold ended")]
    assert journal.history()[0].release == "vision/defect@7"
    assert "press 7 until" in journal.history()[1].reason


def test_a_slot_sees_its_own_lines_and_those_of_the_whole_device(journal: Journal) -> None:
    says(journal, "accepted")
    journal.hold(Hold("h1", "gate", "x", "y", START + timedelta(hours=1)), START)
    journal.hold(Hold("h2", "", "x", "y", START + timedelta(hours=1)), START)
    assert [line.event for line in journal.history("cam")] == ["accepted", "held"]
    assert [line.event for line in journal.history("cam", 1)] == ["held"]


def test_what_says_nothing_new_is_left_out_and_the_oldest_go(journal: Journal) -> None:
    for _ in range(5):
        says(journal, "fetching")
    assert len(journal.history()) == 1
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE history ({history.TABLE}) STRICT")
        for number in range(history.LINES_KEPT + 5):
            history.add(database, history.Line(START, "cam", f"state-{number}"))
        lines = history.read(database, "", history.LINES_KEPT + 99)
    assert len(lines) == history.LINES_KEPT
    assert lines[-1].event == f"state-{history.LINES_KEPT + 4}"
