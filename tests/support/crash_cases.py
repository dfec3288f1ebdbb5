"""Every operation of every act, with every fault: runs the cases and says what went wrong.

Until its fault a case is what the act is without one. So a case that ends the process begins where
that leaves it, which was noted in one pass over the act; `run_case` lives through it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane_agent.layout import StateFolder
from support.crash_acts import ACTS
from support.crash_deaths import Witness
from support.crash_device import Device, Promises
from support.crash_disk import CUTS, ERRORS, KILLS, Died, Fault, FaultyDisk
from support.crash_model import Image, Loss, Model
from support.crash_plant import Plant, ca_folder
from support.crash_promises import STATE, at_rest, scratch

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from support.crash_acts import Act
    from support.crash_deaths import Death, Place
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
        (operation.leaves(fault, at), (fault, at))
        for at, operation in enumerate(operations, 1)
        for fault in faults
        if operation.can(fault)
    ]
    distinct = dict(reversed(cases))
    deaths = deaths_of(name, {*distinct.values()})
    for fault, at in distinct.values():
        where = f"{name}, operation {at} ({operations[at - 1]}), {fault}"
        death = deaths.pop((fault, at), None)
        found = run_case(name, Case(fault, at)) if death is None else live_on(name, death)
        problems += [f"{where}: {problem}" for problem in found]
    return Found(len(operations), len(cases), len(distinct), tuple(problems))


def deaths_of(name: str, wanted: Collection[Place]) -> dict[Place, Death]:
    """What each of these faults leaves of a device; of those that do not end it, nothing."""
    deadly = frozenset(place for place in wanted if place[0] not in ERRORS)
    if not deadly:
        return {}
    start, plant = start_of(name), start_of(name).plant.copy()
    with scratch() as root:
        start.image.write(root / "a")
        disk = Witness(Model(root / "a"), plant.clock, wanted=deadly)
        device = Device(plant, StateFolder(root / "a" / STATE), disk, start.promises.copy())
        disk.device = device
        _run(act_named(name), device)
        device.close()
    assert [*map(str, disk.operations)] == [*map(str, operations_of(name))], f"{name} is by chance"
    return disk.deaths


def live_on(name: str, death: Death) -> list[str]:
    """A device that has died is started again, up to the end of the act; what went wrong."""
    act, plant = act_named(name), death.plant
    with scratch() as root:
        place = root / "b"
        death.image.write(place)
        model = death.model or Model(place)
        model.root = place
        disk = FaultyDisk(model, plant.clock)
        device = Device(plant, StateFolder(place / STATE), disk, death.promises)
        device.problems += at_rest(death.image, device)
        _start_again(device, switched_on=death.model is None)
        _run(act, device)
        return judged(act, start_of(name), device)


def died_of(name: str, case: Case) -> Device:
    """The device of a case after its death, for looking at it: it lies nowhere any more."""
    with scratch() as root:
        device = _begin(start_of(name), root / "a", case)
        _run(act_named(name), device)
        device.close()
        return device


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
    _start_again(again, switched_on=disk.fault in CUTS)
    return again


def _start_again(device: Device, *, switched_on: bool) -> None:
    """What is new around a device when its process begins; `switched_on`: all its processes."""
    plant = device.plant
    if switched_on:
        plant.lines.clear()
        plant.boots += 1
    if switched_on or plant.endpoint.keeping:
        plant.endpoint.start()


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
