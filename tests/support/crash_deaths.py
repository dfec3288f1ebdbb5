"""What a device's deaths would leave, noted while it lives through an act in which nothing fails.

Up to its fault every case of an act is the same: what was there at an operation is noted once, for
all deaths at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.crash_disk import KILLS, LOSSES, Fault, FaultyDisk, half_of, half_way, log_of, luck
from support.crash_model import Image

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer
    from sealane.disk import Database
    from support.crash_device import Device, Promises
    from support.crash_disk import Step
    from support.crash_model import Model
    from support.crash_plant import Plant

    Place = tuple[Fault, int]


@dataclass(frozen=True)
class Death:
    """What is there when a device has died.

    Attributes:
        image: what is on its disk.
        model: of the disk, as long as its power stayed; None after a cut.
        plant, promises: of that moment; whoever lives on from here changes them.
    """

    image: Image
    model: Model | None
    plant: Plant
    promises: Promises


@dataclass
class Witness(FaultyDisk):
    """A disk on which nothing fails, and which notes deaths.

    Attributes:
        wanted: which.
        device: whose disk it is.
    """

    wanted: frozenset[Place] = frozenset()
    device: Device | None = None
    deaths: dict[Place, Death] = field(default_factory=dict)
    _half: bytes = b""
    _log: bytes = b""
    _step: Step | None = None

    def write(self, descriptor: int, content: ReadableBuffer) -> int:
        self._half = bytes(half_of(content))
        return super().write(descriptor, content)

    def execute(self, database: Database, statement: str) -> None:
        log = log_of(database)
        self._log = log.read_bytes() if log.exists() else b""
        super().execute(database, statement)

    def before(self, step: Step) -> None:
        """Note who dies before the operation, or half way through a write."""
        super().before(step)
        self._step = step
        if self._wants(Fault.KILL_BEFORE):
            self._note(Fault.KILL_BEFORE, Image.of(self.model.root))
        if self._wants(Fault.TORN) and step.kind == "write":
            self._note(Fault.TORN, self._torn(step.path, step.path.read_bytes() + self._half))

    def after(self) -> None:
        """Note who dies after the operation, or half way through a commit."""
        super().after()
        step, root = self._step, self.model.root
        assert step is not None
        for fault, loss in LOSSES.items():
            if self._wants(fault):
                self._note(fault, self.model.after_power_cut(loss, luck(len(self.operations))))
        if self._wants(Fault.KILL_AFTER):
            self._note(Fault.KILL_AFTER, Image.of(root))
        if self._wants(Fault.TORN) and step.kind == "execute":
            log = step.path.with_name(f"{step.path.name}-wal")
            image = Image.of(root)
            if log.exists():
                image = self._torn(log, half_way(self._log, log.read_bytes()))
            self._note(Fault.TORN, image)

    def _torn(self, path: Path, content: bytes) -> Image:
        """Everything, but of this file that content."""
        image = Image.of(self.model.root)
        name = str(path.relative_to(self.model.root))
        image.files[name] = (image.files[name][0], content)
        return image

    def _wants(self, fault: Fault) -> bool:
        return (fault, len(self.operations)) in self.wanted

    def _note(self, fault: Fault, image: Image) -> None:
        device = self.device
        assert device is not None
        model = self.model.copy() if fault in KILLS else None
        death = Death(image, model, device.plant.copy(), device.promises.copy())
        self.deaths[fault, len(self.operations)] = death
