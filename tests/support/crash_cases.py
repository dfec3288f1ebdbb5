"""Every operation of every act, with every fault: runs the cases and says what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane_agent.layout import StateFolder
from support.crash_acts import ACTS
from support.crash_device import Device, Promises
from support.crash_disk import CUTS, KILLS, Died, Fault, FaultyDisk
from support.crash_model import Image, Loss, Model
from support.crash_plant import Plant, ca_folder
from support.crash_promises import STATE, at_rest, scratch

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from support.crash_acts import Act
    from support.crash_disk import Operation

_NO_CHANCE: Final = Random(0)  # noqa: S311 - a cut that takes everything draws nothing


@dataclass(frozen=True)
class Case:
    """One fault at one operation of an act; without a fault nothing fails.

    Attributes:
        disks: the disk of the device.
    """

    fault: Fault | None = None
    at: int = 0
    disks: type[FaultyDisk] = FaultyDisk


@dataclass(frozen=True)
class Start:
    """Where an act begins: what lies on the disk, and what stands around the device."""

    image: Image
    plant: Plant
    promises: Promises


@dataclass(frozen=True)
class Found:
    """What an enumeration came to.

    Attributes:
        operations: of the act.
        cases: a fault at an operation, each.
        runs: cases that leave something that no other case leaves.
        problems: what went wrong.
    """

    operations: int
    cases: int
    runs: int
    problems: tuple[str, ...]


def act_named(name: str) -> Act:
    """One of the acts."""
    return next(act for act in ACTS if act.name == name)


@cache
def start_of(name: str) -> Start:
    """Where an act begins, after all acts before it went well and the power was cut."""
    place = [act.name for act in ACTS].index(name)
    if place == 0:
        ca_folder()  # made outside of the seam
        start = Start(Image(), Plant(), Promises())
    else:
        before = ACTS[place - 1].name
        start, _ = _well(before)
    plant = start.plant.copy()
    ACTS[place].prepare(plant)
    return Start(start.image, plant, start.promises)


@cache
def operations_of(name: str) -> tuple[Operation, ...]:
    """Every operation of an act in which nothing fails."""
    return _well(name)[1]


def enumerate_act(name: str, faults: Collection[Fault]) -> Found:
    """Let every operation of an act fail in each of these ways, each in a case of its own."""
    operations, problems = operations_of(name), []
    cases = [
        (operation.leaves(fault, at), Case(fault, at))
        for at, operation in enumerate(operations, 1)
        for fault in faults
        if operation.can(fault)
    ]
    distinct = dict(reversed(cases))
    for case in distinct.values():
        where = f"{name}, operation {case.at} ({operations[case.at - 1]}), {case.fault}"
        problems += [f"{where}: {problem}" for problem in run_case(name, case)]
    return Found(len(operations), len(cases), len(distinct), tuple(problems))


def run_case(name: str, case: Case) -> list[str]:
    """One case of one act, up to its end; returns what went wrong."""
    act, start = act_named(name), start_of(name)
    with scratch() as root:
        device = _begin(start, root / "a", case)
        _run(act, device)
        if device.disk.found is not None:
            device.problems += at_rest(device.disk.found, device)
            device = _restarted(device, root / "b", case)
            _run(act, device)
        return judged(act, start, device)


@cache
def _well(name: str) -> tuple[Start, tuple[Operation, ...]]:
    """An act in which nothing fails: where it ends, and its operations."""
    with scratch() as root:
        device = _begin(start_of(name), root / "a", Case())
        device.disk.noting = True
        _run(act_named(name), device)
        problems = judged(act_named(name), start_of(name), device)
        assert not problems, (name, problems)
        device.plant.endpoint.start()
        end = Start(_cut(device), device.plant, device.promises)
        return end, tuple(device.disk.operations)


def _begin(start: Start, root: Path, case: Case) -> Device:
    start.image.write(root)
    plant = start.plant.copy()
    disk = case.disks(Model(root), plant.clock, case.fault, case.at)
    return Device(plant, StateFolder(root / STATE), disk, start.promises.copy())


def _run(act: Act, device: Device) -> None:
    try:
        with fileio.using(device.disk):
            act.run(device)
    except Died:
        pass


def _restarted(device: Device, root: Path, case: Case) -> Device:
    """The device after its end: the same disk after a kill, what is left of it after a cut."""
    disk, image = device.disk, device.disk.found
    assert image is not None
    device.close()
    if disk.fault in CUTS:
        image.write(root)
        model = Model(root)
    else:
        assert disk.fault in KILLS
        root, model = disk.model.root, disk.model
        _undo_closing(image, root)
    again = Device(
        device.plant,
        StateFolder(root / STATE),
        case.disks(model, device.plant.clock),
        device.promises,
        device.problems,
    )
    if disk.fault in CUTS:
        again.plant.lines.clear()
        again.plant.boots += 1
        again.plant.endpoint.start()
    return again


def _undo_closing(image: Image, root: Path) -> None:
    """A killed process closes no database: its files are as they were at that moment."""
    for path in root.glob(f"{STATE}/*.db*"):
        path.unlink()
    for name, (_, content) in image.files.items():
        if ".db" in name:
            (root / name).write_bytes(content)


def judged(act: Act, start: Start, device: Device) -> list[str]:
    """What went wrong over the whole case, and what a power cut at its end would lose."""
    plant, problems = device.plant, device.problems
    problems += at_rest(_cut(device), device)
    problems += plant.manager.wrong + plant.endpoint.wrong
    device.close()
    if act.done is not None:
        known, got = len(start.plant.manager.receipts), plant.manager.receipts
        told = tuple((item.verdict, int(item.release.partition("@")[2])) for item in got[known:])
        if told not in {act.receipts, act.or_receipts or act.receipts}:
            problems.append(f"receipts are {told}, not {act.receipts}")
        if [item.sequence for item in got] != list(range(1, len(got) + 1)):
            problems.append(f"receipts are numbered {[item.sequence for item in got]}")
        if [*sorted(plant.manager.stored)] != [*range(1, len(plant.manager.stored) + 1)]:
            problems.append(f"events are numbered {[*sorted(plant.manager.stored)]}")
    return problems


def _cut(device: Device) -> Image:
    model = device.disk.model
    return model.after_power_cut(Loss.ALL, _NO_CHANCE)
