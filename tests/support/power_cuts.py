"""A device's whole life on a real file system, whose power is cut before every operation."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sealane import fileio
from sealane.disk import Disk
from sealane_agent.layout import StateFolder
from support.crash_acts import ACTS
from support.crash_cases import Start, judged
from support.crash_device import Device, Promises
from support.crash_disk import FaultyDisk
from support.crash_model import Image, Model
from support.crash_plant import Plant, ca_folder
from support.crash_promises import STATE, at_rest

if TYPE_CHECKING:
    from pathlib import Path

    from support.crash_acts import Act
    from support.power import Lab


@dataclass
class Cuts:
    """What cutting came to.

    Attributes:
        every: of so many cuts one goes on living, until the act is at its end.
        looked, lived: how many were looked at, and how many of them lived on.
    """

    lab: Lab
    every: int
    looked: int = 0
    lived: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Life:
    """One act on the real file system; `device` is the one that lives it."""

    act: Act
    start: Start
    cuts: Cuts
    device: Device | None = None
    cutting: bool = False

    def cut(self, where: str) -> None:
        """Look at what a power cut would leave now."""
        device, cuts = self.device, self.cuts
        if device is None or self.cutting:
            return
        self.cutting = True
        with cuts.lab.after_cut() as rest:
            cuts.looked += 1
            problems = at_rest(Image.of(rest), device)
            if cuts.looked % cuts.every == 0:
                cuts.lived += 1
                # In a thread: this operation may have come from an event loop of this one.
                with ThreadPoolExecutor(1) as aside:
                    problems += aside.submit(self._lived_on, rest).result()
        cuts.problems += [f"{self.act.name}, {where}: {problem}" for problem in problems]
        self.cutting = False

    def _lived_on(self, rest: Path) -> list[str]:
        assert self.device is not None
        plant = self.device.plant.copy()
        plant.boots += 1
        disk, promises = FaultyDisk(Model(rest), plant.clock), self.device.promises.copy()
        again = Device(plant, StateFolder(rest / STATE), disk, promises)
        plant.endpoint.start()
        with fileio.using(disk):
            self.act.run(again)
        return judged(self.act, self.start, again)


@dataclass
class RealDisk(FaultyDisk):
    """A disk that really waits for what an fsync covers, and is cut before each operation."""

    life: Life | None = None
    forgetful: bool = False

    def before(self, step: object) -> None:
        """Cut here first: everything that was promised since the last operation counts."""
        if self.life is not None:
            self.life.cut(f"before operation {len(self.operations) + 1} ({step})")
        super().before(step)  # type: ignore[arg-type]  # a step, seen here only by its name

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        if not self.forgetful:
            Disk().sync_folder(path)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        if not self.forgetful:
            os.fsync(descriptor)


def live(lab: Lab, every: int, *, forgetful: bool = False) -> tuple[Cuts, int]:
    """All acts, one after the other; returns what the cuts found, and how many operations."""
    ca_folder()  # made outside of the seam
    cuts, plant, promises, operations = Cuts(lab, every), Plant(), Promises(), 0
    for act in ACTS:
        act.prepare(plant)
        life = Life(act, Start(Image(), plant.copy(), promises.copy()), cuts)
        disk = RealDisk(Model(lab.root), plant.clock, life=life, forgetful=forgetful)
        life.device = Device(plant, StateFolder(lab.root / STATE), disk, promises)
        with fileio.using(disk):
            act.run(life.device)
        life.cut("at its end")
        life.device.close()
        operations += len(disk.operations)
        if forgetful and cuts.problems:
            break
        plant = replace(plant, lines=[])
    return cuts, operations
