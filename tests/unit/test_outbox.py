from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import SlotReport
from sealane.limits import EVENTS_PER_MESSAGE
from sealane.receipt import SignedReceipt
from sealane_agent.slot.journal import Entry, Journal
from support.agent_fakes import CAM, START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENTRY = Entry(CAM, None, START, SlotReport(CAM, "fetching"))
SIGNED = SignedReceipt(b'{"verdict":"serving"}', bytes(range(64)))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def sequences(journal: Journal, after: int = 0) -> list[int]:
    return [event.sequence for event in journal.events(after)]


def test_events_come_in_the_order_in_which_they_happened(journal: Journal) -> None:
    for state in ("accepted", "fetching", "staged"):
        journal.write(replace(ENTRY, report=SlotReport(CAM, state)))
    bodies = [event.body for event in journal.events(0)]
    assert bodies == [SlotReport(CAM, state) for state in ("accepted", "fetching", "staged")]
    assert [event.occurred_at for event in journal.events(0)] == [START] * 3


def test_a_receipt_follows_the_report_of_its_state(journal: Journal) -> None:
    journal.write(replace(ENTRY, receipt=lambda _: SIGNED))
    report, receipt = journal.events(0)
    assert isinstance(report.body, SlotReport)
    assert receipt.body == SIGNED


def test_what_the_manager_has_stored_is_forgotten(journal: Journal) -> None:
    for _ in range(3):
        journal.write(ENTRY)
    journal.forget(2)
    assert sequences(journal) == [3]
    assert journal.pending() == 1


def test_sequence_numbers_never_come_again(journal: Journal, tmp_path: Path) -> None:
    journal.write(ENTRY)
    journal.forget(1)
    journal.close()
    again = Journal(tmp_path / "journal.db")
    again.write(ENTRY)
    assert sequences(again) == [2]
    again.close()


def test_one_message_holds_only_so_many_events(journal: Journal) -> None:
    for _ in range(EVENTS_PER_MESSAGE + 1):
        journal.write(ENTRY)
    assert len(journal.events(0)) == EVENTS_PER_MESSAGE
    assert sequences(journal, EVENTS_PER_MESSAGE) == [EVENTS_PER_MESSAGE + 1]


def test_an_outbox_that_nobody_empties_keeps_the_newest_events(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealane_agent.slot.journal.OUTBOX_EVENTS", 3)
    for _ in range(5):
        journal.write(ENTRY)
    assert sequences(journal) == [3, 4, 5]


def test_a_new_journal_continues_where_the_manager_remembers_the_device(journal: Journal) -> None:
    journal.write(ENTRY)
    journal.continue_after(40)
    journal.write(ENTRY)
    assert sequences(journal) == [41, 42]


def test_an_empty_new_journal_continues_too(journal: Journal) -> None:
    journal.continue_after(40)
    journal.write(ENTRY)
    assert sequences(journal) == [41]


def test_a_journal_that_is_ahead_stays_as_it_is(journal: Journal) -> None:
    for _ in range(3):
        journal.write(ENTRY)
    journal.continue_after(2)
    assert sequences(journal) == [1, 2, 3]
