"""Unpacks a version of the agent whose archive was verified: it appears whole, or not at all.

Archives hold ordinary files alone.
"""

from __future__ import annotations

import shutil
import tarfile
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.bundle.agent import AGENT_TREE_FILES, check_tree_path
from sealane.errors import BundleError
from sealane.limits import MIB

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO


def unpack(archive: Path, tree: Path, size: int, most: int = AGENT_TREE_FILES) -> None:
    """Make a version's folder from its archive: `size` bytes unpacked, at most so many files.

    Raises BundleError when the archive holds anything else than it should, or OSError.
    """
    building = tree.with_name(f".{tree.name}.new")
    fileio.remove_tree(building)
    try:
        _fill(archive, building, (size, most))
        fileio.rename(building, tree)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _fill(archive: Path, building: Path, room: tuple[int, int]) -> None:
    left, files = room
    folders = {building}
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
                path = building / check_tree_path(member.name)
                _write(path, content)
                folders.add(path.parent)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleError(f"the archive is damaged: {error}") from error
    for folder in folders:
        fileio.sync_folder(folder)


def _write(path: Path, content: IO[bytes]) -> None:
    fileio.make_folder(path.parent)
    with fileio.appending(path) as file:
        while chunk := content.read(MIB):
            file.write(chunk)
