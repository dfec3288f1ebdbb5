"""What a device has promised, and what of it a disk keeps when no process runs on it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.disk import Disk
from sealane.errors import KitError, SealaneError
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.types import TelemetryAck
from sealane.trust import anchor, highwater
from sealane_agent.config import IdentityFiles
from sealane_agent.identity.passport import Passport
from sealane_agent.kit.shelf import opened
from sealane_agent.layout import StateFolder
from sealane_agent.recollection import Recollection
from sealane_agent.runtimes import ability
from sealane_agent.serving import footprint
from sealane_agent.serving.app import read_pointer
from sealane_agent.slot import qualification
from sealane_agent.slot.journal import Journal
from sealane_agent.slot.state import ENDED
from sealane_agent.telemetry.spool import Spool
from sealane_manager.identity.enrolment import key_named, proven_key
from sealane_manager.identity.succession import Ruling, met, renewed
from support.agent_fakes import CAM
from support.crash_endpoint import broken_files
from support.crash_kit import KIT
from support.crash_plant import shown_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.telemetry.types import Window
    from support.crash_device import Device
    from support.crash_model import Image

STATE: Final = "state"
"""The state folder's name on the modelled disk."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder in memory where there is one: the disk is modelled, and thousands are made."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def at_rest(image: Image, device: Device) -> list[str]:
    """What of the promises a disk without any process on it does not keep."""
    with scratch() as root, fileio.using(Disk()):
        image.write(root / "rest")
        state = StateFolder(root / "rest" / STATE)
        try:
            lost = [*_lost(state, device), *_miscounted(state, device), *_half_there(state)]
            return [*lost, *_unserved(state, device), *_unshelved(state, device)]
        except (OSError, SealaneError, sqlite3.Error) as error:
            return [f"what is on the disk cannot be read: {error!r}"]


def _lost(state: StateFolder, device: Device) -> Iterator[str]:
    promises, stored = device.promises, device.plant.manager.stored
    if promises.enrolled:
        files = IdentityFiles(state.identity)
        passport = Passport(files, files.read())
        yield from _locked_out(passport, device)
        anchor.read_root(state.trust)
    if promises.marks is not None:
        now = highwater.load(state.trust / anchor.MARKS_FILE)
        for name in ("director", "time", "timestamp", "snapshot"):
            mark, before = getattr(now, name), getattr(promises.marks, name)
            if mark.keys == before.keys and mark.version < before.version:
                yield f"the mark of {name} went from {before.version} to {mark.version}"
        if now.root < promises.marks.root:
            yield f"the mark of root went from {promises.marks.root} to {now.root}"
    if not promises.events:
        return
    journal = Journal(state.journal)
    pending = {event.sequence: event for event in journal.events(0)}
    record = journal.read(CAM)
    away = record.quarantined
    journal.close()
    for sequence, event in promises.events.items():
        if event not in {stored.get(sequence), pending.get(sequence)}:
            yield f"event {sequence} is lost: {event.body}"
    gone = (promises.quarantined - set(away)) | (promises.left - set(record.ordered))
    yield from (f"{digest} has left its quarantine" for digest in gone)


def _miscounted(state: StateFolder, device: Device) -> Iterator[str]:
    """Every request is counted once, by the endpoint, in the spool or by the manager."""
    plant, counted = device.plant, 0
    if not plant.requests:
        return
    bodies, stored = dict(plant.manager.batches), ""
    if state.telemetry.exists():
        spool = Spool(state.telemetry, "at rest")
        stored = spool.stored
        while (batch := spool.next_batch()) is not None:
            bodies.setdefault((batch.boot, batch.sequence), batch.body)
            spool.acknowledge(TelemetryAck(batch.boot, batch.sequence))
        spool.close()
    counted = sum(requests_in(decode_windows(body)) for body in bodies.values())
    for name, window in plant.endpoint.windows:
        counted += 0 if name == stored else requests_in((window,))
    if counted != plant.requests:
        yield f"of {plant.requests} requests {counted} are counted"


def _half_there(state: StateFolder) -> list[str]:
    """What may be missing, since it is found out again, but is never damaged."""
    damaged: list[str] = []

    def tell(event: str, **fields: object) -> None:
        damaged.append(f"{event}: {fields}")

    Recollection(state.qualified, tell).read(qualification.decode)
    Recollection(state.footprints, tell).read(footprint.decode)
    Recollection(state.engines, tell).read(ability.decode)
    return damaged


def _unshelved(state: StateFolder, device: Device) -> Iterator[str]:
    """A kit that was taken up lies there until what it brings has ended."""
    if not device.promises.carried:
        return
    journal = Journal(state.journal)
    attempt = journal.read(CAM).attempt
    journal.close()
    theirs = attempt is not None and attempt.rollout.startswith(KIT)
    if theirs and attempt is not None and (attempt.state in ENDED or attempt.rollout != KIT):
        return
    try:
        kit = opened(state.kit)
    except (OSError, KitError) as error:
        yield f"the kit is lost: {error}"
        return
    kit.close()
    if kit.index.id != KIT:
        yield f"{kit.index.id} lies where the kit lay"


def requests_in(windows: tuple[Window, ...]) -> int:
    """How many requests these windows count."""
    return sum(model.requests for window in windows for model in window.models)


def _locked_out(passport: Passport, device: Device) -> Iterator[str]:
    """A key that the manager takes for a clone's, now or when it is renewed."""
    keys, shown = device.plant.manager.keys, shown_by(passport.membership)
    assert keys is not None
    asked = key_named(proven_key(passport.request()))
    for ruling in (met(keys, shown)[1], renewed(keys, shown, asked, device.plant.clock.now())[1]):
        if ruling in {Ruling.CLONE, Ruling.STRANGER}:
            yield f"the device would be taken for a {ruling}"


def _unserved(state: StateFolder, device: Device) -> Iterator[str]:
    for slot in sorted(device.promises.served):
        pointer = read_pointer(state, slot)
        if pointer is None:
            yield f"no pointer of {slot} can be read"
        else:
            yield from broken_files(state, pointer)
            if pointer.manifest in device.promises.quarantined | device.promises.left:
                yield f"{slot} would serve {pointer.release} from quarantine"
