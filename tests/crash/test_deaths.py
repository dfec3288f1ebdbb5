"""What is noted of a death in passing is what a device leaves that really dies there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.fleet import SlotReport
from support.crash_cases import Case, deaths_of, died_of, operations_of
from support.crash_disk import CUTS, KILLS

if TYPE_CHECKING:
    from support.crash_device import Promises
    from support.crash_disk import Fault
    from support.crash_model import Image

ACT = "kit"
"""Its operations are of every kind, and of the endpoint, too."""

STEP = 9
"""Each so many-th operation is looked at."""


def kept(image: Image) -> tuple[list[str], dict[str, bytes | None]]:
    """Folders and files; databases, which hold signatures made by chance, by their names."""
    files = {name: None if ".db" in name else content for name, (_, content) in image.files.items()}
    return image.folders, files


def acknowledged(promises: Promises) -> Promises:
    """Without receipts, whose signatures are made by chance."""
    events = promises.events.items()
    told = {number: event for number, event in events if isinstance(event.body, SlotReport)}
    return replace(promises, events=told)


@pytest.mark.parametrize("fault", sorted(KILLS | CUTS))
def test_a_death_noted_in_passing_leaves_what_dying_there_leaves(fault: Fault) -> None:
    operations = enumerate(operations_of(ACT), 1)
    places = [(fault, at) for at, operation in operations if operation.can(fault)][::STEP]
    noted = deaths_of(ACT, places)
    assert len(noted) > len(places) * 0.9
    for (_, at), death in noted.items():
        device = died_of(ACT, Case(fault, at))
        assert device.disk.found is not None
        assert kept(death.image) == kept(device.disk.found), at
        assert acknowledged(death.promises) == acknowledged(device.promises), at
        assert death.plant.clock.ticks == device.plant.clock.ticks, at
        assert death.plant.manager.states == device.plant.manager.states, at
        assert death.plant.endpoint.statuses == device.plant.endpoint.statuses, at
        assert death.plant.endpoint.keeping == device.plant.endpoint.keeping, at
        if fault in KILLS:
            assert death.model is not None
            assert death.model.states() == device.disk.model.states(), at
