"""Where a kit lies on the device until what it brings has ended: one file, one at a time.

The medium may be pulled out, and the power may go, as soon as the kit is on the shelf; the
supervisor then fetches from it as from the manager, blob by blob, into its store. A kit that comes
while another one is being taken in lies beside it until it is judged, and takes its place only
then: one that is refused costs the other nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.errors import KitError
from sealane.kit.file import Kit, contents
from sealane.names import hex_of

from sealane_agent.hashing import Sha256
from sealane_agent.kit.turn import my_turn
from sealane_agent.uplink.fetch import SourceTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from sealane.kit.index import Index
    from sealane.names import DeviceId, Digest

    from sealane_agent.layout import StateFolder
    from sealane_agent.store import Store
    from sealane_agent.uplink.fetch import Base, BlobSource

_WAITS = "it is taken up, or refused, when the agent runs: import this one then"
_WRONG = "copy the file again, or ask for another kit: nothing of it was kept"


class Shelf:
    """The kits of one device, and a source of their blobs.

    Attributes:
        kit: that is being taken in by this process; None while none is.
    """

    def __init__(self, folder: StateFolder) -> None:
        self._path, self._next = folder.kit, folder.next_kit
        self.kit: Kit | None = None

    def put(self, file: BinaryIO, device: DeviceId, store: Store) -> Index:
        """Copy what this device needs of a kit, durably; returns what was copied.

        Raises KitError (nothing of it is kept then), Failed when the disk has no room, or OSError.
        """
        kit = Kit.read(file)
        kit.document(device)
        fileio.make_folder(self._path.parent)
        with my_turn(self._path.parent):
            return self._put(kit, device, store)

    def _put(self, kit: Kit, device: DeviceId, store: Store) -> Index:
        waits = self.waits()
        if waits not in ("", kit.index.id):
            raise KitError(f"{waits} was imported before, and waits to be taken up", hint=_WAITS)
        wanted = replace(
            kit.index,
            documents={device: kit.index.documents[device]},
            blobs={each: size for each, size in kit.index.blobs.items() if not store.has(each)},
        )
        store.require_bytes(wanted.content_bytes)
        _check(kit, wanted)
        arriving = self._path.with_name(f".{self._path.name}.new")
        fileio.remove(arriving)
        try:
            with fileio.appending(arriving) as copy:
                for part in contents(kit, wanted):
                    copy.write(part)
            fileio.rename(arriving, self._next)
        except BaseException:
            with suppress(OSError):  # half a kit would only fill the disk
                fileio.remove(arriving)
            raise
        return wanted

    def waits(self) -> str:
        """The id of the kit that is not judged yet; empty for none, or for one that is damaged."""
        try:
            kit = opened(self._next)
        except (FileNotFoundError, KitError):
            return ""
        kit.close()
        return kit.index.id

    def has_one(self) -> bool:
        """Whether a kit lies there, judged or not."""
        return self.newest() is not None

    def newest(self) -> Path | None:
        """Where the kit lies that was brought last."""
        return next((path for path in (self._next, self._path) if path.is_file()), None)

    def keep(self, path: Path, kit: Kit) -> None:
        """Fetch from now on from the kit that was opened there; raises OSError."""
        if path == self._next:
            fileio.rename(path, self._path)
        self.close()
        self.kit = kit

    def drop(self, path: Path) -> None:
        """What lies there is refused; raises OSError."""
        if path == self._next:
            fileio.remove(path)
        else:
            self.clear()

    def close(self) -> None:
        """Fetch from it no more."""
        kit, self.kit = self.kit, None
        if kit is not None:
            kit.close()

    def clear(self) -> None:
        """Nothing needs it any more; raises OSError, and may be repeated then."""
        if self._path.parent.is_dir():
            fileio.remove(self._path)
        self.close()


def opened(path: Path) -> Kit:
    """The kit in a file; raises KitError when it is damaged, or OSError."""
    file = path.open("rb")
    try:
        return Kit.read(file)
    except BaseException:
        file.close()
        raise


class ShelfBlobs:
    """A source of blobs: the shelf first, then another one."""

    def __init__(self, shelf: Shelf, otherwise: BlobSource) -> None:
        self._shelf, self._otherwise = shelf, otherwise

    def fetch(self, digest: Digest, offset: int) -> Iterator[bytes]:
        """Deliver chunks; raises SourceTrouble."""
        kit = self._shelf.kit
        if kit is not None and digest in kit.index.blobs:
            return _from(kit, digest, offset)
        return self._otherwise.fetch(digest, offset)

    def patched(self, digest: Digest, base: Base) -> Iterator[bytes]:
        """Deliver all chunks; raises SourceTrouble."""
        kit = self._shelf.kit
        if kit is not None and digest in kit.index.blobs:
            return _from(kit, digest, 0)
        return self._otherwise.patched(digest, base)


def _from(kit: Kit, digest: Digest, offset: int) -> Iterator[bytes]:
    try:
        yield from kit.blob(digest, offset)
    except (OSError, ValueError, KitError) as error:
        raise SourceTrouble(f"the kit cannot be read: {error}") from error


def _check(kit: Kit, index: Index) -> None:
    """Before anything is written: every blob is what its digest says."""
    for digest in index.blobs:
        found = Sha256()
        for chunk in kit.blob(digest):
            found.update(chunk)
        if found.hexdigest() != hex_of(digest):
            raise KitError(f"a blob of it has changed ({digest[:19]}…)", hint=_WRONG)
