"""Puts a backup back into an empty folder: whole and verified, or not at all.

Then nothing goes on by itself: rollouts that were running are paused, because the devices may be
further than this database knows. What each device serves is taken up when it says hello.
"""

from __future__ import annotations

import io
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from sealane import fileio
from sealane.limits import MIB

from sealane_manager.appearing import building
from sealane_manager.backup.archive import Reader
from sealane_manager.backup.contents import DATABASES
from sealane_manager.backup.seal import unseal
from sealane_manager.blobs import RESERVE_BYTES
from sealane_manager.errors import NoSpace, Refused
from sealane_manager.repository import Repository
from sealane_manager.store.copying import check_database
from sealane_manager.store.store import open_store
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from sealane.names import Digest

    from sealane_manager.backup.contents import Contents
    from sealane_manager.layout import StateFolder


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What to put where.

    Attributes:
        file: the backup, open at its beginning.
        state: a folder that is empty or does not exist.
        passphrase: asked for only when secrets are sealed in it.
    """

    file: BinaryIO
    state: StateFolder
    passphrase: Callable[[], str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back.

    Attributes:
        paused: rollouts that were running when the backup was made.
    """

    contents: Contents
    paused: tuple[str, ...]


def restore(order: RestoreOrder) -> Restored:
    """Raises Refused, NoSpace or OSError; then nothing is left behind."""
    with building(order.state) as inside:
        reader = Reader(order.file)
        contents = reader.contents
        _check_space(contents, inside.root)
        sealed = _unpack(reader, inside.root)
        if contents.seal:
            secrets = unseal(contents, sealed, order.passphrase())
            for path, content in secrets.items():
                _put(inside.root / path, content)
        _check(inside, contents)
        paused = _settle(inside, contents, order.now)
    return Restored(contents, paused)


def _check_space(contents: Contents, folder: Path) -> None:
    needed = sum(entry.size for entry in contents.files)
    free = shutil.disk_usage(folder).free
    if needed + RESERVE_BYTES > free:
        raise NoSpace(
            f"the backup needs {needed // MIB} MiB, the disk has {free // MIB} MiB left",
            hint="free some space, or name a folder on another disk",
        )


def _unpack(reader: Reader, root: Path) -> bytes:
    """Every object in its places; returns what is sealed."""
    places: dict[Digest, list[Path]] = {}
    for entry in reader.contents.files:
        places.setdefault(entry.digest, []).append(root / entry.path)
    sealed = io.BytesIO()

    def take(digest: Digest) -> AbstractContextManager[BinaryIO]:
        if digest not in places:
            return nullcontext(sealed)
        fileio.make_folder(places[digest][0].parent)
        return fileio.appending(places[digest][0])

    reader.objects(take)
    for first, *more in places.values():
        for path in more:
            _put(path, first.read_bytes())
    for folder in {path.parent for each in places.values() for path in each}:
        fileio.sync_folder(folder)
    return sealed.getvalue()


def _put(path: Path, content: bytes) -> None:
    if path.exists():
        raise Refused(f"the backup holds {path.name[:80]!r} twice")
    fileio.make_folder(path.parent)
    fileio.replace(path, content)


def _check(inside: StateFolder, contents: Contents) -> None:
    fleet = FleetSettings.load(inside.settings).fleet
    if fleet != contents.fleet:
        raise Refused(f"the backup says it is of fleet {contents.fleet}, and holds {fleet}")
    for name in DATABASES:
        check_database(inside.root / name)
    Repository(inside.tuf, inside.keys).check()


def _settle(inside: StateFolder, contents: Contents, now: datetime) -> tuple[str, ...]:
    why = f"the manager was restored from a backup of {contents.made_at:%Y-%m-%d %H:%M} UTC"
    store = open_store(inside.database)
    try:
        return store.restoring.settle(why, now)
    finally:
        store.close()
