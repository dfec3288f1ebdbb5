"""What somebody may hand an operator as a backup: nothing of it leaves its folder or stays."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sealane.bundle.manifest import digest_of
from sealane.names import hex_of
from sealane_manager.backup.contents import Contents, FileEntry
from sealane_manager.errors import NoSpace, Refused
from support.backups import archived, files_of, member, put_back, served_state, taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"owned"
ENTRY = FileEntry("fleet.json", len(CONTENT), digest_of(CONTENT))
OBJECT = (f"objects/{hex_of(ENTRY.digest)}", CONTENT)


def contents(*files: FileEntry) -> Contents:
    needed = [replace(ENTRY, path=name) for name in ("fleet.json", "control.db", "telemetry.db")]
    return Contents("demo", datetime(2026, 1, 1, tzinfo=UTC), "1", (*needed, *files))


def refused(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "backup"
    file.write_bytes(content)
    with pytest.raises(Refused, match=reason):
        put_back(file, tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "tuf/../../evil",
        "/etc/passwd",
        "tuf//x",
        "tuf/./x",
        "tuf/.hidden",
        ".ssh/authorized_keys",
        "tuf\\x",
        "tuf/x\0",
        "tuf/\n",
        "tuf/" + "x" * 300,
        "tuf/a/b/c/d/e/f/g",
        "run/serve.json",
        "keys/director.pem",
        "ca/ca.key",
        "control.db-wal",
        "blobs/partial/x",
        "blobs/sha256/" + "0" * 64,
        "anything",
        "",
    ],
)
def test_a_path_that_no_state_folder_has_is_refused(tmp_path: Path, path: str) -> None:
    said = contents(replace(ENTRY, path=path))
    refused(tmp_path, archived(said, [OBJECT]), "no state folder|another digest")


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, archived(contents(ENTRY), [OBJECT]), "twice")


def test_a_file_below_another_file_is_refused(tmp_path: Path) -> None:
    said = contents(replace(ENTRY, path="tuf/a"), replace(ENTRY, path="tuf/a/b"))
    (tmp_path / "backup").write_bytes(archived(said, [OBJECT]))
    with pytest.raises((Refused, OSError)):
        put_back(tmp_path / "backup", tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../../evil"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
        (tarfile.XHDTYPE, ""),
        (tarfile.GNUTYPE_LONGNAME, ""),
        (tarfile.GNUTYPE_SPARSE, ""),
    ],
)
def test_nothing_but_an_ordinary_file_is_taken(tmp_path: Path, kind: bytes, target: str) -> None:
    head = archived(contents(), [])[:-1024]
    evil = member(OBJECT[0], b"", kind, target) + member(*OBJECT)
    refused(tmp_path, head + evil + bytes(1024), "where objects/")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "objects/" + "0" * 64, "manifest.json"])
def test_a_member_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, archived(contents(), [(name, CONTENT)]), "where objects/")


def test_a_member_of_another_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    refused(tmp_path, archived(contents(), [(OBJECT[0], CONTENT * 2)]), "another size")


def test_a_member_of_another_content_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, archived(contents(), [(OBJECT[0], b"OWNED")]), "not what its digest says")


def test_members_that_follow_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, archived(contents(), [OBJECT, ("more", b"x")]), "does not end")


def test_bytes_that_follow_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, archived(contents(), [OBJECT]) + b"x", "does not end")


def test_a_file_that_wants_more_than_the_disk_has_is_refused_before_it_is_written(
    tmp_path: Path,
) -> None:
    large = FileEntry("tuf/large", 2**43, digest_of(b"large"))
    (tmp_path / "backup").write_bytes(archived(contents(large), []))
    with pytest.raises(NoSpace):
        put_back(tmp_path / "backup", tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_one_object_in_many_places_counts_as_often(tmp_path: Path) -> None:
    large = [FileEntry(f"tuf/{number}", 2**33, digest_of(b"large")) for number in range(2000)]
    (tmp_path / "backup").write_bytes(archived(contents(*large), []))
    with pytest.raises(NoSpace):
        put_back(tmp_path / "backup", tmp_path / "again")


def _with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: fields | changes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_with(format=2), "newer form"),
        (_with(format="1"), "malformed"),
        (_with(fleet="../x"), "malformed"),
        (_with(made_at="yesterday"), "malformed"),
        (_with(made_at="2026-01-01"), "malformed"),
        (_with(files=[]), "holds no"),
        (_with(files={}), "malformed"),
        (_with(files=[{"path": "fleet.json", "size": -1, "digest": ENTRY.digest}]), "malformed"),
        (_with(files=[{"path": "fleet.json", "size": 2**63, "digest": ENTRY.digest}]), "malformed"),
        (_with(files=[{"path": "fleet.json", "size": 1, "digest": "md5:0"}]), "malformed"),
        (_with(seal={"size": 2**40, "digest": ENTRY.digest, "salt": "", "nonce": ""}), "malformed"),
        (_with(left_out=[1]), "malformed"),
    ],
)
def test_a_manifest_that_is_malformed_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], reason: str
) -> None:
    fields = change(json.loads(contents().encode()))
    content = json.dumps(fields).encode()
    refused(tmp_path, member("manifest.json", content) + bytes(1024), reason)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4" * 400, bytes(10240)])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(tmp_path, content, "not a backup|ends in the middle|where manifest.json")


def test_a_manifest_that_does_not_end_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("manifest.json")
    header.size = 2**40
    refused(tmp_path, header.tobuf(tarfile.GNU_FORMAT), "larger than")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("honest")
    taken(served_state(folder), folder / "backup")
    return (folder / "backup").read_bytes()


def test_a_backup_that_was_cut_off_anywhere_is_refused(tmp_path: Path, honest: bytes) -> None:
    for part in range(1, 20):
        refused(tmp_path, honest[: len(honest) * part // 20], "ends in the middle|does not end")
        (tmp_path / "backup").unlink()


def test_a_bit_that_flipped_anywhere_is_noticed(tmp_path: Path, honest: bytes) -> None:
    for part in range(20):
        bad = bytearray(honest)
        bad[len(honest) * part // 20] ^= 1
        refused(tmp_path, bytes(bad), ".")
        (tmp_path / "backup").unlink()


def test_a_sealed_backup_whose_list_was_changed_is_refused(tmp_path: Path, honest: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(honest)) as archive:
        parts = {name: _read(archive, name) for name in archive.getnames()}
    said = Contents.decode(parts.pop("manifest.json"))
    database = next(entry for entry in said.files if entry.path == "telemetry.db")
    evil = FileEntry("tuf/evil", database.size, database.digest)
    changed = archived(replace(said, files=(*said.files, evil)), list(parts.items()))
    refused(tmp_path, changed, "changed after it was made")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_an_honest_backup_passes_the_same_reader(tmp_path: Path, honest: bytes) -> None:
    (tmp_path / "backup").write_bytes(honest)
    put_back(tmp_path / "backup", tmp_path / "again")
    assert "fleet.json" in files_of(tmp_path / "again")
