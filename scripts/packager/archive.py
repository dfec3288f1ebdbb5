"""Writes tar archives that are the same bytes each time."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from gzip import GzipFile
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Special:
    """What is different about one path.

    Attributes:
        owner: the number of its user and group.
        mode: its permissions; None leaves them.
    """

    owner: int = 0
    mode: int | None = None

    def change(self, member: tarfile.TarInfo) -> tarfile.TarInfo:
        """The member as it is written."""
        member.uid = member.gid = self.owner
        member.uname = member.gname = "" if self.owner else "root"
        member.mode = member.mode if self.mode is None else self.mode
        return member


def write_tar(
    file: IO[bytes] | GzipFile,
    folder: Path,
    above: str = "",
    special: Mapping[str, Special] | None = None,
) -> None:
    """Everything below a folder, with names that begin with `above`.

    All of it is root's and has its permissions, but for what is special, by path.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            change = (special or {}).get(str(path.relative_to(folder)), Special()).change
            name = f"{above}{path.relative_to(folder)}"
            archive.add(path, name, recursive=False, filter=change)
