from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane.fleet import SlotReport
from sealane.receipt import SignedReceipt
from sealane.trust.documents import Quarantined
from sealane_agent.errors import DiskTrouble, JournalDamaged
from sealane_agent.serving.messages import Traffic
from sealane_agent.slot.journal import Entry, Journal
from sealane_agent.slot.state import Attempt, Choice, State
from support.agent_fakes import CAM, START, digest, failure, proved, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = Attempt(
    CAM,
    release(2),
    digest(2),
    "r1",
    State.PROBATION,
    START,
    fetched=True,
    choice=Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved(), "no driver", "c" * 64),
    restarts=2,
    retries=1,
    retry_at=START,
    traffic=Traffic(5, errors=1),
    failure=failure(FailureKind.TRANSIENT),
)
REPORT = SlotReport(CAM, "probation", failure=failure(FailureKind.TRANSIENT))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


def entry(attempt: Attempt | None = FULL, **changes: object) -> Entry:
    return replace(Entry(CAM, attempt, START, REPORT), **changes)  # type: ignore[arg-type]  # fields


def test_a_slot_that_was_never_recorded_is_empty(journal: Journal) -> None:
    record = journal.read(CAM)
    assert (record.attempt, record.committed, record.quarantined) == (None, None, {})
    assert journal.slots() == ()


def test_an_attempt_is_read_as_it_was_written(journal: Journal) -> None:
    journal.write(entry())
    assert journal.read(CAM).attempt == FULL
    assert journal.slots() == (CAM,)


def test_what_was_written_survives_the_process(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.db")
    first.write(entry(quarantine="it crashed"))
    again = Journal(tmp_path / "journal.db")
    assert again.read(CAM).attempt == FULL
    assert again.read(CAM).quarantined == {digest(2): "it crashed"}
    again.close()
    first.close()


def test_the_committed_attempt_stays_when_the_next_one_begins(journal: Journal) -> None:
    good = replace(FULL, state=State.COMMITTED)
    journal.write(entry(good))
    journal.write(entry(replace(FULL, manifest=digest(3))))
    assert journal.read(CAM).committed == good


def test_an_attempt_that_was_given_up_is_gone(journal: Journal) -> None:
    journal.write(entry())
    journal.write(entry(None))
    assert journal.read(CAM).attempt is None


def test_the_first_reason_of_a_quarantine_is_kept(journal: Journal) -> None:
    journal.write(entry(quarantine="it crashed"))
    journal.write(entry(quarantine="it was slow"))
    assert journal.read(CAM).quarantined == {digest(2): "it crashed"}


def test_a_receipt_that_cannot_be_made_changes_nothing(journal: Journal) -> None:
    def broken(_sequence: int) -> SignedReceipt:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - any error of the maker
        journal.write(entry(receipt=broken))
    assert journal.read(CAM).attempt is None
    assert journal.pending() == 0


def test_receipts_are_numbered_one_after_the_other(journal: Journal) -> None:
    numbers: list[int] = []

    def made(sequence: int) -> SignedReceipt:
        numbers.append(sequence)
        return SignedReceipt(b"payload", b"signature")

    journal.write(entry(receipt=made))
    journal.write(entry(receipt=made))
    assert numbers == [1, 2]


def test_a_transaction_is_durable_when_it_has_returned(journal: Journal) -> None:
    level = journal._database.execute("PRAGMA synchronous").fetchone()[0]
    mode = journal._database.execute("PRAGMA journal_mode").fetchone()[0]
    assert (level, mode) == (2, "wal")


def test_a_file_that_is_no_journal_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(JournalDamaged, match="cannot be read") as caught:
        Journal(path)
    assert "move it away" in caught.value.hint


def test_a_damaged_record_is_refused(journal: Journal, tmp_path: Path) -> None:
    journal.write(entry())
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("UPDATE slot SET attempt = '{}'")
    other.commit()
    other.close()
    with pytest.raises(JournalDamaged, match="slot cam"):
        journal.read(CAM)


def test_a_journal_out_of_reach_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble, match="cannot be opened") as caught:
        Journal(tmp_path / "gone" / "journal.db")
    assert "nothing is lost" in caught.value.hint


WRONG = Quarantined(digest(2), "wrong labels")


def test_an_order_of_quarantine_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.obey((WRONG, Quarantined(digest(3), "slow", stops=True)))
    assert not journal.obey((Quarantined(digest(3), "slow", stops=True), WRONG))
    assert journal.obey((WRONG,))
    journal.close()
    again = Journal(tmp_path / "journal.db")
    assert again.read(CAM).ordered == {digest(2): WRONG}
    assert again.read(CAM).quarantined == {}
    again.close()


def kept(version: int) -> Entry:
    made = replace(FULL, release=release(version), manifest=digest(version), state=State.COMMITTED)
    return entry(made)


def before(journal: Journal) -> int:
    found = journal.read(CAM).before
    return found.release.version if found else 0


def test_what_was_kept_before_is_remembered(journal: Journal) -> None:
    journal.write(kept(1))
    journal.write(kept(1))
    assert before(journal) == 0
    journal.write(kept(2))
    journal.write(kept(3))
    assert before(journal) == 2


def test_what_is_in_quarantine_is_nothing_to_go_back_to(journal: Journal) -> None:
    for version in (1, 2):
        journal.write(kept(version))
    journal.obey((WRONG,))
    journal.write(kept(3))
    assert before(journal) == 1
