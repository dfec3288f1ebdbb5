"""What an archive of a version may hold: nothing but ordinary files of a version, and no more."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from sealane.errors import BundleError
from sealane_agent.upgrade.interpreter import interpreter, place_interpreter
from sealane_agent.upgrade.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GOOD = "lib/python3.11/site-packages/sealane_agent/app.py"


def archive(folder: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path = folder / "agent.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for header, content in members:
            header.size = len(content)
            out.addfile(header, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def refused(folder: Path, path: Path, size: int = 10_000) -> None:
    with pytest.raises(BundleError):
        unpack(path, folder / "version", size)
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_a_version_appears_with_the_interpreter_of_this_process(tmp_path: Path) -> None:
    path = archive(tmp_path, [(member(GOOD), b"x")])
    tree = tmp_path / "version"
    unpack(path, tree, 1)
    place_interpreter(tree)
    assert (tree / GOOD).read_bytes() == b"x"
    assert os.path.realpath(interpreter(tree)) == os.path.realpath(sys.executable)
    assert "include-system-site-packages = false" in (tree / "pyvenv.cfg").read_text()
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "version"}


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "lib/../../evil",
        "/etc/passwd",
        "bin/python3",
        "pyvenv.cfg",
        "lib/.",
        "lib/..",
        "lib/...",
        "lib//x",
        "lib/" + "x" * 300,
        "lib/" + "x/" * 30 + "y",
        "lib/a\nb",
        "lib/a\\b",
        "lib/-rf",
        "",
    ],
)
def test_a_path_that_no_version_has_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, archive(tmp_path, [(member(GOOD), b"x"), (member(name), b"x")]))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, archive(tmp_path, [(member("lib/x", kind, "/etc/passwd"), b"")]))


def test_more_bytes_than_the_contract_says_are_not_written(tmp_path: Path) -> None:
    refused(tmp_path, archive(tmp_path, [(member("lib/x"), bytes(10_001))]))


def test_a_bomb_of_many_files_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, [(member(f"lib/{number}"), b"") for number in range(4)])
    with pytest.raises(BundleError):
        unpack(path, tmp_path / "version", 0, most=3)
    unpack(path, tmp_path / "version", 0, most=4)


@pytest.mark.parametrize("content", [b"", b"nonsense", gzip.compress(b"nonsense" * 100, mtime=0)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agent.tar.gz"
    path.write_bytes(content)
    refused(tmp_path, path)


def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, [(member(f"lib/{number}"), os.urandom(900)) for number in range(9)])
    whole = path.read_bytes()
    for part in range(1, 10):
        path.write_bytes(whole[: len(whole) * part // 10])
        refused(tmp_path, path)


def test_what_a_power_cut_left_half_is_made_anew(tmp_path: Path) -> None:
    left = tmp_path / ".version.new" / "lib"
    left.mkdir(parents=True)
    (left / "stale").write_bytes(b"x")
    unpack(archive(tmp_path, [(member(GOOD), b"x")]), tmp_path / "version", 1)
    assert not (tmp_path / "version" / "lib" / "stale").exists()
