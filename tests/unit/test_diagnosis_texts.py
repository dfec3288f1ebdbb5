"""What the agent said is read back in every form, and no secret in it leaves the device."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.trust.identity import key_to_pem, new_key
from sealane_agent.diagnosis import logs, support
from sealane_agent.diagnosis.loglines import LogLine, read_entry, read_line
from sealane_agent.diagnosis.redaction import STRUCK, redacted
from sealane_agent.errors import Refused
from sealane_agent.journald import message
from sealane_agent.log import LineLog

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return 0.0


WORDS = st.from_regex(r"[a-z]+( [a-z]+){0,2}", fullmatch=True)
VALUES = st.text(min_size=1, max_size=40)
NAMES = st.sampled_from(("slot", "reason", "hint", "state"))


@given(event=WORDS, fields=st.dictionaries(NAMES, VALUES, max_size=3), as_json=st.booleans())
def test_a_line_is_read_as_it_was_said(
    event: str, fields: dict[str, str], *, as_json: bool
) -> None:
    stream = io.StringIO()
    LineLog(Clock(), stream.write, as_json=as_json)(event, **fields)
    assert read_line(stream.getvalue()) == LogLine("2026-11-27T08:00:00.000+00:00", event, fields)


@given(st.text(max_size=200))
def test_any_line_is_read_as_something(text: str) -> None:
    read_line(text)
    read_entry(text)


def test_a_journal_entry_is_read_by_the_fields_that_were_sent() -> None:
    sent = message({"event": "slot", "slot": "cam", "state": "committed"}).decode()
    fields = dict(line.split("=", 1) for line in sent.splitlines())
    entry = fields | {"__REALTIME_TIMESTAMP": str(int(AT.timestamp() * 1_000_000)), "_PID": "7"}
    found = read_entry(json.dumps(entry))
    at = "2026-11-27T08:00:00.000+00:00"
    assert found == LogLine(at, "slot", {"slot": "cam", "state": "committed"})
    assert read_entry(json.dumps({"MESSAGE": "killed"})) == LogLine("", "killed", {})


def test_the_newest_lines_of_a_slot_come_from_the_end_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    line = '{"at": "2026-11-27T08:00:00.000+00:00", "event": "slot", "slot": "%s", "n": "%d"}\n'
    path.write_text("".join(line % (("cam", "gate")[n % 2], n) for n in range(120_000)))
    assert path.stat().st_size > logs.TAIL_BYTES
    found = logs.newest(logs.of_file(path), "cam", 2)
    assert [each.fields["n"] for each in found] == ["119996", "119998"]


@pytest.mark.parametrize(
    "secret",
    [
        key_to_pem(new_key()).decode(),
        key_to_pem(new_key()).decode()[:120],
        "slj1_eJyrVkrLz1eyUkpKLFKqBQAe-QRR",
        "pkcs11:token=a?pin-value=8421-abc",
        "Authorization: Bearer abcdefgh.ijklm",
        "https://admin:hunter22@plant.example/",
        'password = "hunter2222"',
        '{"api_key": "AKIA12345678"}',
    ],
)
def test_secrets_are_struck_out_of_what_leaves_the_device(secret: str) -> None:
    found = redacted(f"before {secret}\nafter" if "BEGIN" not in secret else f"before {secret}")
    assert STRUCK in found
    body = secret.splitlines()[1] if "BEGIN" in secret else secret.rpartition("=")[2].strip('"')
    assert body not in found
    assert found.startswith("before")


def test_what_is_no_secret_stays() -> None:
    text = "a token of the fleet; key fingerprint ab:cd; https://plant.example:8443/x release 7"
    assert redacted(text) == text


def test_an_archive_is_its_owners_and_keeps_the_end_of_a_long_text(tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    long = "old\n" + "x" * support.PART_BYTES + "\nnewest\n"
    with support.begin(path) as file:
        support.write(file, [("a.txt", long), ("b.txt", "slj1_eJyrVkrLz1ey")])
    assert path.stat().st_mode & 0o777 == support.MODE
    with tarfile.open(path) as archive:
        read = {each.name: archive.extractfile(each) for each in archive}
        texts = {name: part.read().decode() for name, part in read.items() if part is not None}
    assert texts["support/a.txt"].endswith("newest\n")
    assert "old" not in texts["support/a.txt"]
    assert texts["support/b.txt"] == STRUCK
    with pytest.raises(Refused), support.begin(path):
        pass
    assert path.exists()
