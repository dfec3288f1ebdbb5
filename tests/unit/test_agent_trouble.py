"""What goes wrong at a device is one line that says what to do, and never a traceback."""

from __future__ import annotations

import errno
import gc
import os
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.errors import KitError, TrustError
from sealane.fleet import SlotReport
from sealane.kit.index import Index, parse_index
from sealane.names import DeviceId
from sealane.trust.steps import Step
from sealane_agent.app import alone
from sealane_agent.cli.folder import SOCKET_PATH_BYTES
from sealane_agent.cli.main import main
from sealane_agent.cli.trouble import told
from sealane_agent.config import Identity, IdentityFiles
from sealane_agent.diagnosis import doctor, measure, support
from sealane_agent.diagnosis.findings import Level
from sealane_agent.diagnosis.reach import Way
from sealane_agent.errors import NotEnrolled
from sealane_agent.identity.passport import Passport
from sealane_agent.kit.intake import refused
from sealane_agent.layout import StateFolder
from sealane_agent.slot.journal import Entry, Journal, looked_into
from support.agent_fakes import CAM, START
from support.disks import FailingDisk
from support.passports import WHO, Office

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _a_supervisor_that_began_here_leaves_the_collector_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize(
    ("error", "text", "hint"),
    [
        (OSError(errno.ENOENT, "No such file or directory", "/x"), "/x: no such file", ""),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on dev", "free some"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: read-only", "mount it"),
        (PermissionError(errno.EACCES, "Permission denied", b"/x"), "/x: permission", "as root"),
        (OSError("gone"), "gone", ""),
    ],
)
def test_what_the_system_refused_is_said_with_its_file_and_what_to_do(
    error: OSError, text: str, hint: str
) -> None:
    said = told(error)
    assert said[0].startswith(text)
    assert (hint in said[1]) if hint else said[1] == ""


