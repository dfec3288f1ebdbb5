"""What a disk has promised to keep: the durable half of a folder, beside the real one.

The real folder holds what a process sees. This model holds what fsync made durable: contents file
by file, names folder by folder. A power cut makes a new folder from it. A sqlite file is kept as it
was at its last commit under synchronous=FULL.
"""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

FULL = 2
"""`PRAGMA synchronous` from which on a commit is durable."""

_NOT_KEPT = ("-shm", ".sock", ".lock")


class Loss(StrEnum):
    """What a power cut takes of the names and contents that no fsync has covered."""

    ALL = "all"
    CONTENTS = "contents"
    SOME = "some"


@dataclass(eq=False)
class File:
    """A file, whatever names it has.

    Attributes:
        synced: what survives a power cut for certain.
        serial, version: of the file among all, and of what is synced, to tell states apart.
        dirty: something was written since.
        lost: an fsync failed: the system forgot what it had not written, and says so only once.
    """

    synced: bytes = b""
    serial: int = 0
    version: int = 0
    dirty: bool = False
    lost: bool = False


@dataclass(eq=False)
class Folder:
    """A folder: its names as processes see them, and as they are durable."""

    names: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)


Node = File | Folder


@dataclass
class Image:
    """A folder's content in memory: files by relative path, equal identities being one file."""

    folders: list[str] = field(default_factory=list)
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Make a real folder of it."""
        root.mkdir(parents=True)
        for folder in self.folders:
            (root / folder).mkdir()
        first: dict[int, Path] = {}
        for name, (identity, content) in self.files.items():
            if identity in first:
                os.link(first[identity], root / name)
            else:
                first[identity] = root / name
                (root / name).write_bytes(content)

    @classmethod
    def of(cls, root: Path) -> Image:
        """A real folder's content, everything kept."""
        image = cls()
        for name, entry in _below(root):
            if entry.is_dir():
                image.folders.append(name)
            elif entry.is_file() and not name.endswith(_NOT_KEPT):
                image.files[name] = (entry.inode(), (root / name).read_bytes())
        return image


