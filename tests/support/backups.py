"""Backups of small fleets, and archives that an attacker would make."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sealane_manager.backup.archive import Writer
from sealane_manager.backup.restore import Restored, RestoreOrder, restore
from sealane_manager.backup.take import BackupOrder, backup
from sealane_manager.layout import StateFolder
from sealane_manager.store.store import open_store
from support.manager import make_state

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.backup.contents import Contents

NOW: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
PASSPHRASE: Final = "a long enough passphrase"  # noqa: S105 - of tests alone


def served_state(folder: Path) -> StateFolder:
    """A fleet whose manager has run."""
    state = make_state(folder)
    open_store(state.database).close()
    return state


def taken(
    state: StateFolder, out: Path, *, passphrase: str | None = PASSPHRASE, blobs: bool = True
) -> Contents:
    """A backup of a state folder."""
    return backup(BackupOrder(state, out, passphrase, blobs, "1.2.3", NOW))


def put_back(file: Path, root: Path, passphrase: str = PASSPHRASE) -> Restored:
    """Restore a backup into a folder."""
    with file.open("rb") as opened:
        return restore(RestoreOrder(opened, StateFolder(root), lambda: passphrase, NOW))


def files_of(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, but locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def archived(contents: Contents, objects: list[tuple[str, bytes]]) -> bytes:
    """An archive whose manifest says one thing and whose members are what an attacker likes."""
    out = io.BytesIO()
    writer = Writer(out)
    writer.manifest(contents)
    for name, content in objects:
        out.write(member(name, content))
    writer.close()
    return out.getvalue()


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """One member of a tar archive."""
    header = tarfile.TarInfo(name)
    header.size, header.type, header.linkname = len(content), kind, target
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
