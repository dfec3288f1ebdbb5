"""Makes a backup of a manager's state folder while the manager runs, or while it does not.

The order makes it consistent: databases first, then timestamp.json, then the metadata that it
names, then the blobs. Each of them was there before the one that speaks of it.
"""

from __future__ import annotations

import io
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.names import Digest

from sealane_manager.appearing import check_folder
from sealane_manager.backup import archive
from sealane_manager.backup.contents import (
    BLOBS,
    DATABASES,
    SEALED_BYTES,
    Contents,
    FileEntry,
    is_passing,
    is_public,
)
from sealane_manager.backup.seal import seal
from sealane_manager.errors import Refused
from sealane_manager.store.copying import copy_database
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import BinaryIO

    from sealane_manager.layout import StateFolder

_TIMESTAMP: Final = "tuf/timestamp.json"
_HEX_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """What to take.

    Attributes:
        out: the new file.
        passphrase: seals the secrets; None leaves them out.
        blobs: take the bundles' blobs too, not only their digests.
        version: of this manager.
    """

    state: StateFolder
    out: Path
    passphrase: str | None
    blobs: bool
    version: str
    now: datetime


@dataclass(slots=True)
class _Taken:
    """What was found: files that may be read by everybody, where to read them, and secrets."""

    files: list[FileEntry] = field(default_factory=list)
    sources: dict[Digest, Path] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)

    def add(self, name: str, path: Path) -> None:
        """A file that does not change any more."""
        with path.open("rb") as file:
            digest = Digest(f"sha256:{file_digest(file, 'sha256').hexdigest()}")
        self.sources.setdefault(digest, path)
        self.files.append(FileEntry(name, path.stat().st_size, digest))


def backup(order: BackupOrder) -> Contents:
    """Make the file; it is there whole or not at all. Raises SealaneError or OSError."""
    fleet = FleetSettings.load(order.state.settings).fleet
    if order.out.exists():
        raise Refused(f"{order.out} exists already", hint="a backup overwrites no other")
    check_folder(order.out.parent)
    with tempfile.TemporaryDirectory(dir=order.out.parent, prefix=".backup-") as scratch:
        taken = _take(order.state.root, Path(scratch))
        blobs = _blobs(order.state.root)
        contents = Contents(
            fleet=fleet,
            made_at=order.now,
            version=order.version,
            files=(*taken.files, *(blobs if order.blobs else {})),
            left_out=() if order.passphrase is not None else tuple(taken.secrets),
            missing=() if order.blobs else tuple(blobs),
        )
        sealed = b""
        if order.passphrase is not None:
            contents, sealed = seal(contents, taken.secrets, order.passphrase)
        sources = taken.sources | {entry.digest: path for entry, path in blobs.items()}
        with _appearing(order.out) as file:
            _write(file, contents, sources, sealed)
    return contents


def _take(root: Path, scratch: Path) -> _Taken:
    taken = _Taken()
    for name in DATABASES:
        copy_database(root / name, scratch / name)
        taken.add(name, scratch / name)
    for number, name in enumerate(_others(root)):
        if not is_public(name):
            taken.secrets[name] = _secret(root / name)
            continue
        kept = scratch / str(number)
        kept.write_bytes((root / name).read_bytes())
        taken.add(name, kept)
    return taken


def _others(root: Path) -> list[str]:
    """Every other file, the repository's timestamp before what it names."""
    names = (
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    wanted = [name for name in names if name not in DATABASES and not is_passing(name)]
    return sorted(wanted, key=lambda name: (name != _TIMESTAMP, name))


def _secret(path: Path) -> bytes:
    if path.stat().st_size > SEALED_BYTES:
        raise Refused(
            f"{path} is too large for a secret, and nothing else is known of it",
            hint="move out of the state folder what is not the manager's",
        )
    return path.read_bytes()


def _blobs(root: Path) -> dict[FileEntry, Path]:
    folder = root / BLOBS
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {
        FileEntry(f"{BLOBS}{path.name}", path.stat().st_size, Digest(f"sha256:{path.name}")): path
        for path in paths
        if len(path.name) == _HEX_CHARS
    }


def _write(file: BinaryIO, contents: Contents, sources: dict[Digest, Path], sealed: bytes) -> None:
    writer = archive.Writer(file)
    writer.manifest(contents)
    for digest, size in contents.objects.items():
        if contents.seal and digest == contents.seal.digest:
            writer.add(digest, size, io.BytesIO(sealed))
        else:
            with sources[digest].open("rb") as source:
                writer.add(digest, size, source)
    writer.close()


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A file that has its name when everything in it is durable."""
    temporary = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    try:
        with fileio.appending(temporary) as file:
            yield file
        fileio.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