def test_a_token_file_of_any_bytes_is_no_token_and_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"\xff\xfe\x00slj1_")
    assert main(["enroll", "--state", str(tmp_path / "s"), "--token-file", str(path)]) == 2
    assert "error: a join token begins with slj1_" in capsys.readouterr().err
    assert main(["enroll", "--state", str(tmp_path / "s"), "--token-file", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: is a directory\n"


@pytest.mark.parametrize("command", ["status", "run", "history"])
def test_a_state_folder_whose_sockets_could_not_be_made_is_refused_at_once(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = SOCKET_PATH_BYTES - len("/run/inference.sock")
    fits = str(tmp_path / "x").ljust(longest, "x")
    assert main([command, "--state", f"{fits}x"]) == 2
    said = capsys.readouterr().err
    assert f"its sockets leave room for {longest} bytes" in said
    assert main([command, "--state", fits]) == 1
    assert "holds no enrolled device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--lines", "0", "no number from 1 to 10000"),
        ("--lines", "9" * 5000, "no number from 1 to 10000"),
        ("--lines", "-1", "no number from 1 to 10000"),
        ("--slot", "CAM", "not a slot name"),
    ],
)
def test_a_wrong_option_of_history_is_a_usage_error_in_words(
    option: str, value: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["history", f"{option}={value}"])
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "99999", "-1", "x"])
def test_a_port_that_no_machine_has_is_refused_before_anything_starts(
    port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--state", str(tmp_path), "--rest", f"127.0.0.1:{port}"])
    assert "must be host:port" in capsys.readouterr().err


def test_a_folder_without_a_device_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--state", str(tmp_path)]) == 1
    assert "holds no enrolled device" in capsys.readouterr().err
    (finding,) = doctor.examine(StateFolder(tmp_path / "nowhere"), nowhere())
    assert (finding.check, finding.level) == ("certificates", Level.FAILED)


def nowhere() -> Way:
    def fail(*_: object) -> tuple[str, ...]:
        raise AssertionError("nobody is asked")

    return Way(fail, fail, fail, fail)


def test_what_a_doctor_may_not_read_is_a_finding_and_it_looks_at_the_rest(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    (folder.trust / "highwater.json").mkdir(parents=True)
    found = {each.check: each for each in doctor.examine(folder, nowhere())}
    assert found["clock"].level is Level.FAILED
    assert "chown -R" in found["clock"].hint
    assert {"disk", "journal", "runtimes"} <= found.keys()


def enrolled(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path)
    folder.identity.mkdir(parents=True)
    IdentityFiles(folder.identity).description.write_bytes(
        Identity(DeviceId("box-1"), "plant", "127.0.0.1:1").encode()
    )
    return folder


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[StateFolder]:
    """A device whose journal has a line that only its WAL holds, on a disk that takes no more."""
    folder = enrolled(tmp_path)
    journal = Journal(folder.journal)
    journal.write(Entry(CAM, None, START, SlotReport(CAM, "idle")))
    with fileio.using(FailingDisk({"execute": 1})):
        yield folder
    journal.close()


def test_a_journal_whose_disk_cannot_be_written_is_still_read(unwritable: StateFolder) -> None:
    with looked_into(unwritable.journal) as journal:
        assert journal.slots() == (CAM,)


def test_status_is_shown_from_a_disk_that_cannot_be_written(
    unwritable: StateFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state", str(unwritable.root)]) == 0
    assert "slot        cam: idle" in capsys.readouterr().out


def test_half_an_archive_for_support_is_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"

    def parts() -> Iterator[tuple[str, str]]:
        yield "a.txt", "half"
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"), support.begin(path) as file:
        support.write(file, parts())
    assert not path.exists()


def test_what_is_no_file_is_no_kit_and_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    for path in (pipe, tmp_path):
        assert main(["import", str(path), "--state", str(tmp_path)]) == 1
        assert f"error: {path} is no file" in capsys.readouterr().err


def test_a_second_kit_is_refused_in_one_line_while_the_first_waits_for_an_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enrolled(tmp_path / "state")
    for name, code in (("kit-1", 0), ("kit-2", 1), ("kit-1", 0)):
        index = Index(name, "plant", START, {DeviceId("box-1"): 5}, {}, {})
        (kit := tmp_path / "a.kit").write_bytes(index.encode() + name.encode())
        assert main(["import", str(kit), "--state", str(tmp_path / "state")]) == code
        said = capsys.readouterr()
        assert ("taken up when the agent runs" in said.err) is (code == 0)
        if code:
            assert "error: kit-1 was imported before, and waits to be taken up" in said.err


def test_a_kits_index_that_is_no_text_is_not_printed() -> None:
    with pytest.raises(KitError) as caught:
        parse_index(b'{"id":"\xff' + b"x" * 5000)
    assert str(caught.value) == "its index is malformed: it is no text"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is no JSON"),
        (b"{}", "it lacks 'documents'"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[]", "a part of it is of another kind"),
        (b'{"documents":{},"blobs":{},"id":"../x"}', "'../x' is no name"),
    ],
)
def test_what_is_wrong_with_a_kits_index_is_said_in_words(content: bytes, why: str) -> None:
    with pytest.raises(KitError) as caught:
        parse_index(content)
    assert str(caught.value) == f"its index is malformed: {why}"


def test_a_kit_from_before_the_device_met_its_manager_is_to_be_exported_again() -> None:
    said = refused(TrustError(Step.VERSION_FLOOR, "it has version 7", hint="it was replayed"))
    assert str(said) == "the kit is refused: it has version 7 (step 7 version floor)"
    assert "export it again" in said.hint
    assert refused(TrustError(Step.EXPIRY, "late", hint="set the clock")).hint == "set the clock"
    assert refused(KitError("cut off", hint="copy it")).hint == "copy it"


def test_a_device_that_forgot_what_it_has_seen_is_told_so_by_its_doctor(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.trust.mkdir()
    (folder.trust / "highwater.json").write_bytes(b"junk")
    (found,) = measure.trust(folder)
    assert (found.check, found.level) == ("trust", Level.FAILED)
    assert "`sealane-agent enroll` here once more" in found.hint


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_a_device_that_lost_its_authorities_says_where_they_can_be_had(
    content: bytes | None, tmp_path: Path
) -> None:
    files = Office(tmp_path).enrolled(tmp_path)
    files.ca.unlink()
    if content is not None:
        files.ca.write_bytes(content)
    with pytest.raises(NotEnrolled, match="whom this device believes") as lost:
        Passport(files, WHO)
    assert "from another device of the fleet" in lost.value.hint


def test_support_is_written_for_a_device_whose_description_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = enrolled(tmp_path / "state")
    IdentityFiles(folder.identity).description.write_bytes(b"{")
    monkeypatch.chdir(tmp_path)
    assert main(["support", "--state", str(folder.root)]) == 0
    assert capsys.readouterr().out.startswith("support-unknown-")


def test_a_second_agent_is_refused_for_the_state_that_it_finds_as_a_second_manager_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = enrolled(tmp_path)
    with alone(folder):
        assert main(["run", "--state", str(folder.root)]) == 3
    assert capsys.readouterr().err.startswith("error: another agent runs on")


def test_a_configuration_that_is_nested_without_end_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("x = " + "[" * 20_000)
    assert main(["check-config", str(path)]) == 1
    assert "nested too deeply" in capsys.readouterr().err
