"""A disk that counts its operations, and lets one of them fail in a way that disks fail."""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np
from sealane.disk import Disk
from support.crash_model import Image, Loss, Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer
    from sealane.disk import Database
    from support.trust import ManualClock

TROUBLE_S: Final = 30.0
"""How long a disk stays full or read-only, before somebody helps it."""


class Died(BaseException):
    """The process ends here; a BaseException, because no handler sees a SIGKILL."""


class Fault(StrEnum):
    """What happens at an operation."""

    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    CUT_ALL = "power cut, everything unsynced lost"
    CUT_CONTENTS = "power cut, names kept, unsynced contents lost"
    CUT_SOME = "power cut, some of what was unsynced lost"
    TORN = "torn write"
    NO_SPACE = "ENOSPC"
    IO_ERROR = "EIO"
    READ_ONLY = "EROFS"


KILLS: Final = frozenset({Fault.KILL_BEFORE, Fault.KILL_AFTER})
LOSSES: Final = {
    Fault.CUT_ALL: Loss.ALL,
    Fault.CUT_CONTENTS: Loss.CONTENTS,
    Fault.CUT_SOME: Loss.SOME,
}
CUTS: Final = frozenset({*LOSSES, Fault.TORN})
ERRORS: Final = {
    Fault.NO_SPACE: (errno.ENOSPC, "database or disk is full"),
    Fault.IO_ERROR: (errno.EIO, "disk I/O error"),
    Fault.READ_ONLY: (errno.EROFS, "attempt to write a readonly database"),
}

GROWING: Final = frozenset({"make folder", "open", "write", "sync", "link", "rename", "execute"})
CHANGING: Final = GROWING - {"sync"} | {"unlink", "remove folder"}


@dataclass
class Operation:
    """One operation of a run.

    Attributes:
        told: how much the world had heard of the device before it, and after it.
        durable, seen: what was durable after it, and the same under the names of that moment.
        pending: whether anything was not durable then.
    """

    kind: str
    path: str
    told: tuple[int, int]
    durable: object = None
    seen: object = None
    pending: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"

    def can(self, fault: Fault) -> bool:
        """Whether disks fail in this way at such an operation."""
        match fault:
            case Fault.TORN:
                return self.kind in {"write", "execute"}
            case Fault.NO_SPACE:
                return self.kind in GROWING
            case Fault.READ_ONLY:
                return self.kind in CHANGING
        return True

    def leaves(self, fault: Fault, at: int) -> object:
        """Names what the fault leaves behind: two faults that leave the same are one case."""
        before, after = self.told
        match fault:
            case Fault.KILL_BEFORE:
                return "kill", at - 1, before
            case Fault.KILL_AFTER:
                return "kill", at, after
            case Fault.CUT_SOME if self.pending:
                return "cut", self.durable, self.seen, after
            case Fault.CUT_CONTENTS:
                return "cut", self.seen, after
            case Fault.CUT_ALL | Fault.CUT_SOME:
                return "cut", self.durable, after
        return fault, at