def _below(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All that is in a folder, by its path there; folders before what is in them, in order."""
    for entry in sorted(os.scandir(root), key=attrgetter("name")):
        yield entry.name, entry
        if entry.is_dir():
            for name, each in _below(root / entry.name):
                yield f"{entry.name}/{name}", each


class Model:
    """The durable half of one folder."""

    def __init__(self, root: Path) -> None:
        """Everything that is in the folder now is durable."""
        self.root = root
        self._top = Folder()
        self._open: dict[int, File] = {}
        self._serial = 0
        nodes: dict[int, File] = {}
        for name, entry in _below(root):
            node: Node = Folder()
            if entry.is_file():
                node = nodes.setdefault(entry.inode(), self._new((root / name).read_bytes()))
            parent = self._folder(root / name, above=1)
            assert parent is not None
            parent.names[entry.name] = parent.synced[entry.name] = node

    def copy(self) -> Model:
        """The same at this moment; what is open stays open for nobody."""
        twin = copy.copy(self)
        twin._top, twin._open = copy.deepcopy(self._top), {}
        return twin

    # What was done

    def made(self, path: Path) -> None:
        """A folder was made; it may have existed."""
        if (parent := self._folder(path, above=1)) is not None:
            parent.names.setdefault(path.name, Folder())

    def folder_synced(self, path: Path) -> None:
        """The names in a folder are durable."""
        if (folder := self._folder(path)) is not None:
            folder.synced = dict(folder.names)

    def opened(self, path: Path, descriptor: int) -> None:
        """A file was opened for writing, and made if it was not there."""
        parent = self._folder(path, above=1)
        node = parent.names.setdefault(path.name, self._new()) if parent else self._new()
        assert isinstance(node, File)
        node.dirty = True
        self._open[descriptor] = node

    def synced(self, descriptor: int) -> None:
        """A file's content is durable."""
        node = self._open[descriptor]
        if not node.lost:
            self._keeps(node)
            node.synced = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def sync_failed(self, descriptor: int) -> None:
        """An fsync failed: what it should have written is never written any more."""
        self._open[descriptor].lost = True

    def linked(self, source: Path, target: Path) -> None:
        """A file has a second name."""
        self._put(target, self._take(source))

    def renamed(self, source: Path, target: Path) -> None:
        """A file or folder has another name."""
        self._put(target, self._take(source))
        self.removed(source)

    def removed(self, path: Path) -> None:
        """A name is gone."""
        if (parent := self._folder(path, above=1)) is not None:
            parent.names.pop(path.name, None)

    def committed(self, database: Path, synchronous: int) -> None:
        """A sqlite file has changed; below FULL nobody waited for the disk."""
        parent = self._folder(database.parent)
        assert parent is not None
        for suffix in ("", "-wal"):
            path = database.with_name(database.name + suffix)
            if not path.exists():
                parent.names.pop(path.name, None)
                parent.synced.pop(path.name, None)
                continue
            node = parent.names.setdefault(path.name, self._new())
            assert isinstance(node, File)
            node.dirty = True
            if synchronous >= FULL:
                self._keeps(node)
                parent.synced[path.name] = node
                node.synced = path.read_bytes()

    # What is left

    def after_power_cut(self, loss: Loss, chance: Random) -> Image:
        """What the disk holds when the power is back."""
        image = Image()
        self._keep(image, self._top, "", _Judge(loss, chance, self.root))
        return image

    def states(self) -> tuple[object, object]:
        """What is durable, and the same under all names: tells two moments of one run apart."""
        return _state(self._top, durable=True), _state(self._top, durable=False)

    def pending(self) -> bool:
        """Whether anything that went through the seam is not durable yet."""
        return _pending(self._top)

    def _new(self, synced: bytes = b"") -> File:
        self._serial += 1
        return File(synced, self._serial)

    def _keeps(self, node: File) -> None:
        self._serial += 1
        node.version, node.dirty = self._serial, False

    def _keep(self, image: Image, folder: Folder, prefix: str, judge: _Judge) -> None:
        kept = judge.names(folder)
        for name, node in kept.items():
            path = f"{prefix}{name}"
            if isinstance(node, Folder):
                image.folders.append(path)
                self._keep(image, node, f"{path}/", judge)
            else:
                seen = folder.names.get(name) is node
                image.files[path] = (id(node), judge.content(node, path, seen=seen))
        for path in judge.strays(folder, prefix):
            image.files[path] = (hash(path), judge.stray_content(path))

    def _folder(self, path: Path, above: int = 0) -> Folder | None:
        """The folder of that path, or so many above it; None outside of what is modelled."""
        parts, root = path.parts, self.root.parts
        if parts[: len(root)] != root or len(parts) - above < len(root):
            return None
        node: Node | None = self._top
        for name in parts[len(root) : len(parts) - above]:
            node = node.names.get(name) if isinstance(node, Folder) else None
        return node if isinstance(node, Folder) else None

    def _take(self, path: Path) -> Node:
        parent = self._folder(path, above=1)
        assert parent is not None
        return parent.names[path.name]

    def _put(self, path: Path, node: Node) -> None:
        parent = self._folder(path, above=1)
        assert parent is not None
        parent.names[path.name] = node


def _state(folder: Folder, *, durable: bool) -> object:
    names = folder.synced if durable else folder.names
    return tuple(
        (
            name,
            _state(node, durable=durable)
            if isinstance(node, Folder)
            else (node.serial, node.version),
        )
        for name, node in sorted(names.items())
    )


def _pending(folder: Folder) -> bool:
    return folder.names != folder.synced or any(
        _pending(node) if isinstance(node, Folder) else node.dirty for node in folder.names.values()
    )


@dataclass
class _Judge:
    """Decides what a power cut leaves of each folder and file.

    Files that did not go through the seam (python-tuf's cache) are never durable: they are gone,
    empty, or there by luck.
    """

    loss: Loss
    chance: Random
    root: Path
    drawn: dict[int, bytes] = field(default_factory=dict)

    def names(self, folder: Folder) -> dict[str, Node]:
        if self.loss is Loss.ALL or (self.loss is Loss.SOME and self.chance.random() < 0.5):
            return folder.synced
        return folder.names

    def content(self, node: File, path: str, *, seen: bool) -> bytes:
        """What is left of a file; `seen` says that processes find it under this path."""
        if self.loss is not Loss.SOME or node.lost or ".db" in path or not seen:
            return node.synced
        if id(node) not in self.drawn:
            self.drawn[id(node)] = self._some(node.synced, path)
        return self.drawn[id(node)]

    def strays(self, folder: Folder, prefix: str) -> list[str]:
        real = self.root / prefix
        if self.loss is Loss.ALL or not real.is_dir():
            return []
        paths = (path for path in real.iterdir() if path.is_file())
        names = {path.name for path in paths if not path.name.endswith(_NOT_KEPT)}
        return [f"{prefix}{name}" for name in sorted(names - {*folder.names, *folder.synced})]

    def stray_content(self, path: str) -> bytes:
        return b"" if self.loss is Loss.CONTENTS else self._some(b"", path)

    def _some(self, synced: bytes, path: str) -> bytes:
        real = self.root / path
        live = real.read_bytes() if real.is_file() else synced
        if live == synced:
            return synced
        choices: tuple[Callable[[], bytes], ...] = (
            lambda: live,
            lambda: synced,
            lambda: live[: len(live) // 2],
        )
        return self.chance.choice(choices)()
