"""The enumeration finds what it is for: each of these agents is broken in one place on purpose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane_agent import store
from sealane_agent.database import open_database
from sealane_agent.slot import journal
from sealane_agent.telemetry import spool
from support.crash_cases import Case, operations_of, run_case, start_of
from support.crash_disk import Fault, FaultyDisk

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from sealane.names import Digest

ACT = "second release"


@pytest.fixture(autouse=True)
def _healthy_beginning() -> None:
    """What comes before the act is done by the agent as it is."""
    start_of(ACT)
    operations_of(ACT)


def first_problem(
    fault: Fault, disks: type[FaultyDisk] = FaultyDisk, act: str = ACT, *, backwards: bool = False
) -> str:
    """What the first case says that finds anything; empty when none does.

    `backwards`: of what shows only late the last operations are tried first.
    """
    places = range(1, len(operations_of(act)) + 1)
    for at in reversed(places) if backwards else places:
        problems = run_case(act, Case(fault, at, disks))
        if problems:
            return problems[0]
    return ""


class ForgetfulDisk(FaultyDisk):
    """A disk of an agent that calls no fsync for what it writes."""

    def sync(self, descriptor: int) -> None:
        """Leave it to the system."""


def test_without_the_fsync_of_files_it_fails() -> None:
    assert first_problem(Fault.CUT_ALL, ForgetfulDisk)


def test_without_the_fsync_of_folders_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fileio, "sync_folder", lambda _path: None)
    assert first_problem(Fault.CUT_ALL)


def test_with_a_rename_before_the_fsync_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(path: Path, content: bytes, mode: int = fileio.PRIVATE_FILE) -> None:
        temporary = path.with_name(f".{path.name}.new")
        disk = fileio._disk.get()
        descriptor = disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        disk.write(descriptor, content)
        fileio.rename(temporary, path)
        disk.sync(descriptor)
        os.close(descriptor)

    monkeypatch.setattr(fileio, "replace", replace)
    assert first_problem(Fault.CUT_CONTENTS)


def hasty(path: Path) -> sqlite3.Connection:
    """A database whose commits return before they are durable."""
    database = open_database(path)
    database.execute("PRAGMA synchronous=NORMAL")
    return database


def test_with_a_spool_that_does_not_wait_for_the_disk_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operations_of("telemetry")
    monkeypatch.setattr(spool, "open_database", hasty)
    assert "requests" in first_problem(Fault.CUT_ALL, act="telemetry")


def test_with_a_journal_that_does_not_wait_for_the_disk_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "open_database", hasty)
    assert first_problem(Fault.CUT_ALL, backwards=True)


def test_with_a_store_that_believes_a_failed_fsync_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def believing(_store: store.Store, _partial: Path) -> None:
        """Keep what may never have reached the disk."""

    monkeypatch.setattr(store.Store, "_discard", believing)
    assert "has changed" in first_problem(Fault.IO_ERROR)


def test_with_a_store_that_cleans_away_what_serves_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collect = store.Store.collect

    def greedy(self: store.Store, _blobs: set[Digest], _views: set[Digest]) -> int:
        return collect(self, (), ())

    monkeypatch.setattr(store.Store, "collect", greedy)
    assert "cannot be loaded" in first_problem(Fault.KILL_AFTER)