@dataclass
class FaultyDisk(Disk):
    """A real disk with a model of what is durable, and one fault at its `at`-th operation.

    Attributes:
        operations: everything that was asked for.
        told: how often the world has heard something of the device.
        noting: every operation is noted with what it left durable.
        found: after death, what was on the disk at that moment.
        died: called at death.
    """

    model: Model
    clock: ManualClock
    fault: Fault | None = None
    at: int = 0
    operations: list[Operation] = field(default_factory=list)
    told: int = 0
    noting: bool = False
    found: Image | None = None
    died: Callable[[], None] = lambda: None
    _until: float = 0.0
    _paths: dict[int, Path] = field(default_factory=dict)

    def require_alive(self) -> None:
        """Raise Died when the process has ended: nothing that it does counts any more."""
        if self.found is not None:
            raise Died

    def tell(self) -> None:
        """Count that the world hears something; raises Died when there is nobody to tell it."""
        self.require_alive()
        self.told += 1

    # The seam

    def make_folder(self, path: Path, mode: int) -> None:
        with Step(self, "make folder", path):
            super().make_folder(path, mode)
            self.model.made(path)

    def sync_folder(self, path: Path) -> None:
        with Step(self, "sync folder", path):
            self.model.folder_synced(path)

    def open(self, path: Path, flags: int, mode: int) -> int:
        with Step(self, "open", path):
            descriptor = super().open(path, flags, mode)
            self.model.opened(path, descriptor)
            self._paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, content: ReadableBuffer) -> int:
        half = half_of(content)
        with Step(self, "write", self._paths[descriptor], lambda: os.write(descriptor, half)):
            return super().write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        path = self._paths[descriptor]
        with Step(self, "sync", path, lambda: self.model.sync_failed(descriptor)):
            self.model.synced(descriptor)

    def link(self, source: Path, target: Path) -> None:
        with Step(self, "link", target):
            super().link(source, target)
            self.model.linked(source, target)

    def rename(self, source: Path, target: Path) -> None:
        with Step(self, "rename", target):
            super().rename(source, target)
            self.model.renamed(source, target)

    def unlink(self, path: Path) -> None:
        with Step(self, "unlink", path):
            super().unlink(path)
            self.model.removed(path)

    def remove_folder(self, path: Path) -> None:
        with Step(self, "remove folder", path):
            super().remove_folder(path)
            self.model.removed(path)

    def execute(self, database: Database, statement: str) -> None:
        assert isinstance(database, sqlite3.Connection)
        path = _path_of(database)

        def torn() -> None:
            wal = log_of(database)
            before = wal.read_bytes() if wal.exists() else b""
            database.execute(statement)
            if wal.exists():
                self._torn_file = (wal, half_way(before, wal.read_bytes()))

        with Step(self, "execute", path, torn):
            database.execute(statement)
            (synchronous,) = database.execute("PRAGMA synchronous").fetchone()
            self.model.committed(path, synchronous)

    # Faults

    _torn_file: tuple[Path, bytes] | None = None

    def before(self, step: Step) -> None:
        """Count the operation, and fail before it has happened."""
        self.require_alive()
        path = _relative(step.path, self.model.root)
        operation = Operation(step.kind, path, (self.told, self.told))
        if self.clock.ticks < self._until and self.fault and operation.can(self.fault):
            self._raise(step)
        self.operations.append(operation)
        if len(self.operations) != self.at or self.fault is None:
            return
        if self.fault is Fault.KILL_BEFORE:
            self.die()
        if self.fault is Fault.TORN:
            step.torn()
            self.die()
        if self.fault in ERRORS:
            if step.kind != "execute":
                step.torn()
            if self.fault is not Fault.IO_ERROR:
                self._until = self.clock.ticks + TROUBLE_S
            self._raise(step)

    def after(self) -> None:
        """Note what the operation left, and die if it is time to."""
        if self.noting:
            last = self.operations[-1]
            last.durable, last.seen = self.model.states()
            last.pending = self.model.pending()
        if len(self.operations) == self.at and self.fault in KILLS | CUTS:
            self.die()

    def die(self) -> None:
        """End the process here."""
        self.found = self._what_is_left()
        self.died()
        raise Died

    def _what_is_left(self) -> Image:
        if self.fault in LOSSES:
            return self.model.after_power_cut(LOSSES[self.fault], luck(self.at))
        image = Image.of(self.model.root)
        if self._torn_file is not None:
            path, content = self._torn_file
            name = _relative(path, self.model.root)
            image.files[name] = (image.files[name][0], content)
        return image

    def _raise(self, step: Step) -> None:
        assert self.fault is not None
        code, message = ERRORS[self.fault]
        if step.kind == "execute":
            raise sqlite3.OperationalError(message)
        raise OSError(code, os.strerror(code), str(step.path))


class Step:
    """One operation: what comes before it, and what comes after."""

    def __init__(
        self, disk: FaultyDisk, kind: str, path: Path, torn: Callable[[], object] = lambda: None
    ) -> None:
        self.disk, self.kind, self.path, self.torn = disk, kind, path, torn

    def __enter__(self) -> None:
        self.disk.before(self)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.disk.after()


def luck(at: int) -> Random:
    """Decides which losses a cut at that operation brings, the same in every run."""
    return Random(at)  # noqa: S311 - see above


def half_of(content: ReadableBuffer) -> memoryview:
    """What a torn write brings to the disk."""
    return memoryview(content)[: len(memoryview(content)) // 2]


def log_of(database: Database) -> Path:
    """The write-ahead log of a sqlite file; it may not exist."""
    path = _path_of(database)
    return path.with_name(f"{path.name}-wal")


def _path_of(database: Database) -> Path:
    assert isinstance(database, sqlite3.Connection)
    return Path(database.execute("PRAGMA database_list").fetchone()[2])


def _relative(path: Path, root: Path) -> str:
    below = len(root.parts)
    inside = path.parts[:below] == root.parts
    return "/".join(path.parts[below:]) if inside else os.path.relpath(path, root)


def half_way(before: bytes, after: bytes) -> bytes:
    """The file when half of what changed had reached the disk."""
    padded = before.ljust(len(after), b"\0")[: len(after)]
    changed = np.flatnonzero(np.frombuffer(padded, np.uint8) != np.frombuffer(after, np.uint8))
    if not changed.size:
        return after
    middle = (int(changed[0]) + int(changed[-1]) + 1) // 2
    return after[:middle] + before[middle:]
