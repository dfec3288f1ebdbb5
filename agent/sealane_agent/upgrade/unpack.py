"""Unpacks a version of the agent whose archive was verified: it appears whole, or not at all.

Archives hold ordinary files alone. The interpreter is this process's own, so a version runs with
what the machine has, wherever its files lie.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.bundle.agent import AGENT_TREE_FILES
from sealane.errors import BundleError
from sealane.limits import MIB

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

PATH_CHARS: Final = 240
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+@~-]{0,150}[A-Za-z0-9_+-])?")
_SEGMENTS: Final = 24
_ROOT: Final = "lib"


def interpreter(tree: Path) -> Path:
    """The program that runs a version."""
    return tree / "bin" / "python3"


def unpack(archive: Path, tree: Path, size: int, most: int = AGENT_TREE_FILES) -> None:
    """Make a version's folder from its archive: `size` bytes unpacked, at most so many files.

    Raises BundleError when the archive holds anything else than it should, or OSError.
    """
    building = tree.with_name(f".{tree.name}.new")
    fileio.remove_tree(building)
    try:
        _fill(archive, building, (size, most))
        _place_interpreter(building)
        fileio.rename(building, tree)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _fill(archive: Path, building: Path, room: tuple[int, int]) -> None:
    left, files = room
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                files, left = files - 1, left - member.size
                if files < 0 or left < 0 or not member.isreg():
                    raise BundleError(
                        f"the archive holds {member.name[:80]!r} against its contract"
                    )
                content = members.extractfile(member)
                assert content is not None  # noqa: S101 - of a regular file
                _write(building / _checked(member.name), content)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleError(f"the archive is damaged: {error}") from error


def _write(path: Path, content: IO[bytes]) -> None:
    fileio.make_folder(path.parent)
    with fileio.appending(path) as file:
        while chunk := content.read(MIB):
            file.write(chunk)


def _checked(name: str) -> str:
    segments = name.split("/")
    if (
        len(name) > PATH_CHARS
        or len(segments) > _SEGMENTS
        or segments[0] != _ROOT
        or not all(_SEGMENT.fullmatch(segment) for segment in segments)
    ):
        raise BundleError(f"the archive holds {name[:80]!r}, which is no path of a version")
    return name


def _place_interpreter(tree: Path) -> None:
    program = os.path.realpath(sys.executable)
    folder = os.path.dirname(program)  # noqa: PTH120 - beside the line above
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = f"home = {folder}\ninclude-system-site-packages = false\nversion = {version}\n"
    fileio.replace(tree / "pyvenv.cfg", said.encode())
    fileio.make_folder(tree / "bin")
    interpreter(tree).symlink_to(program)
    fileio.sync_folder(tree / "bin")
