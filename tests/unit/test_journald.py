"""What systemd's journal is told, field by field."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from sealane_agent.journald import VALUE_BYTES, JournalLog, is_read_by_journal, message

if TYPE_CHECKING:
    from pathlib import Path


def test_an_event_is_one_datagram_with_a_line_for_people_and_a_field_for_each_fact(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "socket"))
        journal.settimeout(1)
        JournalLog(str(tmp_path / "socket"))("activated", slot="cam", reason="", took_ms=7)
        assert journal.recv(1000).splitlines() == [
            b"MESSAGE=activated slot=cam took_ms=7",
            b"PRIORITY=6",
            b"SYSLOG_IDENTIFIER=sealane-agent",
            b"SEALANE_EVENT=activated",
            b"SEALANE_SLOT=cam",
            b"SEALANE_TOOK_MS=7",
        ]


def test_a_line_break_makes_no_field_of_its_own() -> None:
    told = message({"event": "x", "reason": "a\nPRIORITY=0"})
    assert b"SEALANE_REASON\n\x0c\x00\x00\x00\x00\x00\x00\x00a\nPRIORITY=0\n" in told
    assert told.count(b"PRIORITY=6\n") == 1
    assert b'MESSAGE=x reason="a\\nPRIORITY=0"\n' in told


@pytest.mark.parametrize("name", ["_pid", "a b", "ö", "a=b", "a\nMESSAGE"])
def test_a_name_becomes_one_that_the_journal_takes(name: str) -> None:
    fields = message({"event": "x", name: "1"}).splitlines()[4:]
    assert all(set(line.split(b"=")[0]) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_") for line in fields)


def test_a_long_value_is_cut() -> None:
    assert len(message({"event": "x" * 10 * VALUE_BYTES})) < 3 * VALUE_BYTES


def test_a_journal_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    JournalLog(str(tmp_path / "gone"))("started")


def test_only_the_stream_that_the_service_manager_made_is_the_journals() -> None:
    reader, writer = os.pipe()
    try:
        made = os.fstat(writer)
        named = {"JOURNAL_STREAM": f"{made.st_dev}:{made.st_ino}"}
        assert is_read_by_journal(named, writer)
        assert not is_read_by_journal({"JOURNAL_STREAM": "1:2"}, writer)
        assert not is_read_by_journal({"JOURNAL_STREAM": "soon"}, writer)
        assert not is_read_by_journal({}, writer)
    finally:
        os.close(reader)
        os.close(writer)
