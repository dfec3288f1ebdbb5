"""A backup holds all that a manager cannot be without, and comes back as it was."""

from __future__ import annotations

import json
import sqlite3
import stat
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.manifest import digest_of
from sealane.errors import SealaneError
from sealane.names import hex_of
from sealane_manager.backup.contents import Contents
from sealane_manager.errors import Refused
from sealane_manager.store.store import open_store
from support.backups import NOW, PASSPHRASE, files_of, put_back, served_state, taken

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.layout import StateFolder

BLOB = b"weights"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    found = served_state(tmp_path)
    path = found.blob(digest_of(BLOB))
    path.parent.mkdir(parents=True)
    path.write_bytes(BLOB)
    (found.alerts).write_text('{"channels": []}')
    return found


def databases_aside(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if not name.endswith(".db")}


def test_what_is_put_back_is_what_was_there(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup")
    restored = put_back(tmp_path / "backup", tmp_path / "again")
    assert restored.contents == contents
    before, after = files_of(state.root), files_of(tmp_path / "again")
    assert before.keys() == after.keys()
    assert databases_aside(before) == databases_aside(after)


def test_nobody_else_may_read_a_backup_or_what_comes_out_of_it(
    state: StateFolder, tmp_path: Path
) -> None:
    taken(state, tmp_path / "backup")
    put_back(tmp_path / "backup", tmp_path / "again")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    for path in (tmp_path / "again").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_ordinary_tar_lists_a_backup(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as archive:
        names = archive.getnames()
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        assert Contents.decode(manifest.read()) == contents
    assert names == ["manifest.json", *(f"objects/{hex_of(each)}" for each in contents.objects)]


def test_no_key_stands_in_clear_in_a_backup(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup")
    content = (tmp_path / "backup").read_bytes()
    assert b"PRIVATE KEY" not in content
    assert contents.seal is not None
    assert not any(entry.path.startswith("keys/") for entry in contents.files)


def test_a_file_that_nobody_thought_of_is_sealed(state: StateFolder, tmp_path: Path) -> None:
    (state.root / "plans.txt").write_text("who knows")
    taken(state, tmp_path / "backup")
    assert b"who knows" not in (tmp_path / "backup").read_bytes()
    put_back(tmp_path / "backup", tmp_path / "again")
    assert (tmp_path / "again" / "plans.txt").read_text() == "who knows"


def test_keys_can_be_left_out_and_are_named_then(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup", passphrase=None)
    assert {"keys/director.pem", "ca/ca.key", "operator/operator.key"} <= set(contents.left_out)
    put_back(tmp_path / "backup", tmp_path / "again", passphrase="")
    assert not (tmp_path / "again" / "keys").exists()
    assert (tmp_path / "again" / "ca" / "ca.pem").exists()


def test_blobs_can_be_left_out_and_are_named_then(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup", blobs=False)
    assert [entry.digest for entry in contents.missing] == [digest_of(BLOB)]
    put_back(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again" / "blobs").exists()


def test_a_database_is_copied_while_somebody_writes(state: StateFolder, tmp_path: Path) -> None:
    store = open_store(state.database)
    with sqlite3.connect(state.database, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO token_use VALUES ('t', 'half', '2026-01-01')")
        taken(state, tmp_path / "half")
        writer.execute("COMMIT")
        taken(state, tmp_path / "whole")
    store.close()
    for name, seen in (("half", 0), ("whole", 1)):
        put_back(tmp_path / name, tmp_path / f"{name}-again")
        with sqlite3.connect(tmp_path / f"{name}-again" / "control.db") as found:
            count = found.execute("SELECT count(*) FROM token_use").fetchone()
        assert count == (seen,)


def test_a_backup_into_a_folder_that_is_missing_names_that_folder(
    state: StateFolder, tmp_path: Path
) -> None:
    with pytest.raises(SealaneError) as refused:
        taken(state, tmp_path / "mounted" / "backup")
    assert str(refused.value) == f"there is no folder {tmp_path / 'mounted'}"
    assert refused.value.hint == "make it first, or name another"
    with pytest.raises(SealaneError, match="is no folder"):
        taken(state, state.alerts / "backup")


def test_a_backup_overwrites_nothing(state: StateFolder, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    with pytest.raises(Refused, match="exists already"):
        taken(state, tmp_path / "backup")
    assert (tmp_path / "backup").read_bytes() == before


def test_a_backup_that_fails_leaves_nothing(state: StateFolder, tmp_path: Path) -> None:
    state.blob(digest_of(BLOB)).write_bytes(b"rotten!")
    with pytest.raises(Refused, match="damaged on the disk"):
        taken(state, tmp_path / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_weak_passphrase_is_refused(state: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="fewer than 12"):
        taken(state, tmp_path / "backup", passphrase=PASSPHRASE[:11])
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("what", ["a manager", "a file"])
def test_a_backup_is_never_put_into_a_folder_that_holds_something(
    state: StateFolder, tmp_path: Path, what: str
) -> None:
    taken(state, tmp_path / "backup")
    root = state.root if what == "a manager" else tmp_path / "other"
    if what == "a file":
        root.mkdir()
        (root / "letter").touch()
    before = files_of(root)
    with pytest.raises(Refused, match="not empty"):
        put_back(tmp_path / "backup", root)
    assert files_of(root) == before


def test_a_backup_is_put_into_an_empty_folder(state: StateFolder, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")
    (tmp_path / "again").mkdir()
    put_back(tmp_path / "backup", tmp_path / "again")
    assert files_of(tmp_path / "again").keys() == files_of(state.root).keys()


def test_another_passphrase_opens_nothing(state: StateFolder, tmp_path: Path) -> None:
    taken(state, tmp_path / "backup")
    with pytest.raises(Refused, match="passphrase is another one"):
        put_back(tmp_path / "backup", tmp_path / "again", PASSPHRASE + "?")
    assert not (tmp_path / "again").exists()


def test_a_restored_database_says_so_and_forgets_open_doors(
    state: StateFolder, tmp_path: Path
) -> None:
    with sqlite3.connect(state.database) as found:
        found.execute(
            "INSERT INTO join_token"
            " VALUES ('t', x'00', '{}', 3, '2030-01-01', '2026-01-01', 'me', 0)"
        )
    taken(state, tmp_path / "backup")
    put_back(tmp_path / "backup", tmp_path / "again")
    with sqlite3.connect(tmp_path / "again" / "control.db") as found:
        assert found.execute("SELECT uses_left FROM join_token").fetchall() == [(0,)]
        ((detail,),) = found.execute("SELECT detail FROM decision WHERE action = 'restore'")
        assert found.execute("SELECT epoch FROM audit_head").fetchall() == [(NOW.timestamp(),)]
    assert "backup of 2026-11-27 12:00 UTC" in detail


def test_a_manifest_is_read_as_it_was_written(state: StateFolder, tmp_path: Path) -> None:
    contents = taken(state, tmp_path / "backup")
    assert Contents.decode(contents.encode()) == contents
    assert json.loads(contents.encode())["made_at"] == NOW.isoformat()
    assert replace(contents, seal=None).sealed_text == contents.sealed_text
